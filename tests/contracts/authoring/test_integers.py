"""Integers of contracts against Python's: the same results where they fit, and failures where they do not."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from actors.contracts.authoring.integers import Integer, i64, u8, u16, u32, u64, u128
from actors.contracts.failures import CallFailedError, Failure

KINDS: list[type[Integer]] = [u8, u16, u32, u64, u128, i64]
UNSIGNED = KINDS[:-1]
BITS: dict[type[Integer], int] = {u8: 8, u16: 16, u32: 32, u64: 64, u128: 128, i64: 63}
ANY = [operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod]
OF_BITS = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
Operator = Callable[[Any, Any], Any]


def numbers(kind: type[Integer]) -> st.SearchStrategy[int]:
    """Of all sizes, those near the bounds more often."""
    edges = st.sampled_from([kind.low, kind.high, 0, 1, kind.high - 1, kind.low + 1, kind.high // 2])
    small = st.integers(max(kind.low, -300), min(kind.high, 300))
    return edges | small | st.integers(kind.low, kind.high)


def expected(kind: type[Integer], compute: Operator, a: int, b: int) -> int | Failure:
    """What big integers say."""
    if compute in (operator.floordiv, operator.mod) and b == 0:
        return Failure.DIVISION_BY_ZERO
    if compute is operator.lshift and a and b >= 256:
        return Failure.OVERFLOW
    number = compute(a, min(b, 256)) if compute in (operator.lshift, operator.rshift) else compute(a, b)
    return int(number) if kind.low <= number <= kind.high else Failure.OVERFLOW


def outcome(compute: Operator, a: Any, b: Any) -> Any:
    """The result, or how the call fails."""
    try:
        return compute(a, b)
    except CallFailedError as failed:
        return failed.failure


def check(kind: type[Integer], compute: Operator, a: int, b: int) -> None:
    """With both operands typed, and with either a bare literal."""
    wanted = expected(kind, compute, a, b)
    for left, right in ((kind(a), kind(b)), (kind(a), b), (a, kind(b))):
        result = outcome(compute, left, right)
        assert result == wanted
        assert type(result) is (Failure if isinstance(wanted, Failure) else kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compute", ANY)
@given(data=st.data())
def test_arithmetic_is_that_of_big_integers(kind: type[Integer], compute: Operator, data: Any) -> None:
    check(kind, compute, data.draw(numbers(kind)), data.draw(numbers(kind)))


@pytest.mark.parametrize("kind", UNSIGNED)
@pytest.mark.parametrize("compute", OF_BITS)
@given(data=st.data())
def test_so_are_bits(kind: type[Integer], compute: Operator, data: Any) -> None:
    check(kind, compute, data.draw(numbers(kind)), data.draw(numbers(kind) | st.just(BITS[kind])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compare", COMPARISONS)
@given(data=st.data())
def test_so_is_order(kind: type[Integer], compare: Operator, data: Any) -> None:
    a, b = data.draw(numbers(kind)), data.draw(numbers(kind))
    assert compare(kind(a), kind(b)) is compare(kind(a), b) is compare(a, kind(b)) is compare(a, b)


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.data())
def test_a_cast_fits_or_fails(source: type[Integer], target: type[Integer], data: Any) -> None:
    number = data.draw(numbers(source))
    if target.low <= number <= target.high:
        cast = target(source(number))
        assert (type(cast), int(cast)) == (target, number)
        return
    with pytest.raises(CallFailedError) as failed:
        target(source(number))
    assert failed.value.failure is Failure.OVERFLOW


@given(st.integers(i64.low, i64.high))
@example(i64.low)
def test_a_minus_of_i64_is_checked(number: int) -> None:
    assert outcome(lambda a, _: -a, i64(number), None) == expected(i64, lambda a, _: -a, number, 0)


@pytest.mark.parametrize("compute", [*ANY, *OF_BITS, *COMPARISONS])
@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(0, 100), st.integers(1, 7))
def test_types_do_not_mix(
    compute: Operator, one: type[Integer], other: type[Integer], a: int, b: int
) -> None:
    assume(one is not other)
    with pytest.raises(TypeError, match=rf"both have one type; write {one.__name__}\(…\)"):
        compute(one(a), other(b))


@pytest.mark.parametrize(
    ("compute", "advice"),
    [
        (lambda: u64(1) / u64(1), "write //"),
        (lambda: u64(1) / 1, "write //"),
        (lambda: 1 / u64(1), "write //"),
        (lambda: u64(2) ** 3, "write the product"),
        (lambda: 2 ** u64(3), "write the product"),
        (lambda: ~u64(2), "write ^"),
        (lambda: -u64(2), "write i64"),
        (lambda: abs(i64(2)), "write if"),
        (lambda: divmod(u64(2), 2), "write // and %"),
        (lambda: round(u64(2)), "write //"),
        (lambda: i64(1) & i64(1), "write u64"),
        (lambda: u64(1) + 1.0, "no floats"),
        (lambda: u64(1) < 1.5, "no floats"),
        (lambda: u64(1) + True, "write if and else"),
        (lambda: u64(1) == True, "write if and else"),  # noqa: E712
        (lambda: u64(True), "takes an integer"),
        (lambda: u64("1"), "takes an integer"),  # type: ignore[arg-type]
    ],
)
def test_what_there_is_not_says_what_to_write(compute: Callable[[], object], advice: str) -> None:
    with pytest.raises(TypeError) as refused:
        compute()
    assert advice in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_literal_fits_its_type(kind: type[Integer]) -> None:
    for number in (kind.low - 1, kind.high + 1):
        with pytest.raises(ValueError, match="does not fit"):
            kind(number)
        with pytest.raises(ValueError, match="does not fit"):
            kind(1) + number


def test_they_are_ints_that_show_their_type() -> None:
    assert (repr(u8(7)), str(u8(7)), f"{u8(7):>3}") == ("u8(7)", "7", "  7")
    assert {u64(7): "seven"}[u64(7)] == "seven"
    assert hash(u64(7)) == hash(7)
    assert type(min(u64(3), u64(4))) is u64
    assert sum([u64(3), u64(4)]) == u64(7)
    assert u64(1) != "1"
