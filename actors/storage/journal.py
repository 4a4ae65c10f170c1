"""RocksDB's write-ahead log, looked at before RocksDB replays it: a torn tail, or damage?

RocksDB replays a log up to the first record that is not whole and drops the rest. After a power cut that is
right: what follows was never acknowledged. After a flipped bit it is not: blocks that were acknowledged would
vanish without a word. So the height that was last acknowledged is kept beside the database, in a file of its
own that is written, unsynced, after every synced write. It may be behind the truth, never ahead of it. A
directory whose committed head is lower than that has lost blocks, and is refused, its log untouched. A torn
tail is cut off before RocksDB sees it: on some tails it never ends its search for the next record.

Format (RocksDB wiki, "Write Ahead Log File Format"): blocks of 32 KiB; a record is a masked CRC-32C, u16
length, u8 type, payload; the checksum covers type and payload; fewer than seven bytes at the end of a block
are padding.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK_BYTES = 32 << 10
_RECORD_BYTES = 7
_MASK_DELTA = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78
_MARK = struct.Struct("<QI")
MARK_FILE = "acknowledged"


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """The first record of a log that is not whole: where it begins, and how many bytes follow."""

    file: str
    offset: int
    bytes_after: int


def _tables() -> NDArray[np.uint32]:
    """(8, 256) tables of CRC-32C for eight bytes at a time."""
    tables = np.zeros((8, 256), dtype=np.uint32)
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        tables[0, byte] = crc
    for slice_ in range(1, 8):
        before = tables[slice_ - 1]
        tables[slice_] = (before >> 8) ^ tables[0][before & 0xFF]
    return tables


_TABLES = _tables()


@njit(cache=True)
def _crc32c(data, begin, end, tables):  # type: ignore[no-untyped-def]
    crc = np.uint32(0xFFFFFFFF)
    at = begin
    while at + 8 <= end:
        c0 = data[at] ^ (crc & np.uint32(0xFF))
        c1 = data[at + 1] ^ ((crc >> np.uint32(8)) & np.uint32(0xFF))
        c2 = data[at + 2] ^ ((crc >> np.uint32(16)) & np.uint32(0xFF))
        c3 = data[at + 3] ^ (crc >> np.uint32(24))
        crc = (
            tables[7, c0] ^ tables[6, c1] ^ tables[5, c2] ^ tables[4, c3]
            ^ tables[3, data[at + 4]] ^ tables[2, data[at + 5]] ^ tables[1, data[at + 6]]
            ^ tables[0, data[at + 7]]
        )  # fmt: skip
        at += 8
    while at < end:
        crc = tables[0, (crc ^ np.uint32(data[at])) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
        at += 1
    return crc ^ np.uint32(0xFFFFFFFF)


@njit(cache=True)
def _first_broken(data, tables):  # type: ignore[no-untyped-def]
    """Offset of the first record that is not whole, or the size when all are."""
    size, at = len(data), np.int64(0)
    while at < size:
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < _RECORD_BYTES:
            at += left
            continue
        if at + _RECORD_BYTES > size:
            return at
        stored = np.uint32(data[at]) | np.uint32(data[at + 1]) << np.uint32(8)
        stored |= np.uint32(data[at + 2]) << np.uint32(16) | np.uint32(data[at + 3]) << np.uint32(24)
        end = at + _RECORD_BYTES + np.int64(data[at + 4]) + (np.int64(data[at + 5]) << 8)
        if end > size or end - at > left:
            return at
        crc = _crc32c(data, at + 6, end, tables)
        masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)
        if np.uint32(masked) != stored:
            return at
        at = end
    return size


def first_broken(data: NDArray[np.uint8]) -> int:
    """Offset of the first record of a log that is not whole; its size when all are."""
    return int(_first_broken(data, _TABLES))


def warm() -> None:
    """Compile."""
    first_broken(np.zeros(64, dtype=np.uint8))


def broken_records(database: Path) -> list[BrokenRecord]:
    """The first broken record of each log of a database, oldest log first."""
    found = []
    for path in sorted(database.glob("*.log")):
        if size := path.stat().st_size:
            at = first_broken(np.fromfile(path, dtype=np.uint8))
            if at < size:
                found.append(BrokenRecord(path.name, at, size - at))
    return found


def view_without_tail(database: Path, broken: BrokenRecord, view: Path) -> None:
    """Make `view` a directory that reads as `database` does without what follows the broken record."""
    view.mkdir()
    dropped = _later_logs(database, broken)
    for path in database.iterdir():
        if path.name == broken.file:
            with path.open("rb") as log:
                (view / path.name).write_bytes(log.read(broken.offset))
        elif path not in dropped:
            (view / path.name).symlink_to(path.resolve())


def cut_tail(database: Path, broken: BrokenRecord) -> None:
    """Remove, for good, what follows the broken record."""
    for path in _later_logs(database, broken):
        path.unlink()
    with (database / broken.file).open("r+b") as log:
        log.truncate(broken.offset)
        os.fsync(log.fileno())


def _later_logs(database: Path, broken: BrokenRecord) -> list[Path]:
    """Logs after the broken one: replaying them would leave a hole."""
    return [path for path in database.glob("*.log") if path.name > broken.file]


class Mark:
    """The height last acknowledged, beside the database. Raises OSError as the file system does."""

    def __init__(self, directory: Path, read_only: bool = False) -> None:
        path, flags = directory / MARK_FILE, os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        self._file = os.open(path, flags | os.O_CLOEXEC, 0o600) if path.exists() or not read_only else -1

    def read(self) -> int:
        """The height; 0 where there is none, or where it was torn."""
        body = os.pread(self._file, _MARK.size, 0) if self._file >= 0 else b""
        if len(body) != _MARK.size:
            return 0
        height, crc = _MARK.unpack(body)
        return int(height) if crc == zlib.crc32(body[:8]) else 0

    def write(self, height: int) -> None:
        """Every block up to `height` is committed and synced."""
        body = struct.pack("<Q", height)
        os.pwrite(self._file, body + struct.pack("<I", zlib.crc32(body)), 0)

    def close(self) -> None:
        """Let the file go; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
