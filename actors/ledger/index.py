"""Where an account's columns stand: an open-addressing index from 32-byte keys to dense slots.

Slots are handed out in order of insertion, so columns beside `keys` grow without moving; the table of slot
numbers is rebuilt at double size when it is more than half full. Linear probing; the hash is SipHash, keyed
by a seed that the owner draws, so that strangers cannot aim keys at one bucket (kernels/siphash.py). The
order of slots, and so everything computed from them, does not depend on the seed. Functions with a leading
underscore are compiled.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from actors.kernels.siphash import hash_key_of, siphash

KEY_WORDS = 4
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 3, 2
_LINE_BYTES = 64
_ODD = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, inline="always")
def home_of(table, hash_key, k0, k1, k2, k3):  # type: ignore[no-untyped-def]
    """Where in the table the search for a key begins."""
    return siphash(hash_key, k0, k1, k2, k3) & np.uint64(len(table) - 1)


@njit(cache=True)
def find_slot(table, keys, at, k0, k1, k2, k3):  # type: ignore[no-untyped-def]
    """Slot of a key whose home is `at`, or -1."""
    mask = np.uint64(len(table) - 1)
    while True:
        slot = table[at]
        if slot < 0:
            return np.int64(-1)
        if keys[slot, 0] == k0 and keys[slot, 1] == k1 and keys[slot, 2] == k2 and keys[slot, 3] == k3:
            return np.int64(slot)
        at = (at + np.uint64(1)) & mask


@njit(cache=True)
def insert_slot(table, keys, count, at, k0, k1, k2, k3):  # type: ignore[no-untyped-def]
    """Slot of a key whose home is `at`; a new key gets slot `count`. The caller ensures room and counts."""
    mask = np.uint64(len(table) - 1)
    while True:
        slot = table[at]
        if slot < 0:
            table[at] = count
            keys[count, 0] = k0
            keys[count, 1] = k1
            keys[count, 2] = k2
            keys[count, 3] = k3
            return np.int64(count)
        if keys[slot, 0] == k0 and keys[slot, 1] == k1 and keys[slot, 2] == k2 and keys[slot, 3] == k3:
            return np.int64(slot)
        at = (at + np.uint64(1)) & mask


@njit(cache=True)
def _rebuild(table, keys, count, hash_key):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(table) - 1)
    for slot in range(count):
        at = home_of(table, hash_key, keys[slot, 0], keys[slot, 1], keys[slot, 2], keys[slot, 3])
        while table[at] >= 0:
            at = (at + np.uint64(1)) & mask
        table[at] = slot


@njit(cache=True)
def _find_many(table, keys, hash_key, wanted, out):  # type: ignore[no-untyped-def]
    for i in range(len(wanted)):
        k0, k1, k2, k3 = wanted[i, 0], wanted[i, 1], wanted[i, 2], wanted[i, 3]
        out[i] = find_slot(table, keys, home_of(table, hash_key, k0, k1, k2, k3), k0, k1, k2, k3)


@njit(cache=True)
def _insert_many(table, keys, count, hash_key, wanted, out):  # type: ignore[no-untyped-def]
    for i in range(len(wanted)):
        k0, k1, k2, k3 = wanted[i, 0], wanted[i, 1], wanted[i, 2], wanted[i, 3]
        slot = insert_slot(table, keys, count, home_of(table, hash_key, k0, k1, k2, k3), k0, k1, k2, k3)
        if slot == count:
            count += 1
        out[i] = slot
    return count


class KeyIndex:
    """keys: (capacity, 4) uint64, the first `count` in use. table: slot numbers, -1 where free.

    seed: 128 bits that strangers do not know, which make the (2,) uint64 `hash_key`.
    """

    __slots__ = ("count", "hash_key", "keys", "table")

    def __init__(self, capacity: int, seed: int) -> None:
        self.count = 0
        self.hash_key = hash_key_of(seed)
        self.keys = aligned_zeros((max(capacity, 16), KEY_WORDS), np.uint64)
        self.table = self._new_table(len(self.keys))

    @staticmethod
    def _new_table(capacity: int) -> NDArray[np.int32]:
        return np.full(1 << (2 * capacity - 1).bit_length(), -1, dtype=np.int32)

    @property
    def capacity(self) -> int:
        """How many keys fit before the next growth."""
        return len(self.keys)

    def reserve(self, extra: int) -> bool:
        """Make room for `extra` more keys, growing ×1.5; True if the capacity changed."""
        needed = self.count + extra
        if needed <= len(self.keys):
            return False
        grown = max(needed, len(self.keys) * GROWTH_NUMERATOR // GROWTH_DENOMINATOR)
        keys = aligned_zeros((grown, KEY_WORDS), np.uint64)
        keys[: self.count] = self.keys[: self.count]
        self.keys = keys
        if 2 * grown > len(self.table):
            self.rebuild()
        return True

    def rebuild(self) -> None:
        """Make the table anew from the keys, as after a truncation of `count`."""
        self.table = self._new_table(len(self.keys))
        _rebuild(self.table, self.keys, self.count, self.hash_key)

    def find(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(n,) slots of (n, 4) keys; -1 where a key is missing."""
        out = np.empty(len(wanted), dtype=np.int64)
        _find_many(self.table, self.keys, self.hash_key, wanted, out)
        return out

    def insert(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(n,) slots of (n, 4) keys; new keys are added in order."""
        self.reserve(len(wanted))
        out = np.empty(len(wanted), dtype=np.int64)
        self.count = int(_insert_many(self.table, self.keys, self.count, self.hash_key, wanted, out))
        return out


def numbered_keys(keys: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of (n, 32) keys for each different one, and (n,) which of them each row is. Where different keys
    differ in what `_mixed` makes of them, this is a sort of numbers; strangers who choose others gain
    nothing by it."""
    words = key_words(keys)
    _, first, which = np.unique(_mixed(words), return_index=True, return_inverse=True)
    if (words == words[first][which]).all():
        return first, which
    data, numbers, rows = keys.tobytes(), dict[bytes, int](), list[int]()
    which = np.empty(len(keys), dtype=np.int64)
    for row in range(len(keys)):
        which[row] = numbers.setdefault(data[32 * row : 32 * row + 32], len(rows))
        if which[row] == len(rows):
            rows.append(row)
    return np.array(rows, dtype=np.int64), which


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(n,) of the first two words of keys: all keys of entries have the same first one."""
    return np.asarray(words[:, 0] ^ words[:, 1] * _ODD)


def distinct_keys(keys: NDArray[np.uint8]) -> list[bytes]:
    """Each of (n, 32) keys once."""
    return [keys[row].tobytes() for row in numbered_keys(keys)[0]]


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """As `np.zeros`, beginning at a cache line: rows of 32 or 64 bytes then lie in one line each."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _LINE_BYTES, dtype=np.uint8)
    begin = -raw.ctypes.data % _LINE_BYTES
    return raw[begin : begin + size].view(dtype).reshape(shape)


def key_words(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 4) uint64 view of (n, 32) uint8 keys."""
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, KEY_WORDS)
