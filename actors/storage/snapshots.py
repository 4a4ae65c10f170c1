"""Snapshots of the committed accounts: a manifest under the state root, and chunks that prove themselves.

Rules
1. A snapshot is a function of the state alone: whoever makes one at a height makes the same bytes, in
   whatever order its accounts came to be.
2. A chunk is a subtree of the state tree: all accounts whose paths begin with the same `depth` bits, in order
   of path. The manifest holds each chunk's hash, its number of accounts and the root of its subtree; those
   roots fold to the state root in the header. So the manifest is believed for the header's certificate, and
   each chunk, as it comes, for the manifest. Nothing is believed for its sender.
3. Chunks are stored under their hash, once, however many snapshots hold them.

The number of transactions since the genesis is for people: no header binds it.

Manifest: version u32, depth u32, height u64, transactions u64, accounts u64, genesis hash 32, block hash 32,
state root 32, then for each of the 2^depth chunks accounts u64, hash 32, root 32. Its own hash is
SHA-256("raychain/snapshot/1" ‖ manifest). A chunk is encoded as a page of accounts (`formats.encode_page`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import DIGEST_BYTES, Hasher, sha256
from actors.ledger.rows import FormatError
from actors.ledger.smt import EMPTY, NODE_PREFIX
from actors.storage.accounts import StateColumns
from actors.storage.formats import decode_page, encode_page
from actors.storage.tree import StateTree

SNAPSHOT_VERSION = 1
CHUNK_ACCOUNTS = 8192
DEPTH_MAX = 16
_DOMAIN = b"raychain/snapshot/1"
_MANIFEST = struct.Struct("<IIQQQ32s32s32s")
_ENTRY = np.dtype([("accounts", "<u8"), ("hash", "u1", DIGEST_BYTES), ("root", "u1", DIGEST_BYTES)])
MANIFEST_BYTES_MAX = _MANIFEST.size + (_ENTRY.itemsize << DEPTH_MAX)


@dataclass(frozen=True, slots=True)
class ChunkEntry:
    """One chunk: accounts in it, SHA-256 of its bytes, root of its subtree (EMPTY without accounts)."""

    accounts: int
    hash: bytes
    root: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot holds; `entries` in order of path, 2^depth of them."""

    depth: int
    height: int
    transactions: int
    accounts: int
    genesis_hash: bytes
    block_hash: bytes
    state_root: bytes
    entries: tuple[ChunkEntry, ...]

    def encode(self) -> bytes:
        """Bytes as in the module's text."""
        head = _MANIFEST.pack(
            SNAPSHOT_VERSION, self.depth, self.height, self.transactions, self.accounts,
            self.genesis_hash, self.block_hash, self.state_root,
        )  # fmt: skip
        rows = (struct.pack("<Q", e.accounts) + e.hash + e.root for e in self.entries)
        return head + b"".join(rows)

    def hash(self) -> bytes:
        """32 bytes that name the snapshot."""
        return sha256(_DOMAIN + self.encode())


def decode_manifest(data: bytes) -> Manifest:
    """Read a manifest whose entries fold to its state root. Raises FormatError naming the field."""
    if len(data) < _MANIFEST.size:
        raise FormatError("manifest", f"{len(data)} bytes", f"at least {_MANIFEST.size} bytes")
    version, depth, height, transactions, accounts, genesis, block, root = _MANIFEST.unpack_from(data)
    if version != SNAPSHOT_VERSION:
        raise FormatError("manifest.version", version, SNAPSHOT_VERSION)
    if depth > DEPTH_MAX:
        raise FormatError("manifest.depth", depth, f"at most {DEPTH_MAX}")
    expected = _MANIFEST.size + (_ENTRY.itemsize << depth)
    if len(data) != expected:
        raise FormatError("manifest", f"{len(data)} bytes", f"{expected} bytes for depth {depth}")
    table = np.frombuffer(data, dtype=_ENTRY, offset=_MANIFEST.size)
    entries = tuple(
        ChunkEntry(int(row["accounts"]), row["hash"].tobytes(), row["root"].tobytes()) for row in table
    )
    total = sum(entry.accounts for entry in entries)
    if total != accounts or depth != depth_for(accounts):
        raise FormatError("manifest.accounts", accounts, f"{total} in chunks of depth {depth}")
    if any((entry.accounts == 0) != (entry.root == EMPTY) for entry in entries):
        raise FormatError("manifest.entries", "a root without accounts", "roots of what has accounts")
    manifest = Manifest(depth, height, transactions, accounts, genesis, block, root, entries)
    if fold(entries) != manifest.state_root:
        raise FormatError("manifest.state_root", manifest.state_root.hex(), "what its entries fold to")
    return manifest


