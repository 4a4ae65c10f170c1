"""Where values lie: wide numbers at odd places, arrays handed to and fro, deep calls on a small stack."""

from __future__ import annotations

import threading
from itertools import product

import pytest

from actors.contracts import ir, limits
from actors.contracts.errors import ProgramError
from actors.contracts.failures import Failure
from actors.contracts.types import BOOL, HASH, U8, U16, U32, U64, U128, Slot, Type
from actors.contracts.types import bytes_type as of_bytes
from actors.contracts.verified import Verified
from tests.contracts.native.beside import Beside
from tests.contracts.single import GAS, arguments, context, function, program, results, verified

SMALL = (U8, U16, U32)
STACK_BYTES = 1 << 20
LIVE, EVENT_VALUES = 24, 12
A = ir.Arithmetic


def run(ready: Verified, cases: list[tuple[Slot, ...]]) -> list[list[Slot] | Failure]:
    """What comes of the last function in each case, by both."""
    called = ready.functions[-1].function
    data = [arguments(called, case) for case in cases]
    came = Beside().run(ready, called.name, data, [context()] * len(cases), [GAS] * len(cases))
    return [results(called, each.results) if each.failure is None else each.failure for each in came]


def test_division_by_zero_of_small_types() -> None:
    functions = [
        function([kind, kind], [kind], [ir.Binary(what, 2, 0, 1)], (2,), name=f"{what.name.lower()}_{kind}")
        for kind, what in product(SMALL, (A.FLOOR_DIV, A.MOD))
    ]
    ready = verified(program(*functions))
    for each in ready.functions:
        low, high = each.function.registers[0].type.range
        data = [arguments(each.function, case) for case in ((0, 0), (1, 0), (low, 0), (high, 0), (high, 1))]
        came = Beside().run(ready, each.function.name, data, [context()] * 5, [GAS] * 5)
        assert [one.failure for one in came] == [*[Failure.DIVISION_BY_ZERO] * 4, None]


def test_wide_numbers_at_odd_places() -> None:
    """Of arguments, results, rows, events, arrays and what functions hand to each other."""
    kinds: tuple[Type | ir.Shape, ...] = (U8, U128, BOOL, ir.Shape(U128, 3), U16, of_bytes(3), U128, HASH)
    columns = tuple(
        ir.Named(f"c{place}", kind if isinstance(kind, ir.Shape) else ir.Shape(kind))
        for place, kind in enumerate(kinds)
    )
    table, event = ir.Table("odd", (U8, U128), columns), ir.Event("Odd", columns)
    places = tuple(range(len(kinds)))
    inner = function(kinds, [], [], places, name="_inner", kind=ir.FunctionKind.PRIVATE)
    body = [
        ir.Put(0, (0, 1), places),
        ir.Get(0, (0, 1), places),
        ir.Emit(0, places),
        ir.Call(0, places, places),
        ir.Hash(7, (0, 1, 2, 3, 6)),
    ]
    ready = verified(program(inner, function(kinds, [], body, places), tables=(table,), events=(event,)))
    high, three = 2**128 - 1, (1, 2**127, 2**64 - 1)
    cases: list[tuple[Slot, ...]] = [
        (5, high, True, three, 700, b"abc", 2**65 + 3, bytes(32)),
        (0, 0, False, (0, 0, 0), 0, bytes(3), 0, bytes(32)),
        (255, 1, True, (high, high, high), 65_535, b"\xff" * 3, high, b"\xff" * 32),
    ]
    for case, came in zip(cases, run(ready, cases), strict=True):
        assert isinstance(came, list)
        assert tuple(came[:-1]) == case[:-1]


def test_an_array_that_is_given_and_answered_is_copied() -> None:
    array = ir.Shape(U64, 9)
    swap = [ir.Move(2, 0), ir.Move(0, 1), ir.Move(1, 2), ir.Move(1, 1)]
    inner = function([array, array], [array], swap, (0, 1), name="_swap", kind=ir.FunctionKind.PRIVATE)
    body = [ir.Call(0, (0, 1), (0, 1)), ir.Call(0, (0, 0), (1, 0)), ir.Call(0, (1, 0), (1, 1))]
    ready = verified(program(inner, function([array, array], [], body, (0, 1))))
    one, other = tuple(range(9)), tuple(range(100, 109))
    assert run(ready, [(one, other)]) == [[other, other]]


def test_the_deepest_calls_fit_a_small_stack() -> None:
    """Functions that run within each other, each with many wide values that it needs when the other ends."""
    places = tuple(range(1, 1 + LIVE))
    functions = list[ir.Function]()
    for depth in range(limits.CALL_DEPTH_MAX):
        body: list[ir.Op] = [ir.Hash(place, (place - 1,)) for place in places]
        body += [ir.Call(depth - 1, (0,), (0,))] if depth else []
        body += [ir.Emit(0, places[at : at + EVENT_VALUES]) for at in range(0, LIVE, EVENT_VALUES)]
        outermost = depth == limits.CALL_DEPTH_MAX - 1
        kind = ir.FunctionKind.ENTRY if outermost else ir.FunctionKind.PRIVATE
        name = "f" if outermost else f"_f{depth}"
        functions.append(function([U8], [HASH] * LIVE, body, (0,), name=name, kind=kind))
    event = ir.Event("Seen", tuple(ir.Named(f"v{place}", ir.Shape(HASH)) for place in range(EVENT_VALUES)))
    ready = verified(program(*functions, events=(event,)))
    came = list[object]()
    before = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=lambda: came.extend(run(ready, [(1,)])))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert came
    assert not isinstance(came[0], Failure)


def test_no_function_runs_within_itself() -> None:
    with pytest.raises(ProgramError):
        verified(program(function([], [], [ir.Call(0, (), ())])))
