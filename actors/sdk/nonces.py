"""Nonces of one key for a wallet. No I/O.

Each is given out once, the least first: those that came back unused, then those that follow. `gap_below`
says whether one that came back holds others up.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable


class NonceSequence:
    """The nonces from `first` on."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._free: list[int] = []

    def take(self) -> int:
        """The least that is free."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, nonce: int) -> None:
        """One that was taken is free again."""
        heapq.heappush(self._free, nonce)
        while (self._next - 1) in self._free:
            self._next -= 1
            self._free.remove(self._next)
            heapq.heapify(self._free)

    def passed(self, nonce: int) -> None:
        """The chain wants `nonce` next: those below are used up."""
        self._next = max(self._next, nonce)
        self._free = [free for free in self._free if free >= nonce]
        heapq.heapify(self._free)

    def gap_below(self, taken: Iterable[int]) -> bool:
        """Whether one of the nonces in use waits for a free one."""
        return bool(self._free) and any(nonce > self._free[0] for nonce in taken)
