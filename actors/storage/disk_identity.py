"""Which memory this is: 16 random bytes that stay with a database where it is, and with no copy of it.

Consensus counts a member's votes only from the disk that the network has named (consensus/raft/identity.py),
since a member that has forgotten what it signed signs the opposite. So the identity must be another one
whenever the database may not be the one that this member last wrote: emptied, copied, restored from a backup,
somebody else's. Two places must agree:

    DATA_DIR/NODE/disk.identity   the identity, where this file itself is (inode, and when that was made, if
                                  the file system tells), and a random number of this start
    the database                  the identity, and the random number of the last start

A copied or restored folder has a file made elsewhere. A restored or emptied database beside the file has not
the number of the last start. Device numbers say nothing: they change when a machine starts anew. What cannot
be seen is a whole file system or machine set back to an earlier snapshot: remove the file then.

On a disk without room the identity of the last start goes on, and a new one is not begun: none at all then.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from actors.storage.errors import DiskFullError

IDENTITY_FILE = "disk.identity"
IDENTITY_BYTES = START_BYTES = 16
FILE_BYTES_MAX = 4096
_STATX_BTIME, _AT_FDCWD, _STATX_BYTES = 0x800, -100, 256
_STATX_MASK, _STATX_BORN = struct.Struct("<I"), struct.Struct("<qI")
_STATX_BORN_AT = 80  # offset of stx_btime, see statx(2)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a file is: its inode, and when that was made in ns (0 where the file system does not tell)."""

    inode: int
    born_ns: int

    def fits(self, other: Stamp) -> bool:
        """True unless the two must be different files."""
        return self.inode == other.inode and (
            0 in (self.born_ns, other.born_ns) or self.born_ns == other.born_ns
        )


class Marker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says. `starts`: numbers that the database may have, of the last start and of this one."""

    identity: str
    inode: int
    born_ns: int
    starts: tuple[str, ...]

    @property
    def stamp(self) -> Stamp:
        """Where the file was when it was written."""
        return Stamp(self.inode, self.born_ns)


@dataclass(frozen=True, slots=True)
class DiskIdentity:
    """`identity` is 16 bytes, or none where none could be written.

    `renewed` says why it is not the one of the last start, or is empty.
    """

    identity: bytes
    renewed: str = ""


def settle(
    folder: Path,
    stored: bytes | None,
    store: Callable[[bytes], None],
    random_bytes: Callable[[int], bytes],
) -> DiskIdentity:
    """The identity of the memory in `folder` for this start; a new one unless file and database agree.

    stored: what the database holds; store: puts it there, durably.
    """
    path = folder / IDENTITY_FILE
    marker = _read(path)
    renewed = _why_renewed(path, marker, stored)
    kept = marker is not None and not renewed
    identity = bytes.fromhex(marker.identity) if kept and marker else random_bytes(IDENTITY_BYTES)
    before = (stored[IDENTITY_BYTES:].hex(),) if kept and stored else ()
    start = random_bytes(START_BYTES)
    try:
        _write(path, identity, (*before, start.hex()))
        store(identity + start)
    except (OSError, DiskFullError) as error:
        return DiskIdentity(identity if kept else b"", renewed and f"{renewed}, and cannot be named: {error}")
    return DiskIdentity(identity, renewed)


def _why_renewed(path: Path, marker: Marker | None, stored: bytes | None) -> str:
    if marker is None and stored is None:
        return "it is new"
    if marker is None or stored is None or len(stored) != IDENTITY_BYTES + START_BYTES:
        return f"{path} and the database beside it are not from one start"
    if not marker.stamp.fits(stamp_of(path)):
        return f"{path} was copied or restored from elsewhere"
    if marker.identity != stored[:IDENTITY_BYTES].hex() or stored[IDENTITY_BYTES:].hex() not in marker.starts:
        return f"the database is older or newer than {path}"
    return ""


def _read(path: Path) -> Marker | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX), type=Marker)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _write(path: Path, identity: bytes, starts: tuple[str, ...]) -> None:
    """In place of the file before at once: its own place is known before a byte is in it."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        stamp = stamp_of(new)
        file.write(msgspec.json.encode(Marker(identity.hex(), stamp.inode, stamp.born_ns, starts)))
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def stamp_of(path: Path) -> Stamp:
    """Where a file is. Raises OSError."""
    found = path.stat()
    born_ns = getattr(found, "st_birthtime_ns", None)
    return Stamp(found.st_ino, born_ns if born_ns is not None else _born_ns(path))


def _born_ns(path: Path) -> int:
    """By statx(2), which this Python does not offer; 0 where kernel, C library or file system do not tell."""
    statx = getattr(ctypes.CDLL(None), "statx", None)
    if statx is None:
        return 0
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, answer):
        return 0
    if not _STATX_MASK.unpack_from(answer)[0] & _STATX_BTIME:
        return 0
    seconds, nanoseconds = _STATX_BORN.unpack_from(answer, _STATX_BORN_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
