"""Looks ahead of the loop over rows: what the next rows need is found for all of them, step by step.

A search waits for memory twice, for the place in the index and for the slot. So each step is done for all
rows of the window before the next one, and asks for what that will want. Accounts of the parties first: who
the recipient is says which contract is called, and its program says which entries it is likely to look for
(contracts/native/hints.py), whose keys are hashed in pairs.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.contracts.native import table_code
from actors.contracts.native.code import (
    Code,
    FieldRecord,
    call_record,
    constant,
    contract_record,
    table_record,
)
from actors.contracts.native.hashing import SHA256, SHA256_PAIR
from actors.contracts.native.hints import HINTS_MAX
from actors.contracts.native.layout import (
    ACCOUNTS,
    CONTRACT,
    CONTRACT_AT,
    ENTRIES,
    HINT,
    HINT_KEY_AT,
    NO_CONTRACT,
    PUBLIC_FUNCTION,
)
from actors.contracts.native.seeking import write_tag
from actors.execution.native_layout import BLOCK, WINDOW_ROW
from actors.kernels.emitter import I8, I32, I64, POINTER, VOID, Value
from actors.ledger.rows import KIND_CALL, ROW_BYTES, ROW_DTYPE

LOOK_AHEAD = "look_ahead"
"""`void look_ahead(ptr call, ptr block)`: fills the window from the next row on."""
WINDOW_ROWS = 16
HINT_BYTES = 8 * len(HINT)
HINTS_BYTES = WINDOW_ROWS * HINTS_MAX * HINT_BYTES
PARTIES = ("sender", "recipient")
_CACHE_LINE_BYTES = 64


def field_at(code: Code, row: Value, name: str) -> Value:
    """Where a field of a row is."""
    fields = ROW_DTYPE.fields
    assert fields is not None
    return code.offset(row, fields[name][1])


def window_row(code: Code, block: FieldRecord, number: Value) -> FieldRecord:
    """What was found for a row, by its number in the window."""
    return FieldRecord(code, code.scaled(block.address("window"), number, 8 * len(WINDOW_ROW)), WINDOW_ROW)


def called_function(
    code: Code, block: FieldRecord, number: Value, payload: Value
) -> tuple[FieldRecord, Value, FieldRecord]:
    """The contract of this number (from 1); the number of the function that a payload names; its record,
    which is there only if the contract has so many."""
    place = code.sub(code.builder.zext(number, I64), 1)
    record = code.scaled(block.address("contracts"), place, 8 * len(CONTRACT))
    contract = contract_record(code, record)
    function = code.builder.zext(code.load(I8, payload), I64)
    at = code.scaled(contract.address("functions"), function, 8 * len(PUBLIC_FUNCTION))
    return contract, function, FieldRecord(code, at, PUBLIC_FUNCTION)


def emit_window(code: Code) -> None:
    """See LOOK_AHEAD."""
    for shape in (ENTRIES, ACCOUNTS):
        table_code.emit_walk(code, shape)
    call, block = code.function(LOOK_AHEAD, VOID, [POINTER, POINTER], inline=False)
    _Window(code, call_record(code, call), FieldRecord(code, block, BLOCK)).write()


class _Window:
    """The function while it is written."""

    def __init__(self, code: Code, call: FieldRecord, block: FieldRecord) -> None:
        self.code, self.call, self.block = code, call, block
        self.accounts = table_record(code, call.address(ACCOUNTS.name))
        self.entries = table_record(code, call.address(ENTRIES.name))
        self.hints_used = code.builder.alloca(I64)
        self.payload_at = code.builder.alloca(I64)

    def write(self) -> None:
        """All steps."""
        code, block = self.code, self.block
        self.first = block.get("next_row")
        left = code.sub(block.get("rows_count"), self.first)
        self.rows = code.least(left, WINDOW_ROWS)
        block.set("window_begin", self.first)
        block.set("window_end", code.add(self.first, self.rows))
        code.store(constant(I64, 0), self.hints_used, 8)
        code.store(block.get("payload_at"), self.payload_at, 8)
        code.repeat(self.rows, self._ask_for_index)
        code.repeat(self.rows, self._ask_for_accounts)
        code.repeat(self.rows, self._find_accounts)
        self._hash_keys()
        hints = code.load(I64, self.hints_used, 8)
        code.repeat(hints, self._ask_for_entry)
        code.repeat(hints, self._find_entry)
        code.end()

    def _row(self, number: Value) -> tuple[Value, FieldRecord]:
        code = self.code
        at = code.scaled(self.block.address("rows"), code.add(self.first, number), ROW_BYTES)
        return at, window_row(code, self.block, number)

    def _ask_for_index(self, number: Value) -> None:
        code = self.code
        at, found = self._row(number)
        for party in PARTIES:
            place = table_code.first_place(code, self.accounts, field_at(code, at, party))
            found.set(party, place)
            code.prefetch(table_code.index_place(code, self.accounts, place))

    def _ask_for_accounts(self, number: Value) -> None:
        code, found = self.code, window_row(self.code, self.block, number)
        for party in PARTIES:
            where = table_code.index_place(code, self.accounts, found.get(party))
            code.prefetch(table_code.slot_at(code, self.accounts, ACCOUNTS, where))

    def _find_accounts(self, number: Value) -> None:
        """And the hints of a call, if it calls something."""
        code, builder = self.code, self.code.builder
        at, found = self._row(number)
        for party in PARTIES:
            key, walk = field_at(code, at, party), table_code.walk(ACCOUNTS)
            slot = code.call(POINTER, walk, self.accounts.pointer, key, found.get(party))
            found.point(party, slot)
        payload = code.load(I64, self.payload_at, 8)
        payload_bytes = builder.zext(code.load(I32, field_at(code, at, "payload_bytes")), I64)
        code.store(code.add(payload, payload_bytes), self.payload_at, 8)
        found.point("hints", self._next_hint())
        is_call = builder.icmp_unsigned(
            "==", code.load(I8, field_at(code, at, "kind")), constant(I8, KIND_CALL)
        )
        there = builder.and_(is_call, builder.not_(code.is_null(slot)))
        self._if(there, lambda: self._hint(at, slot, payload, payload_bytes))
        found.point("hints_end", self._next_hint())

    def _next_hint(self) -> Value:
        used = self.code.load(I64, self.hints_used, 8)
        return self.code.scaled(self.block.address("hints"), used, HINT_BYTES)

    def _if(self, condition: Value, body: Callable[[], None]) -> None:
        code, inside, after = self.code, self.code.block(), self.code.block()
        code.builder.cbranch(condition, inside, after)
        code.go_on_at(inside)
        body()
        code.builder.branch(after)
        code.go_on_at(after)

    def _hint(self, at: Value, slot: Value, payload_at: Value, payload_bytes: Value) -> None:
        code, builder = self.code, self.code.builder
        number = code.load(I32, code.offset(slot, CONTRACT_AT), 4)
        is_contract = builder.icmp_unsigned(
            "<", builder.sub(number, constant(I32, 1)), constant(I32, NO_CONTRACT - 1)
        )
        some = builder.and_(is_contract, builder.not_(code.is_zero(payload_bytes)))

        def known_contract() -> None:
            payload = code.offset(self.block.address("payloads"), payload_at)
            contract, function, record = called_function(code, self.block, number, payload)
            exists = builder.icmp_unsigned("<", function, contract.get("functions_count"))
            self._if(exists, lambda: known_function(record, payload))

        def known_function(record: FieldRecord, payload: Value) -> None:
            same = builder.icmp_unsigned("==", code.add(record.get("arguments_bytes"), 1), payload_bytes)
            has_hints = builder.not_(code.is_zero(record.get("hints_count")))
            self._if(builder.and_(same, has_hints), lambda: write(record, payload))

        def write(record: FieldRecord, payload: Value) -> None:
            code.call_at(VOID, record.at("hints_code"), at, code.offset(payload, 1), self._next_hint())
            used = code.add(code.load(I64, self.hints_used, 8), record.get("hints_count"))
            code.store(used, self.hints_used, 8)

        self._if(some, known_contract)

    def _hint_record(self, number: Value) -> FieldRecord:
        return FieldRecord(self.code, self.code.scaled(self.block.address("hints"), number, HINT_BYTES), HINT)

    def _hash_keys(self) -> None:
        """Two by two, where the two are equally long."""
        code, builder = self.code, self.code.builder
        hints = code.load(I64, self.hints_used, 8)
        before, head, one, pair, single, after = builder.block, *[code.block() for _ in range(5)]
        builder.branch(head)
        code.go_on_at(head)
        number = builder.phi(I64)
        number.add_incoming(constant(I64, 0), before)
        builder.cbranch(builder.icmp_unsigned("<", number, hints), one, after)
        code.go_on_at(one)
        this, other = self._hint_record(number), self._hint_record(code.add(number, 1))
        has_other = builder.icmp_unsigned("<", code.add(number, 1), hints)
        blocks = this.get("blocks")
        equal = builder.icmp_unsigned("==", blocks, other.get("blocks"))
        outs = [code.offset(each.pointer, HINT_KEY_AT + 8) for each in (this, other)]
        builder.cbranch(builder.and_(has_other, equal), pair, single)
        code.go_on_at(pair)
        code.call_at(VOID, self.call.at(SHA256_PAIR), this.pointer, other.pointer, blocks, *outs)
        for each in (this, other):
            self._ask_for_place(each)
        number.add_incoming(code.add(number, 2), builder.block)
        builder.branch(head)
        code.go_on_at(single)
        code.call_at(
            VOID, self.call.at(SHA256), this.pointer, blocks, code.offset(this.pointer, HINT_KEY_AT + 8)
        )
        self._ask_for_place(this)
        number.add_incoming(code.add(number, 1), builder.block)
        builder.branch(head)
        code.go_on_at(after)

    def _ask_for_place(self, hint: FieldRecord) -> None:
        code = self.code
        key = code.offset(hint.pointer, HINT_KEY_AT)
        write_tag(code, key)
        place = table_code.first_place(code, self.entries, key)
        hint.set("first", place)
        code.prefetch(table_code.index_place(code, self.entries, place))

    def _ask_for_entry(self, number: Value) -> None:
        code, hint = self.code, self._hint_record(number)
        where = table_code.index_place(code, self.entries, hint.get("first"))
        slot = table_code.slot_at(code, self.entries, ENTRIES, where)
        for offset in range(0, ENTRIES.slot_bytes, _CACHE_LINE_BYTES):
            code.prefetch(code.offset(slot, offset))

    def _find_entry(self, number: Value) -> None:
        code, hint = self.code, self._hint_record(number)
        key = code.offset(hint.pointer, HINT_KEY_AT)
        slot = code.call(POINTER, table_code.walk(ENTRIES), self.entries.pointer, key, hint.get("first"))
        hint.point("slot", slot)
