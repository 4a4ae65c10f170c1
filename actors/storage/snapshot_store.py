"""Snapshots on disk: making them beside commits, keeping the newest, and beginning a directory with one.

    snapshots     "m" height   manifest
                  "c" hash     chunk, shared by all manifests that name it

A snapshot at height h is made in the background: the committed columns are taken back to h by the undo logs
of the blocks after it, under the state's lock, and all hashing happens after that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from actors.ledger.block import SealedHeader, decode_sealed_header
from actors.ledger.genesis import Genesis, exact_sum
from actors.ledger.hashing import Hasher
from actors.ledger.rows import FormatError
from actors.storage.accounts import StateColumns
from actors.storage.disk import HEAD_KEY, Disk, DiskBatch
from actors.storage.errors import CorruptionError, HeightError
from actors.storage.formats import (
    Base,
    Checkpoint,
    Head,
    decode_head,
    encode_network,
    encode_page,
    height_key,
)
from actors.storage.pages import PAGE_ACCOUNTS
from actors.storage.recovery import BASE_KEY
from actors.storage.snapshots import (
    Manifest,
    chunks_of,
    decode_manifest,
    depth_for,
    fold,
    open_chunk,
)
from actors.storage.state import State

_FAMILY = "snapshots"
_MANIFEST, _CHUNK = b"m", b"c"


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot on disk. chunks: distinct ones; stored_bytes: of manifest and chunks, values of
    contracts' entries aside."""

    height: int
    hash: bytes
    accounts: int
    chunks: int
    stored_bytes: int


class SnapshotStore:
    """The snapshots of one directory. One `make` or `prune` at a time; reads at any time."""

    def __init__(self, disk: Disk, genesis: Genesis, hash_rows: Hasher) -> None:
        self._disk, self._genesis, self._hash_rows = disk, genesis, hash_rows
        self._lock = threading.Lock()

    def heights(self) -> list[int]:
        """Heights with a snapshot, ascending."""
        keys = self._disk.keys(_FAMILY, _MANIFEST)
        return [int.from_bytes(key[1:], "big") for key in keys]

    def manifest(self, height: int) -> bytes | None:
        """Encoded manifest of the snapshot at a height."""
        return self._disk.get(_FAMILY, _MANIFEST + height_key(height))

    def chunk(self, digest: bytes) -> bytes | None:
        """Bytes of a chunk."""
        return self._disk.get(_FAMILY, _CHUNK + digest)

    def kept(self) -> list[Kept]:
        """All snapshots, oldest first."""
        found = []
        for height in self.heights():
            body = self.manifest(height) or b""
            manifest = decode_manifest(body)
            sizes = {e.hash: 8 + 48 * e.accounts for e in manifest.entries}
            size = len(body) + sum(sizes.values())
            found.append(Kept(height, manifest.hash(), manifest.accounts, len(sizes), size))
        return found

    def make(self, state: State, height: int, sealed: SealedHeader | None, head: Head) -> Manifest:
        """Write the snapshot of the committed state at `height`, durable when this returns.

        sealed: the header at `height`, None for the genesis. head: of that height. Raises NotRetainedError
        when the undo logs do not reach back, CorruptionError when the state does not hash to the header's
        root: then memory is not what the members agreed on.
        """
        with self._lock:
            columns, paths = state.columns_at(height)
            exist = columns.balances != 0
            columns, paths = columns.existing(), paths if exist.all() else paths[exist]
            entries, written = [], set(self._chunks())
            for entry, body in chunks_of(columns, paths, self._hash_rows):
                entries.append(entry)
                if entry.hash not in written:
                    written.add(entry.hash)
                    self._put(_CHUNK + entry.hash, body, sync=False)
            expected = sealed.header.state_root if sealed else bytes.fromhex(self._genesis.state_root)
            root = fold(tuple(entries))
            if root != expected:
                what = f"the state at {height} hashes to {root.hex()}, the header has {expected.hex()}"
                raise CorruptionError("accounts", "", what)
            count = len(columns.keys)
            manifest = Manifest(
                depth_for(count), height, head.transactions, count, self._genesis.hash(),
                head.hash, root, tuple(entries),
            )  # fmt: skip
            self._put(_MANIFEST + height_key(height), manifest.encode(), sync=True)
            return manifest

    def prune(self, keep: int) -> int:
        """Remove all but the newest `keep` snapshots, and chunks that none names; how many were removed."""
        with self._lock:
            heights = self.heights()
            old = heights[: max(0, len(heights) - keep)]
            used: set[bytes] = set()
            for height in heights[len(old) :]:
                used.update(e.hash for e in decode_manifest(self.manifest(height) or b"").entries)
            batch = self._disk.batch()
            for height in old:
                batch.delete(_FAMILY, _MANIFEST + height_key(height))
            for digest in self._chunks():
                if digest not in used:
                    batch.delete(_FAMILY, _CHUNK + digest)
            batch.write(sync=False)
            return len(old)

    def keep_chunk(self, digest: bytes, body: bytes) -> None:
        """Store a chunk whose hash this is; no manifest need name it yet."""
        self._put(_CHUNK + digest, body, sync=False)

    def _chunks(self) -> list[bytes]:
        found = []
        for key in self._disk.keys(_FAMILY, _CHUNK):
            if not key.startswith(_CHUNK):
                break
            found.append(key[1:])
        return found

    def _put(self, key: bytes, body: bytes, sync: bool) -> None:
        batch = self._disk.batch()
        batch.put(_FAMILY, key, body)
        batch.write(sync)


