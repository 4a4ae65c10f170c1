"""What LLVM leaves undefined, and where its numbers are not Python's: values at the edges, one by one."""

from __future__ import annotations

from itertools import product

import pytest

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U16, U32, U64, U128, UNSIGNED, Slot, Type
from actors.contracts.types import bytes_type as of_bytes
from actors.contracts.verified import Verified
from tests.contracts.native.beside import Beside
from tests.contracts.single import GAS, arguments, context, function, program, results, verified

NUMBERS = (U8, U16, U32, U64, U128, I64)
A = ir.Arithmetic


def edges(kind: Type) -> list[int]:
    """Numbers at which something may go wrong."""
    low, high = kind.range
    bits = 8 * kind.width_bytes
    near = (0, 1, 2, 3, 7, bits - 1, bits, bits + 1, high // 2, high // 2 + 1, high - 1, high, low, low + 1)
    signed = (-1, -2, -3, -7) if low else ()
    halves = (2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 2**64 + 1, 2**96 + 5, 3**70)
    return sorted({each for each in (*near, *signed, *halves) if low <= each <= high})


def run(ready: Verified, cases: list[tuple[Slot, ...]]) -> list[list[Slot] | Failure]:
    """What comes of `f` in each case, by both."""
    called = ready.functions[-1].function
    data = [arguments(called, case) for case in cases]
    came = Beside().run(ready, called.name, data, [context()] * len(cases), [GAS] * len(cases))
    return [results(called, each.results) if each.failure is None else each.failure for each in came]


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_arithmetic_at_the_edges(kind: Type) -> None:
    allowed = [what for what in A if kind != I64 or not A.AND <= what <= A.SHR]
    functions = [
        function([kind, kind], [kind], [ir.Binary(what, 2, 0, 1)], (2,), name=what.name.lower())
        for what in allowed
    ]
    ready = verified(program(*functions))
    cases = list(product(edges(kind), repeat=2))
    for called in ready.functions:
        data = [arguments(called.function, case) for case in cases]
        Beside().run(ready, called.function.name, data, [context()] * len(cases), [GAS] * len(cases))


def binary(kind: Type, what: A) -> Verified:
    return verified(program(function([kind, kind], [kind], [ir.Binary(what, 2, 0, 1)], (2,))))


def test_division_by_zero_fails() -> None:
    for kind, what in product((U64, U128, I64), (A.FLOOR_DIV, A.MOD)):
        assert run(binary(kind, what), [(1, 0), (0, 0)]) == [Failure.DIVISION_BY_ZERO] * 2


def test_the_least_number_by_minus_one() -> None:
    least = -(2**63)
    assert run(binary(I64, A.FLOOR_DIV), [(least, -1), (least + 1, -1)]) == [Failure.OVERFLOW, [2**63 - 1]]
    assert run(binary(I64, A.MOD), [(least, -1), (5, -1)]) == [[0], [0]]


def test_division_rounds_as_python_does() -> None:
    pairs: list[tuple[Slot, ...]] = [(7, 2), (-7, 2), (7, -2), (-7, -2), (-6, 3), (6, -3)]
    assert run(binary(I64, A.FLOOR_DIV), pairs) == [[3], [-4], [-4], [3], [-2], [-2]]
    assert run(binary(I64, A.MOD), pairs) == [[1], [1], [-1], [-1], [0], [0]]


def test_shifts_by_the_width_or_more() -> None:
    for kind in (Type(code) for code in UNSIGNED):
        width = 8 * kind.width_bytes
        high = kind.range[1]
        assert run(binary(kind, A.SHR), [(high, width), (high, high), (high, width - 1)]) == [[0], [0], [1]]
        left: list[tuple[Slot, ...]] = [(1, width), (0, width), (0, high), (1, width - 1), (2, width - 1)]
        over = Failure.OVERFLOW
        assert run(binary(kind, A.SHL), left) == [over, [0], [0], [1 << (width - 1)], over]


def test_sums_and_products_do_not_wrap() -> None:
    for kind in NUMBERS:
        low, high = kind.range
        assert run(binary(kind, A.ADD), [(high, 1), (high - 1, 1)]) == [Failure.OVERFLOW, [high]]
        assert run(binary(kind, A.SUB), [(low, 1), (low + 1, 1)]) == [Failure.OVERFLOW, [low]]
        assert run(binary(kind, A.MUL), [(high, 2), (high, 1)]) == [Failure.OVERFLOW, [high]]
    assert run(binary(I64, A.MUL), [(-(2**63), -1), (-(2**62), 2)]) == [Failure.OVERFLOW, [-(2**63)]]
    assert run(binary(U128, A.MUL), [(2**64, 2**64), (2**64, 2**64 - 1)]) == [
        Failure.OVERFLOW,
        [2**128 - 2**64],
    ]


@pytest.mark.parametrize("old", NUMBERS, ids=str)
def test_casts_that_do_not_fit(old: Type) -> None:
    body = [ir.Cast(1 + place, 0) for place in range(len(NUMBERS))]
    functions = [
        function([old], list(NUMBERS), [each], (each.dst,), name=f"to_{kind}")
        for kind, each in zip(NUMBERS, body, strict=True)
    ]
    ready, cases = verified(program(*functions)), [(value,) for value in edges(old)]
    beyond = {value for kind in NUMBERS for value in edges(kind) if old.range[0] <= value <= old.range[1]}
    cases += [(value,) for value in sorted(beyond)]
    for called in ready.functions:
        data = [arguments(called.function, case) for case in cases]
        Beside().run(ready, called.function.name, data, [context()] * len(cases), [GAS] * len(cases))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 16, 20, 31, 33, 63, 64])
