"""The actor's side of a cell: hands out one job at a time, and gets its answer or one typed error.

Rules
1. A child that dies, takes too long or too much, or answers what is no answer, is killed; the next job gets
   a new one, which is started at once. So many may end in a minute and no more: then each job is refused
   until the minute is over.
2. An answer is copied before it is looked at: the child may go on writing.
3. Nothing is left of a child, whoever dies first: its files have no names, and it ends with its parent.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic

from actors.execution.cells.child_process import CellChild, printable
from actors.execution.cells.interface import A, CellEngine, CellError, CellLimits, CellReason, J
from actors.execution.cells.messages import JobFailed
from actors.execution.cells.packing import pack, unpack
from actors.execution.cells.shared_file import SharedFile

_MINUTE_S = 60.0
_OUT_OF_MEMORY = "MemoryError"


class CellProcess(Generic[J, A]):
    """A cell of one engine. Threads take turns. clock: monotonic seconds. directory: see CellEngine."""

    def __init__(
        self,
        engine: CellEngine[J, A],
        limits: CellLimits,
        clock: Callable[[], float] = time.monotonic,
        directory: Path | None = None,
    ) -> None:
        self._engine, self._limits, self._clock, self._directory = engine, limits, clock, directory
        self._turn = threading.Lock()
        self._jobs = SharedFile("raychain-cell-job", limits.job_bytes_max)
        self._answers = SharedFile("raychain-cell-answer", limits.answer_bytes_max)
        self._child: CellChild | None = None
        self._ended_s: deque[float] = deque()
        self._ended: Counter[str] = Counter()
        self._starts = self._done = 0

    def start(self) -> None:
        """Start a child ahead of the first job, and do not wait for it. Raises CellError."""
        with self._turn:
            self._living()

    def run(self, job: J) -> A:
        """What came of a job. Raises CellError."""
        with self._turn:
            packed = pack(job)
            if packed.nbytes > self._limits.job_bytes_max:
                limit = self._limits.job_bytes_max
                raise CellError(CellReason.TOO_LARGE, f"a job of {packed.nbytes} bytes: at most {limit}")
            child = self._living()
            try:
                child.await_ready()
                self._jobs.write(packed)
                answer = self._asked(child, packed.nbytes, job)
            except CellError as error:
                if error.reason is not CellReason.FAILED:
                    self._replace(child, error.reason)
                raise
            self._done += 1
            return answer

    def facts(self) -> dict[str, Any]:
        """What an operator may see of it. ended: children, by reason."""
        with self._turn:
            facts: dict[str, Any] = {
                "engine": self._engine.module,
                "jobs": self._done,
                "starts": self._starts,
                "ended": dict(self._ended),
            }
            if self._child is not None and self._child.lives():
                facts |= {"pid": self._child.pid, "cpu_s": self._child.cpu_s()}
                if self._child.start_ms:
                    ready = self._child.await_ready()
                    facts |= {"start_ms": round(self._child.start_ms, 1), "import_ms": ready.import_ms}
                    facts |= {"filtered": ready.filtered, "unfiltered_why": printable(ready.unfiltered_why)}
            return facts

    def rest(self) -> None:
        """End the child and its memory until there is a job again; this counts as no restart."""
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    def close(self) -> None:
        """End it."""
        self.rest()
        with self._turn:
            self._jobs.close()
            self._answers.close()

    def _asked(self, child: CellChild, job_bytes: int, job: J) -> A:
        said = child.run(job_bytes)
        if isinstance(said, JobFailed):
            text = printable(f"{said.error}: {said.text}")
            raise CellError(CellReason.MEMORY if said.error == _OUT_OF_MEMORY else CellReason.FAILED, text)
        if not 0 <= said.nbytes <= self._limits.answer_bytes_max:
            raise CellError(CellReason.GARBAGE, f"an answer of {said.nbytes} bytes")
        data = self._answers.read(said.nbytes)
        for file, used in ((self._jobs, job_bytes), (self._answers, said.nbytes)):
            if used > self._limits.keep_bytes:
                file.release(self._limits.keep_bytes)
        try:
            answer = unpack(self._engine.answer, data.data)
            self._engine.check(job, answer)
        except ValueError as error:
            raise CellError(CellReason.GARBAGE, printable(str(error))) from error
        return answer

    def _living(self) -> CellChild:
        """The child; a new one, if it has ended while nobody looked."""
        if self._child is not None and not self._child.lives():
            self._end(self._child, CellReason.DIED)
        if self._child is None:
            self._child = self._started()
        return self._child

    def _started(self) -> CellChild:
        while self._ended_s and self._ended_s[0] <= self._clock() - _MINUTE_S:
            self._ended_s.popleft()
        if len(self._ended_s) > self._limits.restarts_max:
            ended = ", ".join(f"{count} by {reason}" for reason, count in self._ended.most_common())
            text = f"{len(self._ended_s)} children ended within a minute; of all, {ended}"
            raise CellError(CellReason.RESTARTS, text)
        self._starts += 1
        try:
            files = self._jobs.fd, self._answers.fd
            return CellChild(self._engine.module, self._limits, files, self._directory)
        except CellError as error:
            self._ended_s.append(self._clock())
            self._ended[error.reason] += 1
            raise

    def _replace(self, child: CellChild, reason: CellReason) -> None:
        """End a child, and start the next one, unless that is refused, as the next job will be told."""
        self._end(child, reason)
        try:
            self._child = self._started()
        except CellError:
            self._child = None

    def _end(self, child: CellChild, reason: CellReason) -> None:
        child.end()
        self._child = None
        self._ended_s.append(self._clock())
        self._ended[reason] += 1
