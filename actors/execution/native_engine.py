"""Runs jobs by compiled code: one pass over the rows, whatever contracts they call.

Theory of operation. The programs of a job are compiled once and kept (NativeCache's twin for encoded ones).
Their contracts are linked, what is known of the state is put into tables, and one call runs all rows
(native_block.py). It comes back early for room, and goes on; or for a key that is not known: then the outcome
ends before that row, and tells which keys are missing. To find more than the first of them, the rows that are
left are tried on a guess of what is missing, whose effects nobody sees.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from actors.contracts.encoding import decode_program, program_hash
from actors.contracts.gas import Weights
from actors.contracts.native.layout import Stop
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.program import NativeProgram, compile_program
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.execution.interpreted import MISSING_MAX, check_programs
from actors.execution.job import KEY_BYTES, Job, JobOutcome
from actors.execution.native_block import RUN_BLOCK, block_text
from actors.execution.native_run import BlockRun
from actors.execution.native_state import StateTables
from actors.kernels.compiled import Loaded, compile_object, host
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER

PROGRAMS_MAX = 256
Compile = Callable[[Verified], bytes]


@lru_cache(maxsize=1)
def _block_code() -> Loaded:
    return Loaded(compile_object(block_text(), host()), host())


class NativeEngine:
    """Jobs by compiled code. seed: 128 bits that strangers do not know (HashTable). compile_code: answers a
    program's object code for this processor; its errors are those of `run`."""

    def __init__(
        self, seed: int, programs_max: int = PROGRAMS_MAX, compile_code: Compile = compile_program
    ) -> None:
        self._seed, self._programs_max, self._compile = seed, programs_max, compile_code
        self._programs: OrderedDict[tuple[bytes, Weights], NativeProgram] = OrderedDict()
        self._run = _block_code().function(RUN_BLOCK, ctypes.c_void_p, ctypes.c_void_p)

    def prepare(self, program: bytes, weights: Weights) -> NativeProgram:
        """The code of a program, as it is encoded: compiled now, unless it is kept."""
        key = program_hash(program), weights
        found = self._programs.get(key)
        if found is None:
            verified = verify(decode_program(program), weights)
            found = self._programs[key] = NativeProgram(verified, self._compile(verified))
            if len(self._programs) > self._programs_max:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return found

    def run(self, job: Job) -> JobOutcome:
        """What came of it: that of `interpreted.run`. Raises ValueError as that does."""
        check_programs(job)
        kinds = job.batch.rows["kind"]
        if not np.isin(kinds, (KIND_TRANSFER, KIND_CALL)).all():
            raise ValueError(f"rows of kinds {np.unique(kinds).tolist()} in a job")
        weights = job.prices.weights
        programs = {at: self.prepare(encoded, weights) for at, encoded in job.programs.items() if encoded}
        linked = LinkedContracts(programs, programs.get)
        tables = StateTables(job.known, linked, self._seed)
        running = BlockRun(self._run, job, linked, tables)
        why = running.go_on()
        outcome = running.outcome()
        if why is None:
            return outcome
        missing = _find_missing(running, why)
        keys = np.frombuffer(b"".join(missing), np.uint8).reshape(-1, KEY_BYTES)
        return replace(outcome, missing=keys)


def _find_missing(running: BlockRun, why: Stop) -> list[bytes]:
    """Keys of the rows that are left: each is supposed to be absent when it is missed."""
    found = list[bytes]()
    missed: Stop | None = why
    while missed is not None and len(found) < MISSING_MAX:
        found.append(running.suppose(missed))
        missed = running.go_on()
    return found
