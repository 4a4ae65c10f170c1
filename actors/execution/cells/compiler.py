"""Object code of contracts: from a directory that keeps it, or compiled in a cell that lives for one program.

1. A program that takes too long or too much costs a child, and CellError is raised; so it is for the next who
   asks, without another try, as long as it is among the last REFUSED_MAX of its kind.
2. What shapes the code is in its key: the program, its weights, this CPU, LLVM, and our sources.
3. This process never loads the code: it is read and checked as compiled.py says, and handed to cells.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from actors import contracts
from actors.contracts.encoding import program_hash
from actors.contracts.gas import Weights
from actors.execution.cells.compile_engine import COMPILING, CompileJob
from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.process import CellProcess
from actors.kernels.compiled import cache_key, host, kept_code

COMPILE_LIMITS = CellLimits(
    cpu_s=10.0,
    wall_s=120.0,
    memory_bytes=512 << 20,
    job_bytes_max=1 << 20,
    answer_bytes_max=32 << 20,
    restarts_max=120,  # each program has a child of its own, and bombs must not keep others from theirs
    nice=10,
)
FILES_MAX = 1024
REFUSED_MAX = 256
OF_THE_PROGRAM = {
    CellReason.TIME,
    CellReason.MEMORY,
    CellReason.DIED,
    CellReason.FORBIDDEN,
    CellReason.FAILED,
}


class ProgramCompiler:
    """Compiles one program at a time. directory: keeps code between starts, if given."""

    def __init__(self, directory: Path | None, limits: CellLimits = COMPILE_LIMITS) -> None:
        self._directory = directory
        self._cell = CellProcess(COMPILING, limits)
        self._refused: OrderedDict[str, CellError] = OrderedDict()

    def compile(self, program: bytes, weights: Weights) -> bytes:
        """The object code of an encoded program, for this CPU.

        Raises CellError, and CacheError where the directory is not as it should be.
        """
        key = cache_key(f"contract {code_name(program, weights)}", host())
        if (refused := self._refused.get(key)) is not None:
            raise CellError(refused.reason, refused.text)
        try:
            if self._directory is None:
                return self._compiled(program, weights)
            return kept_code(
                self._directory, "contract", key, lambda: self._compiled(program, weights), FILES_MAX
            )
        except CellError as error:
            if error.reason in OF_THE_PROGRAM:
                self._refused[key] = error
                if len(self._refused) > REFUSED_MAX:
                    self._refused.popitem(last=False)
            raise

    def facts(self) -> dict[str, Any]:
        """Those of its cell, and how many programs it refuses."""
        return {**self._cell.facts(), "refused": len(self._refused)}

    def close(self) -> None:
        """End the cell."""
        self._cell.close()

    def _compiled(self, program: bytes, weights: Weights) -> bytes:
        target = host()
        job = CompileJob(program, weights, target.cpu, tuple(sorted(target.features)))
        try:
            compiled = self._cell.run(job)
        finally:
            self._cell.rest()
        return compiled.code.tobytes()


def code_name(program: bytes, weights: Weights) -> str:
    """All that shapes a program's code besides the machine and the kernels, in hex."""
    shape = [program_hash(program).hex(), msgspec.to_builtins(weights), _source_hash().hex()]
    return sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def _source_hash() -> bytes:
    """Of all sources that make code of programs."""
    digest, root = sha256(), Path(contracts.__file__).parent
    for path in sorted([*root.glob("*.py"), *(root / "native").glob("*.py")]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + sha256(path.read_bytes()).digest())
    return digest.digest()
