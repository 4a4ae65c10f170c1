"""What single operations do to values, against Python's own numbers and bytes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.ir import Arithmetic, Comparison, Shape
from actors.contracts.types import (
    ADDRESS,
    BOOL,
    HASH,
    I64,
    INTEGERS,
    U8,
    U64,
    U128,
    Slot,
    Type,
    bytes_type,
    encode_value,
)
from bench.contract_fuzz.arguments import encode, random_slot
from tests.contracts.programs import TYPES, random_shape
from tests.contracts.single import CONTRACT, ORIGIN, SENDER, call_one, function, outcome, program, results

INTEGER_TYPES = tuple(map(Type, INTEGERS))
PLAIN: dict[Arithmetic, Callable[[int, int], int]] = {
    Arithmetic.ADD: operator.add,
    Arithmetic.SUB: operator.sub,
    Arithmetic.MUL: operator.mul,
    Arithmetic.FLOOR_DIV: operator.floordiv,
    Arithmetic.MOD: operator.mod,
    Arithmetic.AND: operator.and_,
    Arithmetic.OR: operator.or_,
    Arithmetic.XOR: operator.xor,
    Arithmetic.MIN: min,
    Arithmetic.MAX: max,
}
BITWISE = (Arithmetic.AND, Arithmetic.OR, Arithmetic.XOR)


def edges(kind: Type) -> list[int]:
    low, high = kind.range
    return sorted(
        {value for value in (low, low + 1, -2, -1, 0, 1, 2, 7, high // 2, high - 1, high) if low <= value}
    )


def numbers(kind: Type) -> st.SearchStrategy[int]:
    return st.one_of(st.sampled_from(edges(kind)), st.integers(*kind.range))


def binary(kind: Type, what: Arithmetic, a: int, b: int) -> Slot | Failure:
    return outcome((kind, kind), (kind,), [ir.Binary(what, 2, 0, 1)], 2, a, b)


def plainly(kind: Type, what: Arithmetic, a: int, b: int) -> int | Failure:
    if what in (Arithmetic.FLOOR_DIV, Arithmetic.MOD) and b == 0:
        return Failure.DIVISION_BY_ZERO
    value = PLAIN[what](a, b)
    low, high = kind.range
    return value if low <= value <= high else Failure.OVERFLOW


@pytest.mark.parametrize("kind", INTEGER_TYPES, ids=str)
@pytest.mark.parametrize("what", PLAIN, ids=lambda what: what.name)
def test_arithmetic_of_edges_is_checked(kind: Type, what: Arithmetic) -> None:
    if kind == I64 and what in BITWISE:
        return
    for a in edges(kind):
        for b in edges(kind):
            assert binary(kind, what, a, b) == plainly(kind, what, a, b), (a, b)


@given(st.data(), st.sampled_from(INTEGER_TYPES), st.sampled_from(tuple(PLAIN)))
def test_arithmetic_is_that_of_whole_numbers(data: st.DataObject, kind: Type, what: Arithmetic) -> None:
    if kind == I64 and what in BITWISE:
        return
    a, b = data.draw(numbers(kind)), data.draw(numbers(kind))
    assert binary(kind, what, a, b) == plainly(kind, what, a, b)


@given(st.data(), st.sampled_from(INTEGER_TYPES[:-1]))
def test_shifts_lose_no_bits_to_the_left(data: st.DataObject, kind: Type) -> None:
    bits = 8 * kind.width_bytes
    a, b = data.draw(numbers(kind)), data.draw(st.one_of(st.integers(0, min(bits + 1, 255)), numbers(kind)))
    shifted = a * 2 ** min(b, bits)
    assert binary(kind, Arithmetic.SHL, a, b) == (shifted if shifted < 2**bits else Failure.OVERFLOW)
    assert binary(kind, Arithmetic.SHR, a, b) == a // 2 ** min(b, bits)


def test_the_only_overflow_of_a_division() -> None:
    least = I64.range[0]
    assert binary(I64, Arithmetic.FLOOR_DIV, least, -1) == Failure.OVERFLOW
    assert binary(I64, Arithmetic.MOD, least, -1) == 0
    assert binary(I64, Arithmetic.FLOOR_DIV, -7, 2) == -4
    assert binary(I64, Arithmetic.MOD, -7, 2) == 1
    assert binary(I64, Arithmetic.MOD, 7, -2) == -1


@given(st.data(), st.sampled_from(TYPES), st.sampled_from(tuple(Comparison)))
def test_comparisons(data: st.DataObject, kind: Type, what: Comparison) -> None:
    if kind == BOOL and what not in (Comparison.EQ, Comparison.NE):
        return
    random = Random(data.draw(st.integers(0, 2**32)))
    a = random_slot(random, Shape(kind))
    b = random.choice((a, random_slot(random, Shape(kind))))
    plain = {Comparison.EQ: "eq", Comparison.NE: "ne", Comparison.LT: "lt", Comparison.LE: "le"}[what]
    as_numbers = [int.from_bytes(each, "big") if isinstance(each, bytes) else each for each in (a, b)]
    body = [ir.Compare(what, 2, 0, 1)]
    assert outcome((kind, kind), (BOOL,), body, 2, a, b) is getattr(operator, plain)(*as_numbers)


@given(st.data(), st.sampled_from(INTEGER_TYPES), st.sampled_from(INTEGER_TYPES))
def test_a_cast_of_a_number_fits_or_fails(data: st.DataObject, old: Type, new: Type) -> None:
    value = data.draw(numbers(old))
    low, high = new.range
    expected = value if low <= value <= high else Failure.OVERFLOW
    assert outcome((old,), (new,), [ir.Cast(1, 0)], 1, value) == expected


@pytest.mark.parametrize(("old", "new"), [(ADDRESS, HASH), (HASH, bytes_type(32)), (bytes_type(32), ADDRESS)])
def test_a_cast_between_bytes_keeps_them(old: Type, new: Type) -> None:
    assert outcome((old,), (new,), [ir.Cast(1, 0)], 1, bytes(range(32))) == bytes(range(32))


@given(st.integers(0, 2**32))
def test_constants_and_moves(seed: int) -> None:
    random = Random(seed)
    held = random_shape(random)
    single = random_slot(random, Shape(held.type))
    assert not isinstance(single, tuple)
    body = [ir.Const(0, encode_value(held.type, single)), ir.Move(1, 0)]
    expected = (single,) * held.count if held.count else single
    assert outcome((), (held, held), body, 1) == expected


def test_not() -> None:
    assert outcome((BOOL,), (BOOL,), [ir.Not(1, 0)], 1, True) is False
    assert outcome((BOOL,), (BOOL,), [ir.Not(1, 0)], 1, False) is True


@given(st.integers(0, 2**32))
def test_arrays_are_read_and_written_in_their_places(seed: int) -> None:
    random = Random(seed)
    array = Shape(random.choice(TYPES), random.randint(1, 9))
    old, new = random_slot(random, array), random_slot(random, Shape(array.type))
    assert isinstance(old, tuple)
    assert not isinstance(new, tuple)
    index = random.randint(0, 12)
    params = (array, Shape(array.type), random.choice((U8, U64, U128)))
    loaded = outcome(params, (Shape(array.type),), [ir.Load(3, 0, 2)], 3, old, new, index)
    stored = outcome(params, (), [ir.Store(0, 2, 1)], 0, old, new, index)
    if index < array.count:
        assert loaded == old[index]
        assert stored == (*old[:index], new, *old[index + 1 :])
    else:
        assert loaded == stored == Failure.INDEX_OUT_OF_RANGE


def test_an_array_that_was_moved_is_another_one() -> None:
    array = Shape(U8, 2)
    body = [ir.Move(1, 0), ir.Store(0, 2, 3)]
    assert outcome((array, array, U8, U8), (), body, 1, (1, 2), (0, 0), 0, 9) == (1, 2)


@given(st.integers(0, 2**32), st.integers(0, 5))
def test_a_hash_is_over_all_bytes_in_their_order(seed: int, count: int) -> None:
    random = Random(seed)
    params = [random_shape(random) for _ in range(count)]
    slots = [random_slot(random, each) for each in params]
    hashed = outcome(params, (HASH,), [ir.Hash(count, tuple(range(count)))], count, *slots)
    assert hashed == sha256(b"".join(map(encode, params, slots))).digest()


def test_facts() -> None:
    kinds = (ADDRESS, ADDRESS, U64, U64, U64, ADDRESS)
    body = [ir.Context(fact, place) for place, fact in enumerate(ir.Fact)]
    one = function((), kinds, body, range(6), accepts_coins=True)
    came = call_one(program(one), amount=5)
    assert results(one, came.results) == [SENDER, CONTRACT, 5, 77, 1_000_001, ORIGIN]


def test_registers_hold_zero_at_first() -> None:
    one = function((), (*TYPES, Shape(I64, 3)), (), range(len(TYPES) + 1))
    came = call_one(program(one))
    assert results(one, came.results) == [*[kind.zero for kind in TYPES], (0, 0, 0)]


@pytest.mark.parametrize("holds", [True, False])
def test_a_choice_runs_one_list(holds: bool) -> None:
    body = [ir.If(0, (ir.Const(1, b"\x01"),), (ir.Const(1, b"\x02"),))]
    assert outcome((BOOL,), (U8,), body, 1, holds) == (1 if holds else 2)


@given(st.integers(0, 12))
def test_a_loop_counts_up_to_its_bound(count: int) -> None:
    body = [ir.Loop(1, 0, 10, (ir.Binary(Arithmetic.ADD, 2, 2, 1), ir.Binary(Arithmetic.ADD, 2, 2, 3)))]
    came = outcome((U8, U8, U8, U8), (), body, 2, count, 99, 0, 1)
    assert came == (sum(range(count)) + count if count <= 10 else Failure.LOOP_BOUND)


@pytest.mark.parametrize(("count", "last"), [(0, 99), (1, 0), (4, 3)])
def test_what_an_index_holds_after_its_loop(count: int, last: int) -> None:
    assert outcome((U8, U8), (), [ir.Loop(1, 0, 4, ())], 1, count, 99) == last


def test_a_requirement_fails_with_its_message() -> None:
    one = program(function((BOOL,), (), [ir.Require(0, 1)]), messages=("a", "nein, danke: ß"))
    assert call_one(one, True).failure is None
    came = call_one(one, False)
    assert (came.failure, came.message) == (Failure.REQUIREMENT, "nein, danke: ß")


def test_what_an_argument_may_be() -> None:
    one = program(function((BOOL, U8), (), (), (0, 1), maxima=(None, 7)))
    assert call_one(one, True, 7).results == b"\x01\x07"
    assert call_one(one, True, 8).failure is Failure.BAD_ARGUMENTS
