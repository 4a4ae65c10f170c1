"""Programs that a verifier takes and that cost as much as they can: to compile, or to run."""

from __future__ import annotations

from collections.abc import Sequence

from actors.contracts import ir
from actors.contracts.encoding import encode_program
from actors.contracts.limits import ARRAY_MAX, EVENTS_PER_CALL_MAX, LOOP_ITERATIONS_MAX
from actors.contracts.types import BOOL, HASH, U64, U128

_NUMBER, _WIDE, _ARRAY = ir.Shape(U64), ir.Shape(U128), ir.Shape(U64, ARRAY_MAX)
_ROUNDS = LOOP_ITERATIONS_MAX
_CELL = ir.Table("cell", (U64,), (ir.Named("value", _NUMBER),))
_EVENT = ir.Event("Noise", tuple(ir.Named(f"field{number}", _NUMBER) for number in range(16)))


def choices(count: int = 4_000 // 3) -> bytes:
    """To compile: choices one after the other, each of which may fail; LLVM takes more than linear time."""
    body = [
        ir.If(
            0,
            (ir.Binary(ir.Arithmetic.MUL, 1 + n % 16, 1 + n * 7 % 16, 1 + n * 5 % 16),),
            (ir.Binary(ir.Arithmetic.ADD, 1 + n % 16, 1 + n * 3 % 16, 1 + n * 5 % 16),),
        )
        for n in range(count)
    ]
    return _program(_entry((ir.Shape(BOOL), *(_WIDE,) * 16), body))


def reads(count: int = 4_000) -> bytes:
    """To compile: reads of entries one after the other, much code for each."""
    body = [ir.Get(0, (n % 32,), ((n * 7 + 1) % 32,)) for n in range(count)]
    return _program(_entry((_NUMBER,) * 32, body))


def loops() -> bytes:
    """To run: the most steps that a call may have."""
    inner = (ir.Binary(ir.Arithmetic.XOR, 2, 0, 1), ir.Binary(ir.Arithmetic.OR, 3, 2, 0))
    body: list[ir.AnyOp] = [ir.Const(4, _u64(_ROUNDS)), ir.Const(5, _u64(_ROUNDS // 4))]
    body += [ir.Loop(0, 4, _ROUNDS, (ir.Loop(1, 5, _ROUNDS // 4, inner),))]
    return _program(_entry((_NUMBER,) * 6, body))


def hashes() -> bytes:
    """To run: hashes of as much as a frame holds."""
    registers = (ir.Shape(HASH), _NUMBER, _NUMBER, *(_ARRAY,) * 3)
    hashing = ir.Hash(0, (3, 4, 5))
    body: list[ir.AnyOp] = [ir.Const(1, _u64(_ROUNDS)), ir.Loop(2, 1, _ROUNDS, (hashing,) * 16)]
    return _program(_entry(registers, body))


def frames() -> bytes:
    """To run: functions within each other, each with as large a frame as it may have."""
    registers = (_NUMBER, _NUMBER, *(_ARRAY,) * 3, *(_NUMBER,) * 2)
    deep: list[ir.Function] = []
    for number in range(7):
        calls = (ir.Call(number - 1, (), ()),) * 2 if number else (ir.Store(2, 0, 1),)
        deep.append(_function(f"deep{number}", ir.FunctionKind.PRIVATE, registers, calls))
    body: list[ir.AnyOp] = [ir.Const(0, _u64(_ROUNDS)), ir.Loop(1, 0, _ROUNDS, (ir.Call(6, (), ()),))]
    return _program(*deep, _entry(registers, body))


def writes() -> bytes:
    """To run: an entry more in every round, and events as long as there may be some."""
    body: list[ir.AnyOp] = [
        ir.Const(0, _u64(_ROUNDS)),
        ir.Const(3, _u64(EVENTS_PER_CALL_MAX)),
        ir.Loop(2, 3, EVENTS_PER_CALL_MAX, (ir.Emit(0, (0,) * 16),)),
        ir.Loop(1, 0, _ROUNDS, (ir.Put(0, (1,), (0,)),)),
    ]
    return _program(_entry((_NUMBER,) * 4, body))


COMPILE_BOMBS = {"choices": choices, "reads": reads}
RUN_BOMBS = {"loops": loops, "hashes": hashes, "frames": frames, "writes": writes}


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _entry(registers: Sequence[ir.Shape], body: Sequence[ir.AnyOp]) -> ir.Function:
    return _function("go", ir.FunctionKind.ENTRY, registers, body)


def _function(
    name: str, kind: ir.FunctionKind, registers: Sequence[ir.Shape], body: Sequence[ir.AnyOp]
) -> ir.Function:
    return ir.Function(name, kind, False, (), tuple(registers), (), tuple(body))


def _program(*functions: ir.Function) -> bytes:
    return encode_program(ir.Program(ir.IR_VERSION, "Bomb", (_CELL,), (_EVENT,), (), ("",), functions))
