"""Unsigned batches for tests of storage: signatures are not its concern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from actors.contracts.limits import ENTRY_TAG
from actors.ledger.accounts import Account, State
from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch
from actors.storage.accounts import Accounts, StateColumns, of_accounts

CHAIN_TAG = 77
Row: TypeAlias = Mapping[str, int | bytes]
"""A row by its fields."""


def key(number: int) -> bytes:
    """A distinct 32-byte key."""
    return number.to_bytes(8, "little") + b"key" * 8


def batch_of(rows: Iterable[Row], chain_tag: int = CHAIN_TAG) -> Batch:
    """A batch of rows given by their fields: sender and recipient are bytes; the rest has sane defaults."""
    rows = list(rows)
    table = np.zeros(len(rows), dtype=ROW_DTYPE)
    for row, fields in zip(table, rows, strict=True):
        row["version"], row["kind"], row["chain_tag"] = ROW_VERSION, KIND_TRANSFER, chain_tag
        row["expiry_height"] = NEVER_EXPIRES_HEIGHT
        for name, value in fields.items():
            row[name] = np.frombuffer(value, dtype=np.uint8) if isinstance(value, bytes) else value
    return Batch(table, np.empty(0, dtype=np.uint8))


def accounts_of(
    state: State, seed: int = 5, entries: Mapping[bytes, bytes] = MappingProxyType({})
) -> Accounts:
    """The columns that hold `state` and these entries of contracts."""
    accounts = Accounts(16, seed)
    keys = np.frombuffer(b"".join(state), dtype=np.uint8).reshape(-1, 32)
    nonces = np.array([account.nonce for account in state.values()], dtype=np.uint64)
    balances = np.array([account.balance for account in state.values()], dtype=np.uint64)
    accounts.put(of_accounts(keys, nonces, balances))
    if entries:
        own = np.frombuffer(b"".join(entries), dtype=np.uint8).reshape(-1, 32)
        widths = np.array([len(value) for value in entries.values()], dtype=np.uint64)
        values = np.frombuffer(b"".join(entries.values()), dtype=np.uint8)
        accounts.put(StateColumns(own, np.zeros_like(widths), widths, values))
    return accounts


def state_of(accounts: Accounts) -> State:
    """The dictionary of the accounts that exist in the columns."""
    columns = accounts.columns().existing()
    rows = zip(columns.keys, columns.nonces.tolist(), columns.balances.tolist(), strict=True)
    found = {key.tobytes(): Account(nonce, balance) for key, nonce, balance in rows}
    return {key: account for key, account in found.items() if not key.startswith(ENTRY_TAG)}


def tree_values(columns: StateColumns) -> dict[bytes, bytes]:
    """Values in the tree by key, of all slots."""
    _, widths, values = columns.in_delta()
    pieces = np.split(values, np.cumsum(widths, dtype=np.int64)[:-1])
    return {key.tobytes(): value.tobytes() for key, value in zip(columns.keys, pieces, strict=True)}


def entries_of(accounts: Accounts) -> dict[bytes, bytes]:
    """The entries that exist in the columns."""
    found = tree_values(accounts.columns().existing()) if accounts.count else {}
    return {key: value for key, value in found.items() if key.startswith(ENTRY_TAG)}


def transfers(
    numbers: int, nonces: np.ndarray, count: int, rng: np.random.Generator, chain_tag: int = CHAIN_TAG
) -> Batch:
    """`count` valid transfers of 1 with fee 1 among accounts key(0..numbers-1); raises `nonces` in place."""
    keys = np.frombuffer(b"".join(key(i) for i in range(numbers)), dtype=np.uint8).reshape(-1, 32)
    table = np.zeros(count, dtype=ROW_DTYPE)
    senders, recipients = rng.integers(0, numbers, count), rng.integers(0, numbers, count)
    table["version"], table["kind"], table["chain_tag"] = ROW_VERSION, KIND_TRANSFER, chain_tag
    table["expiry_height"] = NEVER_EXPIRES_HEIGHT
    table["amount"], table["fee"] = 1, 1
    table["sender"], table["recipient"] = keys[senders], keys[recipients]
    for i, sender in enumerate(senders):
        table["nonce"][i] = nonces[sender]
        nonces[sender] += 1
    return Batch(table, np.empty(0, dtype=np.uint8))
