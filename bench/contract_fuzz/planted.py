"""Bugs of native code, planted from outside in its lowering, one at a time: each is to be found by fuzzing.

Nothing here is ever on in a node: `planted` patches single pieces of `actors.contracts.native` while it is
open, and what was compiled meanwhile is wrong. So do not keep it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.native import arithmetic, loop, operations, public, rows, runtime, table_code
from actors.contracts.native.arithmetic import ARITHMETIC, ir_type
from actors.contracts.native.code import Code, FieldRecord, constant
from actors.contracts.native.layout import ENTRIES, VALUE_AT, WIDTH_AT, Stop
from actors.contracts.native.lowering import FunctionCode, resized
from actors.contracts.verified import Choice, Rounds, VerifiedFunction
from actors.contracts.verified import Code as Parts
from actors.kernels.emitter import I1, I8, I32, I64, Value


class PlantedBug(NamedTuple):
    """place: what has the piece, a module, a class or a dictionary. instead: given the piece, what stands in
    its stead. in_runtime: whether it is in what is compiled once for all programs."""

    place: Any
    piece: Any
    instead: Callable[[Any], Any]
    in_runtime: bool = False


class _Lenient:
    """What writes a function, without one of its checks."""

    def __init__(self, to: Any, unchecked: Failure) -> None:
        self.code, self._to, self._unchecked = to.code, to, unchecked

    def fail_if(self, condition: Value, failure: Failure) -> None:
        """See Failing."""
        if failure is not self._unchecked:
            self._to.fail_if(condition, failure)


def _without_overflow(rule: Any) -> Any:
    return lambda to, *rest: rule(_Lenient(to, Failure.OVERFLOW), *rest)


def _with_sign(_: Any) -> Any:
    return lambda code, _, condition, a, b: code.builder.icmp_signed(condition, a, b)


def _masked_places(_: Any) -> Any:
    def places(to: Any, b: Value) -> tuple[Value, Value]:
        width = constant(b.type, b.type.width - 1)
        return constant(I1, 0), to.code.builder.and_(b, width)

    return places


def _free_otherwise(choice: Any) -> Any:
    def lower(self: FunctionCode, part: Choice, lower_block: Any) -> None:
        free: Parts = tuple([msgspec.structs.replace(each, gas=0) for each in part.otherwise[:1]])
        choice(self, msgspec.structs.replace(part, otherwise=free + part.otherwise[1:]), lower_block)

    return lower


def _undo_entries_only(_: Any) -> Any:
    def undo(code: Code, call: FieldRecord, tables: list[FieldRecord], began: Value) -> None:
        code.invoke(table_code.undo(ENTRIES), tables[0].pointer)
        table_code.forget(tables[1])
        call.set("events_used", began)

    return undo


def _keep_events(_: Any) -> Any:
    def undo(code: Code, _call: FieldRecord, tables: list[FieldRecord], _began: Value) -> None:
        for table, shape in zip(tables, loop.TABLES, strict=True):
            code.invoke(table_code.undo(shape), table.pointer)

    return undo


def _writes(touches: Callable[[int], bool], zero_is_none: bool) -> Callable[[Any], Any]:
    def write(row: Any, slot: Value, chunk: int, value: Value) -> None:
        f, code, width = row._f, row._f.code, constant(I64, row.width_of(chunk))
        if touches(chunk):
            full = code.call(I32, table_code.touch(ENTRIES), f.call.address("entries"), slot)
            f.stop_if(code.builder.not_(code.is_zero(full)), int(Stop.NO_ROOM))
        code.store(value, code.offset(slot, VALUE_AT))
        none = code.is_zero(value) if zero_is_none else constant(I1, 0)
        code.store(code.builder.select(none, constant(I64, 0), width), code.offset(slot, WIDTH_AT), 8)

    return lambda _: write


def _unclean_registers(write: Any) -> Any:
    def whole(self: Any, lower: Any) -> None:
        set_register, write_list = self.set, self._list

        def go_on(parts: Parts, lower_block: Any) -> None:
            self.set, self._list = set_register, write_list
            write_list(parts, lower_block)

        def set_unclean(register: int, value: Any) -> None:
            is_zero = getattr(value, "constant", None) == 0
            set_register(register, constant(value.type, 1) if is_zero else value)

        self.set, self._list = set_unclean, go_on
        write(self, lower)

    return whole


def _one_round_more(rounds: Any) -> Any:
    def lower(self: FunctionCode, part: Rounds, lower_block: Any) -> None:
        rounds(self, msgspec.structs.replace(part, max=part.max + 1), lower_block)

    return lower


def _no_maxima(check: Any) -> Any:
    def checked(code: Code, gas: Value, function: VerifiedFunction, arguments: Value) -> None:
        check(code, gas, msgspec.structs.replace(function, maxima=()), arguments)

    return checked


def _low_word(quotient: Any) -> Any:
    def lower(to: Any, a: Value, b: Value) -> Value:
        builder = to.code.builder
        whole: Value = quotient(to, a, b)
        if a.type.width > I64.width:
            whole = builder.zext(builder.trunc(whole, I64), a.type)
        return whole

    return lower


def _one_element_more(_: Any) -> Any:
    def element(f: FunctionCode, array: int, index: int) -> Value:
        shape, builder = f.shapes[array], f.code.builder
        place, kind = f.get(index), ir_type(f.shapes[index].type)
        if shape.count <= f.shapes[index].type.range[1]:
            too_great = builder.icmp_unsigned(">", place, constant(kind, shape.count))
            f.fail_if(too_great, Failure.INDEX_OUT_OF_RANGE)
        return f.code.scaled(f.at(array), resized(f.code, place, I64), shape.type.width_bytes)

    return element


def _first_balance(balance: Any) -> Any:
    def lower(f: Any, op: ir.Balance) -> None:
        builder = f.code.builder
        if not hasattr(f, "first_balance"):
            with builder.goto_entry_block():
                f.first_balance = builder.alloca(I64)
                f.code.store(constant(I64, 0), f.first_balance, 8)
        balance(f, op)
        before = f.code.load(I64, f.first_balance, 8)
        f.set(op.dst, builder.select(f.code.is_zero(before), f.get(op.dst), before))
        f.code.store(f.get(op.dst), f.first_balance, 8)

    return lower


def _no_end_mark(pad: Any) -> Any:
    def padded(code: Code, message: Value, width_bytes: int) -> None:
        pad(code, message, width_bytes)
        if width_bytes in (55, 56, 64):
            code.store(constant(I8, 0), code.offset(message, width_bytes))

    return padded


def _always(answer: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda _: answer


PLANTED: dict[str, PlantedBug] = {
    "sums are not checked": PlantedBug(ARITHMETIC, ir.Arithmetic.ADD, _without_overflow),
    "numbers without sign are compared with one": PlantedBug(operations, "compare_numbers", _with_sign),
    "division rounds toward zero": PlantedBug(
        arithmetic, "_rounds_down", _always(lambda *_: constant(I1, 0))
    ),
    "the least number by -1 is itself": PlantedBug(ARITHMETIC, ir.Arithmetic.FLOOR_DIV, _without_overflow),
    "places to shift by are taken modulo the width": PlantedBug(arithmetic, "_places", _masked_places),
    "bytes are compared from their ends": PlantedBug(
        operations, "_big_endian", _always(lambda _, value: value)
    ),
    "one branch begins for nothing": PlantedBug(FunctionCode, "_choice", _free_otherwise),
    "coins are not undone": PlantedBug(loop, "_undo", _undo_entries_only, in_runtime=True),
    "the second entry of a row is not undone": PlantedBug(
        rows._Row, "write", _writes(lambda chunk: chunk == 0, zero_is_none=True)
    ),
    "events outlive a failure": PlantedBug(loop, "_undo", _keep_events, in_runtime=True),
    "registers are not cleared": PlantedBug(FunctionCode, "write", _unclean_registers),
    "a loop runs once more than it may": PlantedBug(FunctionCode, "_rounds", _one_round_more),
    "bools of arguments are not looked at": PlantedBug(
        public, "are_bools", _always(lambda *_: constant(I1, 1))
    ),
    "what is at most is not looked at": PlantedBug(public, "_check_arguments", _no_maxima),
    "zero is an entry, too": PlantedBug(rows._Row, "write", _writes(lambda _: True, zero_is_none=False)),
    "quotients lose their high word": PlantedBug(arithmetic, "_quotient", _low_word),
    "casts are not checked": PlantedBug(operations, "cast_number", _without_overflow),
    "arrays have one element more": PlantedBug(operations, "_element", _one_element_more),
    "the balance is that of before": PlantedBug(operations.LOWER, ir.Balance, _first_balance),
    "messages of 55, 56 and 64 bytes have no end": PlantedBug(rows, "pad", _no_end_mark),
}
"""By what is wrong then."""


@contextmanager
def planted(name: str) -> Iterator[None]:
    """All that is compiled within has this bug. Native code that was compiled before is not to be run."""
    bug = PLANTED[name]
    in_dictionary = isinstance(bug.place, dict)
    piece = bug.place[bug.piece] if in_dictionary else getattr(bug.place, bug.piece)
    _put(bug, bug.instead(piece))
    kept = _forget_runtime() if bug.in_runtime else None
    try:
        yield
    finally:
        _put(bug, piece)
        if kept is not None:
            _forget_runtime()


def _put(bug: PlantedBug, piece: Any) -> None:
    if isinstance(bug.place, dict):
        bug.place[bug.piece] = piece
    else:
        setattr(bug.place, bug.piece, piece)


def _forget_runtime() -> Any:
    """It is compiled when it is needed next; the old one, which is to be kept as long as anybody uses it."""
    old = runtime.runtime()
    runtime.runtime.cache_clear()
    runtime.addresses.cache_clear()
    return old
