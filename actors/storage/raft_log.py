"""The replicated log on disk: what a consensus replica must not forget, as bytes that it alone reads.

Column family `raft`:

    "h"             hard state: the term and the vote cast in it
    "s"             snapshot: the state that stands for the log up to its index
    "b"             index u64 of the last entry that compaction dropped, then the bytes that describe it
    "x"             why the chain on this disk is proven wrong: the text with which Consensus stopped for good
    "d"             which memory this is, and the number of its last start, see disk_identity.py
    "e" + index     one entry; the index is big-endian, so that entries sort

A record is written into somebody's write batch, so that an entry and the block that it names become durable
by one sync. Within a batch the order is snapshot, hard state, entries (whatever stood from the first new
entry's index on is replaced), as the rules of the log ask.
"""

from __future__ import annotations

import struct

from actors.storage.disk import Disk, DiskBatch
from actors.storage.disk_identity import IDENTITY_BYTES
from actors.storage.errors import CorruptionError, HeightError
from actors.storage.interface import LogRecord, StoredLog

FAMILY = "raft"
_HARD_STATE, _SNAPSHOT, _BASE, _DISK, _ENTRY, _HALTED = b"h", b"s", b"b", b"d", b"e", b"x"
_INDEX = struct.Struct(">Q")
_AFTER_ALL_ENTRIES = _ENTRY + b"\xff" * 9


def _entry_key(index: int) -> bytes:
    return _ENTRY + _INDEX.pack(index)


def halted(disk: Disk) -> bytes:
    """Why the chain of an open directory is proven wrong; empty if it is not."""
    return disk.get(FAMILY, _HALTED) or b""


class RaftLog:
    """The log's part of an open directory. One thread writes."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        found = self.read()
        self._last_index = found.base_index + len(found.entries)

    def read(self) -> StoredLog:
        """All of it. Raises CorruptionError where an entry is missing between others."""
        get = self._disk.get
        base = get(FAMILY, _BASE) or b""
        base_index = _INDEX.unpack_from(base)[0] if base else 0
        entries: list[bytes] = []
        for key, value in self._disk.scan(FAMILY, _ENTRY):
            if not key.startswith(_ENTRY):
                break
            if key != _entry_key(base_index + 1 + len(entries)):
                expected = base_index + 1 + len(entries)
                raise CorruptionError(FAMILY, key.hex(), f"entry {expected} of the log is missing")
            entries.append(value)
        return StoredLog(
            get(FAMILY, _HARD_STATE) or b"",
            get(FAMILY, _SNAPSHOT) or b"",
            base_index,
            base[_INDEX.size :],
            tuple(entries),
            (self.disk_identity() or b"")[:IDENTITY_BYTES],
            halted(self._disk),
        )

    def disk_identity(self) -> bytes | None:
        """What `put_disk_identity` has put."""
        return self._disk.get(FAMILY, _DISK)

    def put_disk_identity(self, value: bytes) -> None:
        """Make the identity of this memory, and the number of its last start, durable."""
        batch = self._disk.batch()
        batch.put(FAMILY, _DISK, value)
        batch.write(sync=True)

    def put(self, batch: DiskBatch, record: LogRecord) -> None:
        """Add a record to a write batch. Raises HeightError for entries that leave a gap."""
        if record.snapshot:
            batch.delete_range(FAMILY, _ENTRY, _AFTER_ALL_ENTRIES)
            batch.put(FAMILY, _SNAPSHOT, record.snapshot)
            batch.put(FAMILY, _BASE, _INDEX.pack(record.base_index), record.base)
            self._last_index = record.base_index
        if record.halted:
            batch.put(FAMILY, _HALTED, record.halted)
        if record.hard_state:
            batch.put(FAMILY, _HARD_STATE, record.hard_state)
        if not record.entries:
            return
        if not 0 < record.first_index <= self._last_index + 1:
            raise HeightError("raft entries", record.first_index, self._last_index + 1)
        if record.first_index <= self._last_index:
            batch.delete_range(FAMILY, _entry_key(record.first_index), _AFTER_ALL_ENTRIES)
        for index, entry in enumerate(record.entries, record.first_index):
            batch.put(FAMILY, _entry_key(index), entry)
        self._last_index = record.first_index + len(record.entries) - 1

    def compact(self, batch: DiskBatch, record: LogRecord) -> None:
        """Let the record's snapshot stand for the log, and drop the entries up to its base."""
        batch.put(FAMILY, _SNAPSHOT, record.snapshot)
        batch.put(FAMILY, _BASE, _INDEX.pack(record.base_index), record.base)
        batch.delete_range(FAMILY, _entry_key(0), _entry_key(record.base_index + 1))
