"""A terminal of 80 x 24 in which a command runs, and what a person sees on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte

COLUMNS, ROWS, HISTORY_ROWS = 80, 24, 4_000
_OF_OTHER_TERMINALS = ("COLUMNS", "LINES", "NO_COLOR")
_TAKE_TERMINAL = (  # a controlling terminal is what Ctrl-C needs
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A command under a pseudo-terminal: its keyboard, and its screen with all that was scrolled away."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: dict[str, str] | None = None) -> None:
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=HISTORY_ROWS, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        plain = {name: value for name, value in os.environ.items() if name not in _OF_OTHER_TERMINALS}
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _TAKE_TERMINAL, *command],
            cwd=cwd,
            env={**plain, "TERM": "xterm-256color", **(environment or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # nobody has the other end any more
                return
            if not data:
                return
            with self._lock:
                self._stream.feed(data)

    def screen(self) -> list[str]:
        """The lines that are on the screen now."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    def text(self) -> str:
        """All that was ever on it, the oldest line first."""
        with self._lock:
            above = [
                "".join(line[column].data for column in range(COLUMNS)) for line in self._screen.history.top
            ]
            return "\n".join(line.rstrip() for line in (*above, *self._screen.display)).rstrip()

    def press(self, keys: str) -> None:
        """Type on its keyboard."""
        os.write(self._ours, keys.encode())

    def await_text(self, shown: str | Callable[[str], object], deadline_s: float = 240.0) -> str:
        """Wait until a text is seen, or until what is seen is as asked for; all that is seen then."""
        holds = (lambda text: shown in text) if isinstance(shown, str) else shown
        until, pause = time.monotonic() + deadline_s, threading.Event()
        while not holds(text := self.text()):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{text}"
            assert time.monotonic() < until, f"not within {deadline_s} s: {shown}\n{text}"
            pause.wait(0.05)
        return text

    def end(self, deadline_s: float = 120.0) -> int:
        """Wait until the command has ended; its exit code."""
        code = self.process.wait(deadline_s)
        self._reader.join(5)
        return code

    def close(self) -> None:
        """End what runs, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        os.close(self._ours)
