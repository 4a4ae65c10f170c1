"""What a governed function is run on, what comes of it, and who runs it: a cell, and a new child each time.

Rules
1. A function is `run(columns, arguments)`: FunctionColumns, and the bytes that its governors signed. It
   answers (n,) int64 changes of balances, 0 where there is none, in the order of the columns. That of the
   treasury is 0: it pays, or gets, what the others add up to.
2. It runs on the Python minor version and the libraries that its governors named, or not at all.
3. A child runs one function and ends: nothing is left of one run to the next, so what a function does with a
   clock, with random numbers, or with the order of a set, is another thing each time and at each member.
4. Whatever goes wrong is one error with words for people: what the function raised, an answer that is none,
   too much time or memory.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.interface import CellEngine, CellError, CellLimits
from actors.execution.cells.packing import columns_of
from actors.execution.cells.process import CellProcess
from actors.execution.job import KEY_BYTES
from actors.ledger.effects import BalanceEffects
from actors.ledger.governed_payloads import FUNCTION_BYTES_MAX, GovernedCall, lock_of

FUNCTION_LIMITS = CellLimits(
    cpu_s=30.0,
    wall_s=60.0,
    memory_bytes=2 << 30,
    job_bytes_max=512 << 20,
    answer_bytes_max=128 << 20,
    keep_bytes=0,
    restarts_max=60,
)


@dataclass(frozen=True, slots=True, eq=False)
class FunctionColumns:
    """All accounts, in ascending order of their keys, as they are before the block; what is read-only is so.

    keys: (n, 32) uint8. balances, nonces: (n,) uint64. treasury: the place of its account among them. height,
    time_ms: of the block that the function is in.
    """

    keys: NDArray[np.uint8]
    balances: NDArray[np.uint64]
    nonces: NDArray[np.uint64]
    treasury: int
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class FunctionJob:
    """function, arguments: (.,) uint8."""

    function: NDArray[np.uint8]
    arguments: NDArray[np.uint8]
    columns: FunctionColumns


@dataclass(frozen=True, slots=True, eq=False)
class FunctionAnswer:
    """changes: (n,) int64."""

    changes: NDArray[np.int64]


columns_of(FunctionColumns, keys=("u1", KEY_BYTES), balances="<u8", nonces="<u8")
columns_of(FunctionJob, function="u1", arguments="u1")
columns_of(FunctionAnswer, changes="<i8")


@dataclass(frozen=True, slots=True, eq=False)
class SourceJob:
    """source: (.,) uint8, UTF-8."""

    source: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class SourceAnswer:
    """function: (.,) uint8, as cloudpickle has it."""

    function: NDArray[np.uint8]


columns_of(SourceJob, source="u1")
columns_of(SourceAnswer, function="u1")


class FunctionFailedError(RuntimeError):
    """A function has no effects here; the text says why."""


def check_answer(job: FunctionJob, answer: FunctionAnswer) -> None:
    """Raise ValueError unless this can be an answer to the job."""
    accounts = len(job.columns.keys)
    if len(answer.changes) != accounts:
        raise ValueError(f"{len(answer.changes)} changes of {accounts} accounts")
    if answer.changes[job.columns.treasury]:
        raise ValueError("it changes the treasury, which pays what the other changes add up to")


FUNCTIONS: CellEngine[FunctionJob, FunctionAnswer] = CellEngine(
    "actors.execution.cells.functions", FunctionAnswer, check_answer
)


def check_source_answer(_job: SourceJob, answer: SourceAnswer) -> None:
    """Raise ValueError unless a transaction has room for it."""
    if not 0 < len(answer.function) <= FUNCTION_BYTES_MAX:
        raise ValueError(f"a function of {len(answer.function)} bytes: at most {FUNCTION_BYTES_MAX}")


SOURCES: CellEngine[SourceJob, SourceAnswer] = CellEngine(
    "actors.execution.cells.function_source", SourceAnswer, check_source_answer
)


def function_of(source: str) -> bytes:
    """The bytes of the function `run` of a Python file. The file is parsed here and run in a cell. Raises
    FunctionFailedError with what is wrong with it."""
    try:
        ast.parse(source)  # which for the words of its error opens files, as no cell may
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FunctionFailedError(f"{type(error).__name__}: {error}") from error
    cell = CellProcess(SOURCES, FUNCTION_LIMITS)
    try:
        return cell.run(SourceJob(np.frombuffer(source.encode(), dtype=np.uint8))).function.tobytes()
    except CellError as error:
        raise FunctionFailedError(str(error)) from error
    finally:
        cell.close()


class FunctionRunner:
    """Runs functions of one node, one after the other."""

    def __init__(self, limits: CellLimits = FUNCTION_LIMITS) -> None:
        self._cell = CellProcess(FUNCTIONS, limits)
        self.lock, self.python_minor = lock_of(version), sys.version_info.minor

    def run(self, call: GovernedCall, columns: FunctionColumns) -> BalanceEffects:
        """What a function does whose governors were verified. Raises FunctionFailedError."""
        if call.python_minor != self.python_minor:
            ours = f"this member has 3.{self.python_minor}"
            raise FunctionFailedError(f"it is made for Python 3.{call.python_minor}, {ours}")
        if call.lock != self.lock:
            raise FunctionFailedError(f"it is made for libraries {call.lock.hex()}, not {self.lock.hex()}")
        job = FunctionJob(
            np.frombuffer(call.function, dtype=np.uint8),
            np.frombuffer(call.arguments, dtype=np.uint8),
            columns,
        )
        try:
            changes = self._cell.run(job).changes
        except CellError as error:
            raise FunctionFailedError(str(error)) from error
        finally:
            self._cell.rest()
        places = np.flatnonzero(changes)
        return BalanceEffects(places - (places > columns.treasury), changes[places])

    def close(self) -> None:
        """End it."""
        self._cell.close()
