"""The journal on disk: a file that grows by records, shared syncs, and rewrites that leave out what is done.

Theory of operation. The event loop appends records to a buffer and waits; a flush takes the whole buffer,
writes and syncs it in a thread, and wakes everybody who waited: one fsync for all. While it runs the next
buffer gathers. The first waiter of a group starts a timer of `flush_s`, and nobody waits longer for others.

A rewrite replaces the file by one that holds only rows which are still pending: written beside, synced,
renamed, folder synced; a crash leaves one whole file or the other. Since the rows come from the pool, which
knew of every buffered record before it was buffered, the buffer is dropped with the old file. After a failed
write nothing is known of the file's end, so the next flush rewrites.

Bound: the file stays under `bytes_max`; what does not fit even after a rewrite is refused by `fits`. While a
rewrite runs, the old file is there too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from actors.ledger.rows import Batch, FormatError
from actors.mempool.journal import (
    FILE_HEADER_BYTES,
    JournalHeader,
    Scan,
    decode_journal_header,
    encode_records,
    records_bytes_max,
    scan_records,
)

_REWRITE_BYTES_MIN = 16 << 20
_REWRITE_RATIO = 4


class JournalError(OSError):
    """The journal could not be brought to disk; what waited for it is not durable."""


def journal_path(folder: Path, shard: int, shards: int) -> Path:
    """Where a shard's journal is. The number of shards is in the name, since it decides whose a sender is."""
    return folder / f"shard-{shard}-of-{shards}.wal"


def other_layouts(folder: Path, shards: int) -> list[Path]:
    """Journals left by a configuration with another number of shards: every shard takes its senders' rows."""
    return sorted(path for path in folder.glob("shard-*-of-*.wal") if not path.stem.endswith(f"-of-{shards}"))


def mark_taken(path: Path, shard: int, shards: int) -> None:
    """Note that a shard holds its rows of another layout's journal; the last shard removes the file."""
    Path(f"{path}.taken-{shard}-of-{shards}").touch()
    marks = [Path(f"{path}.taken-{number}-of-{shards}") for number in range(shards)]
    if all(mark.exists() for mark in marks):
        path.unlink(missing_ok=True)
        for mark in marks:
            mark.unlink(missing_ok=True)


def clear_marks(path: Path) -> None:
    """Forget what shards of other layouts once took from this journal: it is in use again."""
    for mark in path.parent.glob(f"{path.name}.taken-*"):
        mark.unlink(missing_ok=True)


def read_journal(path: Path, chain_tag: int) -> Scan:
    """The whole records of a journal. One that is missing, or cut within its header, promised nothing.

    Raises FormatError when it belongs to another network.
    """
    data = path.read_bytes() if path.exists() else b""
    if len(data) < FILE_HEADER_BYTES:
        return Scan()
    header = decode_journal_header(data)
    if header.chain_tag != chain_tag:
        raise FormatError(f"{path.name}.chain_tag", header.chain_tag, chain_tag)
    return scan_records(data)


class JournalFile:
    """Blocking file operations. `size` is what a reader would find, header included."""

    def __init__(self, path: Path, header: JournalHeader) -> None:
        self.path, self._header = path, header
        self._file: int | None = None
        self.size = 0

    def append(self, data: bytes) -> None:
        """Write at the end, and sync. Raises OSError."""
        if self._file is None:
            raise JournalError(f"{self.path}: not open for writing")
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)
        self.size += len(data)

    def replace(self, batch: Batch) -> None:
        """Make the file hold exactly this batch, atomically, and go on appending to it. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        data = self._header.encode() + encode_records(batch)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
            os.replace(beside, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(file)
            raise
        self.close()
        self._file, self.size = file, len(data)

    def close(self) -> None:
        """Close the file; it may be replaced again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class GroupCommit:
    """Shares fsyncs. All methods run on the event loop; `live` gives the rows that must stay."""

    def __init__(self, file: JournalFile, live: Callable[[], Batch], flush_s: float, bytes_max: int) -> None:
        self._file, self._live = file, live
        self._flush_s, self._bytes_max = flush_s, bytes_max
        self._buffer: list[bytes] = []
        self._buffered = self._flushing = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._rewrite = True
        self.syncs = 0
        self.rewrites = 0
        self.failures = 0

    @property
    def size(self) -> int:
        """Bytes on disk and on their way there."""
        return self._file.size + self._buffered + self._flushing

    def statistics(self) -> dict[str, int]:
        """Size, and how many syncs, rewrites and failures there were."""
        counted = {"syncs": self.syncs, "rewrites": self.rewrites, "failures": self.failures}
        return {"bytes": self.size, **counted}

    def fits(self, rows: int, payload_bytes: int, live_rows: int, live_bytes: int) -> bool:
        """Whether records of that size can be appended; asks for a rewrite where only that makes room."""
        needed = records_bytes_max(rows, payload_bytes)
        if self.size + needed <= self._bytes_max:
            return True
        if FILE_HEADER_BYTES + records_bytes_max(live_rows, live_bytes) + needed > self._bytes_max:
            return False
        self._rewrite = True
        return True

    def append(self, batch: Batch) -> None:
        """Put the records of a batch in line; `sync` waits for them."""
        data = encode_records(batch)
        self._buffer.append(data)
        self._buffered += len(data)

    async def sync(self) -> None:
        """Wait until all that was appended before is on disk. Raises JournalError if it is not."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all())
        await done

    def trim(self, live_bytes: int) -> None:
        """Rewrite soon if most of the file is of no use any more."""
        if self._file.size > max(_REWRITE_BYTES_MIN, _REWRITE_RATIO * live_bytes) and self._flusher is None:
            self._rewrite = True
            self._flusher = asyncio.create_task(self._flush_all())

    async def _flush_all(self) -> None:
        try:
            await asyncio.sleep(self._flush_s)
            while self._waiting or self._rewrite:
                waiting, self._waiting = self._waiting, []
                try:
                    await self._flush()
                except OSError as error:
                    self._fail(waiting, error)
                    return
                for done in waiting:
                    if not done.done():
                        done.set_result(None)
        finally:
            self._flusher = None

    async def _flush(self) -> None:
        data, self._buffer, self._buffered = b"".join(self._buffer), [], 0
        try:
            if self._rewrite:
                self._rewrite = False
                self.rewrites += 1
                await asyncio.to_thread(self._file.replace, self._live())
            elif data:
                self._flushing = len(data)
                await asyncio.to_thread(self._file.append, data)
        finally:
            self._flushing = 0
        self.syncs += 1

    def _fail(self, waiting: list[asyncio.Future[None]], error: OSError) -> None:
        self._rewrite = True
        self.failures += 1
        late, self._waiting = self._waiting, []
        for done in waiting + late:
            if not done.done():
                done.set_exception(JournalError(f"journal not written: {error}"))

    async def close(self) -> None:
        """Bring what is in line to disk and close. Raises JournalError if that fails."""
        if self._buffer:
            await self.sync()
        if self._flusher is not None:
            await self._flusher
        await asyncio.to_thread(self._file.close)
