"""The few operations from which field, curve and scalar arithmetic are written, and three ways to read them.

Theory of operation. AVX-512 IFMA multiplies the low 52 bits of two lanes and adds the low or the high 52 bits
of the product to a 64-bit accumulator. It says nothing when an operand has more than 52 bits, or when an
accumulator wraps: the answer is just wrong. So the arithmetic is written once, over an ``Algebra``, and read
in three ways:

- ``Integers`` computes one lane with Python integers, and raises where the hardware would drop a bit;
- ``Intervals`` computes the least and the greatest value of every intermediate, and raises likewise: what
  passes it is proven for all inputs within the stated bounds;
- ``Lanes`` writes the same operations as LLVM IR for eight lanes.

Values are integers modulo nothing: a lane holds -2^63 .. 2^64 - 1, as the reading of the operation says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from .emitter import Emitter, Value, Vector

V = TypeVar("V")

OPERAND_BITS = 52
UNSIGNED_END = 1 << 64
SIGNED_START, SIGNED_END = -(1 << 63), 1 << 63


class BoundError(ArithmeticError):
    """A lane would lose bits: an operand over 52 bits, a sum over 64, or a difference below zero."""


class Algebra(Protocol[V]):
    """Operations on one lane of 64 bits, or on eight of them."""

    def const(self, value: int) -> V:
        """A constant."""
        ...

    def add(self, a: V, b: V) -> V:
        """a + b, which must fit."""
        ...

    def sub(self, a: V, b: V) -> V:
        """a - b, which must not be negative."""
        ...

    def sub_signed(self, a: V, b: V) -> V:
        """a - b, which may be negative; both below 2^63."""
        ...

    def shl(self, a: V, places: int) -> V:
        """a times a power of two, which must fit."""
        ...

    def shr(self, a: V, places: int) -> V:
        """a divided by a power of two, rounded down; a is not negative."""
        ...

    def sar(self, a: V, places: int) -> V:
        """The same for an ``a`` that may be negative."""
        ...

    def low(self, a: V, bits: int) -> V:
        """a modulo a power of two, never negative."""
        ...

    def join(self, a: V, b: V) -> V:
        """a + b of values that share no bit, and may together fill 64 bits."""
        ...

    def only_if(self, flag: V, a: V) -> V:
        """a where the flag is -1, 0 where it is 0."""
        ...

    def times(self, a: V, factor: int) -> V:
        """a times a small constant, which must fit."""
        ...

    def madlo(self, total: V, a: V, b: V) -> V:
        """total + the low 52 bits of a times b; both below 2^52."""
        ...

    def madhi(self, total: V, a: V, b: V) -> V:
        """total + (a times b) / 2^52; both below 2^52."""
        ...


@runtime_checkable
class WideAlgebra(Algebra[V], Protocol[V]):
    """An algebra that has wide values as well: products of 128 bits, and sums of them."""

    def product(self, a: V, b: V) -> V:
        """a times b."""
        ...

    def wide_add(self, a: V, b: V) -> V:
        """The sum of two wide values, which must fit 128 bits."""
        ...

    def wide_low(self, a: V, bits: int) -> V:
        """A wide value modulo a power of two up to 2^64."""
        ...

    def wide_shr(self, a: V, places: int) -> V:
        """A wide value divided by a power of two, rounded down, which must fit 64 bits."""
        ...


class Integers:
    """One lane, computed."""

    def _fits(self, value: int, least: int = 0, end: int = UNSIGNED_END) -> int:
        if not least <= value < end:
            raise BoundError(f"{value} is outside {least} .. {end}")
        return value

    def const(self, value: int) -> int:
        return self._fits(value, SIGNED_START)

    def add(self, a: int, b: int) -> int:
        return self._fits(a + b, SIGNED_START)

    def sub(self, a: int, b: int) -> int:
        return self._fits(a - b)

    def sub_signed(self, a: int, b: int) -> int:
        return self._fits(a - b, SIGNED_START, SIGNED_END)

    def shl(self, a: int, places: int) -> int:
        return self._fits(a << places)

    def shr(self, a: int, places: int) -> int:
        return self._fits(a) >> places

    def sar(self, a: int, places: int) -> int:
        return self._fits(a, SIGNED_START, SIGNED_END) >> places

    def low(self, a: int, bits: int) -> int:
        return a & ((1 << bits) - 1)

    def join(self, a: int, b: int) -> int:
        if a & b:
            raise BoundError(f"{a} and {b} share bits")
        return self._fits(a + b)

    def only_if(self, flag: int, a: int) -> int:
        return a if self._fits(flag, -1, 1) else 0

    def times(self, a: int, factor: int) -> int:
        return self._fits(a * factor)

    def madlo(self, total: int, a: int, b: int) -> int:
        product = self._fits(a, 0, 1 << OPERAND_BITS) * self._fits(b, 0, 1 << OPERAND_BITS)
        return self._fits(total + self.low(product, OPERAND_BITS))

    def madhi(self, total: int, a: int, b: int) -> int:
        product = self._fits(a, 0, 1 << OPERAND_BITS) * self._fits(b, 0, 1 << OPERAND_BITS)
        return self._fits(total + (product >> OPERAND_BITS))


@dataclass(frozen=True)
class Interval:
    """Every value from ``least`` to ``most``, both included."""

    least: int
    most: int


class Intervals:
    """The bounds of one lane over all inputs, computed."""

    def _fits(self, value: Interval, least: int = 0, end: int = UNSIGNED_END) -> Interval:
        if value.least < least or value.most >= end:
            raise BoundError(f"{value} is outside {least} .. {end}")
        return value

    def const(self, value: int) -> Interval:
        return self._fits(Interval(value, value), SIGNED_START)

    def add(self, a: Interval, b: Interval) -> Interval:
        total = self._fits(Interval(a.least + b.least, a.most + b.most), SIGNED_START)
        return total if total.least >= 0 else self._fits(total, SIGNED_START, SIGNED_END)

    def sub(self, a: Interval, b: Interval) -> Interval:
        return self._fits(Interval(a.least - b.most, a.most - b.least))

    def sub_signed(self, a: Interval, b: Interval) -> Interval:
        return self._fits(Interval(a.least - b.most, a.most - b.least), SIGNED_START, SIGNED_END)

    def shl(self, a: Interval, places: int) -> Interval:
        return self._fits(Interval(a.least << places, a.most << places))

    def shr(self, a: Interval, places: int) -> Interval:
        return self._shifted(self._fits(a), places)

    def sar(self, a: Interval, places: int) -> Interval:
        return self._shifted(self._fits(a, SIGNED_START, SIGNED_END), places)

    def _shifted(self, a: Interval, places: int) -> Interval:
        return Interval(a.least >> places, a.most >> places)

    def low(self, a: Interval, bits: int) -> Interval:
        if a.least >> bits == a.most >> bits == 0:
            return a
        return Interval(0, (1 << bits) - 1)

    def join(self, a: Interval, b: Interval) -> Interval:
        shared = a.most.bit_length() > (b.least & -b.least or UNSIGNED_END).bit_length()
        return self._fits(Interval(0, UNSIGNED_END - 1 if shared else a.most | b.most))

    def only_if(self, flag: Interval, a: Interval) -> Interval:
        self._fits(flag, -1, 1)
        return Interval(min(0, a.least), max(0, a.most))

    def times(self, a: Interval, factor: int) -> Interval:
        return self._fits(Interval(a.least * factor, a.most * factor))

    def madlo(self, total: Interval, a: Interval, b: Interval) -> Interval:
        product = self._product(a, b)
        most = min(product.most, (1 << OPERAND_BITS) - 1)
        return self._fits(Interval(total.least, total.most + most))

    def madhi(self, total: Interval, a: Interval, b: Interval) -> Interval:
        product = self._shifted(self._product(a, b), OPERAND_BITS)
        return self._fits(Interval(total.least + product.least, total.most + product.most))

    def _product(self, a: Interval, b: Interval) -> Interval:
        self._fits(a, 0, 1 << OPERAND_BITS)
        self._fits(b, 0, 1 << OPERAND_BITS)
        return Interval(a.least * b.least, a.most * b.most)


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
        arguments = [(self.kind, total), (self.kind, a), (self.kind, b)]
        return self.emitter.call(self.kind, f"llvm.x86.avx512.vpmadd52{part}.uq.512", arguments)

    def extract(self, a: Value, lane: int) -> Value:
        """One lane."""
        return self.emitter.let(f"extractelement {self.kind} {a}, i32 {lane}")

    def numbers(self, values: Sequence[int]) -> Value:
        """A constant for each lane."""
        return f"<{', '.join(f'i64 {value}' for value in values)}>"

    def gather(self, pointers: Sequence[Value], at: int | None = None, align: int = 64) -> list[Value]:
        """Eight words of the rows of 64 bytes at those addresses, or ``at`` bytes after them, one a lane."""
        e = self.emitter
        return self.transpose([self.load(p if at is None else e.offset(p, at), align) for p in pointers])

    def gather_keys(self, pointers: Sequence[Value]) -> list[Value]:
        """Four words of 32 bytes at those addresses, one a lane."""
        e, picks = self.emitter, ", ".join(f"i32 {i % 4}" for i in range(8))
        rows = []
        for pointer in pointers:
            half = e.load("<4 x i64>", pointer)
            rows.append(e.let(f"shufflevector <4 x i64> {half}, <4 x i64> poison, <8 x i32> <{picks}>"))
        return self.transpose(rows)[:4]

    def scatter(self, words: Sequence[Value], place: Callable[[int], Value]) -> None:
        """Store eight words a lane as a row of 64 bytes, where ``place`` says for that lane."""
        for lane, row in enumerate(self.transpose(words)):
            self.store(row, place(lane))

    def store_bits(self, mask: Value, pointer: Value) -> None:
        """The mask as one byte."""
        self.emitter.store("i8", self.emitter.let(f"bitcast {self.mask_kind} {mask} to i8"), pointer)

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

    def const(self, value: int) -> tuple[Value, Value]:
        constant = self.lanes.const(value)
        return constant, constant

    def add(self, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
        return self.lanes.add(a[0], b[0]), self.lanes.add(a[1], b[1])

    def sub(self, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
        return self.lanes.sub(a[0], b[0]), self.lanes.sub(a[1], b[1])

    def sub_signed(self, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
        return self.sub(a, b)

    def shl(self, a: tuple[Value, Value], places: int) -> tuple[Value, Value]:
        return self.lanes.shl(a[0], places), self.lanes.shl(a[1], places)

    def shr(self, a: tuple[Value, Value], places: int) -> tuple[Value, Value]:
        return self.lanes.shr(a[0], places), self.lanes.shr(a[1], places)

    def sar(self, a: tuple[Value, Value], places: int) -> tuple[Value, Value]:
        return self.lanes.sar(a[0], places), self.lanes.sar(a[1], places)

    def low(self, a: tuple[Value, Value], bits: int) -> tuple[Value, Value]:
        return self.lanes.low(a[0], bits), self.lanes.low(a[1], bits)

    def join(self, a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
        return self.lanes.join(a[0], b[0]), self.lanes.join(a[1], b[1])

    def only_if(self, flag: tuple[Value, Value], a: tuple[Value, Value]) -> tuple[Value, Value]:
        return self.lanes.only_if(flag[0], a[0]), self.lanes.only_if(flag[1], a[1])

    def times(self, a: tuple[Value, Value], factor: int) -> tuple[Value, Value]:
        return self.lanes.times(a[0], factor), self.lanes.times(a[1], factor)

    def madlo(
        self, total: tuple[Value, Value], a: tuple[Value, Value], b: tuple[Value, Value]
    ) -> tuple[Value, Value]:
        return self.lanes.madlo(total[0], a[0], b[0]), self.lanes.madlo(total[1], a[1], b[1])

    def madhi(
        self, total: tuple[Value, Value], a: tuple[Value, Value], b: tuple[Value, Value]
    ) -> tuple[Value, Value]:
        return self.lanes.madhi(total[0], a[0], b[0]), self.lanes.madhi(total[1], a[1], b[1])
