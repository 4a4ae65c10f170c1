"""Integers of contracts in ordinary Python: as `int`, but each knows its range and does not mix with others.

1. What a type does not hold fails the call, as it does on the chain: CallFailedError with Failure.OVERFLOW.
2. Both operands have one type. A bare int literal takes the type of the other operand.
3. What contracts do not have (`/`, `**`, `~`, floats) raises TypeError that says what to write instead.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, Self

from actors.contracts.authoring.layouts import ScalarLayout, name_of
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.types import I64, U8, U16, U32, U64, U128, Type


class Integer(int):
    """What all integer types share."""

    __layout__: ClassVar[ScalarLayout]
    low: ClassVar[int]
    high: ClassVar[int]

    def __init_subclass__(cls, kind: Type) -> None:
        """A type of its own, with its range."""
        cls.__layout__ = ScalarLayout(kind, cls)
        cls.low, cls.high = kind.range

    def __new__(cls, value: int) -> Self:
        """A checked cast of another integer, or a literal."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{cls.__name__}(…) takes an integer, not {name_of(value)}")
        if cls.low <= value <= cls.high:
            return int.__new__(cls, value)
        if isinstance(value, Integer):
            raise CallFailedError(Failure.OVERFLOW)
        raise ValueError(f"{value} does not fit {cls.__name__}: {cls.low} to {cls.high}")

    def __repr__(self) -> str:
        """As an author writes it."""
        return f"{type(self).__name__}({int(self)})"

    def __str__(self) -> str:
        """The digits."""
        return int.__repr__(self)

    __hash__ = int.__hash__


def _operand(self: Integer, other: object, symbol: str) -> int | None:
    """The other operand; None for what is no number at all."""
    if type(other) is type(self):
        return int(other)
    mine = type(self).__name__
    if type(other) is int:
        if self.low <= other <= self.high:
            return other
        raise ValueError(f"{other} does not fit {mine}: {self.low} to {self.high}")
    if isinstance(other, float | complex):
        raise TypeError(f"{mine} {symbol} {type(other).__name__}: there are no floats; write integers")
    if isinstance(other, int):
        cast = "write if and else" if isinstance(other, bool) else f"write {mine}(…) around the other"
        raise TypeError(f"{mine} {symbol} {name_of(other)}: both have one type; {cast}")
    return None


def _result(kind: type[Integer], number: int) -> Integer:
    if not kind.low <= number <= kind.high:
        raise CallFailedError(Failure.OVERFLOW)
    return int.__new__(kind, number)


def _binary(symbol: str, compute: Callable[[int, int], int], *, unsigned: bool = False) -> tuple[Any, Any]:
    """The operator and its reflection."""

    def refuse_signed(self: Integer) -> None:
        if unsigned and self.low < 0:
            raise TypeError(f"{symbol} is for unsigned integers: write u64(…) first")

    def forward(self: Integer, other: object) -> Any:
        number = _operand(self, other, symbol)
        if number is None:
            return NotImplemented
        refuse_signed(self)
        return _result(type(self), compute(int(self), number))

    def backward(self: Integer, other: object) -> Any:
        number = _operand(self, other, symbol)
        if number is None:
            return NotImplemented
        refuse_signed(self)
        return _result(type(self), compute(number, int(self)))

    return forward, backward


def _comparison(symbol: str, compare: Callable[[int, int], bool]) -> Any:
    def compared(self: Integer, other: object) -> Any:
        if type(other) is type(self) or type(other) is int:
            return compare(int(self), int(other))
        _operand(self, other, symbol)
        return NotImplemented

    return compared


def _divide(a: int, b: int) -> int:
    if b == 0:
        raise CallFailedError(Failure.DIVISION_BY_ZERO)
    return a // b


def _remainder(a: int, b: int) -> int:
    if b == 0:
        raise CallFailedError(Failure.DIVISION_BY_ZERO)
    return a % b


def _shift_left(a: int, b: int) -> int:
    return a << min(b, 128) if a else 0  # no type has more bits


def _shift_right(a: int, b: int) -> int:
    return a >> min(b, 128)


def _refused(symbol: str, advice: str) -> Any:
    def refuse(self: Integer, *_: object) -> Any:
        raise TypeError(f"{symbol} on {type(self).__name__} is not part of the language: {advice}")

    return refuse


class _Operators(Integer, kind=U64):
    """The operators, written once; each type below has them."""

    __add__, __radd__ = _binary("+", operator.add)
    __sub__, __rsub__ = _binary("-", operator.sub)
    __mul__, __rmul__ = _binary("*", operator.mul)
    __floordiv__, __rfloordiv__ = _binary("//", _divide)
    __mod__, __rmod__ = _binary("%", _remainder)
    __and__, __rand__ = _binary("&", operator.and_, unsigned=True)
    __or__, __ror__ = _binary("|", operator.or_, unsigned=True)
    __xor__, __rxor__ = _binary("^", operator.xor, unsigned=True)
    __lshift__, __rlshift__ = _binary("<<", _shift_left, unsigned=True)
    __rshift__, __rrshift__ = _binary(">>", _shift_right, unsigned=True)
    __eq__ = _comparison("==", operator.eq)
    __ne__ = _comparison("!=", operator.ne)
    __lt__ = _comparison("<", operator.lt)
    __le__ = _comparison("<=", operator.le)
    __gt__ = _comparison(">", operator.gt)
    __ge__ = _comparison(">=", operator.ge)
    __hash__ = int.__hash__
    __truediv__ = __rtruediv__ = _refused("/", "write //")
    __pow__ = __rpow__ = _refused("**", "write the product")
    __divmod__ = __rdivmod__ = _refused("divmod", "write // and %")
    __invert__ = _refused("~", "write ^ with the greatest value")
    __abs__ = _refused("abs", "write if and else")
    __round__ = _refused("round", "write //")

    def __neg__(self) -> Any:
        """Of i64 only."""
        if self.low == 0:
            raise TypeError(f"-x on {type(self).__name__}: it is unsigned; write i64(x) first")
        return _result(type(self), -int(self))


class u8(_Operators, kind=U8):  # noqa: N801
    """0 to 2^8 - 1."""


class u16(_Operators, kind=U16):  # noqa: N801
    """0 to 2^16 - 1."""


class u32(_Operators, kind=U32):  # noqa: N801
    """0 to 2^32 - 1."""


class u64(_Operators, kind=U64):  # noqa: N801
    """0 to 2^64 - 1."""


class u128(_Operators, kind=U128):  # noqa: N801
    """0 to 2^128 - 1."""


class i64(_Operators, kind=I64):  # noqa: N801
    """-2^63 to 2^63 - 1."""
