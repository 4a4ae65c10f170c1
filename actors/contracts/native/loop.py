"""The loop over calls of one function: coins and arguments of a call, its body, and what is kept of it."""

from __future__ import annotations

from actors.contracts.failures import Failure
from actors.contracts.limits import EVENT_BYTES_MAX, EVENTS_PER_CALL_MAX
from actors.contracts.native import table_code
from actors.contracts.native.code import (
    I16,
    OUTCOME,
    Code,
    FieldRecord,
    call_record,
    constant,
    contract_record,
    table_record,
)
from actors.contracts.native.layout import (
    ACCOUNTS,
    ENTRIES,
    EVENT_HEAD_BYTES,
    KEY_BYTES,
    STATUS_BITS,
    Stop,
)
from actors.kernels.emitter import I8, I32, I64, POINTER, VOID, Value

TABLES = (ENTRIES, ACCOUNTS)
RUN_CALLS = "run_calls"
"""`void run_calls(ptr call)`: what Python calls."""
EVENTS_BYTES_MAX = EVENTS_PER_CALL_MAX * (EVENT_HEAD_BYTES + EVENT_BYTES_MAX)
"""Of one call."""


def emit_loop(code: Code) -> None:
    """See RUN_CALLS."""
    (pointer,) = code.function(RUN_CALLS, VOID, [POINTER], internal=False)
    builder, call = code.builder, call_record(code, pointer)
    tables = [table_record(code, call.address(shape.name)) for shape in TABLES]
    head, one, full, run, done = (code.block() for _ in range(5))
    builder.branch(head)
    code.go_on_at(head)
    row = call.get("next_row")
    builder.cbranch(builder.icmp_unsigned("<", row, call.get("rows")), one, done)
    code.go_on_at(one)
    began = call.get("events_used")
    too_many = builder.icmp_unsigned(">", code.add(began, EVENTS_BYTES_MAX), call.get("events_max"))
    code.branch_rarely(too_many, full, run)
    code.go_on_at(full)
    call.set("stopped", int(Stop.NO_ROOM))
    builder.branch(done)
    code.go_on_at(run)
    gas, status = _run_one(code, call, tables, row)
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


def _run_one(code: Code, call: FieldRecord, tables: list[FieldRecord], row: Value) -> tuple[Value, Value]:
    """Gas that is left, and the status."""
    for table in tables:
        table.set("stamp", code.add(table.get("stamp"), 1))
    for one, column in (("sender", "senders"), ("origin", "origins")):
        call.point(one, code.scaled(call.address(column), row, KEY_BYTES))
    call.set("amount", code.load(I64, code.scaled(call.address("amounts"), row, 8), 8))
    call.point("contract", call.address("contract_called"))
    call.point("frames", call.address("frames_begin"))
    call.set("depth", 1)
    call.set("events_of_call", 0)
    gas = code.load(I64, code.scaled(call.address("gas"), row, 8), 8)
    arguments = code.scaled(call.address("arguments"), row, call.get("arguments_step"))
    results = code.scaled(call.address("results"), row, call.get("results_step"))
    came = code.call_at(OUTCOME, call.at("function"), call.pointer, gas, arguments, results)
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
    counts = code.call(table_code.PAIR, table_code.COUNT, tables[0].pointer)
    for table in tables:
        table_code.forget(table)
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
    number = contract_record(code, call.address("contract")).get("number")
    code.store(builder.trunc(number, I32), code.scaled(call.address("failed_in"), row, 4), 4)
    code.store(call.get("events_used"), code.scaled(call.address("event_ends"), row, 8), 8)
