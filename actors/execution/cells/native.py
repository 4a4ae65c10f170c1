"""Compiled code as an engine of cells: its object code comes with the jobs, and is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from actors.contracts.encoding import encode_program, program_hash
from actors.contracts.native.program import lowered
from actors.contracts.verified import Verified
from actors.execution.cells.interface import CellEngine
from actors.execution.cells.outcome_checks import check_outcome
from actors.execution.cells.packing import columns_of
from actors.execution.cells.warm_up import warm_up
from actors.execution.job import Job, JobOutcome
from actors.execution.native_engine import NativeEngine
from actors.kernels.compiled import CacheError, host, keep_in, module_code

__all__ = ["NATIVE", "NativeJob", "prepare", "run"]


@dataclass(frozen=True, slots=True, eq=False)
class NativeJob:
    """codes: object code for this processor, by the hashes of programs that the cell may not have yet."""

    job: Job
    codes: Mapping[bytes, bytes]


columns_of(NativeJob)
_codes: dict[bytes, bytes] = {}


class MissingCodeError(LookupError):
    """A program of a job has never come with its code, or is kept no longer."""


def _code_of(program: Verified) -> bytes:
    named = program_hash(encode_program(program.program))
    if named not in _codes:
        raise MissingCodeError(named.hex())
    return _codes.pop(named)


@lru_cache(maxsize=1)
def _engine() -> NativeEngine:
    return NativeEngine(int.from_bytes(os.urandom(16), "little"), compile_code=_code_of)


def prepare(directory: Path | None) -> None:
    """See CellEngine."""
    keep_in(directory)
    try:
        _warm_up()
    except CacheError:  # a cell works without; what is wrong with the directory, the compiler tells
        keep_in(None)
        _warm_up()
    _engine()


def _warm_up() -> None:
    warm_up(NativeEngine(0, compile_code=lambda program: module_code(lowered(program), host())).run)


def run(job: NativeJob) -> JobOutcome:
    """Its outcome. Raises MissingCodeError, and what the engine raises."""
    _codes.clear()
    _codes.update(job.codes)
    return _engine().run(job.job)


NATIVE: CellEngine[NativeJob, JobOutcome] = CellEngine(
    __name__, JobOutcome, lambda asked, outcome: check_outcome(asked.job, outcome)
)
