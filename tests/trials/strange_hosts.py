"""Runs commands as on strange hosts: another user, nobody's home, other file systems, a limit on memory.

Each command is a real process in a mount namespace of its own; what it is told to mount ends with it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOMEBODY = 54321
"""A user without an entry in the password file."""
_BECOME = 'exec setpriv --reuid "$1" --regid "$1" --clear-groups env -i "${@:2}"'


def needs_root() -> None:
    """Skip where mounting, or being somebody else, is not allowed."""
    probe = ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    if os.getuid() != 0 or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this host lets nobody mount, or be somebody else")


def host(*command: object, mounts: str = "", user: int = SOMEBODY, **environment: object) -> list[str]:
    """Words that run a command of node.py there; `mounts` is shell, `environment` all there is."""
    variables = [f"{name}={value}" for name, value in {"PATH": "/usr/bin:/bin", **environment}.items()]
    words = [*variables, sys.executable, str(ROOT / "node.py"), *map(str, command)]
    script = "\n".join(("set -e", _opened_interpreter(), mounts, f"cd {ROOT}", _BECOME))
    return ["unshare", "-m", "--propagation", "private", "bash", "-c", script, "host", str(user), *words]


def _opened_interpreter() -> str:
    """Shell that shows the interpreter and this checkout to everybody, where they lie in a closed home."""
    needed = [Path(sys.base_prefix), Path(sys.prefix), ROOT]
    lines: list[str] = []
    for closed in {top for path in needed if (top := _closed_above(path))}:
        lines.append(emptied(closed, 755))
    return "\n".join(("mount -t tmpfs -o mode=755 none /mnt", *lines))


def emptied(folder: Path, mode: int) -> str:
    """Shell that empties a folder, but for the interpreter and this checkout where they lie in it."""
    inside = [path for path in (Path(sys.base_prefix), Path(sys.prefix), ROOT) if path.is_relative_to(folder)]
    lines: list[str] = []
    for number, path in enumerate(inside):
        lines += [f"mkdir -p /mnt/{number}", f"mount --bind {path} /mnt/{number}"]
    lines.append(f"mount -t tmpfs -o mode={mode} none {shlex.quote(str(folder))}")
    for number, path in enumerate(inside):
        lines += [f"mkdir -p {path}", f"mount --move /mnt/{number} {path}"]
    return "\n".join(lines)


def _closed_above(path: Path) -> Path | None:
    """The topmost folder above a path that others may not pass."""
    return next((each for each in [*path.parents][::-1] if not each.stat().st_mode & 0o001), None)


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[str]:
    """Shell that puts what follows into a control group of so much memory. Skips where none can be made."""
    first = Path("/sys/fs/cgroup/memory")
    base, name = (first, "memory.limit_in_bytes") if first.is_dir() else (first.parent, "memory.max")
    group = base / f"raychain-trial-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("this host lets no control group be made")
    try:
        if not (group / name).exists():
            pytest.skip("this host limits no memory by control groups")
        (group / name).write_text(str(limit_bytes))
        yield f"echo $$ > {group / 'cgroup.procs'}"
    finally:
        group.rmdir()
