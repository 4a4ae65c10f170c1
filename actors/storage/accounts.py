"""The entries of the state as columns, in the slots that the key index hands out.

An account has a nonce and a balance beside its key. A contract's entry, whose key begins with ENTRY_TAG, has
in their places the row of its value (entry_values.py) and the value's width in bytes. What this file and
others say of accounts is true of entries as well: one without a width does not exist, like an account without
a balance.

An account exists while its balance is not zero. One that was emptied keeps its slot and its last nonce, for
undo and for the earlier heights that can still be proven; the tree has no leaf of it, and readers do not see
it. Slots are only given back by undo, last first, as `truncate` relies on.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.kernels.prefetch import prefetch
from actors.ledger.accounts import ACCOUNT_BYTES
from actors.ledger.checks import ENTRY_WORD
from actors.ledger.delta import Delta, StateEntryKind, account_values
from actors.ledger.hashing import Hasher
from actors.ledger.index import KEY_WORDS, KeyIndex, home_of, key_words
from actors.storage.entry_values import EntryValues

_AHEAD = 16  # rows between a prefetch and its use
_T = TypeVar("_T", bound=np.generic)


@njit(cache=True, nogil=True)
def _forget(table, keys, hash_key, count, kept):  # type: ignore[no-untyped-def]
    """Take the last slots out of the table again.

    The table always equals one filled in order of slots, so removing in reverse order needs no tombstones.
    """
    mask = np.uint64(len(table) - 1)
    for slot in range(count - 1, kept - 1, -1):
        at = home_of(table, hash_key, keys[slot, 0], keys[slot, 1], keys[slot, 2], keys[slot, 3])
        while table[at] != slot:
            at = (at + np.uint64(1)) & mask
        table[at] = -1


@njit(cache=True, nogil=True)
def _gather(keys, nonces, balances, slots, out_keys, out_nonces, out_balances):  # type: ignore[no-untyped-def]
    """Copy the columns of `slots`, which lie at random in columns that exceed the caches."""
    rows = len(slots)
    for i in range(rows):
        if i + _AHEAD < rows:
            slot = slots[i + _AHEAD]
            prefetch(keys, slot)
            prefetch(nonces, slot)
            prefetch(balances, slot)
        slot = slots[i]
        for word in range(KEY_WORDS):
            out_keys[i, word] = keys[slot, word]
        out_nonces[i] = nonces[slot]
        out_balances[i] = balances[slot]


class StateColumns(NamedTuple):
    """Slots on their own, away from where entries' values are kept.

    keys: (n, 32) uint8. nonces: (n,) uint64, 0 for entries. balances: (n,) uint64, of entries the width.
    values: (sum of these widths,) uint8, values of the entries among them, one after the other.
    """

    keys: NDArray[np.uint8]
    nonces: NDArray[np.uint64]
    balances: NDArray[np.uint64]
    values: NDArray[np.uint8]

    def take(self, rows: Any) -> StateColumns:
        """The same of some rows: a mask, ascending indices, or a slice."""
        values = self.values
        if len(values):
            widths = np.where(entries_among(self.keys), self.balances, 0).astype(np.int64)
            begins = (np.cumsum(widths) - widths)[rows]
            widths = widths[rows]
            at = np.arange(widths.sum()) + np.repeat(begins - (np.cumsum(widths) - widths), widths)
            values = values[at]
        return StateColumns(self.keys[rows], self.nonces[rows], self.balances[rows], values)

    def existing(self) -> StateColumns:
        """What exists of them."""
        exist = self.balances != 0
        return self if exist.all() else self.take(exist)

    def hashes(self, hash_rows: Hasher) -> NDArray[np.uint8]:
        """(n, 32) uint8: SHA-256 of the values in the tree; of what does not exist it means nothing."""
        hashes = hash_rows(account_values(self.nonces, self.balances))
        if not len(self.values):
            return hashes
        hashes, rows = np.array(hashes), np.flatnonzero(entries_among(self.keys))
        widths = self.balances[rows].astype(np.int64)
        begins = np.cumsum(widths) - widths
        for width in np.unique(widths[widths > 0]):  # at most as many as there are bytes in an entry
            alike = widths == width
            hashes[rows[alike]] = hash_rows(self.values[begins[alike, None] + np.arange(width)])
        return hashes

    def in_delta(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """(kinds, widths, values) as a `Delta` has them."""
        accounts = account_values(self.nonces, self.balances)
        mine = entries_among(self.keys)
        widths = np.where(mine, self.balances, ACCOUNT_BYTES).astype(np.uint8)
        kinds = np.where(mine, StateEntryKind.ENTRY, StateEntryKind.ACCOUNT).astype(np.uint8)
        if not mine.any():
            return kinds, widths, accounts.reshape(-1)
        values, of_entries = np.empty(widths.sum(dtype=np.int64), dtype=np.uint8), np.repeat(mine, widths)
        values[of_entries], values[~of_entries] = self.values, accounts[~mine].reshape(-1)
        return kinds, widths, values

    @property
    def coins(self) -> NDArray[np.uint64]:
        """Balances of the accounts among them."""
        return self.balances[~entries_among(self.keys)] if len(self.values) else self.balances


def of_accounts(
    keys: NDArray[np.uint8], nonces: NDArray[np.uint64], balances: NDArray[np.uint64]
) -> StateColumns:
    """Of accounts alone."""
    return StateColumns(keys, nonces, balances, NO_VALUES)


def funded(keys: NDArray[np.uint8], balances: NDArray[np.uint64]) -> StateColumns:
    """Of accounts that have sent nothing yet."""
    return of_accounts(keys, np.zeros_like(balances), balances)


def of_delta(delta: Delta) -> StateColumns:
    """What a block has made of what it touched."""
    accounts, mine = delta.accounts(), delta.kinds == StateEntryKind.ENTRY
    if not mine.any():
        return of_accounts(*accounts.columns())
    nonces, balances = np.zeros(len(mine), dtype=np.uint64), delta.widths.astype(np.uint64)
    nonces[~mine], balances[~mine] = accounts.nonces, accounts.balances
    return StateColumns(delta.keys, nonces, balances, delta.values[np.repeat(mine, delta.widths)])


NO_VALUES: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)


def entries_among(keys: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) which of (n, 32) keys are of entries."""
    mask: NDArray[np.bool_] = key_words(keys)[:, 0] == ENTRY_WORD
    return mask


