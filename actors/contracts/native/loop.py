"""The loop over calls of one function: coins and arguments of a call, its body, and what is kept of it."""

from __future__ import annotations

from actors.contracts.failures import Failure
from actors.contracts.ir import Event, Program
from actors.contracts.limits import EVENTS_PER_CALL_MAX
from actors.contracts.native import table_code
from actors.contracts.native.arithmetic import ir_type
from actors.contracts.native.code import (
    I16,
    OUTCOME,
    Code,
    FieldRecord,
    call_record,
    constant,
    outcome,
    table_record,
)
from actors.contracts.native.layout import ACCOUNTS, ENTRIES, KEY_BYTES, STATUS_BITS, Stop
from actors.contracts.native.lowering import name_of
from actors.contracts.native.rows import MOVE_COINS, are_bools
from actors.contracts.types import BOOL
from actors.contracts.verified import VerifiedFunction
from actors.kernels.emitter import I8, I32, I64, POINTER, VOID, Value

TABLES = (ENTRIES, ACCOUNTS)


def symbol_of(function: int) -> str:
    """`void run(ptr call)`: what Python calls for a public function."""
    return f"run_{function}"


def events_bytes_max(program: Program) -> int:
    """Of one call."""
    return EVENTS_PER_CALL_MAX * (1 + max(map(event_bytes, program.events), default=0))


def event_bytes(event: Event) -> int:
    """Of its fields."""
    return sum(field.shape.width_bytes for field in event.fields)


def emit_public(code: Code, function: VerifiedFunction, room: int) -> None:
    """How one call of it runs, and the loop over its calls. room: bytes of the events of one at most."""
    body = f"call_{function.number}"
    _emit_call(code, function, body)
    _emit_loop(code, symbol_of(function.number), body, room)


def _emit_call(code: Code, function: VerifiedFunction, name: str) -> None:
    """`{i64 gas, i32 status} call(ptr call, i64 gas, ptr arguments, ptr results)`."""
    pointer, gas, arguments, results = code.function(name, OUTCOME, [POINTER, I64, POINTER, POINTER])
    builder, call = code.builder, call_record(code, pointer)
    amount = call.get("amount")
    if not function.function.accepts_coins:
        _fail_if(code, gas, builder.not_(code.is_zero(amount)), Failure.TAKES_NO_COINS)
    _check_arguments(code, gas, function, arguments)
    if function.function.accepts_coins:
        moved, there = code.block(), code.block()
        builder.cbranch(code.is_zero(amount), there, moved)
        code.go_on_at(moved)
        status = code.call(I32, MOVE_COINS, pointer, call.address("sender"), call.address("contract"), amount)
        ended = code.block()
        builder.cbranch(code.is_zero(status), there, ended)
        code.go_on_at(ended)
        builder.ret(outcome(code, gas, status))
        code.go_on_at(there)
    builder.ret(code.call(OUTCOME, name_of(function.number), pointer, gas, arguments, results))


def _fail_if(code: Code, gas: Value, condition: Value, failure: Failure) -> None:
    fails, go_on = code.block(), code.block()
    code.branch_rarely(condition, fails, go_on)
    code.go_on_at(fails)
    code.builder.ret(outcome(code, gas, constant(I32, int(failure))))
    code.go_on_at(go_on)


def _check_arguments(code: Code, gas: Value, function: VerifiedFunction, arguments: Value) -> None:
    """What `VerifiedFunction.params` and `maxima` say."""
    offset, maxima = 0, dict(function.maxima)
    for place, param in enumerate(function.function.params):
        at, shape = code.offset(arguments, offset), param.shape
        if shape.type == BOOL:
            bad = code.builder.not_(are_bools(code, at, shape.count or 1))
            _fail_if(code, gas, bad, Failure.BAD_ARGUMENTS)
        if place in maxima:
            value = code.load(ir_type(shape.type), at)
            too_great = code.builder.icmp_unsigned(">", value, constant(value.type, maxima[place]))
            _fail_if(code, gas, too_great, Failure.BAD_ARGUMENTS)
        offset += shape.width_bytes


