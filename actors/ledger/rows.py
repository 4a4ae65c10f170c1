"""Transactions as a table: fixed-width rows, and one blob of payloads beside them.

Row, little-endian, 208 bytes = 26 words of 64 bits (so kernels may read whole words):

    word  0      version u8, kind u8, flags u16, payload_bytes u32
    word  1      chain_tag          first 8 bytes of the genesis hash
    word  2..5   nonce, amount, fee, expiry_height
    word  6..9   sender             Ed25519 public key
    word 10..13  recipient
    word 14..17  payload_hash       SHA-256 of the payload; 32 zero bytes if there is none
    word 18..25  signature          Ed25519 over the 144 bytes before it

A batch on the wire is: magic "RCB1", count u32, payload_bytes u64, the rows, the payloads in row order.
A transaction's id is its RFC 9162 leaf hash, SHA-256(0x00 ‖ row).
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import Hasher, sha256_rows

if sys.byteorder != "little":
    raise ImportError("raychain reads rows in place and needs a little-endian processor")

ROW_VERSION = 1
KIND_TRANSFER, KIND_DEPLOY, KIND_CALL, KIND_GOVERNED, KIND_EFFECTS = 1, 2, 3, 4, 5

ROW_DTYPE = np.dtype(
    [
        ("version", "u1"),
        ("kind", "u1"),
        ("flags", "<u2"),
        ("payload_bytes", "<u4"),
        ("chain_tag", "<u8"),
        ("nonce", "<u8"),
        ("amount", "<u8"),
        ("fee", "<u8"),
        ("expiry_height", "<u8"),
        ("sender", "u1", 32),
        ("recipient", "u1", 32),
        ("payload_hash", "u1", 32),
        ("signature", "u1", 64),
    ]
)
ROW_BYTES = 208
ROW_WORDS = ROW_BYTES // 8
SIGNED_BYTES = 144
SENDER_AT_BYTE, SIGNATURE_AT_BYTE = 48, 144
WORD_TAG, WORD_NONCE, WORD_AMOUNT, WORD_FEE, WORD_EXPIRY = 1, 2, 3, 4, 5
WORD_SENDER, WORD_RECIPIENT, WORD_PAYLOAD_HASH = 6, 10, 14

NEVER_EXPIRES_HEIGHT = 2**64 - 1
PAYLOAD_BYTES_MAX = 4096
LEAF_PREFIX = b"\x00"

_BATCH_HEADER = struct.Struct("<4sIQ")
_BATCH_MAGIC = b"RCB1"
BATCH_HEADER_BYTES = _BATCH_HEADER.size


class FormatError(ValueError):
    """Bytes from outside do not have the form they must have. Names the field, what came, and the limit."""

    def __init__(self, field: str, got: object, limit: object) -> None:
        super().__init__(f"{field}: got {got}, expected {limit}")
        self.field, self.got, self.limit = field, got, limit

    def __reduce__(self) -> tuple[type[FormatError], tuple[str, object, object]]:
        """Errors cross processes; without this they would be rebuilt from their message alone."""
        return type(self), (self.field, self.got, self.limit)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """rows: (n,) of ROW_DTYPE, C-contiguous. payloads: (sum of payload_bytes,) uint8, in row order."""

    rows: NDArray[Any]
    payloads: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def words(self) -> NDArray[np.uint64]:
        """(n, 26) uint64 view of the rows."""
        return row_words(self.rows)

    @property
    def matrix(self) -> NDArray[np.uint8]:
        """(n, 208) uint8 view of the rows."""
        return row_matrix(self.rows)

    @property
    def payload_offsets(self) -> NDArray[np.int64]:
        """(n + 1,) int64: payload i is payloads[offsets[i]:offsets[i + 1]]."""
        offsets = np.zeros(len(self.rows) + 1, dtype=np.int64)
        np.cumsum(self.rows["payload_bytes"], out=offsets[1:])
        return offsets

    def ids(self, hash_rows: Hasher = sha256_rows) -> NDArray[np.uint8]:
        """(n, 32) uint8 transaction ids."""
        return hash_rows(self.matrix, LEAF_PREFIX)

    def take(self, selected: NDArray[Any]) -> Batch:
        """The batch of the selected rows (boolean mask or indices), with their payloads."""
        rows = np.ascontiguousarray(self.rows[selected])
        if len(self.payloads) == 0:
            return Batch(rows, self.payloads)
        if selected.dtype == np.bool_ and not selected.all():
            keep = np.repeat(selected, self.rows["payload_bytes"].astype(np.int64))
            return Batch(rows, np.ascontiguousarray(self.payloads[keep]))
        if selected.dtype == np.bool_:
            return self
        offsets = self.payload_offsets
        pieces = [self.payloads[offsets[i] : offsets[i + 1]] for i in selected if offsets[i] < offsets[i + 1]]
        return Batch(rows, np.concatenate(pieces) if pieces else self.payloads[:0])


def row_words(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """(n, 26) uint64 view of contiguous rows."""
    return rows.view(np.uint64).reshape(len(rows), ROW_WORDS)


def row_matrix(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """(n, 208) uint8 view of contiguous rows."""
    return rows.view(np.uint8).reshape(len(rows), ROW_BYTES)


def shard_of(senders: NDArray[np.uint8], shards: int) -> NDArray[np.int64]:
    """(n,) mempool shard of (n, 32) senders: their last eight bytes, little-endian, modulo `shards`."""
    last = np.ascontiguousarray(senders[:, 24:32]).view(np.uint64).reshape(-1)
    return (last % np.uint64(shards)).astype(np.int64)


def empty_batch() -> Batch:
    """A batch of no rows."""
    return Batch(np.empty(0, dtype=ROW_DTYPE), np.empty(0, dtype=np.uint8))


def concatenate(batches: list[Batch]) -> Batch:
    """One batch of all rows, in order."""
    if not batches:
        return empty_batch()
    if len(batches) == 1:
        return batches[0]
    return Batch(np.concatenate([b.rows for b in batches]), np.concatenate([b.payloads for b in batches]))


def batch_parts(batch: Batch) -> tuple[bytes | memoryview, ...]:
    """The bytes of a batch in pieces, the large ones in place."""
    head = _BATCH_HEADER.pack(_BATCH_MAGIC, len(batch.rows), len(batch.payloads))
    return head, in_place(batch.rows), in_place(batch.payloads)


def encode_batch(batch: Batch) -> bytes:
    """Bytes of a batch for the wire and the journal."""
    return b"".join(batch_parts(batch))


def in_place(column: NDArray[Any]) -> memoryview:
    """The bytes of a C-contiguous array, not copied. An array of another layout is copied first."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1).data


