"""Runs jobs by compiled code: one pass over the rows, whatever contracts they call.

Theory of operation. The programs of a job are compiled once and kept (NativeCache). Their contracts are
linked, what is known of the state is put into tables, and one call runs all rows (native_block.py). It comes
back early for room, and goes on; or for a key that is not known: then the outcome ends before that row, and
the loop goes on as if what is missing were absent, only to find what else is.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.program import NativeCache, compile_program
from actors.contracts.verified import Verified
from actors.execution.job import Job, JobOutcome
from actors.execution.native_block import RUN_BLOCK, block_text
from actors.execution.native_run import BlockRun
from actors.execution.native_state import StateTables
from actors.kernels.compiled import Loaded, host, module_code
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER

PROGRAMS_MAX = 256
Compile = Callable[[Verified], bytes]


@lru_cache(maxsize=1)
def _block_code() -> Loaded:
    return Loaded(module_code(block_text(), host()), host())


class NativeEngine:
    """Jobs by compiled code. seed: 128 bits that strangers do not know (HashTable). compile_code: answers a
    program's object code for this processor; its errors are those of `run`."""

    def __init__(
        self, seed: int, programs_max: int = PROGRAMS_MAX, compile_code: Compile = compile_program
    ) -> None:
        self._seed = seed
        self._programs = NativeCache(programs_max, compile_code)
        self._run = _block_code().function(RUN_BLOCK, ctypes.c_void_p, ctypes.c_void_p)

    def run(self, job: Job) -> JobOutcome:
        """What came of it: the same as by `interpreted.run`, but for keys that are told as missing, where not
        all need to be the same. Raises ValueError as that does."""
        kinds = job.batch.rows["kind"]
        if not ((kinds == KIND_TRANSFER) | (kinds == KIND_CALL)).all():
            raise ValueError(f"rows of kinds {np.unique(kinds).tolist()} in a job")
        weights = job.prices.weights
        encoded = {address: program for address, program in job.programs.items() if program}
        programs = {address: self._programs.get(program, weights) for address, program in encoded.items()}
        for program in programs.values():
            for imported in program.verified.program.imports:
                if imported.address not in job.programs:
                    raise ValueError(f"a job without the program of {imported.address.hex()}")
        linked = LinkedContracts(programs, programs.get)
        tables = StateTables(job, linked, self._seed)
        running = BlockRun(self._run, job, linked, tables)
        why = running.go_on()
        outcome = running.outcome()
        if why is None:
            return outcome
        return dataclasses.replace(outcome, missing=running.missing())
