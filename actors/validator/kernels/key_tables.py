"""Which keys have tables: a set-associative cache over one block of memory of fixed size.

Theory of operation. A key hashes to a set of ``WAYS`` places; it is in one of them or not at all, so a
whole batch is looked up in a few NumPy operations. The hash is keyed with a seed that strangers do not
know, so that nobody can aim at one set. A place that is needed is taken from the key of its set that was
used longest ago.

A key earns tables by verifying a signature twice: the first time leaves a fingerprint in a table of
*sightings*, the second time finds it. Keys of one use, and of signatures that do not verify, cost nothing
more than that.

Bounds: places are made once, ``places * TABLE_BYTES`` in all; sightings are 65,536 words; a batch makes at
most ``MADE_MAX`` tables, and later batches make the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import scratch

WAYS = 4
TABLE_BYTES = scratch.KEYED_TABLE_BYTES
SIGHTINGS = 1 << 16
MADE_MAX = 1024


class KeyTables:
    """The places, who holds them, and who was seen."""

    def __init__(self, bytes_max: int, seed: int, identity: NDArray[np.uint64]) -> None:
        """Make as many places as ``bytes_max`` holds in whole sets, perhaps none.

        ``identity`` is the words with which each quarter of a table begins; making a table leaves them alone.
        """
        self.sets = bytes_max // (WAYS * TABLE_BYTES)
        self.places = self.sets * WAYS
        rng = np.random.default_rng(seed)
        self._multipliers = rng.integers(0, 2**63, 4, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._holders = np.zeros((self.sets, WAYS, 4), np.uint64)
        self._used = np.zeros((self.sets, WAYS), np.int64)
        self._sightings = np.zeros(SIGHTINGS, np.uint64)
        self._clock = 0
        self._memory = np.zeros(self.places * TABLE_BYTES + 64, np.uint8)
        self._start = -self._memory.ctypes.data % 64
        words = self._memory[self._start : self._start + self.places * TABLE_BYTES].view(np.uint64)
        self._quarters = words.reshape(self.places, scratch.QUARTERS, TABLE_BYTES // scratch.QUARTERS // 8)
        self._identity = identity

    def _hash(self, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """A keyed hash of each key: a sum of products, of which the upper bits are good."""
        mixed = (words ^ (words >> np.uint64(29))) * self._multipliers
        total = mixed.sum(axis=1, dtype=np.uint64)
        return (total ^ (total >> np.uint64(32))) * self._multipliers[0]

    def _sets_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        return ((hashes >> np.uint64(20)) % np.uint64(max(1, self.sets))).astype(np.int64)

    def find(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For (n, 4) keys as words: which have tables, and the addresses of the tables of those that have."""
        if not self.sets:
            return np.zeros(len(words), np.bool_), np.empty(0, np.int64)
        sets = self._sets_of(self._hash(words))
        # An empty place holds zeros, and a key of zeros must not be found there.
        equal = (self._holders[sets] == words[:, None, :]).all(axis=2) & (self._used[sets] > 0)
        found = equal.any(axis=1)
        sets, ways = sets[found], equal[found].argmax(axis=1)
        self._clock += 1
        self._used[sets, ways] = self._clock
        return found, self._addresses(sets, ways)

    def _addresses(self, sets: NDArray[np.int64], ways: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._memory.ctypes.data + self._start + (sets * WAYS + ways) * TABLE_BYTES

    def earned(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Of keys without tables that have verified a signature: the numbers of those to make tables for now.

        Each key is named once, at most one key of a set, and at most ``MADE_MAX``.
        """
        if not self.sets or not len(words):
            return np.empty(0, np.int64)
        hashes = self._hash(words)
        # A hash of 0 counts as seen; its key earns tables at first use.
        at = (hashes >> np.uint64(4)) % np.uint64(SIGHTINGS)
        order = np.argsort(hashes, kind="stable")
        again = np.zeros(len(words), np.bool_)
        again[order[1:]] = hashes[order[1:]] == hashes[order[:-1]]
        seen = again | (self._sightings[at] == hashes)
        self._sightings[at] = hashes
        numbers = np.flatnonzero(seen)
        _, first = np.unique(self._sets_of(hashes[numbers]), return_index=True)
        return numbers[first][:MADE_MAX]

    def give(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Give each of these keys, of different sets, a place, and answer the addresses to make tables at."""
        sets = self._sets_of(self._hash(words))
        ways = self._used[sets].argmin(axis=1)
        self._clock += 1
        self._holders[sets, ways] = words
        self._used[sets, ways] = self._clock
        self._quarters[sets * WAYS + ways, :, : len(self._identity)] = self._identity
        return self._addresses(sets, ways)

    def held(self) -> int:
        """How many places hold a key."""
        return int((self._used > 0).sum())
