"""The asyncio shell of sync: serve a chain to others, and catch up from them.

Three requests: `sync_status` (height of the tip), `sync_headers` and `sync_bodies` (a start and a count;
the answer is a list of byte strings, shorter than asked where `ANSWER_BYTES_MAX` cuts it, never empty while
the first item exists). Whoever owns the chain implements `ChainSource` to serve and `ChainSink` to follow;
a snapshot, when there is one, comes before as a tip that `ChainSink` starts from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from actors.peer import messages
from actors.peer.answers import SharedAnswers
from actors.peer.errors import NotConnectedError, ProtocolError, RequestError
from actors.peer.messages import Blobs, Span, Status
from actors.peer.network import Network
from actors.peer.standing import Standings
from actors.peer.sync import HEDGE_S, BodiesWanted, HeadersWanted, SyncPlanner, VerifiedHeader, Wanted

STATUS_METHOD = "sync_status"
HEADERS_METHOD = "sync_headers"
BODIES_METHOD = "sync_bodies"
ANSWER_BYTES_MAX = 3 << 20
ANSWERS_KEPT_BYTES_MAX = 16 << 20
STATUS_EVERY_S = 5.0


class ChainSource(Protocol):
    """Reads the chain for others. Lists may be shorter than `count`, and are empty beyond the tip."""

    async def tip_height(self) -> int:
        """Height of the last committed block."""

    async def headers(self, start: int, count: int) -> list[bytes]:
        """Encoded headers with their commit certificates."""

    async def bodies(self, start: int, count: int) -> list[bytes]:
        """Encoded bodies."""


class ChainSink(Protocol):
    """Takes the chain from others."""

    async def tip(self) -> VerifiedHeader:
        """The last block that is persisted here."""

    def verify_header(self, parent: VerifiedHeader, encoded: bytes) -> VerifiedHeader:
        """Check form and commit certificate. Raises `ProtocolError`."""

    def verify_body(self, header: VerifiedHeader, body: bytes) -> bool:
        """Whether the body is the header's."""

    async def append(self, blocks: list[tuple[VerifiedHeader, bytes]]) -> None:
        """Persist and apply, in order. May take its time: nothing more is delivered meanwhile."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a catch-up did: where it ended, how many blocks, how many of them from whom, who was blamed."""

    height: int
    blocks: int
    sources: dict[bytes, int]
    blamed: tuple[tuple[bytes, str], ...]


def serve_chain(network: Network, source: ChainSource) -> None:
    """Answer other nodes' sync requests from `source`."""
    answers = SharedAnswers(ANSWERS_KEPT_BYTES_MAX)

    async def on_status(_peer: bytes, _body: bytes) -> bytes:
        return messages.encode(Status(await source.tip_height()))

    async def on_headers(_peer: bytes, body: bytes) -> bytes:
        return await answers.get(HEADERS_METHOD, body, lambda: prepare(source.headers, body))

    async def on_bodies(_peer: bytes, body: bytes) -> bytes:
        return await answers.get(BODIES_METHOD, body, lambda: prepare(source.bodies, body))

    async def prepare(read: Callable[[int, int], Awaitable[list[bytes]]], body: bytes) -> tuple[bytes, bool]:
        span = messages.decode_span(body)
        items = _cut(await read(span.start, span.count))
        answer = messages.encode(Blobs(items))
        return answer, len(items) == span.count or len(answer) > ANSWER_BYTES_MAX // 2

    network.register_method(STATUS_METHOD, on_status)
    network.register_method(HEADERS_METHOD, on_headers, long_answers=True)
    network.register_method(BODIES_METHOD, on_bodies, long_answers=True)


def _cut(items: list[bytes]) -> list[bytes]:
    """The first items that fit an answer; the first one always."""
    size = 0
    for index, item in enumerate(items):
        size += len(item)
        if index and size > ANSWER_BYTES_MAX:
            return items[:index]
    return items


async def synchronise(network: Network, sink: ChainSink, standings: Standings | None = None) -> SyncReport:
    """Catch up until no usable peer claims more than is persisted. Cancel it at any point; a later call
    resumes from what `sink` has persisted, and with the same `standings` knows whom not to wait for."""
    known = Standings() if standings is None else standings
    planner = SyncPlanner(await sink.tip(), sink.verify_header, sink.verify_body, known)
    return await _CatchUp(network, sink, planner, known).run()


