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

import google_crc32c

BLOCK_BYTES = 32 << 10
_RECORD = struct.Struct("<IHB")
_CHECKED_AT = 6
_MASK_DELTA = 0xA282EAD8
_MARK = struct.Struct("<QI")
MARK_FILE = "acknowledged"


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """The first record of a log that is not whole: where it begins, and how many bytes follow."""

    file: str
    offset: int
    bytes_after: int


def first_broken(data: bytes) -> int:
    """Offset of the first record of a log that is not whole; its size when all are."""
    size, at = len(data), 0
    while at < size:
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < _RECORD.size:
            at += left
            continue
        if at + _RECORD.size > size:
            return at
        stored, length, _ = _RECORD.unpack_from(data, at)
        end = at + _RECORD.size + length
        if end > size or end - at > left:
            return at
        crc = google_crc32c.value(data[at + _CHECKED_AT : end])
        if ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF != stored:
            return at
        at = end
    return size


def broken_records(database: Path) -> list[BrokenRecord]:
    """The first broken record of each log of a database, oldest log first."""
    found = []
    for path in sorted(database.glob("*.log")):
        if size := path.stat().st_size:
            at = first_broken(path.read_bytes())
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