class Accounts:
    """nonces, balances: (capacity,) uint64; waves: (capacity,) int32, scratch of the transition, all zero.
    entries: the values of entries.

    The first `count` slots are in use; what lies beyond is zero. Growth is ×1.5.
    """

    __slots__ = ("balances", "entries", "index", "nonces", "waves")

    def __init__(self, capacity: int, seed: int) -> None:
        self.index = KeyIndex(capacity, seed)
        self.nonces = np.zeros(self.index.capacity, dtype=np.uint64)
        self.balances = np.zeros(self.index.capacity, dtype=np.uint64)
        self.waves = np.zeros(self.index.capacity, dtype=np.int32)
        self.entries = EntryValues()

    @property
    def count(self) -> int:
        """Slots in use, those of emptied accounts among them."""
        return self.index.count

    def reserve(self, extra: int) -> None:
        """Make room for `extra` more accounts."""
        self.index.reserve(extra)
        capacity = self.index.capacity
        if len(self.nonces) < capacity:
            self.nonces = _grown(self.nonces, capacity)
            self.balances = _grown(self.balances, capacity)
            self.waves = _grown(self.waves, capacity)

    def put(self, columns: StateColumns) -> NDArray[np.int64]:
        """Set slots; returns which. New keys get slots in order. No key comes twice."""
        self.reserve(len(columns.keys))
        slots = self.index.insert(key_words(columns.keys))
        nonces = columns.nonces
        if len(columns.values) or self.entries.used:
            mine = entries_among(columns.keys)
            self.release(slots[mine], self.nonces[slots[mine]], self.balances[slots[mine]])
            nonces = nonces.copy()
            nonces[mine] = self.entries.put(columns.values, columns.balances[mine])
        self.nonces[slots] = nonces
        self.balances[slots] = columns.balances
        return slots

    def entry_slots(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of `slots` that hold entries."""
        if not self.entries.used:
            return slots[:0]
        of_entries: NDArray[np.int64] = slots[self.index.keys[slots, 0] == ENTRY_WORD]
        return of_entries

    def release(self, slots: NDArray[np.int64], rows: NDArray[np.uint64], widths: NDArray[np.uint64]) -> None:
        """Nothing mentions these values of `slots` any more; what is no entry's is passed over."""
        if self.entries.used and len(slots):
            gone = (self.index.keys[slots, 0] == ENTRY_WORD) & (widths != 0)
            self.entries.release(rows[gone])

    def find(self, key: bytes) -> int:
        """Slot of a 32-byte key, or -1."""
        return int(self.index.find(np.frombuffer(key, dtype=np.uint64).reshape(1, KEY_WORDS))[0])

    def keys_at(self, slots: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """(m, 32) uint8 keys of slots."""
        return np.ascontiguousarray(self.index.keys[slots]).view(np.uint8).reshape(-1, 32)

    def columns_at(self, slots: NDArray[np.int64]) -> StateColumns:
        """Copies of slots."""
        keys = np.empty((len(slots), KEY_WORDS), dtype=np.uint64)
        nonces, balances = (np.empty(len(slots), dtype=np.uint64) for _ in range(2))
        _gather(self.index.keys, self.nonces, self.balances, slots, keys, nonces, balances)
        return self.resolved(keys.view(np.uint8), nonces, balances)

    def columns(self, start: int = 0, stop: int | None = None) -> StateColumns:
        """Copies of consecutive slots in use."""
        part = slice(start, self.count if stop is None else stop)
        return self.resolved(self.keys_at(part), self.nonces[part].copy(), self.balances[part].copy())

    def resolved(
        self, keys: NDArray[np.uint8], nonces: NDArray[np.uint64], balances: NDArray[np.uint64]
    ) -> StateColumns:
        """Columns as this object keeps them, made to stand on their own; `nonces` is changed."""
        mine = entries_among(keys) if self.entries.used else None
        if mine is None or not mine.any():
            return of_accounts(keys, nonces, balances)
        values = self.entries.gather(nonces[mine], balances[mine])
        nonces[mine] = 0
        return StateColumns(keys, nonces, balances, values)

    def truncate(self, kept: int) -> None:
        """Give back every slot from `kept` on."""
        index = self.index
        _forget(index.table, index.keys, index.hash_key, index.count, kept)
        self.nonces[kept : index.count] = 0
        self.balances[kept : index.count] = 0
        index.count = kept


def _grown(column: NDArray[_T], capacity: int) -> NDArray[_T]:
    out = np.zeros(capacity, dtype=column.dtype)
    out[: len(column)] = column
    return out
