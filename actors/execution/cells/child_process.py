"""One child of a cell, from its start to its end, as its actor sees it.

The kernel ends a child with the *thread* that has started it, so one thread that lives as long as this
process starts them all. Where the kernel does not do that, a child ends when its socket is hung up on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import actors
from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.messages import (
    TEXT_CHARS_MAX,
    CellChannel,
    CellFrameError,
    CellReady,
    CellSetup,
    FromCell,
    HungUpError,
    JobAnswered,
    JobFailed,
    RunJob,
)

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; from actors.execution.cells.child import main; "
    "main(int(sys.argv[1]))"
)
_SEND_S, _END_S, _LOOK_S_MIN, _CPU_MARGIN_S = 5.0, 5.0, 0.01, 2
_LAST_WORDS_BYTES = 4096
_SIGNALS = {signal.SIGSYS: CellReason.FORBIDDEN, signal.SIGXCPU: CellReason.TIME}
_OUT_OF_MEMORY = ("MemoryError", "out of memory", "bad_alloc", "bad alloc")


class CellChild:
    """A process. However it fails, CellError is raised; then it is of no more use, and `end` reaps it."""

    def __init__(
        self, engine: str, limits: CellLimits, files: tuple[int, int], directory: Path | None = None
    ) -> None:
        """files: descriptors of the jobs and the answers. directory: see CellEngine. Does not wait until it
        is ready."""
        self._limits = limits
        self._ready: CellReady | None = None
        self._began_s, self.start_ms = time.monotonic(), 0.0
        self._connection, theirs = socket.socketpair()
        with theirs:
            try:
                start = _starter(os.getpid()).submit(_spawn, (theirs.fileno(), *files))
                self._process = start.result()
            except (OSError, RuntimeError) as error:
                self._connection.close()
                raise CellError(CellReason.START, printable(str(error))) from error
        self.pid = self._process.pid
        self._channel = CellChannel(self._connection)
        setup = CellSetup(
            engine,
            str(directory or ""),
            *files,
            limits.answer_bytes_max,
            limits.memory_bytes,
            limits.nice,
            limits.confined,
        )
        self._say(setup)

    def await_ready(self) -> CellReady:
        """What it says of itself, once it can work."""
        if self._ready is None:
            said = self._hear(self._starting)
            if isinstance(said, JobFailed):
                raise CellError(CellReason.UNCONFINED, printable(said.text))
            if not isinstance(said, CellReady):
                raise CellError(CellReason.GARBAGE, "it answered before it was ready")
            self._ready, self.start_ms = said, (time.monotonic() - self._began_s) * 1e3
        return self._ready

    def _starting(self) -> float:
        left_s = self._began_s + self._limits.start_s - time.monotonic()
        if left_s <= 0:
            raise CellError(CellReason.TIME, f"not ready within {self._limits.start_s:.1f} s")
        return left_s

    def run(self, nbytes: int) -> JobAnswered | JobFailed:
        """The job that is in the file."""
        limits, began_s, began_cpu_s = self._limits, time.monotonic(), self.cpu_s()
        self._set_backstop(began_cpu_s + limits.cpu_s)
        self._say(RunJob(nbytes))

        def look() -> float:
            wall_s, cpu_s = time.monotonic() - began_s, self.cpu_s() - began_cpu_s
            if wall_s >= limits.wall_s or cpu_s >= limits.cpu_s:
                text = f"no answer within {wall_s:.1f} s, {cpu_s:.1f} s of the processor"
                raise CellError(CellReason.TIME, text)
            return min(limits.wall_s - wall_s, limits.cpu_s - cpu_s)

        said = self._hear(look)
        if isinstance(said, CellReady):
            raise CellError(CellReason.GARBAGE, "it said twice that it is ready")
        return said

    def cpu_s(self) -> float:
        """Processor time that it has used; 0 where the system does not tell."""
        if sys.platform != "linux":
            return 0.0
        try:
            return time.clock_gettime(((~self.pid) << 3) | 2)  # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
        except OSError:
            return 0.0  # it has ended

    def lives(self) -> bool:
        """Whether it has not ended; reaps it if it has."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it, if it lives, and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _say(self, message: CellSetup | RunJob) -> None:
        self._connection.settimeout(_SEND_S)
        try:
            self._channel.send(message)
        except TimeoutError:
            raise CellError(CellReason.GARBAGE, "it does not read what it is told") from None
        except HungUpError:
            raise self._death() from None

    def _hear(self, look: Callable[[], float]) -> FromCell:
        """The next message. look: for how long to wait before it is asked again, or it raises CellError."""

        def wait() -> None:
            self._connection.settimeout(max(_LOOK_S_MIN, look()))

        wait()
        self._channel.on_timeout = wait
        try:
            return self._channel.receive_from_cell()
        except CellFrameError as error:
            raise CellError(CellReason.GARBAGE, printable(str(error))) from error
        except HungUpError:
            raise self._death() from None

    def _death(self) -> CellError:
        """Why it has ended, of one that hung up."""
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return CellError(CellReason.GARBAGE, "it closed its socket and lived on")
        words = self._last_words()
        if status < 0:
            number = signal.Signals(-status)
            reason = _SIGNALS.get(number, CellReason.DIED)
            text = f"{number.name} {words}".strip()
        else:
            reason, text = CellReason.DIED, f"exit status {status} {words}".strip()
        if reason is CellReason.DIED and any(each in words for each in _OUT_OF_MEMORY):
            reason = CellReason.MEMORY
        return CellError(reason, text)

    def _last_words(self) -> str:
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        said = self._process.stderr.read(_LAST_WORDS_BYTES) or b""
        return printable(said.decode("ascii", "replace")[-TEXT_CHARS_MAX:])

    def _set_backstop(self, cpu_s: float) -> None:
        """The kernel ends it should nobody watch it."""
        if sys.platform == "linux":
            import resource

            bound = int(cpu_s) + _CPU_MARGIN_S
            try:
                resource.prlimit(self.pid, resource.RLIMIT_CPU, (bound, resource.RLIM_INFINITY))
            except ProcessLookupError:
                return  # it has ended, as will be seen


@lru_cache(maxsize=1)
def _starter(pid: int) -> ThreadPoolExecutor:
    """The thread that starts children of this process. pid: a fork has no thread of its parent's."""
    return ThreadPoolExecutor(1, thread_name_prefix=f"cells-{pid}")


def _spawn(descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """A child that has only these descriptors, and a pipe for last words."""
    root = str(Path(actors.__file__).parent.parent)
    paths = [root, *(str(Path(path or ".").absolute()) for path in sys.path)]
    flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    if sys.pycache_prefix:
        flags += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return subprocess.Popen(
        [sys.executable, *flags, "-c", _BOOT, str(descriptors[0]), *dict.fromkeys(paths)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        env={"OPENBLAS_NUM_THREADS": "1", "NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"]},
        start_new_session=True,  # what a terminal signals is not for it
    )


def printable(text: str) -> str:
    """What a child said, as a line of a log may have it."""
    return "".join(char if char.isprintable() else " " for char in text)[:TEXT_CHARS_MAX].strip()
