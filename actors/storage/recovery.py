"""From a directory to a running state: a new network's allocation, or checkpoint + deltas, then the root.

Nothing is served before the state root has been recomputed from the accounts and equals the last committed
header's (the genesis' at height 0).
"""

from __future__ import annotations

from collections.abc import Callable

from actors.ledger.block import HEADER_BYTES, decode_header
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import Hasher
from actors.storage import pages
from actors.storage.accounts import Accounts
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
    nonces = allocation.balances * 0
    root = build_tree(allocation.keys, nonces, allocation.balances, hash_rows).root
    for field, found, wanted in (
        ("accounts", len(allocation.keys), genesis.accounts),
        ("supply", allocation.supply(), genesis.supply),
        ("state_root", root.hex(), genesis.state_root),
    ):
        if found != wanted:
            raise AllocationError(field, found, wanted)
    for page, start in enumerate(range(0, genesis.accounts, PAGE_ACCOUNTS)):
        part = slice(start, start + PAGE_ACCOUNTS)
        batch = disk.batch()
        columns = allocation.keys[part], nonces[part], allocation.balances[part]
        batch.put("accounts", height_key(page), encode_page(*columns))
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
        delta = decode_delta(body)
        slots = accounts.put(delta.keys, delta.nonces, delta.balances)
        checkpointer.touch(slots)


def head_root(disk: Disk, genesis: Genesis, head: Head) -> bytes:
    """The state root that the head's header carries."""
    if head.height == 0:
        return bytes.fromhex(genesis.state_root)
    body = disk.get("headers", height_key(head.height))
    if body is None:
        raise CorruptionError("headers", height_key(head.height).hex(), "missing")
    return decode_header(body[:HEADER_BYTES]).state_root


def base_of(disk: Disk) -> Base:
    """What the directory begins with."""
    body = disk.get("meta", BASE_KEY)
    return Base() if body is None else decode_base(body)
