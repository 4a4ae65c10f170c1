"""Which keys have tables: a set-associative cache over one block of memory of fixed size.

Theory of operation. A key hashes to a set of ``WAYS`` places; it is in one of them or not at all, so a
whole batch is looked up in a few NumPy operations. The hash is strongly universal and keyed with a seed that
strangers do not know, so that nobody can aim at one set.

A key earns tables by verifying a signature twice: the first time leaves a fingerprint in a table of
*sightings*, the second time finds it. Keys of one use, and of signatures that do not verify, cost nothing
more than that. If all places of its set are held, it takes that of the key used longest ago, but only if that
one was not used since the newcomer was sighted before. So keys that take turns and are more than there are
places do not drive each other out: some keep their tables, and the others make none.

Bounds: places are made once, ``places * TABLE_BYTES`` in all; sightings are 65,536 words; a batch makes at
most ``MADE_MAX`` tables, and later batches make the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.kernels.multilinear import MultilinearHash, scaled

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
        self._hash = MultilinearHash(seed)
        self._tags = np.zeros((self.sets, WAYS), np.uint32)
        self._holders = np.zeros((self.places, 4), np.uint64)
        self._used = np.zeros((self.sets, WAYS), np.int64)
        self._sightings = np.zeros(SIGHTINGS, np.uint32)
        self._sighted = np.zeros(SIGHTINGS, np.int64)
        self._clock = 0
        self._memory = np.zeros(self.places * TABLE_BYTES + 64, np.uint8)
        start = -self._memory.ctypes.data % 64
        self._address = self._memory.ctypes.data + start
        words = self._memory[start : start + self.places * TABLE_BYTES].view(np.uint64)
        self._quarters = words.reshape(self.places, scratch.QUARTERS, TABLE_BYTES // scratch.QUARTERS // 8)
        self._identity = identity

    def _sets_of(self, tags: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The set of each key, by its tag."""
        return scaled(tags, self.sets)

    def find(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For (n, 4) keys as words: which have tables, and the addresses of the tables of those that have."""
        if not self.sets:
            return np.zeros(len(words), np.bool_), np.empty(0, np.int64)
        tags = self._hash(words)
        sets = self._sets_of(tags)
        places = sets * WAYS + (self._tags[sets] == tags[:, None]).argmax(axis=1)
        used = self._used.reshape(-1)
        # An empty place holds zeros, and a key of zeros must not be found there.
        found = (self._holders[places] == words).all(axis=1) & (used[places] > 0)
        if not found.all():
            places = places[found]
        self._clock += 1
        used[places] = self._clock
        return found, self._address + places * TABLE_BYTES

    def earned(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Of keys without tables that have verified a signature: the numbers of those to make tables for now.

        Each key is named once, at most one key of a set, and at most ``MADE_MAX``.
        """
        if not self.sets or not len(words):
            return np.empty(0, np.int64)
        # A tag of 0 counts as seen; its key earns tables at first use.
        tags = self._hash(words)
        at = scaled(tags, SIGHTINGS)
        order = np.argsort(tags, kind="stable")
        again = np.zeros(len(words), np.bool_)
        again[order[1:]] = tags[order[1:]] == tags[order[:-1]]
        known, sets = self._sightings[at] == tags, self._sets_of(tags)
        since = np.where(known, self._sighted[at], 0)
        self._sightings[at], self._sighted[at] = tags, self._clock
        free = self._used[sets].min(axis=1) < np.maximum(since, 1)
        numbers = np.flatnonzero((again | known) & free)
        _, first = np.unique(sets[numbers], return_index=True)
        return numbers[first][:MADE_MAX]

    def give(self, words: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Give each of these keys, of different sets, a place, and answer the addresses to make tables at."""
        tags = self._hash(words)
        sets = self._sets_of(tags)
        ways = self._used[sets].argmin(axis=1)
        places = sets * WAYS + ways
        self._clock += 1
        self._tags[sets, ways], self._holders[places], self._used[sets, ways] = tags, words, self._clock
        self._quarters[places, :, : len(self._identity)] = self._identity
        addresses: NDArray[np.int64] = self._address + places * TABLE_BYTES
        return addresses

    def held(self) -> int:
        """How many places hold a key."""
        return int((self._used > 0).sum())
