"""Compiled code of tables: to find a key, to put slots in, and to journal, undo and keep what is written.

Where a search begins is SipHash-1-3 of the key with 128 bits that nobody knows, as in `kernels.siphash`,
which says why: keys are chosen by strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from actors.contracts.native.code import Code, FieldRecord, constant, table_record
from actors.contracts.native.layout import ACCOUNTS, ENTRIES, KEY_BYTES, VALUE_AT, WIDTH_AT, SlotShape
from actors.kernels.emitter import I32, I64, POINTER, VOID, Value

_SIP_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_SIP_LENGTH, _SIP_FINAL = KEY_BYTES << 56, 0xFF
INDEX_BYTES = 4


def find(shape: SlotShape) -> str:
    """`ptr find(ptr table, ptr key)`: the slot, or null."""
    return f"find_{shape.name}"


def walk(shape: SlotShape) -> str:
    """`ptr walk(ptr table, ptr key, i64 first)`: the slot, or null, from its `first_place` on."""
    return f"walk_{shape.name}"


def touch(shape: SlotShape) -> str:
    """`i32 touch(ptr table, ptr slot)`: keep its value before it is written. 0, or 1 if there is no room."""
    return f"touch_{shape.name}"


def undo(shape: SlotShape) -> str:
    """`void undo(ptr table)`: all values as they were before the call. What is to be kept is `forget`'s."""
    return f"undo_{shape.name}"


COUNT = "count_entries"
"""`{i64, i64} count(ptr table)`: how many entries the call has made, and how many it has removed."""


def place(shape: SlotShape) -> str:
    """`void place(ptr table, ptr keys, ptr values, i64 rows)`: set slots, in which there is room for all."""
    return f"place_{shape.name}"


def reindex(shape: SlotShape) -> str:
    """`void reindex(ptr table)`: put all slots into an empty index."""
    return f"reindex_{shape.name}"


def locate(shape: SlotShape) -> str:
    """`void locate(ptr table, ptr key, ptr out)`: the address of the slot, or 0."""
    return f"locate_{shape.name}"


PAIR = ir.LiteralStructType([I64, I64])


def _signed(value: int) -> Value:
    return constant(I64, value - (1 << 64) if value >> 63 else value)


def _rotate(code: Code, word: Value, bits: int) -> Value:
    return code.call(I64, "llvm.fshl.i64", word, word, bits)


def _sip_round(code: Code, v: list[Value]) -> list[Value]:
    xor = code.builder.xor
    v0, v1, v2, v3 = v
    v0, v2 = code.add(v0, v1), code.add(v2, v3)
    v1, v3 = xor(_rotate(code, v1, 13), v0), xor(_rotate(code, v3, 16), v2)
    v0, v2 = code.add(_rotate(code, v0, 32), v3), code.add(v2, v1)
    v3, v1 = xor(_rotate(code, v3, 21), v0), xor(_rotate(code, v1, 17), v2)
    return [v0, v1, _rotate(code, v2, 32), v3]


def _siphash(code: Code, table: FieldRecord, words: Sequence[Value]) -> Value:
    """See `kernels.siphash`."""
    xor = code.builder.xor
    keys = [table.get("hash_key_0"), table.get("hash_key_1")] * 2
    v = [xor(key, _signed(word)) for key, word in zip(keys, _SIP_INITIAL, strict=True)]
    for word in (*words, _signed(_SIP_LENGTH)):
        v[3] = xor(v[3], word)
        v = _sip_round(code, v)
        v[0] = xor(v[0], word)
    v[2] = xor(v[2], constant(I64, _SIP_FINAL))
    for _ in range(3):
        v = _sip_round(code, v)
    return xor(xor(v[0], v[1]), xor(v[2], v[3]))


