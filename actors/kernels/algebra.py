"""The few operations from which field, curve and scalar arithmetic are written, and what they become.

Theory of operation. AVX-512 IFMA multiplies the low 52 bits of two lanes and adds the low or the high 52 bits
of the product to a 64-bit accumulator. It says nothing when an operand has more than 52 bits, or when an
accumulator wraps: the answer is just wrong. So the arithmetic is written once, over an ``Algebra``. ``Lanes``
writes it as LLVM IR for eight lanes. Tests read the same lines twice more (``tests/kernels/algebras.py``):
with integers that refuse what the hardware would drop, and with intervals, where what passes is proven for
all inputs within the stated bounds.

Values are integers modulo nothing: a lane holds -2^63 .. 2^64 - 1, as the reading of the operation says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from llvmlite import ir

from .emitter import I8, I32, I64, Emitter, Value, Vector

V = TypeVar("V")

OPERAND_BITS = 52
Pair = tuple[Value, Value]


class Algebra(Protocol[V]):
    """Operations on one lane of 64 bits, or on eight of them."""

    def const(self, value: int, /) -> V:
        """A constant."""
        ...

    def add(self, a: V, b: V, /) -> V:
        """a + b, which must fit."""
        ...

    def sub(self, a: V, b: V, /) -> V:
        """a - b, which must not be negative."""
        ...

    def sub_signed(self, a: V, b: V, /) -> V:
        """a - b, which may be negative; both below 2^63."""
        ...

    def shl(self, a: V, places: int, /) -> V:
        """a times a power of two, which must fit."""
        ...

    def shr(self, a: V, places: int, /) -> V:
        """a divided by a power of two, rounded down; a is not negative."""
        ...

    def sar(self, a: V, places: int, /) -> V:
        """The same for an ``a`` that may be negative."""
        ...

    def low(self, a: V, bits: int, /) -> V:
        """a modulo a power of two, never negative."""
        ...

    def join(self, a: V, b: V, /) -> V:
        """a + b of values that share no bit, and may together fill 64 bits."""
        ...

    def only_if(self, flag: V, a: V, /) -> V:
        """a where the flag is -1, 0 where it is 0."""
        ...

    def times(self, a: V, factor: int, /) -> V:
        """a times a small constant, which must fit."""
        ...

    def madlo(self, total: V, a: V, b: V, /) -> V:
        """total + the low 52 bits of a times b; both below 2^52."""
        ...

    def madhi(self, total: V, a: V, b: V, /) -> V:
        """total + (a times b) / 2^52; both below 2^52."""
        ...


@runtime_checkable
class WideAlgebra(Algebra[V], Protocol[V]):
    """An algebra that has wide values as well: products of 128 bits, and sums of them."""

    def product(self, a: V, b: V, /) -> V:
        """a times b."""
        ...

    def wide_add(self, a: V, b: V, /) -> V:
        """The sum of two wide values, which must fit 128 bits."""
        ...

    def wide_low(self, a: V, bits: int, /) -> V:
        """A wide value modulo a power of two up to 2^64."""
        ...

    def wide_shr(self, a: V, places: int, /) -> V:
        """A wide value divided by a power of two, rounded down, which must fit 64 bits."""
        ...


def ripple(o: Algebra[V], limbs: Sequence[V], limb_bits: int) -> tuple[list[V], V]:
    """Carry from limb to limb; the limbs, and what is left above the last."""
    out, over = [], o.const(0)
    for limb in limbs:
        total = o.add(limb, over)
        out.append(o.low(total, limb_bits))
        over = o.shr(total, limb_bits)
    return out, over


def limbs_of(o: Algebra[V], words: Sequence[V], limb_bits: int, count: int) -> list[V]:
    """The first limbs of a number in little-endian words of 64 bits."""
    out = []
    for k in range(count):
        word, place = divmod(limb_bits * k, 64)
        limb = o.shr(words[word], place)
        if word + 1 < len(words) and place > 64 - limb_bits:
            limb = o.join(limb, o.shl(o.low(words[word + 1], place + limb_bits - 64), 64 - place))
        out.append(o.low(limb, limb_bits))
    return out


def words_of(o: Algebra[V], limbs: Sequence[V], limb_bits: int) -> list[V]:
    """Four little-endian words of five limbs whose number is below 2^256."""
    out = []
    for word in range(4):
        k, skip = divmod(64 * word, limb_bits)
        kept = 64 - (limb_bits - skip)
        out.append(o.join(o.shr(limbs[k], skip), o.shl(o.low(limbs[k + 1], kept), limb_bits - skip)))
    return out


class Lanes(Vector):
    """Eight lanes, written as LLVM IR."""

    def __init__(self, emitter: Emitter) -> None:
        super().__init__(emitter, 8, 64)

    def sub_signed(self, a: Value, b: Value) -> Value:
        return self.sub(a, b)

    def low(self, a: Value, bits: int) -> Value:
        return self.and_(a, self.const((1 << bits) - 1))

    def join(self, a: Value, b: Value) -> Value:
        return self.or_(a, b)

    def only_if(self, flag: Value, a: Value) -> Value:
        return self.and_(flag, a)

    def times(self, a: Value, factor: int) -> Value:
        return self.mul(a, self.const(factor))

    def madlo(self, total: Value, a: Value, b: Value) -> Value:
        return self._multiply_add("l", total, a, b)

    def madhi(self, total: Value, a: Value, b: Value) -> Value:
        return self._multiply_add("h", total, a, b)

    def _multiply_add(self, part: str, total: Value, a: Value, b: Value) -> Value:
        return self.emitter.call(self.kind, f"llvm.x86.avx512.vpmadd52{part}.uq.512", total, a, b)

    def extract(self, a: Value, lane: int) -> Value:
        """One lane."""
        return self.builder.extract_element(a, ir.Constant(I32, lane))

    def gather(self, pointers: Sequence[Value], at: int | None = None, align: int = 64) -> list[Value]:
        """Eight words of the rows of 64 bytes at those addresses, or ``at`` bytes after them, one a lane."""
        e = self.emitter
        return self.transpose([self.load(p if at is None else e.offset(p, at), align) for p in pointers])

    def gather_keys(self, pointers: Sequence[Value]) -> list[Value]:
        """Four words of 32 bytes at those addresses, one a lane."""
        halves = [self.emitter.load(ir.VectorType(I64, 4), pointer) for pointer in pointers]
        return self.transpose([self.shuffle(half, half, [0, 1, 2, 3, 0, 1, 2, 3]) for half in halves])[:4]

    def scatter(self, words: Sequence[Value], place: Callable[[int], Value]) -> None:
        """Store eight words a lane as a row of 64 bytes, where ``place`` says for that lane."""
        for lane, row in enumerate(self.transpose(words)):
            self.store(row, place(lane))

    def store_bits(self, mask: Value, pointer: Value) -> None:
        """The mask as one byte."""
        self.emitter.store(self.builder.bitcast(mask, I8), pointer)

    def load_all(self, pointer: Value, count: int) -> list[Value]:
        """Vectors that lie one after the other."""
        return [self.load(self.emitter.offset(pointer, 64 * i)) for i in range(count)]

    def store_all(self, values: Sequence[Value], pointer: Value) -> None:
        for i, value in enumerate(values):
            self.store(value, self.emitter.offset(pointer, 64 * i))


class Twice:
    """Two independent vectors of eight lanes, operation by operation.

    A chain of squarings waits for each result; a second chain fills the wait.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes = lanes
        self.add, self.sub, self.join, self.only_if = map(
            of_two, (lanes.add, lanes.sub, lanes.join, lanes.only_if)
        )
        self.sub_signed = self.sub
        self.shl, self.shr, self.sar, self.low, self.times = map(
            of_one, (lanes.shl, lanes.shr, lanes.sar, lanes.low, lanes.times)
        )
        self.madlo, self.madhi = _of_three(lanes.madlo), _of_three(lanes.madhi)

    def const(self, value: int) -> Pair:
        constant = self.lanes.const(value)
        return constant, constant


def of_one(one: Callable[[Value, int], Value]) -> Callable[[Pair, int], Pair]:
    return lambda a, number: (one(a[0], number), one(a[1], number))


def of_two(one: Callable[[Value, Value], Value]) -> Callable[[Pair, Pair], Pair]:
    return lambda a, b: (one(a[0], b[0]), one(a[1], b[1]))


def _of_three(one: Callable[[Value, Value, Value], Value]) -> Callable[[Pair, Pair, Pair], Pair]:
    return lambda a, b, c: (one(a[0], b[0], c[0]), one(a[1], b[1], c[1]))
