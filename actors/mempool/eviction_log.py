"""The last rows that a shard dropped after it had accepted them, numbered, for whoever must tell clients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class EvictionLog:
    """A ring of the last `capacity` (id, verdict) pairs. Readers keep their own place; there may be many."""

    def __init__(self, capacity: int) -> None:
        self._ids = np.zeros((capacity, 32), dtype=np.uint8)
        self._verdicts = np.zeros(capacity, dtype=np.uint8)
        self.total = 0

    def add(self, ids: NDArray[np.uint8], verdicts: NDArray[np.uint8]) -> None:
        """Append; the oldest are overwritten."""
        capacity = len(self._ids)
        self.total += len(ids)
        ids, verdicts = ids[-capacity:], verdicts[-capacity:]
        at = np.arange(self.total - len(ids), self.total) % capacity
        self._ids[at], self._verdicts[at] = ids, verdicts

    def since(self, number: int) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
        """(next number to ask with, ids, verdicts) of what came at or after `number` and is still kept.

        A number from before a restart of the log (above the total) reads from its beginning.
        """
        start = max(number if 0 <= number <= self.total else 0, self.total - len(self._ids))
        at = np.arange(start, self.total) % len(self._ids)
        return self.total, self._ids[at], self._verdicts[at]
