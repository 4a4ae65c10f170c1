"""Standard error of Python and of native code, apart, so that one can be silent while people read the other.

Both write to descriptor 2 when a process starts. Whoever shows a live display keeps the stream that there was
when it began, and puts it back when it ends: so Python's stream moves to a descriptor of its own first of
all, and never again.
"""

from __future__ import annotations

import io
import os
import sys

NATIVE = 2


def move_python_stderr() -> None:
    """Have Python's standard error write where it does now, by a descriptor of its own; idempotent."""
    try:
        shared = sys.stderr.fileno() == NATIVE
    except (AttributeError, io.UnsupportedOperation):  # there is none, or it is kept in memory
        return
    if shared:
        sys.stderr.flush()
        encoding, errors = sys.stderr.encoding, sys.stderr.errors
        sys.stderr = os.fdopen(os.dup(NATIVE), "w", buffering=1, encoding=encoding, errors=errors)


class SilencedNativeStderr:
    """While it lasts nothing of native code is seen; Python's standard error is."""

    def __init__(self) -> None:
        move_python_stderr()
        self._before = os.dup(NATIVE)
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), NATIVE)

    def end(self) -> None:
        """Native code is seen again."""
        os.dup2(self._before, NATIVE)
        os.close(self._before)