def _emit_loop(code: Code, symbol: str, body: str, room: int) -> None:
    (pointer,) = code.function(symbol, VOID, [POINTER], internal=False)
    builder, call = code.builder, call_record(code, pointer)
    tables = [table_record(code, call.address(shape.name)) for shape in TABLES]
    head, one, full, run, done = (code.block() for _ in range(5))
    builder.branch(head)
    code.go_on_at(head)
    row = call.get("next_row")
    builder.cbranch(builder.icmp_unsigned("<", row, call.get("rows")), one, done)
    code.go_on_at(one)
    began = call.get("events_used")
    too_many = builder.icmp_unsigned(">", code.add(began, room), call.get("events_max"))
    code.branch_rarely(too_many, full, run)
    code.go_on_at(full)
    call.set("stopped", int(Stop.NO_ROOM))
    builder.branch(done)
    code.go_on_at(run)
    gas, status = _run_body(code, call, tables, body, row)
    stopped, ended = code.block(), code.block()
    is_stop = builder.icmp_unsigned(">=", builder.and_(status, constant(I32, 0xFF)), constant(I32, 0xF0))
    code.branch_rarely(is_stop, stopped, ended)
    code.go_on_at(stopped)
    _undo(code, call, tables, began)
    call.set("stopped", builder.zext(status, I64))
    builder.branch(done)
    code.go_on_at(ended)
    _keep_or_undo(code, call, tables, row, status, began)
    _tell(code, call, row, gas, status)
    call.set("next_row", code.add(row, 1))
    builder.branch(head)
    code.go_on_at(done)
    code.end()


def _run_body(
    code: Code, call: FieldRecord, tables: list[FieldRecord], body: str, row: Value
) -> tuple[Value, Value]:
    """Gas that is left, and the status."""
    for table in tables:
        table.set("stamp", code.add(table.get("stamp"), 1))
    for one, column in (("sender", "senders"), ("origin", "origins")):
        call.point(one, code.scaled(call.address(column), row, KEY_BYTES))
    call.set("amount", code.load(I64, code.scaled(call.address("amounts"), row, 8), 8))
    call.set("events_of_call", 0)
    gas = code.load(I64, code.scaled(call.address("gas"), row, 8), 8)
    arguments = code.scaled(call.address("arguments"), row, call.get("arguments_step"))
    results = code.scaled(call.address("results"), row, call.get("results_step"))
    came = code.call(OUTCOME, body, call.pointer, gas, arguments, results)
    return code.builder.extract_value(came, 0), code.builder.extract_value(came, 1)


def _undo(code: Code, call: FieldRecord, tables: list[FieldRecord], began: Value) -> None:
    for table, shape in zip(tables, TABLES, strict=True):
        code.invoke(table_code.undo(shape), table.pointer)
    call.set("events_used", began)


def _keep_or_undo(
    code: Code, call: FieldRecord, tables: list[FieldRecord], row: Value, status: Value, began: Value
) -> None:
    builder = code.builder
    good, bad, after = code.block(), code.block(), code.block()
    builder.cbranch(code.is_zero(status), good, bad)
    code.go_on_at(bad)
    _undo(code, call, tables, began)
    builder.branch(after)
    code.go_on_at(good)
    counts = code.call(table_code.PAIR, table_code.keep(ENTRIES), tables[0].pointer)
    code.call(table_code.PAIR, table_code.keep(ACCOUNTS), tables[1].pointer)
    for place, column in enumerate(("created", "removed")):
        at = code.scaled(call.address(column), row, 4)
        code.store(builder.trunc(builder.extract_value(counts, place), I32), at, 4)
    builder.branch(after)
    code.go_on_at(after)


def _tell(code: Code, call: FieldRecord, row: Value, gas: Value, status: Value) -> None:
    """The outcome's columns. Who runs out of gas pays all of it."""
    builder = code.builder
    limit = code.load(I64, code.scaled(call.address("gas"), row, 8), 8)
    ran_out = builder.icmp_unsigned("==", status, constant(I32, int(Failure.OUT_OF_GAS)))
    used = builder.select(ran_out, limit, code.sub(limit, gas))
    code.store(used, code.scaled(call.address("gas_used"), row, 8), 8)
    code.store(builder.trunc(status, I8), code.offset(call.address("failures"), row))
    message = builder.trunc(builder.lshr(status, constant(I32, STATUS_BITS)), I16)
    code.store(message, code.scaled(call.address("messages"), row, 2), 2)
    code.store(call.get("events_used"), code.scaled(call.address("event_ends"), row, 8), 8)
