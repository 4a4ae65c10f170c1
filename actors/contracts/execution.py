"""What each operation does to the frame that it runs in; those that hold lists or call are in interpreter.py.

The verifier has seen to registers, types and numbers: here is only what depends on values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from actors.contracts import ir
from actors.contracts.entries import RowLayout
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.limits import ENTRY_TAG, EVENTS_PER_CALL_MAX
from actors.contracts.running import RunningContract, RunningFunction


def _const(frame: RunningFunction, op: ir.Const) -> None:
    codec = frame.codecs[op.dst]
    if isinstance(codec.zero, tuple):
        frame.registers[op.dst] = codec.decode(op.value * len(codec.zero))
    else:
        frame.registers[op.dst] = codec.decode(op.value)


def _move(frame: RunningFunction, op: ir.Move) -> None:
    frame.registers[op.dst] = frame.registers[op.src]


def _divide(a: int, b: int) -> int:
    if b == 0:
        raise CallFailedError(Failure.DIVISION_BY_ZERO)
    return a // b


def _modulo(a: int, b: int) -> int:
    if b == 0:
        raise CallFailedError(Failure.DIVISION_BY_ZERO)
    return a % b


_SHIFT_MAX = 128
"""No type is wider: to shift further is the same."""
_ARITHMETIC: dict[ir.Arithmetic, Callable[[int, int], int]] = {
    ir.Arithmetic.ADD: operator.add,
    ir.Arithmetic.SUB: operator.sub,
    ir.Arithmetic.MUL: operator.mul,
    ir.Arithmetic.FLOOR_DIV: _divide,
    ir.Arithmetic.MOD: _modulo,
    ir.Arithmetic.AND: operator.and_,
    ir.Arithmetic.OR: operator.or_,
    ir.Arithmetic.XOR: operator.xor,
    ir.Arithmetic.SHL: lambda a, b: a << min(b, _SHIFT_MAX),
    ir.Arithmetic.SHR: lambda a, b: a >> min(b, _SHIFT_MAX),
    ir.Arithmetic.MIN: min,
    ir.Arithmetic.MAX: max,
}
_COMPARISON: dict[ir.Comparison, Callable[[Any, Any], bool]] = {
    ir.Comparison.EQ: operator.eq,
    ir.Comparison.NE: operator.ne,
    ir.Comparison.LT: operator.lt,
    ir.Comparison.LE: operator.le,
}


def _checked(bounds: tuple[int, int], value: int) -> int:
    if not bounds[0] <= value <= bounds[1]:
        raise CallFailedError(Failure.OVERFLOW)
    return value


def _binary(frame: RunningFunction, op: ir.Binary) -> None:
    registers = frame.registers
    value = _ARITHMETIC[op.what](registers[op.a], registers[op.b])
    registers[op.dst] = _checked(frame.ranges[op.dst], value)


def _compare(frame: RunningFunction, op: ir.Compare) -> None:
    """Python orders bytes of one length as big-endian numbers."""
    registers = frame.registers
    registers[op.dst] = _COMPARISON[op.what](registers[op.a], registers[op.b])


def _not(frame: RunningFunction, op: ir.Not) -> None:
    frame.registers[op.dst] = not frame.registers[op.a]


def _cast(frame: RunningFunction, op: ir.Cast) -> None:
    value = frame.registers[op.src]
    number = isinstance(value, int)
    frame.registers[op.dst] = _checked(frame.ranges[op.dst], value) if number else value


def _element(frame: RunningFunction, array: int, index: int) -> int:
    place: int = frame.registers[index]
    if place >= len(frame.registers[array]):
        raise CallFailedError(Failure.INDEX_OUT_OF_RANGE)
    return place


def _load(frame: RunningFunction, op: ir.Load) -> None:
    frame.registers[op.dst] = frame.registers[op.array][_element(frame, op.array, op.index)]


def _store(frame: RunningFunction, op: ir.Store) -> None:
    at, array = _element(frame, op.array, op.index), frame.registers[op.array]
    frame.registers[op.array] = (*array[:at], frame.registers[op.src], *array[at + 1 :])


def _hash(frame: RunningFunction, op: ir.Hash) -> None:
    frame.registers[op.dst] = sha256(_encode(frame, op.srcs)).digest()


def _encode(frame: RunningFunction, registers: Sequence[int]) -> bytes:
    return b"".join([frame.codecs[register].encode(frame.registers[register]) for register in registers])


def _context(frame: RunningFunction, op: ir.Context) -> None:
    frame.registers[op.dst] = _FACTS[op.what](frame.contract)


_FACTS: dict[ir.Fact, Callable[[RunningContract], Any]] = {
    ir.Fact.SENDER: lambda contract: contract.sender,
    ir.Fact.CONTRACT: lambda contract: contract.address,
    ir.Fact.AMOUNT: lambda contract: contract.amount,
    ir.Fact.HEIGHT: lambda contract: contract.call.height,
    ir.Fact.TIME_MS: lambda contract: contract.call.time_ms,
    ir.Fact.ORIGIN: lambda contract: contract.call.origin,
}


def read(frame: RunningFunction, registers: Sequence[int]) -> list[Any]:
    """What registers hold."""
    return [frame.registers[register] for register in registers]


def write(frame: RunningFunction, registers: Sequence[int], values: Sequence[Any]) -> None:
    """Set registers, in their order, should one be named twice."""
    for register, value in zip(registers, values, strict=True):
        frame.registers[register] = value


def _row(frame: RunningFunction, table: int, keys: Sequence[int]) -> tuple[RowLayout, list[bytes]]:
    """How a row is laid out, and where its entries are."""
    layout = frame.contract.program.tables[table]
    return layout, layout.entry_keys(frame.contract.address, read(frame, keys))


def _get(frame: RunningFunction, op: ir.Get) -> None:
    table, at = _row(frame, op.table, op.keys)
    write(frame, op.dsts, table.read(frame.call.world, at))


def _put(frame: RunningFunction, op: ir.Put) -> None:
    table, at = _row(frame, op.table, op.keys)
    table.write(frame.call.world, at, read(frame, op.srcs))


def _increase(frame: RunningFunction, op: ir.Increase) -> None:
    table, at = _row(frame, op.table, op.keys)
    (value,) = table.read(frame.call.world, at)
    total = operator.add(value, frame.registers[op.src])
    table.write(frame.call.world, at, [_checked(frame.ranges[op.src], total)])


def _emit(frame: RunningFunction, op: ir.Emit) -> None:
    events = frame.call.events
    if len(events) == EVENTS_PER_CALL_MAX:
        raise CallFailedError(Failure.TOO_MANY_EVENTS)
    events.append((frame.contract.address, op.event, _encode(frame, op.srcs)))


def move_coins(contract: RunningContract, recipient: bytes, amount: int) -> None:
    """From the contract that runs. No account has a key like those of entries."""
    world = contract.call.world
    if recipient.startswith(ENTRY_TAG):
        raise CallFailedError(Failure.RESERVED_ADDRESS)
    if world.balance(contract.address) < amount:
        raise CallFailedError(Failure.INSUFFICIENT_COINS)
    world.move(contract.address, recipient, amount)


def _send(frame: RunningFunction, op: ir.Send) -> None:
    move_coins(frame.contract, frame.registers[op.to], frame.registers[op.amount])


def _balance(frame: RunningFunction, op: ir.Balance) -> None:
    frame.registers[op.dst] = frame.call.world.balance(frame.contract.address)


def _require(frame: RunningFunction, op: ir.Require) -> None:
    if not frame.registers[op.condition]:
        message = frame.contract.program.program.messages[op.message]
        raise CallFailedError(Failure.REQUIREMENT, message)


EXECUTE: dict[type[ir.Op], Callable[[RunningFunction, Any], None]] = {
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
}
"""What an operation does, by its type."""