class _CatchUp:
    def __init__(self, network: Network, sink: ChainSink, planner: SyncPlanner, standings: Standings) -> None:
        self._network = network
        self._sink = sink
        self._planner = planner
        self._standings = standings
        self._running: set[asyncio.Task[None]] = set()
        self._polls: set[asyncio.Task[None]] = set()
        self._sources: dict[bytes, int] = {}
        self._blamed: list[tuple[bytes, str]] = []
        self._blocks = 0
        self._polled_s = -STATUS_EVERY_S
        self._told = False

    async def run(self) -> SyncReport:
        try:
            while True:
                self._poll()
                now_s = self._network.links.now_s()
                for wanted in self._planner.next_requests(now_s):
                    self._running.add(asyncio.create_task(self._fetch(wanted)))
                if self._planner.finished and not self._waits_for_polls(now_s):
                    break
                await self._wait()
                await self._deliver()
        finally:
            for task in (*self._running, *self._polls):
                task.cancel()
            await asyncio.gather(*self._running, *self._polls, return_exceptions=True)
        height = self._planner.delivered.height
        return SyncReport(height, self._blocks, self._sources, tuple(self._blamed))

    async def _wait(self) -> None:
        """Until something came back, or so long that another peer may be asked for the same."""
        if not self._running and not self._polls:
            await asyncio.sleep(HEDGE_S)
            return
        await asyncio.wait(self._running | self._polls, timeout=HEDGE_S, return_when=asyncio.FIRST_COMPLETED)
        for tasks in (self._running, self._polls):
            for task in [task for task in tasks if task.done()]:
                tasks.discard(task)
                task.result()

    def _waits_for_polls(self, now_s: float) -> bool:
        """Whether somebody may still claim more: who says nothing is not waited for once others have."""
        return bool(self._polls) and not (self._told and now_s - self._polled_s >= HEDGE_S)

    async def _deliver(self) -> None:
        for peer, reason in self._planner.blamed:
            self._blamed.append((peer, reason))
            self._network.links.penalise(peer, "rejected")
        self._planner.blamed.clear()
        blocks = self._planner.take_blocks()
        if blocks:
            self._blocks += len(blocks)
            await self._sink.append(blocks)

    def _poll(self) -> None:
        """Ask everybody how high they are, now and then, and wait for none; who rests is left alone."""
        now_s = self._network.links.now_s()
        if now_s - self._polled_s < STATUS_EVERY_S or self._polls:
            return
        self._polled_s = now_s
        for peer in self._network.connected():
            standing = self._standings.of(peer)
            if standing.rates or not standing.resting(now_s):
                self._polls.add(asyncio.create_task(self._status_of(peer)))

    async def _status_of(self, peer: bytes) -> None:
        try:
            status = messages.decode_status(await self._network.request(peer, STATUS_METHOD, b""))
        except RequestError:
            self._standings.of(peer).failed(self._network.links.now_s())
            self._planner.peer_left(peer)
        except NotConnectedError:
            self._planner.peer_left(peer)
        except ProtocolError as error:
            self._network.links.penalise(peer, error.reason)
        else:
            self._told = True
            self._standings.of(peer).height = status.height
            self._planner.peer_status(peer, status.height, member=peer in self._network.links.members)

    async def _fetch(self, wanted: Wanted) -> None:
        method = HEADERS_METHOD if isinstance(wanted, HeadersWanted) else BODIES_METHOD
        body = messages.encode(Span(wanted.start, wanted.count))
        now_s = self._network.links.now_s
        try:
            blobs = messages.decode_blobs(await self._network.request(wanted.peer, method, body)).items
        except NotConnectedError:
            self._planner.on_failed(wanted, now_s())
            self._planner.peer_left(wanted.peer)
        except RequestError:
            self._planner.on_failed(wanted, now_s())
        except ProtocolError as error:
            self._planner.on_failed(wanted, now_s())
            self._network.links.penalise(wanted.peer, error.reason)
        else:
            if isinstance(wanted, BodiesWanted):
                self._planner.on_bodies(wanted, blobs, now_s())
                self._sources[wanted.peer] = self._sources.get(wanted.peer, 0) + len(blobs)
            else:
                self._planner.on_headers(wanted, blobs, now_s())
