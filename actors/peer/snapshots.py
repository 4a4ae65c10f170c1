"""Snapshots over the wire: serving them, and fetching one from several peers, trusting none of them.

Two requests: `snapshot_offer` (the answer is manifest and sealed header of the newest snapshot, or nothing)
and `snapshot_chunk` (32 bytes of SHA-256, the answer is the chunk). What a manifest, a header and a chunk are
is the caller's: `SnapshotSink` judges them as they come. A peer whose bytes do not prove themselves is
penalised and not asked again; what it was asked is asked of others that offered the same snapshot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from actors.peer import messages
from actors.peer.errors import NotConnectedError, ProtocolError, RequestError
from actors.peer.messages import Blobs
from actors.peer.network import Network
from actors.storage.interface import StorageFace

OFFER_METHOD, CHUNK_METHOD = "snapshot_offer", "snapshot_chunk"
CHUNK_DEADLINE_S = 20.0
REQUESTS_PER_PEER = 2
FAILURES_MAX = 3
HASH_BYTES = 32


class SnapshotSink(Protocol):
    """Takes a snapshot from others."""

    def height_of(self, manifest: bytes, sealed_header: bytes) -> int:
        """Height of a snapshot that its header proves. Raises `ProtocolError`."""

    def begin(self, manifest: bytes, sealed_header: bytes) -> list[bytes]:
        """Go for a snapshot that was judged before; the hashes of the chunks that are not here yet."""

    def take(self, digest: bytes, chunk: bytes) -> None:
        """Keep a chunk that is what its hash and the manifest say. Raises `ProtocolError`."""


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What was fetched: its height, the bytes of manifest and chunks, and how many chunks from whom."""

    height: int
    bytes_fetched: int
    chunks: int
    sources: dict[bytes, int]


class SnapshotUnavailableError(RuntimeError):
    """A snapshot was offered, but those who offered it do not send all of it."""


def serve_snapshots(network: Network, storage: StorageFace) -> None:
    """Answer other nodes' requests."""

    async def on_offer(_peer: bytes, _body: bytes) -> bytes:
        return messages.encode(Blobs([part for part in await storage.snapshot_offer() if part]))

    async def on_chunk(_peer: bytes, body: bytes) -> bytes:
        if len(body) != HASH_BYTES:
            raise ProtocolError("message", f"snapshot_chunk: {len(body)} bytes, limit {HASH_BYTES}")
        chunk = await storage.snapshot_chunk(body)
        if chunk is None:
            raise RequestError("no_chunk")
        return chunk

    network.register_method(OFFER_METHOD, on_offer, long_answers=True)
    network.register_method(CHUNK_METHOD, on_chunk, long_answers=True)


async def fetch_snapshot(network: Network, sink: SnapshotSink) -> SnapshotReport | None:
    """Fetch the highest snapshot that a connected peer offers; None when nobody offers one.

    Raises `SnapshotUnavailableError`; what came until then stays with the sink, and a later call resumes.
    """
    offers: dict[tuple[int, bytes, bytes], list[bytes]] = {}
    asked = network.connected()
    for peer, offer in zip(asked, await asyncio.gather(*(_ask(network, p) for p in asked)), strict=True):
        if offer is None:
            continue
        try:
            height = sink.height_of(*offer)
        except ProtocolError as error:
            network.links.penalise(peer, error.reason)
        else:
            offers.setdefault((height, *offer), []).append(peer)
    if not offers:
        return None
    (height, manifest, sealed), peers = max(offers.items(), key=lambda item: (item[0][0], len(item[1])))
    fetch = _Fetch(network, sink, deque(sink.begin(manifest, sealed)), len(manifest) + len(sealed))
    await fetch.run(peers)
    return SnapshotReport(height, fetch.bytes_fetched, sum(fetch.sources.values()), fetch.sources)


async def _ask(network: Network, peer: bytes) -> tuple[bytes, bytes] | None:
    try:
        parts = messages.decode_blobs(await network.request(peer, OFFER_METHOD, b"")).items
    except (RequestError, NotConnectedError):
        return None
    except ProtocolError as error:
        network.links.penalise(peer, error.reason)
        return None
    return (parts[0], parts[1]) if len(parts) == 2 else None


@dataclass(slots=True)
class _Fetch:
    """One snapshot's chunks on their way. A chunk that nobody is asked for comes first; when there is none
    left, one that others have been asked for is asked for again, so that who says nothing holds up nobody."""

    network: Network
    sink: SnapshotSink
    missing: deque[bytes]
    bytes_fetched: int
    asked: dict[bytes, set[bytes]] = field(default_factory=dict)
    sources: dict[bytes, int] = field(default_factory=dict)
    failures: dict[bytes, int] = field(default_factory=dict)

    async def run(self, peers: list[bytes]) -> None:
        """Have every peer work off the missing chunks, until none is missing or nobody is left."""
        tasks = {asyncio.create_task(self._work(peer)) for peer in peers for _ in range(REQUESTS_PER_PEER)}
        waiting = set(tasks)
        try:
            while waiting and (self.missing or self.asked):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if left := len(self.missing) + len(self.asked):
            raise SnapshotUnavailableError(f"{left} chunks of the snapshot were not to be had")

    def _next(self, peer: bytes) -> bytes | None:
        if self.missing:
            digest = self.missing.popleft()
            self.asked[digest] = {peer}
            return digest
        again = [digest for digest, others in self.asked.items() if peer not in others]
        if not again:
            return None
        digest = min(again, key=lambda digest: len(self.asked[digest]))
        self.asked[digest].add(peer)
        return digest

    async def _work(self, peer: bytes) -> None:
        while self.failures.get(peer, 0) < FAILURES_MAX and (digest := self._next(peer)) is not None:
            try:
                chunk = await self.network.request(peer, CHUNK_METHOD, digest, CHUNK_DEADLINE_S)
                if digest in self.asked:
                    self.sink.take(digest, chunk)
            except RequestError:
                self._failed(peer, digest, 1)
            except (NotConnectedError, ProtocolError) as error:
                self._failed(peer, digest, FAILURES_MAX)
                if isinstance(error, ProtocolError):
                    self.network.links.penalise(peer, error.reason)
            else:
                if self.asked.pop(digest, None) is not None:
                    self.bytes_fetched += len(chunk)
                    self.sources[peer] = self.sources.get(peer, 0) + 1

    def _failed(self, peer: bytes, digest: bytes, weight: int) -> None:
        self.failures[peer] = self.failures.get(peer, 0) + weight
        others = self.asked.get(digest)
        if others is not None:
            others.discard(peer)
            if not others:
                del self.asked[digest]
                self.missing.append(digest)
