"""The processes below this one: being told of those that lose their parent, finding them, ending them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator, Set

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_LOOK_S = 0.05


def adopt_orphans() -> None:
    """Have processes below this one whose parent dies become its children, not those of the system's first
    process, so that `family` still finds them. Does nothing where the kernel cannot."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> frozenset[int]:
    """The process ids of this process's children."""
    return frozenset(child.pid for child in psutil.Process().children())


def family(besides: Set[int] = frozenset()) -> list[psutil.Process]:
    """Every living process below this one, but for the children `besides` and what is below those."""
    return [process for process in _below(besides) if _lives(process)]


def end_all(patience_s: float, besides: Set[int] = frozenset()) -> int:
    """Wait for the family to end, and kill who is left after `patience_s`; how many those were.

    Also those that are started or orphaned meanwhile. Returns within `patience_s` and a few seconds.
    """
    deadline, killed = time.monotonic() + patience_s, 0
    while left := family(besides):
        if time.monotonic() >= deadline:
            killed += len(left)
            kill(left)
        else:
            time.sleep(_LOOK_S)
        _reap(besides)
    _reap(besides)
    return killed


def cpu_seconds() -> float:
    """CPU time that the living family has used."""
    used = 0.0
    for process in family():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used += times.user + times.system
    return used


def kill(processes: list[psutil.Process]) -> None:
    """SIGKILL all of them, and wait a moment until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=2)


def _below(besides: Set[int]) -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        if child.pid not in besides:
            yield child
            with contextlib.suppress(psutil.Error):
                yield from child.children(recursive=True)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _reap(besides: Set[int]) -> None:
    """Forget orphans that have ended: nobody else waits for them."""
    for child in psutil.Process().children():
        if child.pid not in besides and not _lives(child):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)
