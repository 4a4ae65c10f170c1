"""Checked arithmetic in compiled code. What LLVM leaves undefined is kept out before it can happen.

1. Sums and products carry a bit that says whether they left their type; no operation has a flag by which LLVM
   may take for granted that it does not.
2. A divisor is looked at before it divides: 0 fails the call; -1, by which the least number overflows, is
   taken apart.
3. A number of places is looked at before it shifts: the type's width, or more, shifts by 0 in its stead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.native.code import Code, constant, integer
from actors.contracts.native.division import DIVIDE, I128
from actors.contracts.types import I64 as SIGNED
from actors.contracts.types import Type
from actors.kernels.emitter import Value


class Failing(Protocol):
    """What writes a function: fails the call if a bit is set."""

    code: Code

    def fail_if(self, condition: Value, failure: Failure) -> None:
        """Go on only if it is not set."""


Rule = Callable[[Failing, Type, Value, Value], Value]


def _checked(name: str) -> Rule:
    def lower(to: Failing, kind: Type, a: Value, b: Value) -> Value:
        builder = to.code.builder
        sign = "s" if kind == SIGNED else "u"
        pair = getattr(builder, f"{sign}{name}_with_overflow")(a, b)
        to.fail_if(builder.extract_value(pair, 1), Failure.OVERFLOW)
        return builder.extract_value(pair, 0)

    return lower


def _quotient(to: Failing, a: Value, b: Value) -> Value:
    """Of numbers without sign; b is not 0."""
    return to.code.call(I128, DIVIDE, a, b) if a.type == I128 else to.code.builder.udiv(a, b)


def _signed_division(to: Failing, a: Value, b: Value) -> tuple[Value, Value, Value]:
    """Quotient and rest as the processor has them, for b = 1 instead of -1; and whether b is -1."""
    builder = to.code.builder
    is_minus_one = builder.icmp_signed("==", b, constant(b.type, -1))
    safe = builder.select(is_minus_one, constant(b.type, 1), b)
    return builder.sdiv(a, safe), builder.srem(a, safe), is_minus_one


def _rounds_down(to: Failing, rest: Value, b: Value) -> Value:
    """Whether the processor's quotient is one above Python's."""
    builder = to.code.builder
    opposite = builder.icmp_signed("<", builder.xor(rest, b), constant(b.type, 0))
    return builder.and_(opposite, builder.not_(to.code.is_zero(rest)))


def _floor_div(to: Failing, kind: Type, a: Value, b: Value) -> Value:
    to.fail_if(to.code.is_zero(b), Failure.DIVISION_BY_ZERO)
    if kind != SIGNED:
        return _quotient(to, a, b)
    builder = to.code.builder
    quotient, rest, is_minus_one = _signed_division(to, a, b)
    least = builder.icmp_signed("==", a, constant(a.type, kind.range[0]))
    to.fail_if(builder.and_(least, is_minus_one), Failure.OVERFLOW)
    down = builder.sub(quotient, builder.zext(_rounds_down(to, rest, b), a.type))
    return builder.select(is_minus_one, builder.sub(constant(a.type, 0), a), down)


def _mod(to: Failing, kind: Type, a: Value, b: Value) -> Value:
    to.fail_if(to.code.is_zero(b), Failure.DIVISION_BY_ZERO)
    builder = to.code.builder
    if kind != SIGNED:
        if a.type != I128:
            return builder.urem(a, b)
        return builder.sub(a, builder.mul(_quotient(to, a, b), b))
    _, rest, is_minus_one = _signed_division(to, a, b)
    raised = builder.select(_rounds_down(to, rest, b), builder.add(rest, b), rest)
    return builder.select(is_minus_one, constant(a.type, 0), raised)


def _bits(name: str) -> Rule:
    return lambda to, _, a, b: getattr(to.code.builder, name)(a, b)


def _places(to: Failing, b: Value) -> tuple[Value, Value]:
    """Whether they are the type's width or more, and else how many, 0 in that case."""
    builder = to.code.builder
    is_all = builder.icmp_unsigned(">=", b, constant(b.type, b.type.width))
    return is_all, builder.select(is_all, constant(b.type, 0), b)


def _shl(to: Failing, _: Type, a: Value, b: Value) -> Value:
    builder = to.code.builder
    is_all, places = _places(to, b)
    shifted = builder.shl(a, places)
    lost = builder.icmp_unsigned("!=", builder.lshr(shifted, places), a)
    all_lost = builder.and_(is_all, builder.not_(to.code.is_zero(a)))
    to.fail_if(builder.or_(lost, all_lost), Failure.OVERFLOW)
    return shifted


def _shr(to: Failing, _: Type, a: Value, b: Value) -> Value:
    builder = to.code.builder
    is_all, places = _places(to, b)
    return builder.select(is_all, constant(a.type, 0), builder.lshr(a, places))


def _chosen(condition: str) -> Rule:
    def lower(to: Failing, kind: Type, a: Value, b: Value) -> Value:
        return to.code.builder.select(compare_numbers(to.code, kind, condition, a, b), a, b)

    return lower


def compare_numbers(code: Code, kind: Type, condition: str, a: Value, b: Value) -> Value:
    """A bit; the condition is one of C's."""
    compare = code.builder.icmp_signed if kind == SIGNED else code.builder.icmp_unsigned
    return compare(condition, a, b)


ARITHMETIC: dict[ir.Arithmetic, Rule] = {
    ir.Arithmetic.ADD: _checked("add"),
    ir.Arithmetic.SUB: _checked("sub"),
    ir.Arithmetic.MUL: _checked("mul"),
    ir.Arithmetic.FLOOR_DIV: _floor_div,
    ir.Arithmetic.MOD: _mod,
    ir.Arithmetic.AND: _bits("and_"),
    ir.Arithmetic.OR: _bits("or_"),
    ir.Arithmetic.XOR: _bits("xor"),
    ir.Arithmetic.SHL: _shl,
    ir.Arithmetic.SHR: _shr,
    ir.Arithmetic.MIN: _chosen("<="),
    ir.Arithmetic.MAX: _chosen(">="),
}


def cast_number(to: Failing, value: Value, old: Type, new: Type) -> Value:
    """The same number in another type; fails the call if that does not hold it."""
    builder, (low, high) = to.code.builder, new.range
    target = ir_type(new)
    old_low, old_high = old.range
    if old_low < low:
        to.fail_if(builder.icmp_signed("<", value, constant(value.type, low)), Failure.OVERFLOW)
    if old_high > high:
        outside = compare_numbers(to.code, old, ">", value, constant(value.type, high))
        to.fail_if(outside, Failure.OVERFLOW)
    if target.width == value.type.width:
        return value
    if target.width < value.type.width:
        return builder.trunc(value, target)
    return builder.sext(value, target) if old == SIGNED else builder.zext(value, target)


def ir_type(kind: Type) -> Any:
    """LLVM's type of a value, in a register as in memory."""
    return integer(kind.width_bytes)
