"""RocksDB under storage: one directory, one process, sealed values in column families, atomic write batches.

A write batch is the unit of durability: RocksDB's write-ahead log carries all of it or nothing, for all
column families together. In mode `sync` a commit returns after the log is synced; in `interval` the owner
calls `sync` on a timer; in `none` the operating system decides. Large values go to blob files, so that
compaction does not copy blocks again and again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rocksdict import (
    AccessType,
    BottommostLevelCompaction,
    Checkpoint,
    ColumnFamily,
    CompactOptions,
    Options,
    Rdict,
    RdictIter,
    WriteBatch,
)

from actors.storage.errors import (
    CorruptionError,
    DirectoryInUseError,
    DiskFullError,
    NoSpaceError,
    SchemaError,
    WrongNetworkError,
)
from actors.storage.formats import SCHEMA_VERSION, decode_head, decode_network, encode_network, seal, unseal
from actors.storage.wal_check import BrokenRecord, Mark, broken_records, cut_tail, view_without_tail

FAMILIES = (
    "meta", "headers", "blocks", "certificates", "receipts", "deltas", "accounts", "tx_index", "raft",
    "history", "snapshots",
)  # fmt: skip
BLOB_BYTES_MIN = 16 << 10
WRITE_BUFFER_BYTES = 16 << 20
MEMORY_TABLES_BYTES_MAX = 96 << 20
WAL_BYTES_MAX = 256 << 20
LOG_FILES_MAX = 4
FILES_OPEN_MAX = 256
"""Tables and blobs held open; RocksDB would keep all of them, and a chain has more every hour."""
HEAD_KEY, LOCK_FILE = b"head", "LOCK.raychain"
_NO_SPACE = "No space left"  # what RocksDB says of ENOSPC, in words alone
BLOB_GC_AGE, _BLOB_GC_AGE = 0.25, "blob_garbage_collection_age_cutoff"
Item = TypeVar("Item")


class DiskBatch:
    """Puts and deletes that become visible and durable together."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._batch = WriteBatch(raw_mode=True)

    def put(self, family: str, key: bytes, *parts: bytes | memoryview) -> None:
        """Store the parts, joined and sealed."""
        self._batch.put(key, seal(family, key, *parts), self._disk.handle(family))

    def put_sealed(self, family: str, key: bytes, value: bytes) -> None:
        """Store what `formats.seal` has made."""
        self._batch.put(key, value, self._disk.handle(family))

    def delete(self, family: str, key: bytes) -> None:
        """Remove a key; it need not exist."""
        self._batch.delete(key, self._disk.handle(family))

    def delete_range(self, family: str, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end)."""
        self._batch.delete_range(begin, end, self._disk.handle(family))

    def write(self, sync: bool) -> int:
        """Apply the batch; returns its bytes. With `sync` it is on the disk when this returns."""
        size = int(self._batch.size_in_bytes())
        self._disk.write(self._batch, sync)
        return size


class Disk:
    """An open directory. Threads may read and write at once; with `read_only` nothing on the disk changes.

    reserve_bytes: left free by every write; 0 looks at nothing. full: why the last write was refused, or "";
    `alarm` is called with it when writes begin to be refused, and when they go on. files_open_max: tables and
    blobs held open, those used last; a few more while they are being read.

    Raises DirectoryInUseError while another process holds it, SchemaError for a schema of another version,
    NoSpaceError when there is no room to open it, CorruptionError when RocksDB cannot.
    """

    def __init__(
        self,
        directory: Path,
        read_only: bool = False,
        reserve_bytes: int = 0,
        files_open_max: int = FILES_OPEN_MAX,
    ) -> None:
        self.reserve_bytes, self.full, self._files_open_max = reserve_bytes, "", files_open_max
        self.alarm: Callable[[str], None] = lambda _full: None
        if not read_only:
            directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.read_only = directory, read_only
        self._db: Rdict | None = None
        self._families: dict[str, Rdict] = {}
        self._handles: dict[str, ColumnFamily] = {}
        self._lock = _lock(directory / LOCK_FILE)
        self.mark = Mark(directory, read_only)
        self._view: tempfile.TemporaryDirectory[str] | None = None
        try:
            self._open_whole(read_only)
        except BaseException:
            self.close()
            raise

    def _open_whole(self, read_only: bool) -> None:
        """Open, without a torn tail of the log. Raises CorruptionError if what was acknowledged is gone."""
        database = self.directory / "rocksdb"
        broken = broken_records(database)
        if broken:
            self._view = tempfile.TemporaryDirectory(prefix="raychain-")
            view = Path(self._view.name) / "rocksdb"
            view_without_tail(database, broken[0], view)
            self._open(view, read_only=True)
            self._require_acknowledged(broken)
            if read_only:
                return
            self._close()
            cut_tail(database, broken[0])
        self._open(database, read_only)
        self._require_acknowledged(broken)

    def _open(self, database: Path, read_only: bool) -> None:
        path, options = str(database), _options()
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_max_total_wal_size(WAL_BYTES_MAX)
        options.set_db_write_buffer_size(MEMORY_TABLES_BYTES_MAX)
        options.set_keep_log_file_num(LOG_FILES_MAX)
        options.set_max_background_jobs(2)
        options.set_max_open_files(self._files_open_max)
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        try:
            # A directory of an earlier version may lack families, and reading adds none.
            names = [name for name in FAMILIES if not read_only or name in Rdict.list_cf(path)]
            families = {name: _options() for name in names}
            opened = Rdict(path, options, column_families=families, access_type=access)
        except Exception as error:  # the only type that rocksdict raises
            if _NO_SPACE in str(error):
                raise NoSpaceError(self.directory, shutil.disk_usage(self.directory).free) from None
            raise CorruptionError("rocksdb", "", str(error)) from error
        self._db = opened
        self._families = {name: opened.get_column_family(name) for name in names}
        self._handles = {name: opened.get_column_family_handle(name) for name in names}

    def _require_acknowledged(self, broken: list[BrokenRecord]) -> None:
        """Raises CorruptionError if blocks that were acknowledged are not there."""
        body = self.get("meta", HEAD_KEY)
        height, acknowledged = decode_head(body).height if body else 0, self.mark.read()
        if height >= acknowledged:
            return
        where = ", ".join(f"{record.file} at byte {record.offset}" for record in broken) or "its log"
        raise CorruptionError(
            "journal",
            f"{broken[0].file}:{broken[0].offset}" if broken else "",
            f"blocks {height + 1} to {acknowledged} were acknowledged and are lost: {where} is damaged",
        )

    def handle(self, family: str) -> object:
        """RocksDB's handle of a column family."""
        return self._handles[family]

    def copy(self, directory: Path) -> None:
        """Make a directory that holds what this one holds now, as links to the same files where they do not
        change; whatever was there before goes. Raises DirectoryInUseError where another has that one open."""
        if holder := holder_of(directory):
            raise DirectoryInUseError(str(directory), holder)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        height = self.mark.read()  # before, since commits go on
        Checkpoint(self._db).create_checkpoint(str(directory / "rocksdb"))
        mark = Mark(directory)
        mark.write(height)
        mark.close()

    def batch(self) -> DiskBatch:
        """A new, empty batch."""
        return DiskBatch(self)

    def write(self, batch: WriteBatch, sync: bool) -> None:
        """Apply a raw batch. Raises DiskFullError, with nothing written, where it would eat the reserve.

        RocksDB does not go on by itself once a write of its own met a full disk, so it is not let there: the
        reserve should exceed MEMORY_TABLES_BYTES_MAX, which it may write at any time.
        """
        if self.reserve_bytes:
            needed, free = self.reserve_bytes + int(batch.size_in_bytes()), self.free_bytes()
            error = None if free >= needed else DiskFullError(str(self.directory), free, needed)
            before, self.full = self.full, str(error or "")
            if bool(before) != bool(self.full):
                self.alarm(self.full)
            if error is not None:
                raise error
        # A synced write of rocksdict holds the interpreter until the disk is done; syncing apart lets it go.
        self._database().write(batch)
        if sync:
            self.sync()

    def free_bytes(self) -> int:
        """What the file system has left for this process."""
        room = os.statvfs(self.directory)
        return room.f_bavail * room.f_frsize

    def sync(self) -> None:
        """Everything written before is on the disk when this returns."""
        self._database().flush_wal(True)

    def _database(self) -> Rdict:
        if self._db is None:
            raise ValueError(f"{self.directory} is closed")
        return self._db

    def get(self, family: str, key: bytes) -> bytes | None:
        """The bytes at a key, or None. Raises CorruptionError when they are not what was written."""
        value = self.raw(family, key)
        return None if value is None else unseal(family, key, value)

    def raw(self, family: str, key: bytes) -> bytes | None:
        """The bytes at a key with their seal, which is not looked at. Raises CorruptionError."""
        if family not in self._families and family in FAMILIES:
            return None
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:  # the only type that rocksdict raises
            raise CorruptionError(family, key.hex(), str(error)) from error
        return value

    def scan(self, family: str, begin: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Keys from `begin` on and their bytes, in order. Raises as `get`."""
        for key, value in self.scan_raw(family, begin):
            yield key, unseal(family, key, value)

    def scan_raw(self, family: str, begin: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """As `scan`, with the seals, which are not looked at."""
        yield from self._walk(family, begin, lambda at: (at.key(), at.value()))

    def keys(self, family: str, begin: bytes = b"") -> Iterator[bytes]:
        """Keys from `begin` on, in order. Raises CorruptionError where they cannot be read."""
        yield from self._walk(family, begin, lambda at: at.key())

    def _walk(self, family: str, begin: bytes, take: Callable[[RdictIter], Item]) -> Iterator[Item]:
        """RocksDB's iterator just ends where it cannot read: only its status tells that from the end."""
        if family not in self._families and family in FAMILIES:
            return
        at = self._families[family].iter()
        last = begin
        at.seek(begin)
        while at.valid():
            last = at.key()
            yield take(at)
            at.next()
        try:
            at.status()
        except Exception as error:  # the only type that rocksdict raises
            raise CorruptionError(family, last.hex(), f"unreadable after this key: {error}") from error

    def compact(self, family: str) -> None:
        """Give back the space of what was deleted in a family; reads and writes go on meanwhile.

        Blobs that are left move to new files, so that the old ones can go.
        """
        store, options = self._families[family], CompactOptions()
        options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
        store.flush()
        store.set_options({_BLOB_GC_AGE: "1.0"})
        try:
            store.compact_range(None, None, options)
        finally:
            store.set_options({_BLOB_GC_AGE: str(BLOB_GC_AGE)})

    def bytes_used(self) -> int:
        """Size of all files in the directory."""
        return sum(_size(path) for path in (self.directory / "rocksdb").iterdir())

    def table_bytes(self) -> int:
        """Size of tables and blobs: what is left once logs are folded into them."""
        files = (self.directory / "rocksdb").iterdir()
        return sum(_size(path) for path in files if path.suffix in (".sst", ".blob"))

    def require_network(self, genesis_hash: bytes, name: str) -> bool:
        """True if the directory is of this network, False if it is new.

        Raises WrongNetworkError naming both chains, SchemaError for another schema version.
        """
        body = self.get("meta", b"network")
        if body is None:
            return False
        schema, found_hash, found_name = decode_network(body)
        if not 1 <= schema <= SCHEMA_VERSION:
            raise SchemaError(str(self.directory), schema, SCHEMA_VERSION)
        if found_hash != genesis_hash:
            found, wanted = f"{found_name}/{found_hash.hex()}", f"{name}/{genesis_hash.hex()}"
            raise WrongNetworkError(str(self.directory), found, wanted)
        if schema < SCHEMA_VERSION and not self.read_only:
            self._migrate(schema, found_hash, found_name)
        return True

    def _migrate(self, schema: int, genesis_hash: bytes, name: str) -> None:
        """Bring a directory of an earlier version forward, one version after the other, each atomically.

        1 to 2: blocks and headers may begin above height 1 (`formats.Base`), which version 1 cannot read.
        """
        for version in range(schema + 1, SCHEMA_VERSION + 1):
            batch = self.batch()
            batch.put("meta", b"network", encode_network(genesis_hash, name, version))
            batch.write(sync=True)

    def put_network(self, genesis_hash: bytes, name: str) -> None:
        """Make the directory this network's, synced. Until then it counts as new."""
        batch = self.batch()
        batch.put("meta", b"network", encode_network(genesis_hash, name))
        batch.write(sync=True)

    def close(self) -> None:
        """Close the database and let the directory go; idempotent."""
        if self._lock < 0:
            return
        self._close()
        self.mark.close()
        os.close(self._lock)
        self._lock = -1

    def _close(self) -> None:
        """Closing flushes tables; where there is no room for that, the log keeps what they lack."""
        opened = [*self._families.values(), *([] if self._db is None else [self._db])]
        self._families.clear()
        self._handles.clear()
        self._db = None
        for each in opened:
            try:
                each.close()
            except Exception as error:  # the only type that rocksdict raises
                if _NO_SPACE not in str(error):
                    raise
                self.alarm(f"{self.directory} is closed without its last tables: {error}")
        if self._view is not None:
            self._view.cleanup()
            self._view = None


def _options() -> Options:
    options = Options(raw_mode=True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_enable_blob_files(True)
    options.set_min_blob_size(BLOB_BYTES_MIN)
    options.set_enable_blob_gc(True)
    options.set_blob_gc_age_cutoff(BLOB_GC_AGE)
    return options


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # RocksDB removes files while we look
        return 0


def holder_of(directory: Path) -> str:
    """The process that has a directory open; "" if none has."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
    else:
        return ""
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Hold the directory until the process ends, however it ends. Returns the file descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUseError(str(path.parent), holder) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def wait_for(tries: int, pause: Callable[[], None], opened: Callable[[], Disk]) -> Disk:
    """What `opened` opens, of a directory that a dying process may still hold: `pause` between tries."""
    for _ in range(tries - 1):
        try:
            return opened()
        except DirectoryInUseError:
            pause()
    return opened()
