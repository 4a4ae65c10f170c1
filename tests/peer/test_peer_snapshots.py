"""Fetching a snapshot from several peers: one that lies or says nothing holds up nobody."""

import asyncio
import hashlib

import pytest

from actors.peer import snapshots
from actors.peer.errors import ProtocolError
from actors.peer.snapshots import SnapshotUnavailableError, fetch_snapshot, serve_snapshots
from actors.storage.interface import StorageFace
from tests.peer.nodes import PATIENCE_S, config_of, joined, running
from tests.standing_for import standing_for

CHUNKS = {hashlib.sha256(b"%d" % number).digest(): b"%d" % number for number in range(20)}


class Source:
    """Offers a snapshot of CHUNKS."""

    def __init__(self, *, silent: bool = False, lies: bool = False) -> None:
        self.silent, self.lies, self.served = silent, lies, 0

    async def snapshot_offer(self) -> tuple[bytes, bytes]:
        return b"manifest", b"header"

    async def snapshot_chunk(self, digest: bytes) -> bytes | None:
        if self.silent:
            await asyncio.Event().wait()
        self.served += 1
        return b"lie" if self.lies else CHUNKS.get(digest)


class Sink:
    """Takes what hashes to what was asked for."""

    def __init__(self) -> None:
        self.taken: dict[bytes, bytes] = {}

    def height_of(self, _manifest: bytes, _sealed: bytes) -> int:
        return 7

    def begin(self, _manifest: bytes, _sealed: bytes) -> list[bytes]:
        return list(CHUNKS)

    def take(self, digest: bytes, chunk: bytes) -> None:
        if hashlib.sha256(chunk).digest() != digest:
            raise ProtocolError("chunk", "another one")
        assert digest not in self.taken
        self.taken[digest] = chunk


@pytest.mark.parametrize("bad", [{"silent": True}, {"lies": True}])
def test_a_bad_source_beside_a_good_one(bad: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_DEADLINE_S", 1e6)

    async def scenario() -> None:
        async with running(*(config_of(index) for index in range(3))) as (fresh, good, other):
            sources = Source(), Source(**bad)
            for network, source in zip((good, other), sources, strict=True):
                serve_snapshots(network, standing_for(StorageFace, source))
            other.exchange._deadline_s = 1e6
            await joined(fresh, good, other)
            sink = Sink()
            async with asyncio.timeout(PATIENCE_S):
                report = await fetch_snapshot(fresh, sink)
            assert report is not None
            assert sink.taken == CHUNKS
            assert report.sources == {good.identity: len(CHUNKS)}

    asyncio.run(scenario())


def test_nobody_has_all_of_it() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1)) as (fresh, bad):
            serve_snapshots(bad, standing_for(StorageFace, Source(lies=True)))
            await joined(fresh, bad)
            with pytest.raises(SnapshotUnavailableError):
                await fetch_snapshot(fresh, Sink())

    asyncio.run(scenario())
