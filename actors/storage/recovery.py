"""From a directory to a running state: a new network's allocation, or checkpoint + deltas, then the root.

Nothing is served before the state root has been recomputed from the accounts and equals the last committed
header's (the genesis' at height 0).

Slots of emptied accounts are given up here, once they are EMPTY_MIN and as many as the accounts that exist:
all pages are written anew in one synced batch. The undo logs of earlier heights, which name slots, go with
them, so those heights cannot be proven here any more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actors.ledger.block import HEADER_BYTES, Header, decode_header
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import Hasher
from actors.storage import pages
from actors.storage.accounts import Accounts, funded, of_delta
from actors.storage.disk import HEAD_KEY, Disk
from actors.storage.errors import AllocationError, CorruptionError
from actors.storage.formats import (
    Base,
    Checkpoint,
    Head,
    decode_base,
    decode_delta,
    decode_head,
    encode_page,
    height_key,
)
from actors.storage.history import Retention
from actors.storage.pages import PAGE_ACCOUNTS, Checkpointer
from actors.storage.state import State, build_tree

BASE_KEY = b"base"
EMPTY_MIN = 65_536
_REWRITTEN_MAX = 4_000_000  # accounts: what one batch may hold, 200 MB


def recover(
    disk: Disk,
    genesis: Genesis,
    read_allocation: Callable[[], Allocation],
    seed: int,
    hash_rows: Hasher,
    retention: Retention,
) -> tuple[State, Head, Checkpointer]:
    """The committed state of a directory, which is made first if it is new.

    Raises WrongNetworkError, SchemaError, AllocationError, or CorruptionError naming the place.
    """
    if not disk.require_network(genesis.hash(), genesis.network):
        create(disk, genesis, read_allocation(), hash_rows)
    body = disk.get("meta", HEAD_KEY)
    if body is None:
        raise CorruptionError("meta", HEAD_KEY.hex(), "missing")
    head = decode_head(body)
    accounts = Accounts(genesis.accounts, seed)
    checkpoint = pages.load(disk, accounts)
    checkpointer = Checkpointer(disk, checkpoint)
    _replay(disk, accounts, checkpoint, head, checkpointer)
    existing = int(np.count_nonzero(accounts.balances[: accounts.count]))
    if max(existing, EMPTY_MIN) <= accounts.count - existing and existing <= _REWRITTEN_MAX:
        accounts = _without_empty_slots(disk, accounts, head, seed)
        checkpointer = Checkpointer(disk, Checkpoint(head.height, accounts.count))
    state = State(accounts, head.height, hash_rows, retention)
    expected = head_root(disk, genesis, head)
    if state.tree.root != expected:
        raise CorruptionError(
            "accounts",
            "",
            f"state root {state.tree.root.hex()}, the header at {head.height} has {expected.hex()}",
        )
    return state, head, checkpointer


def create(disk: Disk, genesis: Genesis, allocation: Allocation, hash_rows: Hasher) -> None:
    """Write the genesis state. The directory counts as new until the last, synced write."""
    columns = funded(allocation.keys, allocation.balances)
    root = build_tree(columns, hash_rows).root
    least = int(allocation.balances.min()) if len(allocation.balances) else genesis.balance_min
    if least < genesis.balance_min:
        raise AllocationError("balances", least, f"at least {genesis.balance_min}")
    for field, found, wanted in (
        ("accounts", len(allocation.keys), genesis.accounts),
        ("supply", allocation.supply(), genesis.supply),
        ("state_root", root.hex(), genesis.state_root),
    ):
        if found != wanted:
            raise AllocationError(field, found, wanted)
    for page, start in enumerate(range(0, genesis.accounts, PAGE_ACCOUNTS)):
        batch = disk.batch()
        part = columns.take(slice(start, start + PAGE_ACCOUNTS))
        batch.put("accounts", height_key(page), encode_page(part))
        batch.write(sync=False)
    batch = disk.batch()
    batch.put("meta", b"checkpoint", Checkpoint(0, genesis.accounts).encode())
    batch.put("meta", HEAD_KEY, Head(0, 0, genesis.hash()).encode())
    batch.write(sync=False)
    disk.put_network(genesis.hash(), genesis.network)


def _replay(
    disk: Disk, accounts: Accounts, checkpoint: Checkpoint, head: Head, checkpointer: Checkpointer
) -> None:
    for height in range(checkpoint.height + 1, head.height + 1):
        body = disk.get("deltas", height_key(height))
        if body is None:
            raise CorruptionError("deltas", height_key(height).hex(), "missing")
        checkpointer.touch(accounts.put(of_delta(decode_delta(body))))


def _without_empty_slots(disk: Disk, accounts: Accounts, head: Head, seed: int) -> Accounts:
    """The accounts that exist, in their order, in slots without gaps; here and on disk."""
    columns = accounts.columns().existing()
    kept = Accounts(len(columns.keys), seed)
    kept.put(columns)
    batch = disk.batch()
    pages_before, pages_after = (-(-count // PAGE_ACCOUNTS) for count in (accounts.count, kept.count))
    for page in range(pages_after):
        part = columns.take(slice(page * PAGE_ACCOUNTS, (page + 1) * PAGE_ACCOUNTS))
        batch.put("accounts", height_key(page), encode_page(part))
    batch.delete_range("accounts", height_key(pages_after), height_key(pages_before))
    batch.delete_range("history", height_key(0), height_key(2**64 - 1))
    batch.put("meta", b"checkpoint", Checkpoint(head.height, kept.count).encode())
    batch.write(sync=True)
    return kept


def head_root(disk: Disk, genesis: Genesis, head: Head) -> bytes:
    """The state root that the head's header carries."""
    return _header(disk, head).state_root if head.height else bytes.fromhex(genesis.state_root)


def head_time_ms(disk: Disk, genesis: Genesis, head: Head) -> int:
    """The head's time; the genesis was made at its own."""
    return _header(disk, head).time_ms if head.height else genesis.created_ms


def _header(disk: Disk, head: Head) -> Header:
    body = disk.get("headers", height_key(head.height))
    if body is None:
        raise CorruptionError("headers", height_key(head.height).hex(), "missing")
    return decode_header(body[:HEADER_BYTES])


def base_of(disk: Disk) -> Base:
    """What the directory begins with."""
    body = disk.get("meta", BASE_KEY)
    return Base() if body is None else decode_base(body)
