"""Checks of single operations: their registers, the types of these, and the numbers of what they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from actors.contracts import ir, limits
from actors.contracts.errors import ProgramError, at_most
from actors.contracts.types import ADDRESS, BOOL, HASH, INTEGERS, U64, UNSIGNED, Type, TypeCode

T = TypeVar("T")
Access = Callable[[int], ir.Shape]
_BOOL, _U64, _ADDRESS, _HASH = ir.Shape(BOOL), ir.Shape(U64), ir.Shape(ADDRESS), ir.Shape(HASH)
_UNSIGNED_ONLY = (
    ir.Arithmetic.AND,
    ir.Arithmetic.OR,
    ir.Arithmetic.XOR,
    ir.Arithmetic.SHL,
    ir.Arithmetic.SHR,
)
_FACTS = {
    ir.Fact.SENDER: _ADDRESS,
    ir.Fact.CONTRACT: _ADDRESS,
    ir.Fact.AMOUNT: _U64,
    ir.Fact.HEIGHT: _U64,
    ir.Fact.TIME_MS: _U64,
    ir.Fact.ORIGIN: _ADDRESS,
}


class DeclaredShapes:
    """What the tables, events and functions of a program are made of, listed once for all their uses."""

    def __init__(self, program: ir.Program) -> None:
        self.keys = [[ir.Shape(kind) for kind in table.keys] for table in program.tables]
        self.columns = [[column.shape for column in table.columns] for table in program.tables]
        self.fields = [[field.shape for field in event.fields] for event in program.events]
        self.params = [[param.shape for param in each.params] for each in program.functions]
        self.results = [[named.shape for _, named in each.results] for each in program.functions]


class Scope:
    """The registers of a function, and which of them a loop around the current operation keeps to itself."""

    def __init__(self, program: ir.Program, number: int, shapes: DeclaredShapes) -> None:
        self.program, self.number, self.shapes = program, number, shapes
        self.registers = program.functions[number].registers
        self._looping = [0] * len(self.registers)

    def read(self, register: int) -> ir.Shape:
        """The shape of a register that an operation reads."""
        if not 0 <= register < len(self.registers):
            raise ProgramError(f"register {register} of {len(self.registers)}")
        return self.registers[register]

    def write(self, register: int) -> ir.Shape:
        """The shape of a register that an operation writes."""
        if not 0 <= register < len(self.registers):
            raise ProgramError(f"register {register} of {len(self.registers)}")
        if self._looping[register]:
            raise ProgramError(f"writes register {register}, which a loop around it counts with")
        return self.registers[register]

    def enter(self, loop: ir.Loop) -> None:
        """Its index and count are not written until `leave`."""
        self._looping[loop.index] += 1
        self._looping[loop.count] += 1

    def leave(self, loop: ir.Loop) -> None:
        """End of a loop's body."""
        self._looping[loop.index] -= 1
        self._looping[loop.count] -= 1


def text(shape: ir.Shape) -> str:
    """As an author writes it."""
    return f"Array[{shape.type}, {shape.count}]" if shape.count else str(shape.type)


def _expect(shape: ir.Shape, expected: ir.Shape) -> None:
    if shape != expected:
        raise ProgramError(f"a register holds {text(shape)} instead of {text(expected)}")


def _expect_each(what: str, access: Access, registers: Sequence[int], expected: Sequence[ir.Shape]) -> None:
    if len(registers) != len(expected):
        raise ProgramError(f"{len(registers)} {what} instead of {len(expected)}")
    for register, shape in zip(registers, expected, strict=True):
        if (held := access(register)) != shape:
            _expect(held, shape)


def _numbered(what: str, things: Sequence[T], number: int) -> T:
    if not 0 <= number < len(things):
        raise ProgramError(f"{what} {number} of {len(things)}")
    return things[number]


def _scalar(shape: ir.Shape) -> Type:
    if shape.count:
        raise ProgramError(f"a register holds {text(shape)} instead of a single value")
    return shape.type


def _integer(shape: ir.Shape) -> Type:
    kind = _scalar(shape)
    if kind.code not in INTEGERS:
        raise ProgramError(f"a register holds {kind} instead of an integer")
    return kind


def _unsigned(shape: ir.Shape) -> Type:
    kind = _scalar(shape)
    if kind.code not in UNSIGNED:
        raise ProgramError(f"a register holds {kind} instead of an unsigned integer")
    return kind


def _const(scope: Scope, op: ir.Const) -> None:
    kind = scope.write(op.dst).type
    if len(op.value) != kind.width_bytes:
        raise ProgramError(f"{len(op.value)} bytes of a constant of type {kind}")
    if kind.code is TypeCode.BOOL and op.value[0] > 1:
        raise ProgramError(f"a bool is {op.value[0]}: 0 or 1")


def _move(scope: Scope, op: ir.Move) -> None:
    _expect(scope.write(op.dst), scope.read(op.src))


def _binary(scope: Scope, op: ir.Binary) -> None:
    shape = scope.write(op.dst)
    kind = _integer(shape)
    _expect(scope.read(op.a), shape)
    _expect(scope.read(op.b), shape)
    if op.what in _UNSIGNED_ONLY and kind.code is TypeCode.I64:
        raise ProgramError(f"{op.what.name} of {kind}: unsigned integers only")


def _compare(scope: Scope, op: ir.Compare) -> None:
    _expect(scope.write(op.dst), _BOOL)
    shape = scope.read(op.a)
    kind = _scalar(shape)
    _expect(scope.read(op.b), shape)
    if kind.code is TypeCode.BOOL and op.what not in (ir.Comparison.EQ, ir.Comparison.NE):
        raise ProgramError(f"{op.what.name} of bools: EQ and NE only")


