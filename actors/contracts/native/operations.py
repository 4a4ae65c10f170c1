"""What each operation becomes, as `execution.py` defines it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.limits import CONTRACTS_DEPTH_MAX, EVENTS_PER_CALL_MAX
from actors.contracts.native import rows
from actors.contracts.native.arithmetic import ARITHMETIC, cast_number, compare_numbers, ir_type
from actors.contracts.native.code import I16, OUTCOME, FieldRecord, constant, contract_record, integer
from actors.contracts.native.hashing import SHA256, blocks_of
from actors.contracts.native.layout import CONTRACT_FACTS, EVENT_HEAD_BYTES, KEY_BYTES, LINK
from actors.contracts.native.lowering import FunctionCode, name_of, resized
from actors.contracts.types import TypeCode
from actors.kernels.emitter import I8, I32, I64, VOID, Value


def _const(f: FunctionCode, op: ir.Const) -> None:
    shape = f.shapes[op.dst]
    value = constant(ir_type(shape.type), int.from_bytes(op.value, "little"))
    if not shape.count:
        f.set(op.dst, value)
    elif not any(op.value):
        f.code.clear(f.at(op.dst), shape.width_bytes)
    else:
        width, at = shape.type.width_bytes, f.at(op.dst)
        f.code.repeat(shape.count, lambda place: f.code.store(value, f.code.scaled(at, place, width)))


def _move(f: FunctionCode, op: ir.Move) -> None:
    if op.dst != op.src:
        f.encode(op.src, f.at(op.dst))


def _binary(f: FunctionCode, op: ir.Binary) -> None:
    kind = f.shapes[op.dst].type
    f.set(op.dst, ARITHMETIC[op.what](f, kind, f.get(op.a), f.get(op.b)))


_CONDITIONS = {
    ir.Comparison.EQ: "==",
    ir.Comparison.NE: "!=",
    ir.Comparison.LT: "<",
    ir.Comparison.LE: "<=",
}


def _compare(f: FunctionCode, op: ir.Compare) -> None:
    kind, a, b = f.shapes[op.a].type, f.get(op.a), f.get(op.b)
    if kind.is_bytes and op.what in (ir.Comparison.LT, ir.Comparison.LE):
        a, b = _big_endian(f, a), _big_endian(f, b)
    f.set_bit(op.dst, compare_numbers(f.code, kind, _CONDITIONS[op.what], a, b))


def _big_endian(f: FunctionCode, value: Value) -> Value:
    """Bytes as a number that compares as they do. An odd number of them gets one more."""
    width = value.type.width // 8
    if width == 1:
        return value
    even = integer(width + width % 2)
    wide = f.code.builder.zext(value, even) if width % 2 else value
    return f.code.call(even, f"llvm.bswap.i{even.width}", wide)


def _not(f: FunctionCode, op: ir.Not) -> None:
    f.set_bit(op.dst, f.code.builder.not_(f.bit(op.a)))


def _cast(f: FunctionCode, op: ir.Cast) -> None:
    old, new, value = f.shapes[op.src].type, f.shapes[op.dst].type, f.get(op.src)
    f.set(op.dst, cast_number(f, value, old, new) if new.is_integer else value)


def _element(f: FunctionCode, array: int, index: int) -> Value:
    """Where it lies."""
    shape, builder = f.shapes[array], f.code.builder
    place, count = f.get(index), constant(ir_type(f.shapes[index].type), shape.count)
    if shape.count <= f.shapes[index].type.range[1]:
        f.fail_if(builder.icmp_unsigned(">=", place, count), Failure.INDEX_OUT_OF_RANGE)
    return f.code.scaled(f.at(array), resized(f.code, place, I64), shape.type.width_bytes)


def _load(f: FunctionCode, op: ir.Load) -> None:
    at = _element(f, op.array, op.index)
    f.set(op.dst, f.code.load(ir_type(f.shapes[op.dst].type), at))


def _store(f: FunctionCode, op: ir.Store) -> None:
    f.code.store(f.get(op.src), _element(f, op.array, op.index))


def _hash(f: FunctionCode, op: ir.Hash) -> None:
    message = f.call.address("message")
    width = f.encode_all(op.srcs, message)
    rows.pad(f.code, message, width)
    at = f.call.address("key")
    f.runtime(VOID, SHA256, message, blocks_of(width), at)
    f.decode(op.dst, at)


_FACTS = {
    ir.Fact.SENDER: "sender",
    ir.Fact.CONTRACT: "contract",
    ir.Fact.AMOUNT: "amount",
    ir.Fact.HEIGHT: "height",
    ir.Fact.TIME_MS: "time_ms",
    ir.Fact.ORIGIN: "origin",
}


def _context(f: FunctionCode, op: ir.Context) -> None:
    is_address = f.shapes[op.dst].type.code is TypeCode.ADDRESS
    name = _FACTS[op.what]
    f.decode(op.dst, f.call.address(name) if is_address else f.call.at(name))


def _emit(f: FunctionCode, op: ir.Emit) -> None:
    code, count = f.code, f.call.get("events_of_call")
    is_full = code.builder.icmp_unsigned(">=", count, constant(I64, EVENTS_PER_CALL_MAX))
    f.fail_if(is_full, Failure.TOO_MANY_EVENTS)
    used = f.call.get("events_used")
    at = code.offset(f.call.address("events"), used)
    code.copy(at, f.call.address("contract"), KEY_BYTES)
    width = f.encode_all(op.srcs, code.offset(at, EVENT_HEAD_BYTES))
    code.store(constant(I8, op.event), code.offset(at, KEY_BYTES))
    code.store(constant(I16, width), code.offset(at, KEY_BYTES + 1))
    f.call.set("events_used", code.add(used, EVENT_HEAD_BYTES + width))
    f.call.set("events_of_call", code.add(count, 1))


def _require(f: FunctionCode, op: ir.Require) -> None:
    f.fail_if(f.code.is_zero(f.get(op.condition)), Failure.REQUIREMENT, op.message)


def _call(f: FunctionCode, op: ir.Call) -> None:
    code, builder, callee = f.code, f.code.builder, f.program.functions[op.function]
    arguments, results = f.frame_at(f.frame.arguments), f.frame_at(f.frame.results)
    f.encode_all(op.args, arguments)
    for place, greatest in callee.maxima:
        value = f.get(op.args[place])
        too_great = builder.icmp_unsigned(">", value, constant(value.type, greatest))
        f.fail_if(too_great, Failure.BAD_ARGUMENTS)
    came = code.call(OUTCOME, name_of(op.function), f.call.pointer, f.gas(), arguments, results)
    f.set_gas(builder.extract_value(came, 0))
    status = builder.extract_value(came, 1)
    f.stop_if(builder.not_(code.is_zero(status)), status)
    f.decode_all(op.dsts, results)


def _call_contract(f: FunctionCode, op: ir.CallContract) -> None:
    """Depth first, then the import, as the interpreter; of coins and arguments the callee judges."""
    code, builder, call = f.code, f.code.builder, f.call
    depth, contract = call.get("depth"), call.address("contract")
    too_deep = builder.icmp_unsigned(">=", depth, constant(I64, CONTRACTS_DEPTH_MAX))
    f.fail_if(too_deep, Failure.CALL_DEPTH)
    links = contract_record(code, contract).address("links")
    link = FieldRecord(code, code.offset(links, op.target * 8 * len(LINK)), LINK)
    failure = builder.trunc(link.get("failure"), I32)
    f.stop_if(builder.not_(code.is_zero(failure)), failure)
    arguments, results = f.frame_at(f.frame.arguments), f.frame_at(f.frame.results)
    f.encode_all(op.args, arguments)
    before = [call.get(name) for name in CONTRACT_FACTS]
    call.point("sender", contract)
    call.set("amount", 0 if op.amount is None else f.get(op.amount))
    call.point("contract", link.address("contract"))
    call.set("depth", code.add(depth, 1))
    call.point("frames", f.frame_at(f.frames_bytes))
    came = code.call_at(OUTCOME, link.at("code"), call.pointer, f.gas(), arguments, results)
    f.set_gas(builder.extract_value(came, 0))
    status = builder.extract_value(came, 1)
    f.stop_if(builder.not_(code.is_zero(status)), status)
    for name, value in zip(CONTRACT_FACTS, before, strict=True):
        call.set(name, value)
    f.decode_all(op.dsts, results)


LOWER: dict[type[ir.Op], Callable[[FunctionCode, Any], None]] = {
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
    ir.Get: rows.get,
    ir.Put: rows.put,
    ir.Increase: rows.increase,
    ir.Emit: _emit,
    ir.Send: rows.send,
    ir.Balance: rows.balance,
    ir.Require: _require,
    ir.Call: _call,
    ir.CallContract: _call_contract,
}
"""What writes an operation, by its type. Choices and loops are in lowering.py."""


def lower(f: FunctionCode, operation: ir.Op) -> None:
    """Write an operation of a basic block."""
    LOWER[type(operation)](f, operation)
