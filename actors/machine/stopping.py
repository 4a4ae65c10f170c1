"""Being told to stop: SIGINT, SIGTERM and SIGHUP mean the same, at any moment, in every command.

    a command             each of the three raises KeyboardInterrupt in the main thread, as Ctrl-C always did
    `up`, while it starts ends the process at once: nothing is open yet that a kill could harm
    `up`, while it serves sets `requested`, and the command closes what it opened
    a second signal, HURRY_AFTER_S later, or `stop_s` gone by: what is left is killed; disks bear that
    an actor's process    ends at once at SIGTERM, as if it were killed, and comes back: `end_at_sigterm`

A thread is told of signals through a pipe (signal.set_wakeup_fd), so that a main thread that is deep in
native code, as while Ray connects, delays nothing. Knows no Ray.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HURRY_AFTER_S = 0.5  # nearer ones are one wish: a terminal and a parent both pass Ctrl-C on
Leave = Callable[[int, str], NoReturn]
"""Ends the process with an exit code, after a sentence; takes with it whatever is below it."""
_LOOK_S = 0.5
_listening: list[StopListener] = []


def interrupt_on_signals() -> None:
    """Have SIGTERM and SIGHUP end a command as Ctrl-C does. An ignored SIGHUP, as under nohup, stays so."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def end_at_sigterm() -> None:
    """Have SIGTERM end this process at once, whatever any of its threads does.

    Ray's workers have a handler in Python, which runs when the main thread next comes back from native code:
    of an idle actor never, and of another in the middle of something, which leaves a process that neither
    serves nor ends. May be called in any thread, unlike Python's own `signal`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGTERM, None)  # SIG_DFL


def take_back() -> None:
    """Put this process's handlers in force again. Ray's native code puts one of its own over that of SIGTERM,
    which calls ours, and three seconds later aborts whatever is under way."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.getsignal(number))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let a clean-up finish even if it is told to stop again; a StopListener goes on listening."""
    if _listening or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serving() -> None:
    """There is something to close from here on: a signal no longer ends the process at once."""
    for listener in _listening:
        listener.serve()


def check() -> None:
    """Raise KeyboardInterrupt if this process was told to stop."""
    if any(listener.requested.is_set() for listener in _listening):
        raise KeyboardInterrupt


class StopListener:
    """Listens for the three signals from `with` on; of the main thread."""

    def __init__(self, leave: Leave, stop_s: float, died: Callable[[], str] = lambda: "") -> None:
        """`died` names what died of what is being closed, and cannot be closed any more."""
        self.requested = threading.Event()
        self._died = died
        self._leave, self._stop_s = leave, stop_s
        self._serving = self._done = False
        self._lock = threading.Lock()
        self._told, self._tell = socket.socketpair()

    def __enter__(self) -> StopListener:
        self._tell.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        self._before = {}
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, lambda *_: None)
        _listening.append(self)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # for ever, if the thread is ending the process
            self._done = True
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        _listening.remove(self)
        self._tell.close()

    def serve(self) -> None:
        """There is something to close now: from here on a signal only sets `requested`."""
        with self._lock:
            self._serving = True

    def _listen(self) -> None:
        if not self._told.recv(64):
            return  # the command ended by itself
        began = time.monotonic()
        signal.alarm(0)  # of Ray's own handler, see `take_back`
        with self._lock:
            self.requested.set()
            if not self._serving and not self._done:
                self._leave(0, "stopped while it started")
        self._hurry(*self._reason(began))

    def _reason(self, began: float) -> tuple[int, str]:
        """Wait for why the stop should not be waited for any longer."""
        while (left_s := began + self._stop_s - time.monotonic()) > 0:
            if dead := self._died():
                return 0, f"{dead} was told to stop as well; the next start recovers"
            ready, _, _ = select.select([self._told], [], [], min(left_s, _LOOK_S))
            if ready and not self._told.recv(64):
                return 0, ""  # the command ended
            if ready and time.monotonic() - began >= HURRY_AFTER_S:
                return 0, "stopped at once, by a second signal; the next start recovers"
        return 1, f"did not stop within node.stop_timeout_s={self._stop_s:g}; killed what was left"

    def _hurry(self, code: int, sentence: str) -> None:
        with self._lock:
            if sentence and not self._done:
                self._leave(code, sentence)
