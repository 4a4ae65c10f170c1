"""An anonymous file that an actor shares with its cell: it has no name, and is gone with its last owner.

Both map it. It is sealed at its size, so that a child cannot cut it short under its actor (SIGBUS). What the
actor has read is its own copy, which the child cannot change while it is checked. Bytes take memory when they
are first written, never more than `bytes_max`.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.packing import Packed


class SharedFile:
    """One way: columns of jobs, or of answers."""

    def __init__(self, name: str, bytes_max: int) -> None:
        self._bytes_max = max(bytes_max, mmap.PAGESIZE)
        self.fd = _anonymous(name, self._bytes_max)
        self._map = mmap.mmap(self.fd, self._bytes_max)

    def write(self, packed: Packed) -> None:
        """Put a buffer at the beginning. Raises FormatError if there is no room."""
        with memoryview(self._map) as room:
            packed.write_to(room)

    def read(self, count: int) -> NDArray[np.uint8]:
        """A copy of the first bytes."""
        with memoryview(self._map) as room:
            return np.array(room[:count], dtype=np.uint8)

    def release(self, keep_bytes: int) -> None:
        """Give memory behind the first bytes back, where the system can; they read as zeros."""
        start = -(-keep_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if hasattr(mmap, "MADV_REMOVE") and start < self._bytes_max:
            self._map.madvise(mmap.MADV_REMOVE, start, self._bytes_max - start)

    def close(self) -> None:
        """Also when it is closed already."""
        if self.fd >= 0:
            self._map.close()
            os.close(self.fd)
            self.fd = -1


def _anonymous(name: str, size: int) -> int:
    if sys.platform == "linux":
        import fcntl

        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        fcntl.fcntl(
            descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
        return descriptor
    descriptor, path = tempfile.mkstemp(prefix=f"{name}-")
    os.unlink(path)
    os.ftruncate(descriptor, size)
    return descriptor
