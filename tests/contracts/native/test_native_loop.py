"""The loop over calls: order, undoing, what is missing, and room that is made as it is needed."""

from __future__ import annotations

import numpy as np
import pytest

from actors.contracts import ir
from actors.contracts.encoding import encode_program
from actors.contracts.failures import Failure
from actors.contracts.gas import Weights
from actors.contracts.native import driver
from actors.contracts.native.calls import CallColumns
from actors.contracts.native.layout import Stop
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.program import NativeCache, NativeProgram
from actors.contracts.native.runs import NativeRun
from actors.contracts.native.tables import JOURNAL_RECORDS, AccountTable, EntryTable
from actors.contracts.types import ADDRESS, BOOL, U16, U64, Slot
from actors.contracts.verified import Verified
from actors.contracts.world import MemoryWorld
from tests.contracts.native.beside import SEED, Beside
from tests.contracts.single import (
    CONTRACT,
    GAS,
    OTHER,
    SENDER,
    arguments,
    context,
    function,
    program,
    verified,
)

NUMBERS = ir.Table("numbers", (U64,), (ir.Named("value", ir.Shape(U64)),))
WIDE = ir.Table("wide", (), (ir.Named("values", ir.Shape(U64, 20)), ir.Named("last", ir.Shape(BOOL))))
EVENT = ir.Event("Said", (ir.Named("number", ir.Shape(U64)),))
ONE = (1).to_bytes(8, "little")


def run(
    beside: Beside, ready: Verified, cases: list[tuple[Slot, ...]], amount: int = 0
) -> list[Failure | None]:
    """Failures of calls of the last function."""
    called = ready.functions[-1].function
    data = [arguments(called, case) for case in cases]
    results = beside.run(ready, called.name, data, [context(amount)] * len(cases), [GAS] * len(cases))
    return [each.failure for each in results]


def add_then_require() -> Verified:
    body = [ir.Increase(0, (0,), 1), ir.Emit(0, (1,)), ir.Require(2, 0)]
    one = function([U64, U64, BOOL], [], body)
    return verified(program(one, tables=(NUMBERS,), events=(EVENT,), messages=("must hold",)))


def test_no_coins_are_sent_to_a_key_of_entries() -> None:
    ready = verified(program(function([ADDRESS, U64], [], [ir.Send(0, 1)])))
    reserved = b"entry\0\0\0" + bytes(24)
    beside = Beside()
    told = run(beside, ready, [(reserved, 0), (reserved, 9**9), (OTHER, 0), (OTHER, 2**63)])
    refused = Failure.RESERVED_ADDRESS
    assert told == [refused, refused, None, Failure.INSUFFICIENT_COINS]


def test_a_call_that_fails_leaves_nothing_to_those_after_it() -> None:
    cases: list[tuple[Slot, ...]] = [
        (1, 5, True),
        (1, 7, False),
        (1, 1, True),
        (2, 2**64 - 1, True),
        (2, 1, True),
    ]
    came = run(Beside(), add_then_require(), cases)
    assert came == [None, Failure.REQUIREMENT, None, None, Failure.OVERFLOW]


def test_an_entry_that_becomes_zero_is_gone_and_counted() -> None:
    ready = verified(program(function([U64, U64], [], [ir.Put(0, (0,), (1,))]), tables=(NUMBERS,)))
    beside = Beside()
    assert run(beside, ready, [(1, 5), (1, 0), (1, 0), (1, 6), (2, 0)]) == [None] * 5
    assert len(beside.world.entries) == 1


def test_rows_of_several_entries() -> None:
    wide = ir.Shape(U64, 20)
    body = [
        ir.Get(0, (), (1, 2)),
        ir.Put(0, (), (0, 3)),
        ir.Get(0, (), (1, 2)),
    ]
    one = function([wide], [wide, BOOL, BOOL], body, (1, 2))
    middle = (*(0,) * 9, 4, *(0,) * 10)
    beside = Beside()
    ready = verified(program(one, tables=(WIDE,)))
    assert ready.tables[0].chunk_count == 3
    assert run(beside, ready, [((0,) * 20,), (middle,), (tuple(range(20)),), ((0,) * 20,)]) == [None] * 4
    assert not beside.world.entries


def writes_many(rounds: int) -> Verified:
    body = [ir.Loop(1, 0, rounds, (ir.Cast(2, 1), ir.Increase(0, (2,), 3), ir.Emit(0, (2,))))]
    one = function([U16], [U16, U64, U64], [ir.Const(3, ONE), *body])
    return verified(program(one, tables=(NUMBERS,), events=(EVENT,)))


def test_journals_and_events_get_more_room() -> None:
    body = [ir.Const(3, ONE), ir.Loop(1, 0, 1024, (ir.Cast(2, 1), ir.Increase(0, (2,), 3)))]
    ready = verified(program(function([U16], [U16, U64, U64], body), tables=(NUMBERS,)))
    beside = Beside()
    many = JOURNAL_RECORDS + 40
    for begin in range(0, many, 60):
        assert run(beside, ready, [(begin,)]) == [None]
    assert run(beside, ready, [(many,), (3,)]) == [None, None]
    assert beside.entries.journal_records > JOURNAL_RECORDS
    assert run(Beside(), writes_many(70), [(64,), (65,), (1,), *[(40,)] * 30]) == [
        None,
        Failure.TOO_MANY_EVENTS,
        *[None] * 31,
    ]