def sealed_header(disk: Disk, height: int) -> SealedHeader | None:
    """The committed header at a height with all that proves it; None for the genesis."""
    if height == 0:
        return None
    key = height_key(height)
    return decode_sealed_header((disk.get("headers", key) or b"") + (disk.get("certificates", key) or b""))


def begin_with(
    disk: Disk,
    genesis: Genesis,
    manifest_bytes: bytes,
    sealed_bytes: bytes,
    read_chunk: Callable[[bytes], bytes | None],
    hash_rows: Hasher,
) -> Manifest:
    """Make a new directory begin with a snapshot; it counts as new until the last, synced write.

    sealed_bytes: the header at the snapshot's height with signature and certificate. read_chunk: bytes of a
    chunk by its hash. Everything is verified before it counts. Raises FormatError naming what is not as the
    genesis' members certified it, HeightError when the directory is not new.
    """
    if disk.get("meta", b"network") is not None:
        body = disk.get("meta", HEAD_KEY)
        raise HeightError("restore", decode_head(body).height if body else 0, "a new directory")
    manifest, sealed = accepted(genesis, manifest_bytes, sealed_bytes)
    supply = _write_pages(disk, _chunks_in_order(disk, manifest, read_chunk, hash_rows))
    if supply != genesis.supply:
        raise FormatError("snapshot.supply", supply, f"{genesis.supply} as in the genesis")
    height, batch = manifest.height, disk.batch()
    key = height_key(height)
    batch.put("headers", key, sealed.header.encode(), sealed.signature)
    batch.put("certificates", key, sealed.certificate.encode())
    batch.put(_FAMILY, _MANIFEST + key, manifest_bytes)
    batch.put("meta", BASE_KEY, Base(height, height + 1).encode())
    batch.put("meta", b"checkpoint", Checkpoint(height, manifest.accounts).encode())
    batch.put("meta", HEAD_KEY, Head(height, manifest.transactions, manifest.block_hash).encode())
    batch.put("meta", b"network", encode_network(genesis.hash(), genesis.network))
    batch.write(sync=True)
    return manifest


def accepted(genesis: Genesis, manifest_bytes: bytes, sealed_bytes: bytes) -> tuple[Manifest, SealedHeader]:
    """A manifest and the header that proves it. Raises FormatError naming what does not hold."""
    manifest, sealed = decode_manifest(manifest_bytes), decode_sealed_header(sealed_bytes)
    if wrong := sealed.verify(genesis.hash(), genesis.member_keys):
        raise FormatError(f"header.{wrong}", "not valid", "certified by a majority of the members")
    header = sealed.header
    for field, got, expected in (
        ("genesis_hash", manifest.genesis_hash, genesis.hash()),
        ("block_hash", manifest.block_hash, header.hash()),
        ("state_root", manifest.state_root, header.state_root),
    ):
        if got != expected:
            raise FormatError(f"manifest.{field}", got.hex(), expected.hex())
    if manifest.height != header.height:
        raise FormatError("manifest.height", manifest.height, header.height)
    return manifest, sealed


def _chunks_in_order(
    disk: Disk, manifest: Manifest, read_chunk: Callable[[bytes], bytes | None], hash_rows: Hasher
) -> Iterable[StateColumns]:
    for number, entry in enumerate(manifest.entries):
        body = read_chunk(entry.hash)
        if body is None:
            raise FormatError(f"chunk {number}", "nothing", entry.hash.hex())
        columns = open_chunk(manifest, number, body, hash_rows)
        batch: DiskBatch = disk.batch()
        batch.put(_FAMILY, _CHUNK + entry.hash, body)
        batch.write(sync=False)
        yield columns


def _write_pages(disk: Disk, parts: Iterable[StateColumns]) -> int:
    """Write the accounts as pages of consecutive slots; the sum of the balances."""
    held: list[StateColumns] = []
    page = rows = supply = 0

    def flush(size: int) -> None:
        nonlocal held, page, rows
        whole = StateColumns(*(np.concatenate(pieces) for pieces in zip(*held, strict=True)))
        batch = disk.batch()
        batch.put("accounts", height_key(page), encode_page(whole.take(slice(0, size))))
        batch.write(sync=False)
        held = [whole.take(slice(size, None))]
        page, rows = page + 1, rows - size

    for part in parts:
        held.append(part)
        rows += len(part.keys)
        supply += exact_sum(part.coins)
        while rows >= PAGE_ACCOUNTS:
            flush(PAGE_ACCOUNTS)
    if rows:
        flush(rows)
    return supply
