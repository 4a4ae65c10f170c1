"""The asyncio shell of sync: serve a chain to others, and catch up from them.

Three requests: `sync_status` (height of the tip), `sync_headers` and `sync_bodies` (a start and a count;
the answer is a list of byte strings, shorter than asked where `ANSWER_BYTES_MAX` cuts it, never empty while
the first item exists). Whoever owns the chain implements `ChainSource` to serve and `ChainSink` to follow;
a snapshot, when there is one, comes before as a tip that `ChainSink` starts from.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from actors.peer import messages
from actors.peer.errors import NotConnectedError, ProtocolError, RequestError
from actors.peer.messages import Blobs, Span, Status
from actors.peer.network import Network
from actors.peer.sync import BodiesWanted, Header, HeadersWanted, SyncPlanner, Wanted

STATUS_METHOD = "sync_status"
HEADERS_METHOD = "sync_headers"
BODIES_METHOD = "sync_bodies"
ANSWER_BYTES_MAX = 3 << 20
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

    async def tip(self) -> Header:
        """The last block that is persisted here."""

    def verify_header(self, parent: Header, encoded: bytes) -> Header:
        """Check form and commit certificate. Raises `ProtocolError`."""

    def verify_body(self, header: Header, body: bytes) -> bool:
        """Whether the body is the header's."""

    async def append(self, blocks: list[tuple[Header, bytes]]) -> None:
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

    async def on_status(_peer: bytes, _body: bytes) -> bytes:
        return messages.encode(Status(await source.tip_height()))

    async def on_headers(_peer: bytes, body: bytes) -> bytes:
        span = messages.decode_span(body)
        return messages.encode(Blobs(_cut(await source.headers(span.start, span.count))))

    async def on_bodies(_peer: bytes, body: bytes) -> bytes:
        span = messages.decode_span(body)
        return messages.encode(Blobs(_cut(await source.bodies(span.start, span.count))))

    network.register_method(STATUS_METHOD, on_status)
    network.register_method(HEADERS_METHOD, on_headers)
    network.register_method(BODIES_METHOD, on_bodies)


def _cut(items: list[bytes]) -> list[bytes]:
    """The first items that fit an answer; the first one always."""
    size = 0
    for index, item in enumerate(items):
        size += len(item)
        if index and size > ANSWER_BYTES_MAX:
            return items[:index]
    return items


async def synchronise(network: Network, sink: ChainSink) -> SyncReport:
    """Catch up until no usable peer claims more than is persisted. Cancel it at any point; a later call
    resumes from what `sink` has persisted."""
    catch_up = _CatchUp(network, sink, SyncPlanner(await sink.tip(), sink.verify_header, sink.verify_body))
    return await catch_up.run()


class _CatchUp:
    def __init__(self, network: Network, sink: ChainSink, planner: SyncPlanner) -> None:
        self._network = network
        self._sink = sink
        self._planner = planner
        self._running: set[asyncio.Task[None]] = set()
        self._sources: dict[bytes, int] = {}
        self._blamed: list[tuple[bytes, str]] = []
        self._blocks = 0
        self._asked_status_s = -STATUS_EVERY_S

    async def run(self) -> SyncReport:
        try:
            while True:
                await self._ask_status()
                for wanted in self._planner.next_requests():
                    self._running.add(asyncio.create_task(self._fetch(wanted)))
                if self._planner.finished:
                    break
                if self._running:
                    _, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                await self._deliver()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        height = self._planner.delivered.height
        return SyncReport(height, self._blocks, self._sources, tuple(self._blamed))

    async def _deliver(self) -> None:
        for peer, reason in self._planner.blamed:
            self._blamed.append((peer, reason))
            self._network.links.penalise(peer, "rejected")
        self._planner.blamed.clear()
        blocks = self._planner.take_blocks()
        if blocks:
            self._blocks += len(blocks)
            await self._sink.append(blocks)

    async def _ask_status(self) -> None:
        """Ask everybody how high they are, now and then; who is gone is forgotten."""
        now_s = self._network.links.now_s()
        if now_s - self._asked_status_s < STATUS_EVERY_S and not self._planner.finished:
            return
        self._asked_status_s = now_s
        await asyncio.gather(*(self._status_of(peer) for peer in self._network.connected()))

    async def _status_of(self, peer: bytes) -> None:
        try:
            status = messages.decode_status(await self._network.request(peer, STATUS_METHOD, b""))
        except (RequestError, NotConnectedError):
            self._planner.peer_left(peer)
        except ProtocolError as error:
            self._network.links.penalise(peer, error.reason)
        else:
            self._planner.peer_status(peer, status.height)

    async def _fetch(self, wanted: Wanted) -> None:
        method = HEADERS_METHOD if isinstance(wanted, HeadersWanted) else BODIES_METHOD
        body = messages.encode(Span(wanted.start, wanted.count))
        try:
            blobs = messages.decode_blobs(await self._network.request(wanted.peer, method, body)).items
        except NotConnectedError:
            self._planner.on_failed(wanted)
            self._planner.peer_left(wanted.peer)
        except RequestError:
            self._planner.on_failed(wanted)
        except ProtocolError as error:
            self._planner.on_failed(wanted)
            self._network.links.penalise(wanted.peer, error.reason)
        else:
            if isinstance(wanted, BodiesWanted):
                self._planner.on_bodies(wanted, blobs)
                self._sources[wanted.peer] = self._sources.get(wanted.peer, 0) + len(blobs)
            else:
                self._planner.on_headers(wanted, blobs)