def test_calls_that_need_very_many_keys_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted = []

    def told(*args: object) -> object:
        interpreted.append(args)
        return interpret(*args)  # type: ignore[arg-type]

    interpret = driver.interpret
    monkeypatch.setattr(driver, "interpret", told)
    ready = writes_many(64)
    monkeypatch.setattr(driver, "FETCHES_MAX", 10)
    assert run(Beside(), ready, [(3,), (60,), (60,), (61,)]) == [None] * 4
    assert len(interpreted) == 1


def test_coins_come_go_and_come_back() -> None:
    body = [ir.Send(0, 1), ir.Balance(2), ir.Require(3, 0)]
    one = function([ADDRESS, U64], [U64, BOOL], [ir.Const(3, b"\x01"), *body], (2,), accepts_coins=True)
    ready = verified(program(one, messages=("no",)))
    world = MemoryWorld()
    world.balances = {SENDER: 100, CONTRACT: 7}
    beside = Beside(world)
    cases: list[tuple[Slot, ...]] = [(OTHER, 5), (CONTRACT, 5), (OTHER, 1000), (SENDER, 40), (OTHER, 0)]
    few = Failure.INSUFFICIENT_COINS
    assert run(beside, ready, cases, 30) == [None, None, few, None, None]
    assert run(beside, ready, cases, 90) == [few] * 5
    assert run(beside, ready, cases) == [None, None, few, None, None]


def test_coins_for_a_function_that_takes_none() -> None:
    assert run(Beside(), add_then_require(), [(1, 1, True)], 5) == [Failure.TAKES_NO_COINS]


def linked_alone(ready: Verified) -> LinkedContracts:
    return LinkedContracts([CONTRACT], {CONTRACT: NativeProgram(ready)}.get)


def columns(ready: Verified, *cases: tuple[Slot, ...]) -> CallColumns:
    called = ready.functions[-1].function
    data = [arguments(called, case) for case in cases]
    return CallColumns.of(data, [context()] * len(cases), [GAS] * len(cases))


def test_it_stops_before_the_call_whose_key_is_not_known_and_says_which() -> None:
    ready = add_then_require()
    linked, entries, accounts = linked_alone(ready), EntryTable(SEED), AccountTable(SEED)
    known = ready.tables[0].entry_keys(CONTRACT, [1])[0]
    entries.put_entries({known: b""})
    calls = columns(ready, (1, 5, True), (1, 6, True), (2, 5, True))
    going = NativeRun(linked, 0, calls, (entries, accounts))
    stopped = going.go_on()
    assert stopped is not None
    assert (stopped.why, stopped.key) == (Stop.MISSING_ENTRY, ready.tables[0].entry_keys(CONTRACT, [2])[0])
    assert going.next_row == 2
    assert dict(entries.items()) == {known: (11).to_bytes(8, "little")}
    entries.put_entries({stopped.key: b""})
    assert going.go_on() is None
    assert not going.outcomes.failures.any()


def test_an_entry_of_another_width_is_refused_as_the_interpreter_does() -> None:
    ready = add_then_require()
    entries = EntryTable(SEED)
    entries.put_entries({ready.tables[0].entry_keys(CONTRACT, [1])[0]: b"\x01" * 9})
    going = NativeRun(linked_alone(ready), 0, columns(ready, (1, 5, True)), (entries, AccountTable(SEED)))
    with pytest.raises(ValueError, match="another width"):
        going.go_on()


def test_columns_that_do_not_fit_are_refused() -> None:
    ready = add_then_require()
    linked, tables = linked_alone(ready), (EntryTable(SEED), AccountTable(SEED))
    good = columns(ready, (1, 5, True))
    for name, bad in (
        ("gas", np.array([-1], np.int64)),
        ("gas", np.array([1, 2], np.int64)),
        ("senders", np.zeros((1, 31), np.uint8)),
        ("amounts", np.zeros(1, np.int64)),
        ("arguments", np.zeros((1, 16), np.uint8)),
    ):
        with pytest.raises(ValueError):
            NativeRun(linked, 0, CallColumns(**{**vars(good), name: bad}), tables)


def test_coins_that_no_sum_of_64_bits_holds_are_refused() -> None:
    accounts = AccountTable(SEED)
    accounts.put_balances({SENDER: 2**64 - 1})
    with pytest.raises(ValueError, match="too many"):
        accounts.put_balances({OTHER: 1})


def test_a_cache_keeps_what_was_used_last() -> None:
    cache = NativeCache(1)
    one, other = (encode_program(each.program) for each in (add_then_require(), writes_many(3)))
    first = cache.get(one, Weights())
    assert cache.get(one, Weights()) is first
    assert cache.get(other, Weights()) is not first
    assert cache.get(one, Weights()) is not first
