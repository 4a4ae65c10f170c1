"""An anonymous file that an actor shares with its cell: it has no name, and is gone with its last owner.

The actor reads and writes it as a file and never maps it, so a child that cuts it short costs it a short read
and no SIGBUS; what it has read is its own copy, which the child cannot change while it is checked. The child
maps it. Bytes are taken from memory when they are first written, never more than `bytes_max`.
"""

from __future__ import annotations

import os
import tempfile

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.packing import Packed

_PARTS_MAX = 512  # of one system call; POSIX promises 16, Linux has 1024


class SharedFile:
    """One way: columns of jobs, or of answers."""

    def __init__(self, name: str, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.fd = _anonymous(name)
        os.ftruncate(self.fd, bytes_max)

    def write(self, packed: Packed) -> None:
        """Put a buffer at the beginning. It is not longer than `bytes_max`."""
        parts = [memoryview(part) for part in packed.parts if len(part)]
        at = first = 0
        while first < len(parts):
            written = os.pwritev(self.fd, parts[first : first + _PARTS_MAX], at)
            at += written
            while written and written >= len(parts[first]):
                written -= len(parts[first])
                first += 1
            if written:
                parts[first] = parts[first][written:]

    def read(self, count: int) -> NDArray[np.uint8]:
        """A copy of the first bytes; of fewer, if there are fewer."""
        data, at = np.empty(count, dtype=np.uint8), 0
        while at < count and (got := os.preadv(self.fd, [data[at:].data], at)):
            at += got
        return data[:at]

    def release(self, keep_bytes: int) -> None:
        """Give memory behind the first bytes back."""
        os.ftruncate(self.fd, keep_bytes)
        os.ftruncate(self.fd, self.bytes_max)

    def close(self) -> None:
        """Also when it is closed already."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _anonymous(name: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC)
    descriptor, path = tempfile.mkstemp(prefix=f"{name}-")
    os.unlink(path)
    return descriptor
