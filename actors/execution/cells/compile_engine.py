"""The compiler as an engine of cells: LLVM works on programs of strangers, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.gas import Weights
from actors.contracts.native.program import lowered
from actors.contracts.types import HASH, U64, Type
from actors.contracts.verifier import verify
from actors.execution.cells.interface import CellEngine
from actors.execution.cells.packing import columns_of
from actors.kernels.compiled import OBJECT_BYTES_MAX, Host, compile_object, host


@dataclass(frozen=True, slots=True)
class CompileJob:
    """program: its encoded bytes. cpu, features: what it is compiled for, in LLVM's names."""

    program: bytes
    weights: Weights
    cpu: str
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCode:
    """code: (.,) uint8 object code."""

    code: NDArray[np.uint8]


columns_of(CompileJob)
columns_of(CompiledCode, code="u1")


def prepare(_directory: Path | None) -> None:
    """See CellEngine."""
    target = host()
    run(CompileJob(encode_program(_PROGRAM), Weights(), target.cpu, tuple(sorted(target.features))))


def run(job: CompileJob) -> CompiledCode:
    """Its object code. Raises ProgramError for what is no valid program, RuntimeError with LLVM's message."""
    program = verify(decode_program(job.program), job.weights)
    target = Host(job.cpu, frozenset(job.features))
    code = compile_object(lowered(program), target)
    return CompiledCode(np.frombuffer(code, dtype=np.uint8))


def check_code(_: CompileJob, compiled: CompiledCode) -> None:
    """Raise ValueError for an answer that is none."""
    if not 0 < len(compiled.code) <= OBJECT_BYTES_MAX:
        raise ValueError(f"{len(compiled.code)} bytes of code")


COMPILING: CellEngine[CompileJob, CompiledCode] = CellEngine(__name__, CompiledCode, check_code)

_FUNCTION = ir.Function(
    "f",
    ir.FunctionKind.ENTRY,
    False,
    (),
    (ir.Shape(HASH), ir.Shape(U64), ir.Shape(U64)),
    (),
    (ir.Hash(0, (0, 1)), ir.Binary(ir.Arithmetic.ADD, 1, 1, 2), ir.Put(0, (0,), (1,))),
)
_TABLE = ir.Table("t", (Type(HASH.code),), (ir.Named("v", ir.Shape(U64)),))
_PROGRAM = ir.Program(ir.IR_VERSION, "WarmUp", (_TABLE,), (), (), ("",), (_FUNCTION,))
