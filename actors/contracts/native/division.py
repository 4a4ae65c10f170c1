"""Division of unsigned numbers of 128 bits in compiled code, which LLVM would leave to a library.

Source: H. S. Warren, "Hacker's Delight" (2nd edition), 9-4 and 9-5: schoolbook division in halves, where a
guess from the leading halves is at most two too large.
"""

from __future__ import annotations

from llvmlite import ir

from actors.contracts.native.code import Code, constant
from actors.kernels.emitter import I1, I64, Value

DIVIDE = "divide_u128"
"""`i128 divide(i128 a, i128 b)`: the quotient; b is not 0."""
_BY_WORD = "divide_by_word"
"""`{i64, i64} divide(i64 high, i64 low, i64 d)`: quotient and remainder; high is below d."""
I128 = ir.IntType(128)
_RESULT = ir.LiteralStructType([I64, I64])
_HALF, _HALF_MAX = 32, 0xFFFFFFFF


def emit_division(code: Code) -> None:
    """See DIVIDE."""
    _emit_by_word(code)
    a, b = code.function(DIVIDE, I128, [I128, I128], inline=False)
    builder = code.builder
    (a_high, a_low), (b_high, b_low) = _split(code, a), _split(code, b)
    by_word, by_both, in_one, in_two = (code.block() for _ in range(4))
    builder.cbranch(code.is_zero(b_high), by_word, by_both)
    code.go_on_at(by_word)
    builder.cbranch(code.is_zero(a_high), in_one, in_two)
    code.go_on_at(in_one)
    builder.ret(builder.zext(builder.udiv(a_low, b_low), I128))
    code.go_on_at(in_two)
    high, rest = builder.udiv(a_high, b_low), builder.urem(a_high, b_low)
    low = builder.extract_value(code.call(_RESULT, _BY_WORD, rest, a_low, b_low), 0)
    builder.ret(_joined(code, high, low))
    code.go_on_at(by_both)
    builder.ret(_by_both_words(code, a, b, b_high))


def _split(code: Code, value: Value) -> tuple[Value, Value]:
    high = code.builder.trunc(code.builder.lshr(value, constant(I128, 64)), I64)
    return high, code.builder.trunc(value, I64)


def _joined(code: Code, high: Value, low: Value) -> Value:
    builder = code.builder
    raised = builder.shl(builder.zext(high, I128), constant(I128, 64))
    return builder.or_(raised, builder.zext(low, I128))


def _leading_zeros(code: Code, value: Value) -> Value:
    """Of a number that is not 0."""
    return code.call(I64, "llvm.ctlz.i64", value, constant(I1, 0))


def _by_both_words(code: Code, a: Value, b: Value, b_high: Value) -> Value:
    """The quotient where the divisor needs both words: guessed from its leading word, then corrected."""
    builder = code.builder
    places = _leading_zeros(code, b_high)
    leading, _ = _split(code, builder.shl(b, builder.zext(places, I128)))
    half_high, half_low = _split(code, builder.lshr(a, constant(I128, 1)))
    guess = builder.extract_value(code.call(_RESULT, _BY_WORD, half_high, half_low, leading), 0)
    guess = builder.lshr(guess, code.sub(63, places))
    less = code.sub(guess, builder.zext(builder.not_(code.is_zero(guess)), I64))
    rest = builder.sub(a, builder.mul(builder.zext(less, I128), b))
    more = builder.icmp_unsigned(">=", rest, b)
    return builder.zext(code.add(less, builder.zext(more, I64)), I128)


def _emit_by_word(code: Code) -> None:
    high, low, divisor = code.function(_BY_WORD, _RESULT, [I64, I64, I64], inline=False)
    builder = code.builder
    places = _leading_zeros(code, divisor)
    divisor = builder.shl(divisor, places)
    high, low = _split(code, builder.shl(_joined(code, high, low), builder.zext(places, I128)))
    d = _halves(code, divisor)
    upper, lower = _halves(code, low)
    first, rest = _half(code, high, upper, divisor, d)
    second, rest = _half(code, rest, lower, divisor, d)
    quotient = code.add(builder.shl(first, constant(I64, _HALF)), second)
    pair = builder.insert_value(ir.Constant(_RESULT, ir.Undefined), quotient, 0)
    builder.ret(builder.insert_value(pair, builder.lshr(rest, places), 1))


def _halves(code: Code, word: Value) -> tuple[Value, Value]:
    builder = code.builder
    return builder.lshr(word, constant(I64, _HALF)), builder.and_(word, constant(I64, _HALF_MAX))


def _half(
    code: Code, high: Value, low: Value, divisor: Value, halves: tuple[Value, Value]
) -> tuple[Value, Value]:
    """32 bits of the quotient of `high` and 32 bits `low` by the divisor, and the rest. high < divisor."""
    builder = code.builder
    guess, rest = builder.udiv(high, halves[0]), builder.urem(high, halves[0])
    for _ in range(2):
        large = builder.icmp_unsigned(">", guess, constant(I64, _HALF_MAX))
        beside = code.add(builder.shl(rest, constant(I64, _HALF)), low)
        large = builder.or_(large, builder.icmp_unsigned(">", code.mul(guess, halves[1]), beside))
        small = builder.icmp_unsigned("<=", rest, constant(I64, _HALF_MAX))
        wrong = builder.and_(large, small)
        guess = builder.select(wrong, code.sub(guess, 1), guess)
        rest = builder.select(wrong, code.add(rest, halves[0]), rest)
    all_of_it = code.add(builder.shl(high, constant(I64, _HALF)), low)
    return guess, code.sub(all_of_it, code.mul(guess, divisor))