def _not(scope: Scope, op: ir.Not) -> None:
    _expect(scope.write(op.dst), _BOOL)
    _expect(scope.read(op.a), _BOOL)


def _cast(scope: Scope, op: ir.Cast) -> None:
    new, old = _scalar(scope.write(op.dst)), _scalar(scope.read(op.src))
    numbers = new.is_integer and old.is_integer
    if not numbers and not (new.is_bytes and old.is_bytes and new.width_bytes == old.width_bytes):
        raise ProgramError(f"a cast of {old} to {new}")


def _array_of(shape: ir.Shape) -> ir.Shape:
    """The shape of one of its values."""
    if not shape.count:
        raise ProgramError(f"a register holds {text(shape)} instead of an array")
    return ir.Shape(shape.type)


def _load(scope: Scope, op: ir.Load) -> None:
    _expect(scope.write(op.dst), _array_of(scope.read(op.array)))
    _unsigned(scope.read(op.index))


def _store(scope: Scope, op: ir.Store) -> None:
    _expect(scope.read(op.src), _array_of(scope.write(op.array)))
    _unsigned(scope.read(op.index))


def _hash(scope: Scope, op: ir.Hash) -> None:
    _expect(scope.write(op.dst), _HASH)
    at_most("sources of a hash", len(op.srcs), limits.OPERANDS_MAX)
    for src in op.srcs:
        scope.read(src)


def _context(scope: Scope, op: ir.Context) -> None:
    _expect(scope.write(op.dst), _FACTS[op.what])


def _columns(scope: Scope, number: int, keys: Sequence[int]) -> list[ir.Shape]:
    """The columns of an operation's table, its keys checked."""
    _expect_each("keys", scope.read, keys, _numbered("table", scope.shapes.keys, number))
    return scope.shapes.columns[number]


def _get(scope: Scope, op: ir.Get) -> None:
    _expect_each("columns", scope.write, op.dsts, _columns(scope, op.table, op.keys))


def _put(scope: Scope, op: ir.Put) -> None:
    _expect_each("columns", scope.read, op.srcs, _columns(scope, op.table, op.keys))


def _increase(scope: Scope, op: ir.Increase) -> None:
    _expect_each("columns to increase", scope.read, (op.src,), _columns(scope, op.table, op.keys))
    _integer(scope.read(op.src))


def _emit(scope: Scope, op: ir.Emit) -> None:
    _expect_each("fields", scope.read, op.srcs, _numbered("event", scope.shapes.fields, op.event))


def _send(scope: Scope, op: ir.Send) -> None:
    _expect(scope.read(op.to), _ADDRESS)
    _expect(scope.read(op.amount), _U64)


def _balance(scope: Scope, op: ir.Balance) -> None:
    _expect(scope.write(op.dst), _U64)


def _require(scope: Scope, op: ir.Require) -> None:
    _expect(scope.read(op.condition), _BOOL)
    _numbered("message", scope.program.messages, op.message)


def _if(scope: Scope, op: ir.If) -> None:
    _expect(scope.read(op.condition), _BOOL)


def _loop(scope: Scope, op: ir.Loop) -> None:
    shape = scope.write(op.index)
    _unsigned(shape)
    _expect(scope.read(op.count), shape)
    if op.index == op.count:
        raise ProgramError(f"a loop counts to register {op.count} with itself")
    if not 0 <= op.max <= limits.LOOP_ITERATIONS_MAX:
        raise ProgramError(f"rounds of a loop: {op.max}", limits.LOOP_ITERATIONS_MAX)


def _call(scope: Scope, op: ir.Call) -> None:
    if not 0 <= op.function < scope.number:
        raise ProgramError(f"a call of function {op.function}: only those before {scope.number}")
    callee = scope.program.functions[op.function]
    if callee.kind is ir.FunctionKind.INIT:
        raise ProgramError(f"a call of {callee.name!r}, which the deployment calls")
    _expect_each("arguments", scope.read, op.args, scope.shapes.params[op.function])
    _expect_each("results", scope.write, op.dsts, scope.shapes.results[op.function])


def _call_contract(scope: Scope, op: ir.CallContract) -> None:
    target = _numbered("import", scope.program.imports, op.target)
    _expect_each("arguments", scope.read, op.args, target.params)
    _expect_each("results", scope.write, op.dsts, target.results)
    if op.amount is not None:
        _expect(scope.read(op.amount), _U64)
        if target.kind is not ir.FunctionKind.ENTRY:
            raise ProgramError(f"coins for {target.function!r}, which is a view")


CHECK: dict[type[ir.Op], Callable[[Scope, Any], None]] = {
    ir.Const: _const,
    ir.Move: _move,
    ir.Binary: _binary,
    ir.Compare: _compare,
    ir.Not: _not,
    ir.Cast: _cast,
    ir.Load: _load,
    ir.Store: _store,
    ir.Hash: _hash,
    ir.Context: _context,
    ir.Get: _get,
    ir.Put: _put,
    ir.Increase: _increase,
    ir.Emit: _emit,
    ir.Send: _send,
    ir.Balance: _balance,
    ir.Require: _require,
    ir.If: _if,
    ir.Loop: _loop,
    ir.Call: _call,
    ir.CallContract: _call_contract,
}
"""What checks an operation, the lists it holds apart: raises ProgramError."""
