"""What runs the jobs of one node by compiled code in cells, once that is ready.

Rules
1. Nothing waits for a compiler or for a cell that starts: a job whose programs have no code yet is refused,
   and so interpreted by whoever asked, while a thread compiles them. The result is the same.
2. A program that is not compiled within its limits is interpreted for as long as this process lives. Where
   the compiler itself could not work, the next job tries again.
3. A cell that dies or answers what cannot be is an EngineError: whoever asked has the rows, and interprets
   them. The next job gets a new child.
4. Object code is sent to a child once. PROGRAMS_KEPT programs have code here; those used last stay.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from actors.contracts.encoding import program_hash
from actors.contracts.gas import Weights
from actors.execution.cells.compiler import OF_THE_PROGRAM, ProgramCompiler
from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.native import NATIVE, NativeJob
from actors.execution.cells.process import CellProcess
from actors.execution.job import EngineError, EngineNotReadyError, Job, JobOutcome, StateSlice
from actors.kernels.compiled import CacheError
from actors.ledger.prices import FREE
from actors.ledger.rows import empty_batch

PROGRAMS_KEPT = 256
_Key = tuple[bytes, Weights]


class ContractEngine:
    """cells: how many jobs run beside each other; 0: all is interpreted. directory: keeps code between
    starts. told: is told what an operator should know."""

    def __init__(
        self,
        cells: int,
        directory: Path | None,
        told: Callable[[str], None],
        limits: CellLimits = CellLimits(),
    ) -> None:
        self._cells = [_Cell(limits, directory) for _ in range(cells)]
        self._compiler = ProgramCompiler(directory)
        self._told = told
        self._codes: OrderedDict[_Key, bytes] = OrderedDict()
        self._refused: dict[_Key, str] = {}
        self._compiling: dict[_Key, Future[bytes]] = {}
        self._background = ThreadPoolExecutor(1, thread_name_prefix="contract-compiler")
        self._beside = ThreadPoolExecutor(max(cells - 1, 1), thread_name_prefix="contract-cells")
        self._ready: Future[None] | None = None
        self._jobs: Counter[str] = Counter()

    @property
    def serves(self) -> bool:
        """Whether anything is ever run by compiled code."""
        return bool(self._cells)

    @property
    def parts(self) -> int:
        """How many jobs at a time are worth it."""
        return max(len(self._cells), 1)

    def run_all(self, jobs: list[Job]) -> list[JobOutcome]:
        """Their outcomes. Raises EngineNotReadyError, and EngineError when a cell is lost."""
        self.require(jobs)
        self._jobs["compiled"] += len(jobs)
        try:
            return self._run_beside(jobs)
        except CellError as error:
            self._jobs["lost"] += 1
            raise EngineError(str(error)) from error

    def require(self, jobs: list[Job]) -> None:
        """Have code for these, and cells that run. Raises EngineNotReadyError; what is missing is begun."""
        wanted = {
            (program_hash(program), job.prices.weights): program
            for job in jobs
            for program in job.programs.values()
            if program
        }
        if not self._cells or not self._have(wanted):
            self._jobs["interpreted"] += len(jobs)
            raise EngineNotReadyError("no code yet")

    def _run_beside(self, jobs: list[Job]) -> list[JobOutcome]:
        outcomes = list[JobOutcome]()
        for start in range(0, len(jobs), len(self._cells)):
            some = jobs[start : start + len(self._cells)]
            others = [
                self._beside.submit(cell.run, job, self._codes)
                for cell, job in zip(self._cells[1:], some[1:], strict=False)
            ]
            try:
                outcomes.append(self._cells[0].run(some[0], self._codes))
            finally:
                errors = [other.exception() for other in others]
            if lost := next(filter(None, errors), None):
                raise lost
            outcomes.extend(other.result() for other in others)
        return outcomes

    def _have(self, wanted: Mapping[_Key, bytes]) -> bool:
        """Whether all of these have code, and cells to run in. What is missing is begun."""
        ready = self._cells_are_ready()
        for key, program in wanted.items():
            if key in self._codes:
                self._codes.move_to_end(key)
            elif key in self._refused:
                ready = False
            elif key not in self._compiling:
                ready = False
                if len(self._compiling) < PROGRAMS_KEPT:
                    self._compiling[key] = self._background.submit(self._compiler.compile, program, key[1])
            elif self._compiling[key].done():
                ready = self._take(key, self._compiling.pop(key)) and ready
            else:
                ready = False
        return ready

    def _take(self, key: _Key, done: Future[bytes]) -> bool:
        try:
            self._codes[key] = done.result()
        except (CellError, CacheError) as error:
            if isinstance(error, CellError) and error.reason not in OF_THE_PROGRAM:
                return False
            self._refused[key] = str(error)
            if len(self._refused) > 4 * PROGRAMS_KEPT:
                self._refused.pop(next(iter(self._refused)))
            self._told(f"the contract program {key[0].hex()} is interpreted: {error}")
            return False
        if len(self._codes) > PROGRAMS_KEPT:
            self._codes.popitem(last=False)
        return True

    def _cells_are_ready(self) -> bool:
        if self._ready is None:
            self._ready = self._background.submit(self._start_cells)
        if not self._ready.done():
            return False
        if (error := self._ready.exception()) is not None:
            self._ready = None
            self._told(f"contracts are interpreted, no cell could be started: {error}")
            return False
        return True

    def _start_cells(self) -> None:
        for cell in self._cells:
            cell.start()

    def wait(self) -> None:
        """Until what was begun is done: cells that start, programs that are compiled."""
        if self._ready is not None:
            self._ready.exception()
        for future in self._compiling.values():
            future.exception()

    def facts(self) -> dict[str, Any]:
        """Of jobs by what has run them, of programs, and of each cell."""
        return {
            "jobs": dict(self._jobs),
            "programs_compiled": len(self._codes),
            "programs_compiling": len(self._compiling),
            "programs_interpreted": len(self._refused),
            "cells": [cell.facts() for cell in self._cells],
        }

    def close(self) -> None:
        """End the cells and the threads."""
        self._background.shutdown(wait=False, cancel_futures=True)
        self._beside.shutdown(wait=False, cancel_futures=True)
        for cell in self._cells:
            cell.close()
        self._compiler.close()


class _Cell:
    """A cell, and what its child has been given."""

    def __init__(self, limits: CellLimits, directory: Path | None) -> None:
        self._process = CellProcess(NATIVE, limits, directory=directory)
        self._sent: set[bytes] = set()

    def start(self) -> None:
        """Have a child that is ready."""
        nothing = Job(empty_batch(), 1, 0, FREE, 0, {}, StateSlice.of({}, {}))
        self._process.run(NativeJob(nothing, {}))

    def run(self, job: Job, codes: Mapping[_Key, bytes]) -> JobOutcome:
        """Its outcome. What the child may not have comes along; all of it, if that is a new one."""
        weights = job.prices.weights
        needed = {program_hash(each) for each in job.programs.values() if each}
        for left_out in (self._sent, set[bytes]()):
            along = {named: codes[named, weights] for named in needed - left_out}
            try:
                outcome = self._process.run(NativeJob(job, along))
            except CellError as error:
                self._sent = set()
                if error.reason is CellReason.FAILED and "MissingCodeError" in error.text and left_out:
                    continue
                raise
            self._sent = (self._sent | needed) if len(self._sent) < PROGRAMS_KEPT // 2 else needed
            return outcome
        raise CellError(CellReason.FAILED, "it does not keep what it is given")

    def facts(self) -> dict[str, Any]:
        """Of its process."""
        return self._process.facts()

    def close(self) -> None:
        """End it."""
        self._process.close()
