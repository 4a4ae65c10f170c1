"""Entries by their keys, balances, and coins that move: what the runtime does for programs."""

from __future__ import annotations

from llvmlite import ir

from actors.contracts.failures import Failure
from actors.contracts.limits import ENTRY_TAG
from actors.contracts.native import table_code
from actors.contracts.native.code import Code, FieldRecord, call_record, constant, table_record
from actors.contracts.native.hashing import SHA256
from actors.contracts.native.layout import (
    ACCOUNTS,
    BALANCE_AT,
    ENTRIES,
    HINT,
    KEY_BYTES,
    NONCE_AT,
    SlotShape,
    Stop,
)
from actors.kernels.emitter import I1, I8, I32, I64, POINTER, Value
from actors.kernels.sha256 import BLOCK_BYTES

SEEK_ENTRY = "seek_entry"
"""`ptr seek_entry(ptr call, i64 blocks)`: the slot whose key is the hash of the message, or null."""
MOVE_COINS = "move_coins"
"""`i32 move_coins(ptr call, ptr sender, ptr recipient, i64 amount)`: some coins, and a status."""
BALANCE = "balance"
"""`ptr balance(ptr call, ptr address)`: where it is, or null."""
SUPPOSE_ACCOUNT = "suppose_account"
"""`ptr suppose_account(ptr call, ptr address, i64 nonce, i64 balance)`: the slot of an account, which is put
in like this if it is not there, and that is to be supposed; else null."""
_SUPPOSE_ENTRY = "suppose_entry"
"""`ptr suppose_entry(ptr call, ptr key)`: likewise of an entry that is not there."""
_TAG_BYTES = len(ENTRY_TAG)
_BLOCK = ir.IntType(8 * BLOCK_BYTES)


def emit_seeking(code: Code) -> None:
    """See SEEK_ENTRY, BALANCE, MOVE_COINS and SUPPOSE_ACCOUNT."""
    _emit_suppose_entry(code)
    _emit_suppose_account(code)
    pointer, blocks = code.function(SEEK_ENTRY, POINTER, [POINTER, I64], internal=False, inline=False)
    call = call_record(code, pointer)
    _look_at_hints(code, call, blocks)
    key = call.address("key")
    code.invoke(SHA256, call.address("message"), blocks, code.offset(key, _TAG_BYTES))
    write_tag(code, key)
    slot = code.call(POINTER, table_code.find(ENTRIES), call.address("entries"), key)
    missing, there = code.block(), code.block()
    code.branch_rarely(code.is_null(slot), missing, there)
    code.go_on_at(missing)
    code.builder.ret(code.call(POINTER, _SUPPOSE_ENTRY, pointer, key))
    code.go_on_at(there)
    code.builder.ret(slot)
    _emit_balance(code)
    _emit_move(code)


def _look_at_hints(code: Code, call: FieldRecord, blocks: Value) -> None:
    """Return the slot of a hint that has the same message, if there is one."""
    builder, message, end = code.builder, call.address("message"), call.address("hints_end")
    before, head, one, same, other, none = builder.block, *[code.block() for _ in range(5)]
    begin = call.address("hints")
    builder.branch(head)
    code.go_on_at(head)
    at = builder.phi(POINTER)
    at.add_incoming(begin, before)
    builder.cbranch(builder.icmp_unsigned("<", at, end), one, none)
    code.go_on_at(one)
    hint = FieldRecord(code, at, HINT)

    def differs(number: Value, so_far: list[Value]) -> list[Value]:
        ours, its = (code.load(_BLOCK, code.scaled(start, number, BLOCK_BYTES)) for start in (message, at))
        return [builder.or_(so_far[0], builder.icmp_unsigned("!=", ours, its))]

    (unlike,) = code.loop(blocks, [constant(I1, 0)], differs)
    lengths = builder.icmp_unsigned("!=", blocks, hint.get("blocks"))
    slot = hint.address("slot")
    useless = builder.or_(builder.or_(unlike, lengths), code.is_null(slot))
    builder.cbranch(useless, other, same)
    code.go_on_at(same)
    builder.ret(slot)
    code.go_on_at(other)
    at.add_incoming(code.offset(at, 8 * len(HINT)), other)
    builder.branch(head)
    code.go_on_at(none)


def _room(code: Code, width_bytes: int) -> Value:
    """Memory of this function."""
    return code.pointer(code.builder.ptrtoint(code.room(ir.ArrayType(I8, width_bytes)), I64))


