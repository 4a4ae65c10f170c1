"""From the wire to the handlers: one worker a priority, so that no class waits for another's handler.

Each worker drains its `PeerQueues` in batches: while a handler works on one batch the next one gathers. Once
it is done the senders get their credit back (see `wire.queues`), which is what holds back an honest peer; one
that sends beyond its credit and fills its share is not read until half of it has drained, nor is an observer
that sends while all observers' messages together are at their bound. A handler that fails or hangs costs its
batch and is counted; the worker goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from loguru import logger

from actors.peer.config import PeerLimits
from actors.peer.inbound import PeerQueues
from actors.peer.messages import Announce, Bodies, Data, Fetch, Request
from actors.peer.session import PeerSession
from actors.peer.wire.frames import Priority

BATCH_MAX = 128
MESSAGE_BYTES = 512
"""What a message holds besides its bytes."""
Deliverable = Data | Request | Announce | Fetch | Bodies
Handle = Callable[[Priority, list[tuple[PeerSession, Deliverable]]], Awaitable[None]]


class Delivery:
    """The inbound queues and their workers."""

    def __init__(
        self, limits: PeerLimits, members: frozenset[bytes], handle: Handle, deadline_s: float
    ) -> None:
        self._members = members
        self._bytes_max_observers = limits.inbound_bytes_max_observers
        self._bytes_observers = 0
        self._held: dict[PeerSession, set[Priority]] = {}
        self._handle = handle
        self._deadline_s = deadline_s
        self._queues = {
            priority: PeerQueues[tuple[PeerSession, Deliverable, int]](
                limits.inbound_backlog_max, limits.inbound_backlog_bytes_max
            )
            for priority in Priority
        }
        self._wake = {priority: asyncio.Event() for priority in Priority}
        self._workers: list[asyncio.Task[None]] = []
        self.failed: Counter[str] = Counter()

    def start(self) -> None:
        """Start one worker for each class that carries deliverable messages."""
        for priority in (Priority.CONSENSUS, Priority.BLOCKS, Priority.TRANSACTIONS):
            self._workers.append(asyncio.create_task(self._work(priority), name=f"deliver {priority.name}"))

    async def stop(self) -> None:
        """Stop the workers; what waits is dropped."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._workers.clear()

    def push(self, session: PeerSession, priority: Priority, message: Deliverable, size: int) -> None:
        """Queue a message of `size` bytes; holds the session's socket when its peer's share is full, or that
        of all observers."""
        if session.identity is None:
            raise ValueError("session: not authenticated")
        member = session.identity in self._members
        entry = (session, message, size)
        if not self._queues[priority].push(session.identity, entry, size, first=member):
            session.hold(priority)
        if not member:
            self._bytes_observers += MESSAGE_BYTES + size
            if self._bytes_observers > self._bytes_max_observers:
                session.hold(priority)
                self._held.setdefault(session, set()).add(priority)
        self._wake[priority].set()

    def drop(self, peer: bytes) -> None:
        """Forget what a misbehaving peer has queued."""
        for queue in self._queues.values():
            for session, _, size in queue.drop(peer):
                self._forget(session, size)

    def _forget(self, session: PeerSession, size: int) -> None:
        """A message is neither waiting nor being handled any more."""
        if session.identity in self._members:
            return
        self._bytes_observers -= MESSAGE_BYTES + size
        if self._held and self._bytes_observers <= self._bytes_max_observers // 2:
            held, self._held = self._held, {}
            for other, priorities in held.items():
                for priority in priorities:
                    if other.identity is not None and self._queues[priority].has_room(other.identity):
                        other.release(priority)

    def waiting(self) -> dict[str, int]:
        """Messages that wait, by class."""
        return {priority.name.lower(): len(queue) for priority, queue in self._queues.items()}

    async def _work(self, priority: Priority) -> None:
        queue, wake = self._queues[priority], self._wake[priority]
        while True:
            await wake.wait()
            batch: list[tuple[PeerSession, Deliverable, int]] = []
            while len(batch) < BATCH_MAX and (entry := queue.pop()) is not None:
                batch.append(entry[1])
            if not batch:
                wake.clear()
                continue
            for session in {id(session): session for session, _, _ in batch}.values():
                room = session.identity is not None and queue.has_room(session.identity)
                if room and priority not in self._held.get(session, ()):
                    session.release(priority)
            try:
                async with asyncio.timeout(self._deadline_s):
                    await self._handle(priority, [(session, message) for session, message, _ in batch])
            except TimeoutError:
                self.failed["deadline"] += 1
                logger.warning("a {} handler took longer than {} s", priority.name, self._deadline_s)
            except Exception:  # noqa: BLE001 - a handler's bug must not end the worker
                self.failed["error"] += 1
                logger.exception("a {} handler failed", priority.name)
            for session, _, size in batch:
                self._forget(session, size)
                session.dealt_with(priority, size)
