"""Where raychain keeps what lives as long as a process: Ray's session, sockets, its token. Knows no Ray.

RUNTIME/                    mode 0700, of this user: TMPDIR/raychain-UID, or /tmp, /var/tmp, /dev/shm
RUNTIME/SESSION/lock        held by the process that the session belongs to, for as long as it lives
RUNTIME/SESSION/token       what Ray asks of whoever connects, mode 0600
RUNTIME/SESSION/r           Ray's own folder: Ray opens it to everybody, so it lies below one that is closed
RUNTIME/SESSION/s           sockets between actors
TMPDIR/raychain-scratch-*   networks that are not kept, each locked while its process lives

Whoever opens a session, or makes a scratch folder, removes those whose owner is dead, and no others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 107  # sun_path of unix(7), less the zero at its end
RAY_SOCKET_BYTES = 67  # "/session_DATE_TIME_MICROSECONDS_PID/sockets/plasma_store", and a suffix of its own
NAME_BYTES = 4
RUNTIME_PATH_BYTES_MAX = SOCKET_PATH_BYTES_MAX - RAY_SOCKET_BYTES - len("/r") - 2 * NAME_BYTES - 1
BASES = ("/tmp", "/var/tmp", "/dev/shm")
SOCKETS_VARIABLE = "RAYCHAIN_SOCKETS"
PRIVATE_MODE, PRIVATE_UMASK = 0o700, 0o077
_open: list[RuntimeFolder] = []
_LOCK, _TOKEN, _RAY, _SOCKETS = "lock", "token", "r", "s"
_SCRATCH = "raychain-scratch-"


class RuntimeFolderError(RuntimeError):
    """There is no place for sockets and sessions; the message says what was tried and what to set."""


def keep_private() -> None:
    """What this process and its children make from now on is for this user alone."""
    os.umask(PRIVATE_UMASK)


def runtime_dir(chosen: str = "") -> Path:
    """The folder of this user for sessions and sockets, made if need be; `chosen` is cluster.runtime_dir.

    Raises RuntimeFolderError where none can be had: not writable, somebody else's, or too long for a socket.
    """
    if chosen:
        path = Path(chosen).absolute()
        problem = _problem(path)
        if problem:
            raise RuntimeFolderError(f"cluster.runtime_dir={chosen}: {problem}")
        return path
    tried = []
    for base in dict.fromkeys((os.environ.get("TMPDIR", "/tmp"), *BASES)):
        path = Path(base).absolute() / f"raychain-{os.getuid()}"
        problem = _problem(path)
        if not problem:
            return path
        tried.append(f"{path}: {problem}")
    raise RuntimeFolderError(
        f"no folder for sockets ({'; '.join(tried)}); name one with --set cluster.runtime_dir=/SHORT/PATH"
    )


def _problem(path: Path) -> str:
    """Why a folder cannot be the runtime folder; empty if it can. Makes it, and closes it to others."""
    if len(os.fsencode(path)) > RUNTIME_PATH_BYTES_MAX:
        return f"longer than {RUNTIME_PATH_BYTES_MAX} bytes, so that Unix sockets below it have no name"
    try:
        path.mkdir(mode=PRIVATE_MODE, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return "is no folder"
        if found.st_uid != os.getuid():
            return f"belongs to user {found.st_uid}"
        if stat.S_IMODE(found.st_mode) != PRIVATE_MODE:
            path.chmod(PRIVATE_MODE)
        return "" if os.access(path, os.W_OK | os.X_OK) else "is not writable"
    except OSError as error:
        return error.strerror or str(error)


def sockets_dir() -> Path:
    """Where actors of this user put sockets for each other: that of the session, or one for all."""
    told = os.environ.get(SOCKETS_VARIABLE)
    path = Path(told) if told else runtime_dir() / _SOCKETS
    path.mkdir(mode=PRIVATE_MODE, exist_ok=True)
    return path


@contextlib.contextmanager
def _alone(runtime: Path) -> Iterator[None]:
    """Nobody else opens or removes sessions meanwhile."""
    descriptor = os.open(runtime / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class RuntimeFolder:
    """One process's own folder. Closed, or its process dead, it may be removed."""

    path: Path
    _lock: int

    @classmethod
    def open(cls, chosen: str = "") -> RuntimeFolder:
        """Make one, with a token, and remove those of dead processes. Errors as `runtime_dir`."""
        runtime = runtime_dir(chosen)
        with _alone(runtime):
            for dead in (*left_behind(), *dead_sessions(runtime)):
                shutil.rmtree(dead, ignore_errors=True)
            path = runtime / secrets.token_hex(NAME_BYTES)
            path.mkdir(mode=PRIVATE_MODE)
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        descriptor = os.open(path / _TOKEN, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        (path / _SOCKETS).mkdir(mode=PRIVATE_MODE)
        session = cls(path, lock)
        _open.append(session)
        return session

    @property
    def ray_dir(self) -> Path:
        """Ray's folder; Ray makes it."""
        return self.path / _RAY

    def environment(self) -> dict[str, str]:
        """What processes of this session have in their environment."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.path / _TOKEN),
            SOCKETS_VARIABLE: str(self.path / _SOCKETS),
        }

    def close(self) -> None:
        """Remove the folder; idempotent."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1
            _open.remove(self)


def close_sessions() -> None:
    """Close what this process has open, once nothing of it runs."""
    for session in list(_open):
        session.close()


def left_behind() -> list[Path]:
    """Sessions and scratch folders of this user whose process has gone, wherever a start without settings
    makes them: TMPDIR may have been another one then."""
    bases = [Path(base) for base in dict.fromkeys((os.environ.get("TMPDIR", "/tmp"), *BASES))]
    runtimes = [base / f"raychain-{os.getuid()}" for base in bases]
    dead = [session for runtime in runtimes if _is_own(runtime) for session in dead_sessions(runtime)]
    scratch = [path for base in bases for path in _scratch_folders(base) if _is_own(path)]
    return [*dead, *(path for path in scratch if _is_locked(path) is False)]


def _scratch_folders(base: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(base) as entries:  # may be missing, or closed to this user
        return [Path(entry.path) for entry in entries if entry.name.startswith(_SCRATCH)]
    return []


def _is_own(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def dead_sessions(runtime: Path) -> list[Path]:
    """Sessions in a runtime folder whose process has gone."""
    return [path for path, alive in sessions(runtime) if not alive]


def sessions(runtime: Path) -> list[tuple[Path, bool]]:
    """(folder, whether its process lives) of every session in a runtime folder."""
    found = []
    for lock in sorted(runtime.glob(f"*/{_LOCK}")):
        if (alive := _is_locked(lock)) is not None:
            found.append((lock.parent, alive))
    return found


def _is_locked(path: Path) -> bool | None:
    """None for what ended just now."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def scratch_dir() -> Iterator[Path]:
    """A new private folder for a network that is not kept, wherever this host lets one be made."""
    runtime = runtime_dir()
    with _alone(runtime):
        try:
            folder = tempfile.TemporaryDirectory(prefix=_SCRATCH)
        except FileNotFoundError:  # no TMPDIR, /tmp or /var/tmp that takes files
            folder = tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=runtime.parent)
        lock = os.open(folder.name, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with folder as path:
            yield Path(path)
    finally:
        os.close(lock)