def depth_for(accounts: int) -> int:
    """Bits of path that chunks share, so that one holds about CHUNK_ACCOUNTS accounts."""
    return min(DEPTH_MAX, max(0, (accounts - 1) // CHUNK_ACCOUNTS).bit_length())


def fold(entries: tuple[ChunkEntry, ...]) -> bytes:
    """The state root of subtrees in order of path: a subtree of one leaf is that leaf."""
    level = [(entry.accounts, entry.root) for entry in entries]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [
            (n + m, (left if n else right) if n + m <= 1 else sha256(NODE_PREFIX + left + right))
            for (n, left), (m, right) in pairs
        ]
    return level[0][1]


def cut(paths: NDArray[np.uint8], depth: int) -> list[NDArray[np.int64]]:
    """Which rows of (n, 32) paths belong to each of the 2^depth chunks, in order of path."""
    words = np.ascontiguousarray(paths).view(">u8").reshape(-1, DIGEST_BYTES // 8).astype(np.uint64)
    order = np.argsort(words[:, 0], kind="stable")
    first = words[order, 0]
    if (first[1:] == first[:-1]).any():
        order = np.lexsort(words.T[::-1])
        first = words[order, 0]
    borders = np.arange(1, 1 << depth, dtype=np.uint64) << np.uint64(64 - depth if depth else 0)
    return np.split(order, np.searchsorted(first, borders))


def chunks_of(
    columns: StateColumns, paths: NDArray[np.uint8], hash_rows: Hasher
) -> Iterator[tuple[ChunkEntry, bytes]]:
    """Entries and bytes of all chunks of a state, in order. paths: (n, 32) SHA-256 of the keys."""
    depth = depth_for(len(columns.keys))
    for rows in cut(paths, depth):
        part = columns.take(rows)
        body = encode_page(part)
        root = subtree_root(paths[rows], part.hashes(hash_rows), depth, hash_rows)
        yield ChunkEntry(len(rows), sha256(body), root), body


def subtree_root(paths: NDArray[np.uint8], hashes: NDArray[np.uint8], depth: int, hash_rows: Hasher) -> bytes:
    """Root of the subtree at `depth` that holds these leaves and no others; their paths share its bits."""
    if not len(paths):
        return EMPTY
    tree = StateTree(hash_rows)
    tree.update_paths(np.arange(len(paths)), hashes, paths)
    path, ref = paths[0].tobytes(), tree.ref(0, 0)
    for level in range(depth):
        if ref <= 0:
            break
        ref = tree.ref(ref, path[level >> 3] >> (7 - (level & 7)) & 1)
    return tree.hash_of(ref)


def open_chunk(manifest: Manifest, number: int, body: bytes, hash_rows: Hasher) -> StateColumns:
    """The accounts of a chunk that is what the manifest says. Raises FormatError naming what is not."""
    entry, field = manifest.entries[number], f"chunk {number}"
    if sha256(body) != entry.hash:
        raise FormatError(field, f"hash {sha256(body).hex()}", entry.hash.hex())
    columns = decode_page(number, body)
    keys = columns.keys
    if len(keys) != entry.accounts:
        raise FormatError(field, f"{len(keys)} accounts", f"{entry.accounts}")
    if not len(keys):
        return columns
    paths = hash_rows(keys)
    (own,) = cut(paths, 0)
    if not np.array_equal(own, np.arange(len(own))) or (paths[1:] == paths[:-1]).all(axis=1).any():
        raise FormatError(field, "accounts out of order", "ascending paths, each once")
    top = int.from_bytes(paths[0, :8].tobytes(), "big"), int.from_bytes(paths[-1, :8].tobytes(), "big")
    if {word >> (64 - manifest.depth) for word in top} != {number}:
        raise FormatError(field, "accounts of another chunk", f"paths that begin with {number}")
    root = subtree_root(paths, columns.hashes(hash_rows), manifest.depth, hash_rows)
    if root != entry.root:
        raise FormatError(field, f"root {root.hex()}", entry.root.hex())
    return columns
