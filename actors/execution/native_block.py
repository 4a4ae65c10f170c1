"""The loop over rows of a job, in compiled code: the rules of the ledger for transfers and calls.

The definition is `ledger/transfer.py` and `ledger/contract_rules.py`; what this is tested against is
`interpreted.py`.

1. A row is looked at as the rules do, in their order. One that is refused leaves its verdict alone.
2. While a contract runs, only the journals know what was before. The sender's own account is written after
   it: its fee and its nonce. No contract sees them, and they leave the sender above the least balance.
3. What stops the loop (layout.Stop) undoes the row first: it begins again from nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from actors.contracts.failures import Failure
from actors.contracts.native import table_code
from actors.contracts.native.code import (
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
    BALANCE_AT,
    CONTRACT_AT,
    ENTRIES,
    KEY_BYTES,
    NO_CONTRACT,
    NONCE_AT,
    STATUS_BITS,
    VALUE_AT,
    Stop,
)
from actors.contracts.native.loop import EVENTS_BYTES_MAX
from actors.contracts.native.seeking import SUPPOSE_ACCOUNT, begin_nonce
from actors.execution.native_layout import BLOCK, MESSAGE_BITS, NO_MESSAGE
from actors.execution.native_parts import RowAccount, Ways
from actors.execution.native_window import (
    LOOK_AHEAD,
    PARTIES,
    called_function,
    emit_window,
    field_at,
    window_row,
)
from actors.kernels.emitter import I1, I8, I32, I64, POINTER, VOID, Value
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.rows import KIND_TRANSFER, ROW_BYTES
from actors.ledger.verdict import Verdict

RUN_BLOCK = "run_block"
"""`void run_block(ptr call, ptr block)`."""
I128 = ir.IntType(128)
_SUPPOSED_BALANCE = 1 << 62
"""Of a sender: so that its call is likely to run."""
_OVERFLOW = ir.LiteralStructType([I64, I1])


def block_text() -> str:
    """The module, as LLVM IR."""
    code = Code()
    emit_window(code)
    call, block = code.function(RUN_BLOCK, VOID, [POINTER, POINTER], internal=False)
    _BlockLoop(code, call_record(code, call), FieldRecord(code, block, BLOCK)).write()
    return code.text()


class _BlockLoop:
    """The loop while it is written."""

    def __init__(self, code: Code, call: FieldRecord, block: FieldRecord) -> None:
        self.code, self.call, self.block = code, call, block
        self.entries = table_record(code, call.address(ENTRIES.name))
        self.accounts = table_record(code, call.address(ACCOUNTS.name))

    def write(self) -> None:
        """All of it."""
        code, builder, block = self.code, self.code.builder, self.block
        head, one, done = (code.block() for _ in range(3))
        self._too_little = builder.alloca(I1)
        block.set("window_end", 0)
        builder.branch(head)
        code.go_on_at(head)
        self.row = block.get("next_row")
        ready, empty = code.block(), code.block()
        builder.cbranch(builder.icmp_unsigned("<", self.row, block.get("rows_count")), ready, done)
        code.go_on_at(ready)
        builder.cbranch(builder.icmp_unsigned("<", self.row, block.get("window_end")), one, empty)
        code.go_on_at(empty)
        code.invoke(LOOK_AHEAD, self.call.pointer, block.pointer)
        builder.branch(one)
        code.go_on_at(one)
        self.refused, self.stopped = Ways(code, I8), Ways(code, I64)
        self.passed = Ways(code, I64, I64)
        self.next_row = code.block()
        self._read_row()
        self._apply()
        (verdict,) = self.refused.arrive()
        code.store(verdict, code.offset(block.address("verdicts"), self.row))
        builder.branch(self.next_row)
        self._pass(*self.passed.arrive())
        builder.branch(self.next_row)
        code.go_on_at(self.next_row)
        block.set("next_row", code.add(self.row, 1))
        block.set("payload_at", code.add(self.payload_at, self.payload_bytes))
        builder.branch(head)
        (why,) = self.stopped.arrive()
        self._undo()
        self.call.set("stopped", why)
        builder.branch(done)
        code.go_on_at(done)
        code.end()

    def _read_row(self) -> None:
        code, builder, call, block = self.code, self.code.builder, self.call, self.block
        self.began = call.get("events_used")
        self._at = code.scaled(block.address("rows"), self.row, ROW_BYTES)
        self.kind = code.load(I8, field_at(code, self._at, "kind"))
        self.payload_bytes = builder.zext(code.load(I32, field_at(code, self._at, "payload_bytes")), I64)
        self.nonce, self.amount, self.fee = (
            code.load(I64, field_at(code, self._at, name)) for name in ("nonce", "amount", "fee")
        )
        self.payload_at = block.get("payload_at")
        self.first_nonce = call.get("first_nonce")
        found = window_row(code, block, code.sub(self.row, block.get("window_begin")))
        for name in ("hints", "hints_end"):
            call.point(name, found.address(name))
        slots = [self._found(found, name) for name in PARTIES]
        self.sender, self.recipient = (RowAccount(code, self.accounts, slot) for slot in slots)
        self.to_self = builder.icmp_unsigned("==", *slots)
        held = code.load(I64, code.offset(slots[0], NONCE_AT), 8)
        least = code.call(I64, "llvm.umax.i64", held, self.first_nonce)
        self.sender_nonce = builder.select(self.sender.is_empty, least, held)

    def _found(self, row: FieldRecord, party: str) -> Value:
        nothing = constant(I64, 0)
        held = (self.nonce, constant(I64, _SUPPOSED_BALANCE)) if party == "sender" else (nothing, nothing)
        return self._there(row.address(party), field_at(self.code, self._at, party), *held)

    def _there(self, slot: Value, key: Value, nonce: Value, balance: Value) -> Value:
        """The slot of an account; if it is missing, one that is supposed, or the loop stops."""
        code = self.code
        there = Ways(code, POINTER)
        found, absent, missing, supposed = (code.block() for _ in range(4))
        code.branch_rarely(code.is_null(slot), absent, found)
        code.go_on_at(found)
        there.go(slot)
        code.go_on_at(absent)
        other = code.call_at(POINTER, self.call.at(SUPPOSE_ACCOUNT), self.call.pointer, key, nonce, balance)
        code.builder.cbranch(code.is_null(other), missing, supposed)
        code.go_on_at(missing)
        self._miss_account(key)
        code.go_on_at(supposed)
        there.go(other)
        (slot,) = there.arrive()
        return slot

    def _miss_account(self, key: Value) -> None:
        self.code.copy(self.call.address("key"), key, KEY_BYTES)
        self.stopped.go(constant(I64, int(Stop.MISSING_ACCOUNT)))

    def _refuse_if(self, condition: Value, verdict: Verdict) -> None:
        self.refused.go_if(condition, constant(I8, int(verdict)))

    def _sum(self, name: str, a: Value, b: Value) -> tuple[Value, Value]:
        """A number of 64 bits without sign, and whether it does not fit them."""
        pair = self.code.call(_OVERFLOW, f"llvm.u{name}.with.overflow.i64", a, b)
        return self.code.builder.extract_value(pair, 0), self.code.builder.extract_value(pair, 1)

    def _apply(self) -> None:
        """The rules that transfers and calls share, in their order; then each kind's."""
        code, builder = self.code, self.code.builder
        less = builder.icmp_unsigned
        _, too_many_fees = self._sum("add", self.block.get("fees"), self.fee)
        self._refuse_if(too_many_fees, Verdict.BALANCE_OVERFLOW)
        self._refuse_if(less("<", self.nonce, self.sender_nonce), Verdict.NONCE_REUSED)
        self._refuse_if(self.sender.is_empty, Verdict.INSUFFICIENT_BALANCE)
        self._refuse_if(less(">", self.nonce, self.sender_nonce), Verdict.NONCE_GAP)
        cost, too_much = self._sum("add", self.amount, self.fee)
        lacking = builder.or_(too_much, less("<", self.sender.balance, cost))
        self._refuse_if(lacking, Verdict.INSUFFICIENT_BALANCE)
        received, too_rich = self._sum("add", self.recipient.balance, self.amount)
        self._refuse_if(builder.and_(too_rich, builder.not_(self.to_self)), Verdict.BALANCE_OVERFLOW)
        transfer, call = code.block(), code.block()
        is_transfer = builder.icmp_unsigned("==", self.kind, constant(I8, KIND_TRANSFER))
        builder.cbranch(is_transfer, transfer, call)
        code.go_on_at(transfer)
        self._transfer(received)
        code.go_on_at(call)
        self._call(code.sub(self.sender.balance, cost))

    def _transfer(self, received: Value) -> None:
        """See ledger/transfer.py."""
        code, builder = self.code, self.code.builder
        least = self.block.get("balance_min")
        too_small = builder.and_(self.recipient.is_empty, builder.icmp_unsigned("<", self.amount, least))
        self._refuse_if(too_small, Verdict.RECIPIENT_BELOW_MINIMUM)
        given = builder.select(self.to_self, constant(I64, 0), self.amount)
        left = code.sub(code.sub(self.sender.balance, self.fee), given)
        self._refuse_if(self._is_too_little(left), Verdict.SENDER_BELOW_MINIMUM)
        self._set_nonce()
        self.sender.set_balance(left)
        other, after = code.block(), code.block()
        builder.cbranch(self.to_self, after, other)
        code.go_on_at(other)
        begin_nonce(code, self.recipient.slot, self.first_nonce)
        self.recipient.set_balance(received)
        builder.branch(after)
        code.go_on_at(after)
        self.passed.go(constant(I64, 0), self.fee)

    def _set_nonce(self) -> None:
        nonce = self.code.offset(self.sender.slot, NONCE_AT)
        self.code.store(self.code.add(self.sender_nonce, 1), nonce, 8)

    def _is_too_little(self, balance: Value) -> Value:
        builder = self.code.builder
        below = builder.icmp_unsigned("<", balance, self.block.get("balance_min"))
        return builder.and_(below, builder.not_(self.code.is_zero(balance)))

    def _call(self, left: Value) -> None:
        """See ledger/contract_rules.py. left: of the sender's balance at worst."""
        code, builder, block = self.code, self.code.builder, self.block
        least = block.get("balance_min")
        self._refuse_if(builder.icmp_unsigned("<", left, least), Verdict.SENDER_BELOW_MINIMUM)
        units = code.sub(self.fee, block.get("fee_min"))
        bought, too_much = self._sum("mul", units, block.get("gas_per_unit"))
        most = block.get("gas_max")
        gas = builder.select(too_much, most, code.call(I64, "llvm.umin.i64", bought, most))
        more_than_left = builder.icmp_signed(">", gas, block.get("gas_left"))
        self._refuse_if(more_than_left, Verdict.BLOCK_GAS)
        ended = Ways(code, I64, I32, I64)
        self._run(gas, ended)
        gas_after, status, results_bytes = ended.arrive()
        self.stopped.go_if(self._is_stop(status), builder.zext(status, I64))
        failure = builder.and_(status, constant(I32, 0xFF))
        ran_out = builder.icmp_unsigned("==", failure, constant(I32, int(Failure.OUT_OF_GAS)))
        used = builder.select(ran_out, gas, code.sub(gas, gas_after))
        self._settle(used, status, results_bytes)

    def _is_stop(self, status: Value) -> Value:
        low = self.code.builder.and_(status, constant(I32, 0xFF))
        return self.code.builder.icmp_unsigned(">=", low, constant(I32, int(min(Stop))))

    def _run(self, gas: Value, ended: Ways) -> None:
        """The function that is called, if there is one: gas that is left, a status, bytes of its results."""
        code, builder, call, block = self.code, self.code.builder, self.call, self.block
        no_room = constant(I64, int(Stop.NO_ROOM))
        full = builder.icmp_unsigned(">", code.add(self.began, EVENTS_BYTES_MAX), call.get("events_max"))
        self.stopped.go_if(full, no_room)

        def fail_if(condition: Value, failure: Failure) -> None:
            ended.go_if(condition, gas, constant(I32, int(failure)), constant(I64, 0))

        number = code.load(I32, code.offset(self.recipient.slot, CONTRACT_AT), 4)
        is_unknown, is_supposing = code.is_zero(number), builder.not_(code.is_zero(call.get("is_supposing")))
        unknown = builder.and_(is_unknown, builder.not_(is_supposing))
        self.stopped.go_if(unknown, constant(I64, int(Stop.UNKNOWN_PROGRAM)))
        is_none = builder.icmp_unsigned("==", number, constant(I32, NO_CONTRACT))
        fail_if(builder.or_(is_none, is_unknown), Failure.MISSING_CONTRACT)
        fail_if(code.is_zero(self.payload_bytes), Failure.UNKNOWN_FUNCTION)
        payload = code.offset(self.block.address("payloads"), self.payload_at)
        contract, place, function = called_function(code, block, number, payload)
        self._check_function(contract, place, function, fail_if)
        results_bytes = function.get("results_bytes")
        results_used = block.get("results_used")
        full = builder.icmp_unsigned(">", code.add(results_used, results_bytes), block.get("results_max"))
        self.stopped.go_if(full, no_room)
        self._begin_call(contract)
        results = code.offset(block.address("results"), results_used)
        arguments = code.offset(payload, 1)
        came = code.call_at(OUTCOME, function.at("code"), call.pointer, gas, arguments, results)
        ended.go(builder.extract_value(came, 0), builder.extract_value(came, 1), results_bytes)

    def _check_function(
        self,
        contract: FieldRecord,
        number: Value,
        function: FieldRecord,
        fail_if: Callable[[Value, Failure], None],
    ) -> None:
        """That it is a public one, which takes so many bytes, and coins if there are some."""
        code, builder = self.code, self.code.builder
        is_none = builder.icmp_unsigned(">=", number, contract.get("functions_count"))
        fail_if(is_none, Failure.UNKNOWN_FUNCTION)
        fail_if(code.is_zero(function.get("code")), Failure.UNKNOWN_FUNCTION)
        refuses = code.is_zero(function.get("accepts_coins"))
        fail_if(builder.and_(refuses, builder.not_(code.is_zero(self.amount))), Failure.TAKES_NO_COINS)
        wanted = code.add(function.get("arguments_bytes"), 1)
        fail_if(builder.icmp_unsigned("!=", wanted, self.payload_bytes), Failure.BAD_ARGUMENTS)

    def _begin_call(self, contract: FieldRecord) -> None:
        code, call = self.code, self.call
        sender = field_at(code, self._at, "sender")
        for table in (self.entries, self.accounts):
            table.set("stamp", code.add(table.get("stamp"), 1))
        for name in ("sender", "origin"):
            call.point(name, sender)
        call.set("amount", self.amount)
        call.point("contract", contract.pointer)
        call.point("frames", call.address("frames_begin"))
        call.set("depth", 1)
        call.set("events_of_call", 0)

    def _settle(self, used: Value, status: Value, results_bytes: Value) -> None:
        """Keep what a call has done, or undo it; and take what it costs."""
        code, builder, block = self.code, self.code.builder, self.block
        units = builder.udiv(
            code.sub(code.add(used, block.get("gas_per_unit")), 1), block.get("gas_per_unit")
        )
        fee = code.add(block.get("fee_min"), units)
        failed, settled = Ways(code, I32), Ways(code, I32, I64)
        good = code.block()
        failed_here = builder.not_(code.is_zero(status))
        failed.go_if(failed_here, status)
        builder.branch(good)
        code.go_on_at(good)
        deposit = self._deposit(fee, failed)
        failed.go_if(self._leaves_too_little(), constant(I32, int(Failure.BALANCE_BELOW_MINIMUM)))
        self._move_deposit(deposit)
        for table in (self.entries, self.accounts):
            table_code.forget(table)
        block.set("results_used", code.add(block.get("results_used"), results_bytes))
        settled.go(constant(I32, 0), deposit)
        (status,) = failed.arrive()
        self._undo()
        settled.go(status, constant(I64, 0))
        status, deposit = settled.arrive()
        self._set_nonce()
        self.sender.set_balance(code.sub(self.sender.balance_now(), code.add(fee, deposit)))
        self._tell(used, status)
        failure = builder.and_(status, constant(I32, 0xFF))
        self.passed.go(builder.zext(failure, I64), fee)

    def _deposit(self, fee: Value, failed: Ways) -> Value:
        """Of entries that are new, less of those that are gone."""
        code, builder = self.code, self.code.builder
        counts = code.call_at(table_code.PAIR, self.call.at(table_code.COUNT), self.entries.pointer)
        more = code.sub(builder.extract_value(counts, 0), builder.extract_value(counts, 1))
        price = builder.zext(self.block.get("entry_deposit"), I128)
        deposit = builder.mul(builder.sext(more, I128), price)
        cost = builder.add(deposit, builder.zext(fee, I128))
        too_much = builder.icmp_signed(">", cost, builder.zext(self.fee, I128))
        failed.go_if(too_much, constant(I32, int(Failure.DEPOSIT)))
        return builder.trunc(deposit, I64)

    def _leaves_too_little(self) -> Value:
        """A bit: whether an account has less than the least balance by now, and another one than before."""
        code, builder = self.code, self.code.builder
        found = self._too_little
        code.store(constant(I1, 0), found)

        def visit(now: Value, before: Value) -> None:
            has, had = (code.load(I64, code.offset(value, BALANCE_AT - VALUE_AT)) for value in (now, before))
            changed = builder.icmp_unsigned("!=", has, had)
            one = builder.and_(changed, self._is_too_little(has))
            code.store(builder.or_(code.load(I1, found), one), found)

        table_code.records(code, self.accounts, ACCOUNTS, visit)
        return code.load(I1, found)

    def _move_deposit(self, deposit: Value) -> None:
        """To the account of deposits, or from it. The sender's part is settled with its fee."""
        code, builder, block = self.code, self.code.builder, self.block
        some, after, nothing = code.block(), code.block(), constant(I64, 0)
        builder.cbranch(code.is_zero(deposit), after, some)
        code.go_on_at(some)
        slot = self._there(block.address("deposits"), block.address("deposits_key"), nothing, nothing)
        begin_nonce(code, slot, self.first_nonce)
        account = RowAccount(code, self.accounts, slot)
        account.set_balance(code.add(account.balance, deposit))
        builder.branch(after)
        code.go_on_at(after)

    def _undo(self) -> None:
        """What the call has written, and its events."""
        for table, shape in ((self.entries, ENTRIES), (self.accounts, ACCOUNTS)):
            self.code.call_at(VOID, self.call.at(table_code.undo(shape)), table.pointer)
        self.call.set("events_used", self.began)

    def _tell(self, used: Value, status: Value) -> None:
        """The columns of calls."""
        code, builder, block = self.code, self.code.builder, self.block
        place = block.get("calls")

        def put(column: str, value: Value, width_bytes: int) -> None:
            code.store(value, code.scaled(block.address(column), place, width_bytes), width_bytes)

        put("places", builder.trunc(block.get("passed"), I32), 4)
        put("gas", used, 8)
        put("result_ends", block.get("results_used"), 8)
        put("event_ends", self.call.get("events_used"), 8)
        contract = contract_record(code, self.call.address("contract")).get("number")
        number = builder.shl(builder.trunc(contract, I32), constant(I32, MESSAGE_BITS))
        message = builder.or_(number, builder.lshr(status, constant(I32, STATUS_BITS)))
        failure = builder.and_(status, constant(I32, 0xFF))
        says = builder.icmp_unsigned("==", failure, constant(I32, int(Failure.REQUIREMENT)))
        put("messages", builder.select(says, message, constant(I32, NO_MESSAGE)), 4)
        block.set("calls", code.add(place, 1))
        for name, change in (("gas_left", builder.sub), ("gas_used", builder.add)):
            block.set(name, change(block.get(name), used))

    def _pass(self, status: Value, fee: Value) -> None:
        """The row's receipt."""
        code, block = self.code, self.block
        place = block.get("passed")
        at = code.scaled(block.address("receipts"), place, 8 * RECEIPT_WORDS)
        words = (status, fee, self.sender.balance_now(), self.recipient.balance_now())
        for number, word in enumerate(words):
            code.store(word, code.offset(at, 8 * number), 8)
        block.set("passed", code.add(place, 1))
        block.set("fees", code.add(block.get("fees"), fee))
