"""How a new observer begins: with a snapshot from its peers, before any of its actors starts. Knows no Ray.

The new node speaks the peer wire with its own key; every byte is judged by the genesis' members'
certificate (see storage/snapshots.py). Chunks that came before an interruption are not fetched again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from actors.directory import NetworkDirectory, NodeFolder, read_seed
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import Hasher
from actors.ledger.rows import FormatError
from actors.peer.config import PeerConfig
from actors.peer.errors import ProtocolError
from actors.peer.network import Network
from actors.peer.node_config import node_config
from actors.peer.snapshots import SnapshotReport, SnapshotUnavailableError, fetch_snapshot
from actors.settings import PeerSettings, Settings
from actors.storage.disk import Disk
from actors.storage.errors import CorruptionError
from actors.storage.snapshot_store import SnapshotStore, accepted, begin_with
from actors.storage.snapshots import Manifest, open_chunk

CONNECT_TIMEOUT_S = 10.0
ATTEMPTS_MAX = 3
_LOOK_EVERY_S = 0.05
Progress = Callable[[str], None]


class StoreSink:
    """Keeps the chunks of a snapshot in the directory that is to begin with it."""

    def __init__(self, disk: Disk, genesis: Genesis, hash_rows: Hasher) -> None:
        self._genesis, self._hash_rows = genesis, hash_rows
        self.store = SnapshotStore(disk, genesis, hash_rows)
        self.manifest, self.sealed = b"", b""
        self._wanted: dict[bytes, int] = {}
        self._decoded: Manifest | None = None

    def height_of(self, manifest: bytes, sealed_header: bytes) -> int:
        """As `SnapshotSink.height_of`."""
        return self._accepted(manifest, sealed_header).height

    def begin(self, manifest: bytes, sealed_header: bytes) -> list[bytes]:
        """As `SnapshotSink.begin`."""
        self.manifest, self.sealed = manifest, sealed_header
        self._decoded = self._accepted(manifest, sealed_header)
        self._wanted = {entry.hash: number for number, entry in enumerate(self._decoded.entries)}
        return [digest for digest in self._wanted if self.store.chunk(digest) is None]

    def take(self, digest: bytes, chunk: bytes) -> None:
        """As `SnapshotSink.take`."""
        if self._decoded is None:
            raise ValueError("a chunk before its manifest")
        try:
            open_chunk(self._decoded, self._wanted[digest], chunk, self._hash_rows)
        except (FormatError, CorruptionError) as error:
            raise ProtocolError("snapshot_chunk", str(error)) from error
        self.store.keep_chunk(digest, chunk)

    def _accepted(self, manifest: bytes, sealed_header: bytes) -> Manifest:
        try:
            return accepted(self._genesis, manifest, sealed_header)[0]
        except FormatError as error:
            raise ProtocolError("snapshot_offer", str(error)) from error


@dataclass(frozen=True, slots=True)
class Begun:
    """How a directory began: the snapshot's height, and what was fetched for it."""

    height: int
    bytes_fetched: int
    chunks: int
    peers: int
    seconds: float


def begin(settings: Settings, directory: NetworkDirectory, progress: Progress) -> Begun | None:
    """Have the only node of a directory begin as its settings say; see `begin_from_peers`."""
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir

    if settings.peer.begin_with != "snapshot":
        return None
    hash_rows = select(settings.validator.kernels, kernel_cache_dir()).hash_rows
    return begin_from_peers(settings.peer, directory, directory.nodes[0], hash_rows, progress)


def begin_from_peers(
    settings: PeerSettings,
    directory: NetworkDirectory,
    folder: NodeFolder,
    hash_rows: Hasher,
    progress: Progress,
) -> Begun | None:
    """Let a directory that is new begin with a snapshot; None if it is not new or nobody offers one.

    Then the node begins where it stands, and fetches blocks. A peer that lies or fails costs time only.
    """
    disk, genesis = Disk(folder.path / "db"), directory.genesis
    try:
        if disk.get("meta", b"network") is not None:
            return None
        progress("asking peers for a snapshot")
        began, sink = time.monotonic(), StoreSink(disk, genesis, hash_rows)
        # Any free port: this conversation ends before the node's own peer begins to listen.
        config = node_config(settings, genesis, read_seed(folder.key_path))
        report = asyncio.run(_fetched(config, sink))
        if report is None:
            progress("no peer offers a snapshot: fetching blocks from the first")
            return None
        progress(
            f"restoring the snapshot at height {report.height:,}, {report.bytes_fetched:,} bytes fetched"
        )
        begin_with(disk, genesis, sink.manifest, sink.sealed, sink.store.chunk, hash_rows)
        sources, seconds = len(report.sources), round(time.monotonic() - began, 2)
        return Begun(report.height, report.bytes_fetched, report.chunks, sources, seconds)
    finally:
        disk.close()


async def _fetched(config: PeerConfig, sink: StoreSink) -> SnapshotReport | None:
    network = Network(config)
    await network.start(time.time_ns() // 1_000_000)
    try:
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while len(network.connected()) < len(config.seeds) and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_EVERY_S)
        for attempt in range(ATTEMPTS_MAX):
            try:
                return await fetch_snapshot(network, sink)
            except SnapshotUnavailableError:
                # Its owner may have made a newer one meanwhile, and let the old one go.
                if attempt == ATTEMPTS_MAX - 1:
                    return None
        return None
    finally:
        await network.stop()