def test_bytes_of_any_width_are_compared_as_big_endian_numbers(size: int) -> None:
    kind = of_bytes(size)
    body = [ir.Compare(what, 2 + place, 0, 1) for place, what in enumerate(ir.Comparison)]
    ready = verified(program(function([kind, kind], [BOOL] * 4, body, (2, 3, 4, 5))))
    one, other = bytes(size - 1) + b"\x80", b"\x01" + bytes(size - 1)
    values = (bytes(size), one, other, b"\x80" + bytes(size - 1), b"\xff" * size)
    for case, came in zip(
        product(values, repeat=2), run(ready, list(product(values, repeat=2))), strict=True
    ):
        a, b = case
        assert came == [a == b, a != b, a < b, a <= b]


def test_registers_are_zero_before_they_are_written() -> None:
    kinds: tuple[Type | ir.Shape, ...] = (
        BOOL,
        U8,
        U128,
        I64,
        ADDRESS,
        HASH,
        of_bytes(3),
        of_bytes(64),
        ir.Shape(U16, 5),
        ir.Shape(HASH, 3),
    )
    places = tuple(range(len(kinds)))
    inner = function([], kinds, [], places, name="_inner", kind=ir.FunctionKind.PRIVATE)
    dirty = [ir.Const(place, b"\x01" * ir_width(kind)) for place, kind in enumerate(kinds)]
    spoil = function([], kinds, dirty, places, name="_spoil", kind=ir.FunctionKind.PRIVATE)
    body = [ir.Call(1, (), places), ir.Call(0, (), places)]
    ready = verified(program(inner, spoil, function([], kinds, body, places)))
    zeros = [each.zero for each in ready.functions[0].registers]
    assert run(ready, [(), ()]) == [zeros, zeros]


def ir_width(kind: Type | ir.Shape) -> int:
    """Of one value."""
    return (kind.type if isinstance(kind, ir.Shape) else kind).width_bytes


@pytest.mark.parametrize("index", [U8, U16, U64, U128], ids=str)
def test_elements_outside_of_an_array(index: Type) -> None:
    array = ir.Shape(U64, 255 if index == U8 else 256)
    last, high = array.count - 1, index.range[1]
    body = [
        ir.Const(3, (7).to_bytes(8, "little")),
        ir.Const(2, b"\x01" * 8),
        ir.Store(2, 0, 3),
        ir.Load(3, 2, 1),
    ]
    ready = verified(program(function([index, index], [array, U64], body, (3,))))
    ones = int.from_bytes(b"\x01" * 8, "little")
    outside = [(array.count, 0), (0, array.count), (high, 0), (0, high)]
    cases: list[tuple[Slot, ...]] = [(last, last), (last, 0), (0, last), *outside]
    out = Failure.INDEX_OUT_OF_RANGE
    assert run(ready, cases) == [[7], [ones], [ones], out, out, out, out]


@pytest.mark.parametrize("kind", [U8, U64, U128], ids=str)
def test_rounds_that_are_too_many(kind: Type) -> None:
    body = [ir.Loop(1, 0, 5, (ir.Move(2, 1),))]
    ready = verified(program(function([kind], [kind, kind], body, (1, 2))))
    high = kind.range[1]
    cases: list[tuple[Slot, ...]] = [(0,), (1,), (5,), (6,), (high,)]
    assert run(ready, cases) == [[0, 0], [0, 0], [4, 4], Failure.LOOP_BOUND, Failure.LOOP_BOUND]


def test_calls_as_deep_and_frames_as_large_as_they_may_be() -> None:
    array = ir.Shape(U64, 256)
    functions = [
        function(
            [array],
            [array, U64, U64],
            [
                ir.Const(3, bytes(8)),
                ir.Load(2, 0, 3),
                ir.Binary(A.ADD, 2, 2, 2),
                ir.Store(0, 3, 2),
                *([ir.Call(depth - 1, (0,), (1,)), ir.Call(depth - 1, (1,), (0,))] if depth else []),
            ],
            (0,),
            name=f"f{depth}",
        )
        for depth in range(8)
    ]
    ready = verified(program(*functions[:7]))
    (came,) = run(ready, [((1,) + (0,) * 255,)])
    assert came == Failure.OVERFLOW
    called = ready.functions[3]
    data = arguments(called.function, ((1,) + (0,) * 255,))
    (result,) = Beside().run(ready, "f3", [data], [context()], [GAS])
    assert results(called.function, result.results)[0][0] == 1 << 15  # type: ignore[index]