def _suppose(code: Code, call: FieldRecord, shape: SlotShape, key: Value, value: Value) -> Value:
    """The slot of a key that is not there, by now or not: null unless that is to be supposed."""
    builder, table = code.builder, table_record(code, call.address(shape.name))
    full = builder.icmp_unsigned(">=", table.get("used"), table.get("room"))
    none = builder.or_(full, code.is_zero(call.get("is_supposing")))
    code.return_if(none, ir.Constant(POINTER, None))
    code.invoke(table_code.place(shape), table.pointer, key, value, 1)
    return code.call(POINTER, table_code.find(shape), table.pointer, key)


def _emit_suppose_entry(code: Code) -> None:
    pointer, key = code.function(_SUPPOSE_ENTRY, POINTER, [POINTER, POINTER], inline=False)
    zeros = _room(code, ENTRIES.value_bytes)
    code.clear(zeros, ENTRIES.value_bytes)
    code.builder.ret(_suppose(code, call_record(code, pointer), ENTRIES, key, zeros))


def _emit_suppose_account(code: Code) -> None:
    pointer, key, nonce, balance = code.function(
        SUPPOSE_ACCOUNT, POINTER, [POINTER, POINTER, I64, I64], internal=False, inline=False
    )
    value, call = _room(code, ACCOUNTS.value_bytes), call_record(code, pointer)
    code.store(nonce, value, 8)
    code.store(balance, code.offset(value, BALANCE_AT - NONCE_AT), 8)
    slot = code.call(POINTER, table_code.find(ACCOUNTS), call.address("accounts"), key)
    code.return_if(code.builder.not_(code.is_null(slot)), slot)
    code.builder.ret(_suppose(code, call, ACCOUNTS, key, value))


def _emit_balance(code: Code) -> None:
    pointer, address = code.function(BALANCE, POINTER, [POINTER, POINTER], internal=False, inline=False)
    call = call_record(code, pointer)
    zero = constant(I64, 0)
    slot = code.call(POINTER, SUPPOSE_ACCOUNT, pointer, address, zero, zero)
    missing, there = code.block(), code.block()
    code.branch_rarely(code.is_null(slot), missing, there)
    code.go_on_at(missing)
    code.copy(call.address("key"), address, KEY_BYTES)
    code.builder.ret(slot)
    code.go_on_at(there)
    code.builder.ret(code.offset(slot, BALANCE_AT))


def _emit_move(code: Code) -> None:
    pointer, sender, recipient, amount = code.function(
        MOVE_COINS, I32, [POINTER, POINTER, POINTER, I64], internal=False, inline=False
    )
    builder, call = code.builder, call_record(code, pointer)
    _return_if(code, is_reserved(code, recipient), Failure.RESERVED_ADDRESS)
    code.return_if(code.is_zero(amount), constant(I32, 0))
    places = []
    for who in (sender, recipient):
        places.append(code.call(POINTER, BALANCE, pointer, who))
        _return_if(code, code.is_null(places[-1]), Stop.MISSING_ACCOUNT)
    too_few = builder.icmp_unsigned("<", code.load(I64, places[0], 8), amount)
    _return_if(code, too_few, Failure.INSUFFICIENT_COINS)
    for place, change in zip(places, (builder.sub, builder.add), strict=True):
        slot = code.offset(place, -BALANCE_AT)
        full = code.call(I32, table_code.touch(ACCOUNTS), call.address("accounts"), slot)
        _return_if(code, builder.not_(code.is_zero(full)), Stop.NO_ROOM)
        begin_nonce(code, slot, call.get("first_nonce"))
        code.store(change(code.load(I64, place, 8), amount), place, 8)
    builder.ret(constant(I32, 0))


def write_tag(code: Code, key: Value) -> None:
    """What keys of entries begin with."""
    code.store(constant(I64, int.from_bytes(ENTRY_TAG, "little")), key)


def is_reserved(code: Code, address: Value) -> Value:
    """A bit: whether only entries may have this key."""
    tag = constant(I64, int.from_bytes(ENTRY_TAG, "little"))
    return code.builder.icmp_unsigned("==", code.load(I64, address), tag)


def begin_nonce(code: Code, slot: Value, first: Value) -> None:
    """Before an account is written: one without coins comes to be, with this nonce at least."""
    nonce, balance = (code.load(I64, code.offset(slot, at), 8) for at in (NONCE_AT, BALANCE_AT))
    least = code.call(I64, "llvm.umax.i64", nonce, first)
    code.store(code.builder.select(code.is_zero(balance), least, nonce), code.offset(slot, NONCE_AT), 8)


def _return_if(code: Code, condition: Value, status: int) -> None:
    code.return_if(condition, constant(I32, int(status)))
