"""Turns at work that is heavy for a node: few at once, and peers that wait take turns.

What a peer has waiting is bounded by whoever calls `turn` (see `Exchange`): many requests of one peer wait
behind each other, not in front of others'.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `at_once` pieces of work run; the others wait, round-robin over peers."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: dict[bytes, deque[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def turn(self, peer: bytes) -> AsyncIterator[None]:
        """Wait for a turn of `peer`, and hold it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(peer)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, peer: bytes) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give a turn to the next peer that waits; who gave up is skipped."""
        while self._waiting:
            peer = next(iter(self._waiting))
            queue = self._waiting.pop(peer)
            first = queue.popleft()
            if queue:
                self._waiting[peer] = queue
            if not first.done():
                first.set_result(None)
                return
        self._free += 1
