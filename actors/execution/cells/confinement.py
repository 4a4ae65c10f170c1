"""What a cell gives up before it touches code of strangers. Runs in the child alone.

1. It ends with the thread that started it (Linux), or once its socket is hung up on.
2. It keeps its socket, the pipe of its last words, and the memory that it shares; it can open nothing, write
   no file, and start no process.
3. Its memory is bounded to so much more than it has when it is ready.
4. Nobody of its user may look into it, it gains no privileges, and calls are filtered (syscalls.py).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Set
from pathlib import Path

from actors.execution.cells.syscalls import install_filter

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38  # prctl(2)
_DESCRIPTORS_MAX = 1 << 16


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, where it can."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_up(keep: Set[int], memory_bytes: int) -> str:
    """All but these descriptors, and so much memory. Why calls are not filtered, or empty."""
    bound = _address_bytes() + memory_bytes
    _close_all_but(keep)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    if hasattr(resource, "RLIMIT_NPROC"):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    os.environ.clear()
    return install_filter()


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _close_all_but(keep: Set[int]) -> None:
    first = 0
    for descriptor in (*sorted(keep), _DESCRIPTORS_MAX):
        os.closerange(first, descriptor)
        first = descriptor + 1


def _address_bytes() -> int:
    """Of the address space, now in use; a guess where the system does not say."""
    if sys.platform != "linux":
        return 1 << 32
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
