"""Tells followers of each commit, one call at a time a follower, so that each sees heights in order.

Every follower has a bounded queue and a task of its own: one that is slow or restarting delays nobody else.
What has queued up meanwhile goes in one call, since a call costs more than the delta of a small block. A
follower whose queue is full misses that height; it finds the gap at the next one and reads up in Storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

QUEUE_DELTAS_MAX = 64
Follow = Callable[..., Awaitable[Any]]
"""Takes deltas, or references to them, in ascending order of height."""


class Publisher:
    """Followers by name; `publish` hands a delta, or a reference to one, to each of them.

    `unreachable` are the errors that mean that a follower is down; it reads up in Storage when it is back.
    """

    def __init__(self, unreachable: tuple[type[Exception], ...]) -> None:
        self._unreachable = unreachable
        self._queues: dict[str, asyncio.Queue[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.missed = 0

    @property
    def names(self) -> set[str]:
        """Followers that are being told."""
        return set(self._queues)

    def add(self, name: str, follow: Follow) -> None:
        """One more follower from the next delta on."""
        self._queues[name] = asyncio.Queue(QUEUE_DELTAS_MAX)
        self._tasks.append(asyncio.create_task(self._feed(self._queues[name], follow)))

    async def publish(self, delta: Any) -> None:
        """Queue the delta of a block for every follower; never waits for one."""
        for queue in self._queues.values():
            if queue.full():
                self.missed += 1
            else:
                queue.put_nowait(delta)

    async def _feed(self, queue: asyncio.Queue[Any], follow: Follow) -> None:
        while True:
            deltas = [await queue.get()]
            while not queue.empty():
                deltas.append(queue.get_nowait())
            try:
                await follow(*deltas)
            except self._unreachable:
                self.missed += len(deltas)
