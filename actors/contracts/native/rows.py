"""Rows of tables and balances in compiled code: looked for by their keys, read, written and journalled."""

from __future__ import annotations

from collections.abc import Sequence

from actors.contracts import ir
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.native import table_code
from actors.contracts.native.arithmetic import ARITHMETIC, ir_type
from actors.contracts.native.code import Code, constant, integer
from actors.contracts.native.hashing import blocks_of, padding_of
from actors.contracts.native.layout import ENTRIES, KEY_BYTES, VALUE_AT, WIDTH_AT, Stop
from actors.contracts.native.lowering import FunctionCode
from actors.contracts.native.seeking import BALANCE, MOVE_COINS, SEEK_ENTRY
from actors.contracts.types import BOOL
from actors.kernels.emitter import I8, I32, I64, POINTER, Value

_CHUNK_NUMBER_AT = KEY_BYTES + 1


def pad(code: Code, message: Value, width_bytes: int) -> None:
    """Put behind a message what SHA-256 wants there."""
    padding = padding_of(width_bytes)
    zeros = len(padding) - 9
    code.store(constant(I8, padding[0] - 256), code.offset(message, width_bytes))
    if zeros:
        code.clear(code.offset(message, width_bytes + 1), zeros)
    length = constant(I64, int.from_bytes(padding[-8:], "little", signed=True))
    code.store(length, code.offset(message, width_bytes + 1 + zeros))


def _stop_if_null(f: FunctionCode, pointer: Value, why: Stop) -> Value:
    f.stop_if(f.code.is_null(pointer), int(why))
    return pointer


class _Row:
    """One row, and where its entries are."""

    def __init__(self, f: FunctionCode, table: int, keys: Sequence[int]) -> None:
        self._f, self._table, self._keys = f, table, keys
        self._message = f.call.address("message")
        self.width_bytes = f.program.program.tables[table].value_bytes
        self.chunks = f.program.tables[table].chunk_count
        self._blocks = 0

    def _write_message(self) -> None:
        """All of it, but the number of the chunk."""
        f, code, message = self._f, self._f.code, self._message
        code.copy(message, f.call.address("contract"), KEY_BYTES)
        code.store(constant(I8, self._table), code.offset(message, KEY_BYTES))
        begin = _CHUNK_NUMBER_AT + 1
        width = begin + f.encode_all(self._keys, code.offset(message, begin))
        pad(code, message, width)
        self._blocks = blocks_of(width)

    def width_of(self, chunk: int) -> int:
        """Bytes of an entry."""
        return min(ENTRY_BYTES_MAX, self.width_bytes - chunk * ENTRY_BYTES_MAX)

    def slot(self, chunk: int) -> Value:
        """Where an entry is, if that is known; else the loop stops."""
        f, code = self._f, self._f.code
        row = f.known.row(self._table, self._keys, chunk)
        known = f.known.slot(row)
        if known is not None:
            return known
        if not self._blocks:
            self._write_message()
        code.store(constant(I8, chunk), code.offset(self._message, _CHUNK_NUMBER_AT))
        slot = f.runtime(POINTER, SEEK_ENTRY, f.call.pointer, self._blocks)
        f.known.remember(row, _stop_if_null(f, slot, Stop.MISSING_ENTRY))
        return slot

    def checked_slot(self, chunk: int) -> Value:
        """The same, of what is read: it is absent, or of its width."""
        f, builder, slot = self._f, self._f.code.builder, self.slot(chunk)
        width = f.code.load(I64, f.code.offset(slot, WIDTH_AT), 8)
        same = builder.icmp_unsigned("==", width, constant(I64, self.width_of(chunk)))
        f.stop_unless(builder.or_(same, f.code.is_zero(width)), Stop.MALFORMED_ENTRY)
        return slot

    def write(self, slot: Value, chunk: int, value: Value) -> None:
        """A number of as many bytes as the entry has. Zero is no entry."""
        f, code, width = self._f, self._f.code, self.width_of(chunk)
        full = code.call(I32, table_code.touch(ENTRIES), f.call.address("entries"), slot)
        f.stop_if(code.builder.not_(code.is_zero(full)), int(Stop.NO_ROOM))
        code.store(value, code.offset(slot, VALUE_AT))
        kept = code.builder.select(code.is_zero(value), constant(I64, 0), constant(I64, width))
        code.store(kept, code.offset(slot, WIDTH_AT), 8)


def get(f: FunctionCode, op: ir.Get) -> None:
    """See ir.Get."""
    row = _Row(f, op.table, op.keys)
    if row.chunks == 1:
        at = f.code.offset(row.checked_slot(0), VALUE_AT)
    else:
        at = f.call.address("row")
        for chunk in range(row.chunks):
            value = f.code.offset(row.checked_slot(chunk), VALUE_AT)
            f.code.copy(f.code.offset(at, chunk * ENTRY_BYTES_MAX), value, row.width_of(chunk))
    _check_bools(f, op.table, at)
    f.decode_all(op.dsts, at)


def _check_bools(f: FunctionCode, table: int, at: Value) -> None:
    """A bool that is kept is 0 or 1."""
    code, offset = f.code, 0
    for column in f.program.program.tables[table].columns:
        shape = column.shape
        if shape.type == BOOL:
            f.stop_unless(are_bools(code, code.offset(at, offset), shape.count or 1), Stop.MALFORMED_ENTRY)
        offset += shape.width_bytes


def are_bools(code: Code, at: Value, count: int) -> Value:
    """Whether so many bytes are 0 or 1 each."""

    def one(number: Value, so_far: list[Value]) -> list[Value]:
        return [code.builder.or_(so_far[0], code.load(I8, code.offset(at, number)))]

    (together,) = code.loop(count, [constant(I8, 0)], one)
    return code.builder.icmp_unsigned("<=", together, constant(I8, 1))


def put(f: FunctionCode, op: ir.Put) -> None:
    """See ir.Put."""
    code, at = f.code, f.call.address("row")
    f.encode_all(op.srcs, at)
    row = _Row(f, op.table, op.keys)
    for chunk in range(row.chunks):
        value = code.load(integer(row.width_of(chunk)), code.offset(at, chunk * ENTRY_BYTES_MAX))
        row.write(row.slot(chunk), chunk, value)


def increase(f: FunctionCode, op: ir.Increase) -> None:
    """See ir.Increase."""
    row, kind = _Row(f, op.table, op.keys), f.shapes[op.src].type
    slot = row.checked_slot(0)
    value = f.code.load(ir_type(kind), f.code.offset(slot, VALUE_AT))
    row.write(slot, 0, ARITHMETIC[ir.Arithmetic.ADD](f, kind, value, f.get(op.src)))


def balance(f: FunctionCode, op: ir.Balance) -> None:
    """See ir.Balance."""
    place = f.runtime(POINTER, BALANCE, f.call.pointer, f.call.address("contract"))
    f.decode(op.dst, _stop_if_null(f, place, Stop.MISSING_ACCOUNT))


def send(f: FunctionCode, op: ir.Send) -> None:
    """See ir.Send."""
    amount, recipient = f.get(op.amount), f.call.address("row")
    f.encode(op.to, recipient)
    status = f.runtime(I32, MOVE_COINS, f.call.pointer, f.call.address("contract"), recipient, amount)
    f.stop_if(f.code.builder.not_(f.code.is_zero(status)), status)