def decode_batch(data: bytes | memoryview, rows_max: int, payload_bytes_max: int) -> Batch:
    """Read a batch in place (read-only views of `data`; nothing is allocated by what the header claims).

    Raises FormatError naming the field when a length, the magic or a bound does not hold.
    """
    if len(data) < BATCH_HEADER_BYTES:
        raise FormatError("batch.header", f"{len(data)} bytes", f"at least {BATCH_HEADER_BYTES} bytes")
    magic, count, payload_bytes = _BATCH_HEADER.unpack_from(data)
    if magic != _BATCH_MAGIC:
        raise FormatError("batch.magic", magic.hex(), _BATCH_MAGIC.hex())
    if count > rows_max:
        raise FormatError("batch.count", count, f"at most {rows_max} rows")
    if payload_bytes > payload_bytes_max:
        raise FormatError("batch.payload_bytes", payload_bytes, f"at most {payload_bytes_max} bytes")
    expected = BATCH_HEADER_BYTES + count * ROW_BYTES + payload_bytes
    if len(data) != expected:
        raise FormatError("batch.length", f"{len(data)} bytes", f"{expected} bytes for {count} rows")
    rows = np.frombuffer(data, dtype=ROW_DTYPE, count=count, offset=BATCH_HEADER_BYTES)
    payloads = np.frombuffer(data, dtype=np.uint8, offset=BATCH_HEADER_BYTES + count * ROW_BYTES)
    claimed = int(rows["payload_bytes"].sum(dtype=np.uint64))
    if claimed != payload_bytes:
        raise FormatError("rows.payload_bytes", f"{claimed} in the rows", f"{payload_bytes} as in the header")
    if rows.ctypes.data % 8:
        rows = rows.copy()
    return Batch(rows, payloads)
