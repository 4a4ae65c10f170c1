"""The write-ahead journal's bytes: what a shard promised to keep, as records that prove themselves whole.

A file is a header (magic "RCJ1", shard u32, shards u32, zero u32, chain tag u64) and records. A record is
magic "RCJR", body length u32, CRC-32 of the body u32, and the body: a batch as on the wire (ledger/rows.py).

Reading stops for nothing: a record that is cut short or does not match its checksum is skipped and the next
whole one is looked for, so that damage in one place costs that record alone. Damage at the end is what a
crash leaves behind (a torn write that nobody was told is durable). Rows read back are not trusted: they go
through admission, signatures included. This file does no I/O.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_BYTES, Batch, FormatError, decode_batch, encode_batch

_FILE = struct.Struct("<4sIIIQ")
_FILE_MAGIC = b"RCJ1"
FILE_HEADER_BYTES = _FILE.size
_RECORD = struct.Struct("<4sII")
_RECORD_MAGIC = b"RCJR"
RECORD_HEADER_BYTES = _RECORD.size
RECORD_ROWS_MAX = 4_096
RECORD_BODY_BYTES_MAX = 32 << 20
SALVAGE_TRIES_MAX = 4_096


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """Whose journal it is."""

    chain_tag: int
    shard: int
    shards: int

    def encode(self) -> bytes:
        """24 bytes."""
        return _FILE.pack(_FILE_MAGIC, self.shard, self.shards, 0, self.chain_tag)


def decode_journal_header(data: bytes | memoryview) -> JournalHeader:
    """Raises FormatError when the header is short or its magic wrong."""
    if len(data) < FILE_HEADER_BYTES:
        raise FormatError("journal.header", f"{len(data)} bytes", f"at least {FILE_HEADER_BYTES} bytes")
    magic, shard, shards, _, chain_tag = _FILE.unpack_from(data)
    if magic != _FILE_MAGIC:
        raise FormatError("journal.magic", magic.hex(), _FILE_MAGIC.hex())
    return JournalHeader(chain_tag, shard, shards)


def encode_records(batch: Batch) -> bytes:
    """The batch as records of at most RECORD_ROWS_MAX rows and RECORD_BODY_BYTES_MAX."""
    offsets, pieces, start = batch.payload_offsets, [], 0
    ends = np.arange(1, len(batch) + 1) * ROW_BYTES + offsets[1:]
    while start < len(batch):
        room = start * ROW_BYTES + int(offsets[start]) + RECORD_BODY_BYTES_MAX - BATCH_HEADER_BYTES
        stop = min(int(np.searchsorted(ends, room, side="right")), start + RECORD_ROWS_MAX)
        whole = start == 0 and stop == len(batch)
        payloads = batch.payloads[offsets[start] : offsets[stop]]
        pieces.append(_encode_record(batch if whole else Batch(batch.rows[start:stop], payloads)))
        start = stop
    return b"".join(pieces)


def _encode_record(batch: Batch) -> bytes:
    body = encode_batch(batch)
    return _RECORD.pack(_RECORD_MAGIC, len(body), zlib.crc32(body)) + body


def records_bytes_max(rows: int, payload_bytes: int) -> int:
    """A bound on the size of the records of that many rows."""
    longest = ROW_BYTES + ROW_PAYLOAD_BYTES_MAX + BATCH_HEADER_BYTES
    full = (rows * ROW_BYTES + payload_bytes) // (RECORD_BODY_BYTES_MAX - longest)
    records = -(-rows // RECORD_ROWS_MAX) + full
    return rows * ROW_BYTES + payload_bytes + records * (RECORD_HEADER_BYTES + BATCH_HEADER_BYTES)


@dataclass(slots=True)
class Scan:
    """What a journal holds. whole_bytes: where the last whole record ends; damaged: stretches skipped before
    it; torn_bytes: bytes behind it that are no whole record."""

    batches: list[Batch] = field(default_factory=list)
    whole_bytes: int = 0
    damaged: int = 0
    torn_bytes: int = 0


def scan_records(data: bytes, start: int = FILE_HEADER_BYTES) -> Scan:
    """Read all whole records of `data` from `start` on. Never raises; at most SALVAGE_TRIES_MAX searches."""
    scan, at, tries, skipping = Scan(whole_bytes=min(start, len(data))), start, 0, False
    while 0 <= at < len(data):
        batch, end = _read_record(data, at)
        if batch is not None:
            scan.damaged += skipping
            scan.batches.append(batch)
            scan.whole_bytes, at, skipping = end, end, False
            continue
        skipping, tries = True, tries + 1
        if tries > SALVAGE_TRIES_MAX:
            break
        at = data.find(_RECORD_MAGIC, at + 1)
    scan.torn_bytes = len(data) - scan.whole_bytes
    return scan


def _read_record(data: bytes, at: int) -> tuple[Batch | None, int]:
    body_at = at + RECORD_HEADER_BYTES
    if body_at > len(data):
        return None, at
    magic, length, checksum = _RECORD.unpack_from(data, at)
    if magic != _RECORD_MAGIC or length > RECORD_BODY_BYTES_MAX or body_at + length > len(data):
        return None, at
    body = memoryview(data)[body_at : body_at + length]
    if zlib.crc32(body) != checksum:
        return None, at
    try:
        return decode_batch(body, RECORD_ROWS_MAX, RECORD_BODY_BYTES_MAX), body_at + length
    except FormatError:
        return None, at