def _words(code: Code, key: Value) -> list[Value]:
    return [code.load(I64, code.offset(key, 8 * place)) for place in range(KEY_BYTES // 8)]


def first_place(code: Code, table: FieldRecord, key: Value) -> Value:
    """The number of the place in the index where a search for this key begins."""
    return code.builder.and_(_siphash(code, table, _words(code, key)), table.get("mask"))


def index_place(code: Code, table: FieldRecord, number: Value) -> Value:
    """Where a place of the index lies."""
    return code.scaled(table.address("index"), number, INDEX_BYTES)


def slot_at(code: Code, table: FieldRecord, shape: SlotShape, where: Value) -> Value:
    """The slot that is named at a place of the index; nowhere, if none is."""
    number = code.builder.zext(code.load(I32, where, 4), I64)
    return code.scaled(table.address("slots"), code.sub(number, 1), shape.slot_bytes)


def _search(
    code: Code,
    table: FieldRecord,
    words: list[Value],
    shape: SlotShape,
    found: Callable[[Value], None],
    free: Callable[[Value], None],
    begin: Value | None = None,
) -> None:
    """Go to `found(slot)`, or to `free(where in the index)`; both leave the block. There is a free place."""
    builder, mask, slots = code.builder, table.get("mask"), table.address("slots")
    if begin is None:
        begin = builder.and_(_siphash(code, table, words), mask)
    before, head, taken, none, same, other = builder.block, *[code.block() for _ in range(5)]
    builder.branch(head)
    code.go_on_at(head)
    position = builder.phi(I64)
    position.add_incoming(begin, before)
    where = code.scaled(table.address("index"), position, INDEX_BYTES)
    number = code.load(I32, where, 4)
    builder.cbranch(code.is_zero(number), none, taken)
    code.go_on_at(taken)
    slot = code.scaled(slots, code.sub(builder.zext(number, I64), 1), shape.slot_bytes)
    differs = constant(I64, 0)
    for one, two in zip(words, _words(code, slot), strict=True):
        differs = builder.or_(differs, builder.xor(one, two))
    builder.cbranch(code.is_zero(differs), same, other)
    code.go_on_at(other)
    position.add_incoming(builder.and_(code.add(position, 1), mask), other)
    builder.branch(head)
    code.go_on_at(same)
    found(slot)
    code.go_on_at(none)
    free(where)


def emit_find(code: Code, shape: SlotShape) -> None:
    """See `find`."""
    pointer, key = code.function(find(shape), POINTER, [POINTER, POINTER], internal=False, inline=False)
    builder = code.builder
    null = ir.Constant(POINTER, None)
    table = table_record(code, pointer)
    _search(code, table, _words(code, key), shape, builder.ret, lambda _: builder.ret(null))


def emit_walk(code: Code, shape: SlotShape) -> None:
    """See `walk`."""
    pointer, key, begin = code.function(walk(shape), POINTER, [POINTER, POINTER, I64], inline=False)
    builder, table = code.builder, table_record(code, pointer)
    null = ir.Constant(POINTER, None)
    _search(code, table, _words(code, key), shape, builder.ret, lambda _: builder.ret(null), begin)


def emit_journal(code: Code) -> None:
    """See `undo` and `COUNT`."""
    for shape in (ENTRIES, ACCOUNTS):
        _emit_undo(code, shape)
    _emit_count(code)


def emit_touch(code: Code, shape: SlotShape) -> None:
    """See `touch`."""
    pointer, slot = code.function(touch(shape), I32, [POINTER, POINTER])
    builder, table = code.builder, table_record(code, pointer)
    stamp, used = table.get("stamp"), table.get("journal_used")
    at = code.offset(slot, shape.stamp_at)
    first, full, room, done = (code.block() for _ in range(4))
    builder.cbranch(builder.icmp_unsigned("==", code.load(I64, at, 8), stamp), done, first)
    code.go_on_at(first)
    is_full = builder.icmp_unsigned("==", used, table.get("journal_max"))
    code.branch_rarely(is_full, full, room)
    code.go_on_at(room)
    record = code.scaled(table.address("journal"), used, shape.record_bytes)
    code.store(slot, record, 8)
    code.copy(code.offset(record, 8), code.offset(slot, VALUE_AT), shape.value_bytes)
    code.store(stamp, at, 8)
    table.set("journal_used", code.add(used, 1))
    mark_written(code, table, shape, slot)
    builder.branch(done)
    code.go_on_at(full)
    builder.ret(constant(I32, 1))
    code.go_on_at(done)
    builder.ret(constant(I32, 0))


def mark_written(code: Code, table: FieldRecord, shape: SlotShape, slot: Value) -> None:
    """That a slot is changed: it is put on the list, once."""
    builder, at = code.builder, code.offset(slot, shape.changed_at)
    first, done = code.block(), code.block()
    builder.cbranch(code.is_zero(code.load(I32, at, 4)), first, done)
    code.go_on_at(first)
    code.store(constant(I32, 1), at, 4)
    begin = builder.ptrtoint(table.address("slots"), I64)
    number = builder.udiv(code.sub(builder.ptrtoint(slot, I64), begin), constant(I64, shape.slot_bytes))
    used = table.get("written_used")
    code.store(builder.trunc(number, I32), code.scaled(table.address("written"), used, 4), 4)
    table.set("written_used", code.add(used, 1))
    builder.branch(done)
    code.go_on_at(done)


def records(code: Code, table: FieldRecord, shape: SlotShape, body: Callable[[Value, Value], None]) -> None:
    """For each record of the journal: `body(value now, value before)`, both as addresses."""
    journal = table.address("journal")

    def visit(number: Value) -> None:
        record = code.scaled(journal, number, shape.record_bytes)
        body(code.offset(code.load(POINTER, record, 8), VALUE_AT), code.offset(record, 8))

    code.repeat(table.get("journal_used"), visit)


def forget(table: FieldRecord) -> None:
    """Keep what was written: its journal is empty."""
    table.set("journal_used", 0)


def _emit_undo(code: Code, shape: SlotShape) -> None:
    (pointer,) = code.function(undo(shape), VOID, [POINTER], internal=False, inline=False)
    table = table_record(code, pointer)
    records(code, table, shape, lambda now, before: code.copy(now, before, shape.value_bytes))
    forget(table)
    code.end()


def _emit_count(code: Code) -> None:
    (pointer,) = code.function(COUNT, PAIR, [POINTER], internal=False, inline=False)
    builder, table = code.builder, table_record(code, pointer)
    counts = [builder.alloca(I64), builder.alloca(I64)]
    for count in counts:
        code.store(constant(I64, 0), count, 8)

    def visit(now: Value, before: Value) -> None:
        was, is_ = (
            code.is_zero(code.load(I64, code.offset(at, WIDTH_AT - VALUE_AT))) for at in (before, now)
        )
        for count, one, other in zip(counts, (was, is_), (is_, was), strict=True):
            more = builder.zext(builder.and_(one, builder.not_(other)), I64)
            code.store(code.add(code.load(I64, count, 8), more), count, 8)

    records(code, table, ENTRIES, visit)
    empty = ir.Constant(PAIR, ir.Undefined)
    pair = builder.insert_value(empty, code.load(I64, counts[0], 8), 0)
    builder.ret(builder.insert_value(pair, code.load(I64, counts[1], 8), 1))


def emit_host_functions(code: Code, shape: SlotShape) -> None:
    """See `place`, `reindex` and `locate`: called by Python."""
    pointer, keys, values, rows = code.function(
        place(shape), VOID, [POINTER, POINTER, POINTER, I64], internal=False
    )
    builder, table = code.builder, table_record(code, pointer)

    def one(row: Value) -> None:
        key, value = code.scaled(keys, row, KEY_BYTES), code.scaled(values, row, shape.value_bytes)
        done = code.block()

        def put(slot: Value) -> None:
            code.copy(code.offset(slot, VALUE_AT), value, shape.value_bytes)
            builder.branch(done)

        def claim(where: Value) -> None:
            used = table.get("used")
            slot = code.scaled(table.address("slots"), used, shape.slot_bytes)
            code.copy(slot, key, KEY_BYTES)
            clear_marks(code, shape, slot)
            number = code.add(used, 1)
            code.store(builder.trunc(number, I32), where, 4)
            table.set("used", number)
            put(slot)

        _search(code, table, _words(code, key), shape, put, claim)
        code.go_on_at(done)

    code.repeat(rows, one)
    code.end()
    _emit_reindex(code, shape)
    pointer, key, out = code.function(locate(shape), VOID, [POINTER, POINTER, POINTER], internal=False)
    code.store(code.call(POINTER, find(shape), pointer, key), out, 8)
    code.end()


def clear_marks(code: Code, shape: SlotShape, slot: Value) -> None:
    """Of a slot that is new."""
    for at in (shape.stamp_at, shape.changed_at):
        code.store(constant(I64, 0), code.offset(slot, at), 8)


def _emit_reindex(code: Code, shape: SlotShape) -> None:
    (pointer,) = code.function(reindex(shape), VOID, [POINTER], internal=False)
    builder, table = code.builder, table_record(code, pointer)
    slots = table.address("slots")

    def one(number: Value) -> None:
        done = code.block()

        def put(where: Value) -> None:
            code.store(builder.trunc(code.add(number, 1), I32), where, 4)
            builder.branch(done)

        slot = code.scaled(slots, number, shape.slot_bytes)
        _search(code, table, _words(code, slot), shape, lambda _: builder.branch(done), put)
        code.go_on_at(done)

    code.repeat(table.get("used"), one)
    code.end()
