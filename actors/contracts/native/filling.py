"""Puts all of a table in at once, in compiled code.

A window of keys at a time: first each slot is written and its place in the index asked for, then each is
entered there, where memory has answered by then.
"""

from __future__ import annotations

from llvmlite import ir

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.native.code import Code, FieldRecord, table_record
from actors.contracts.native.layout import ENTRIES, KEY_BYTES, VALUE_AT, SlotShape
from actors.contracts.native.table_code import clear_marks, first_place, index_place
from actors.kernels.emitter import I8, I32, I64, POINTER, VOID, Value

_WINDOW = 16


def fill(shape: SlotShape) -> str:
    """`void fill(ptr table, ptr keys, ptr values, ptr more, i64 rows)`: put keys, each there once, into an
    empty table. Of entries: values of ENTRY_BYTES_MAX, and widths (u8). Of accounts: nonces and balances."""
    return f"fill_{shape.name}"


def emit_fill(code: Code, shape: SlotShape) -> None:
    """See `fill`."""
    pointer, keys, values, more, rows = code.function(
        fill(shape), VOID, [POINTER, POINTER, POINTER, POINTER, I64], internal=False
    )
    table = table_record(code, pointer)
    places = code.pointer(code.builder.ptrtoint(code.room(ir.ArrayType(I64, _WINDOW)), I64))

    def window(number: Value) -> None:
        first = code.mul(number, _WINDOW)
        count = code.least(code.sub(rows, first), _WINDOW)

        def begin(place: Value) -> None:
            row = code.add(first, place)
            slot = code.scaled(table.address("slots"), row, shape.slot_bytes)
            code.copy(slot, code.scaled(keys, row, KEY_BYTES), KEY_BYTES)
            _write_value(code, shape, code.offset(slot, VALUE_AT), values, more, row)
            clear_marks(code, shape, slot)
            at = first_place(code, table, slot)
            code.store(at, code.scaled(places, place, 8), 8)
            code.prefetch(index_place(code, table, at))

        def enter(place: Value) -> None:
            begins = code.load(I64, code.scaled(places, place, 8), 8)
            _claim_free(code, table, begins, code.add(first, place))

        code.repeat(count, begin)
        code.repeat(count, enter)

    code.repeat(code.shares(rows, _WINDOW), window)
    table.set("used", rows)
    code.end()


def _write_value(code: Code, shape: SlotShape, target: Value, values: Value, more: Value, row: Value) -> None:
    width_bytes = ENTRY_BYTES_MAX if shape is ENTRIES else 8
    code.copy(target, code.scaled(values, row, width_bytes), width_bytes)
    if shape is ENTRIES:
        other = code.builder.zext(code.load(I8, code.offset(more, row)), I64)
    else:
        other = code.load(I64, code.scaled(more, row, 8))
    code.store(other, code.offset(target, width_bytes), 8)


def _claim_free(code: Code, table: FieldRecord, begin: Value, slot: Value) -> None:
    """Enter a slot's number at the first place from `begin` on that is free."""
    builder, mask = code.builder, table.get("mask")
    before, head, taken, free = builder.block, *[code.block() for _ in range(3)]
    builder.branch(head)
    code.go_on_at(head)
    position = builder.phi(I64)
    position.add_incoming(begin, before)
    where = index_place(code, table, position)
    builder.cbranch(code.is_zero(code.load(I32, where, 4)), free, taken)
    code.go_on_at(taken)
    position.add_incoming(builder.and_(code.add(position, 1), mask), taken)
    builder.branch(head)
    code.go_on_at(free)
    code.store(builder.trunc(code.add(slot, 1), I32), where, 4)
