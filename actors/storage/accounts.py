"""Accounts as columns: a nonce and a balance beside each key, in the slots that the key index hands out.

An account exists while its balance is not zero. One that was emptied keeps its slot and its last nonce, for
undo and for the earlier heights that can still be proven; the tree has no leaf of it, and readers do not see
it. Slots are only given back by undo, last first, as `truncate` relies on.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.kernels.prefetch import prefetch
from actors.ledger.index import KEY_WORDS, KeyIndex, home_of, key_words

_AHEAD = 16  # rows between a prefetch and its use
Columns = tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]
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


class Accounts:
    """nonces, balances: (capacity,) uint64; waves: (capacity,) int32, scratch of the transition, all zero.

    The first `count` slots are in use; what lies beyond is zero. Growth is ×1.5.
    """

    __slots__ = ("balances", "index", "nonces", "waves")

    def __init__(self, capacity: int, seed: int) -> None:
        self.index = KeyIndex(capacity, seed)
        self.nonces = np.zeros(self.index.capacity, dtype=np.uint64)
        self.balances = np.zeros(self.index.capacity, dtype=np.uint64)
        self.waves = np.zeros(self.index.capacity, dtype=np.int32)

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

    def put(
        self, keys: NDArray[np.uint8], nonces: NDArray[np.uint64], balances: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """Set accounts, (n, 32) keys with (n,) columns; returns their slots. New keys get slots in order."""
        self.reserve(len(keys))
        slots = self.index.insert(key_words(keys))
        self.nonces[slots] = nonces
        self.balances[slots] = balances
        return slots

    def find(self, key: bytes) -> int:
        """Slot of a 32-byte key, or -1."""
        return int(self.index.find(np.frombuffer(key, dtype=np.uint64).reshape(1, KEY_WORDS))[0])

    def keys_at(self, slots: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """(m, 32) uint8 keys of slots."""
        return np.ascontiguousarray(self.index.keys[slots]).view(np.uint8).reshape(-1, 32)

    def columns_at(
        self, slots: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
        """Copies of (keys, nonces, balances) of slots: (m, 32) uint8, (m,) and (m,) uint64."""
        keys = np.empty((len(slots), KEY_WORDS), dtype=np.uint64)
        nonces, balances = (np.empty(len(slots), dtype=np.uint64) for _ in range(2))
        _gather(self.index.keys, self.nonces, self.balances, slots, keys, nonces, balances)
        return keys.view(np.uint8), nonces, balances

    def truncate(self, kept: int) -> None:
        """Give back every slot from `kept` on."""
        index = self.index
        _forget(index.table, index.keys, index.hash_key, index.count, kept)
        self.nonces[kept : index.count] = 0
        self.balances[kept : index.count] = 0
        index.count = kept


def without_empty(columns: Columns) -> Columns:
    """(keys, nonces, balances) of the accounts that exist."""
    keys, nonces, balances = columns
    exist = balances != 0
    return columns if exist.all() else (keys[exist], nonces[exist], balances[exist])


def _grown(column: NDArray[_T], capacity: int) -> NDArray[_T]:
    out = np.zeros(capacity, dtype=column.dtype)
    out[: len(column)] = column
    return out
