"""Two more ways to read the arithmetic that is written over `Algebra`: what the compiled code may not lose.

- `Integers` computes one lane with Python integers, and raises where the hardware would drop a bit;
- `Intervals` computes the least and the greatest value of every intermediate, and raises likewise: what
  passes it is proven for all inputs within the stated bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.kernels.algebra import OPERAND_BITS

UNSIGNED_END = 1 << 64
SIGNED_START, SIGNED_END = -(1 << 63), 1 << 63
WIDE_BITS = 128


class BoundError(ArithmeticError):
    """A lane would lose bits: an operand over 52 bits, a sum over 64, or a difference below zero."""


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


class WideIntegers(Integers):
    """One lane whose products have 128 bits, computed."""

    def product(self, a: int, b: int) -> int:
        return self._fits(a) * self._fits(b)

    def wide_add(self, a: int, b: int) -> int:
        return self._fits(a + b, 0, 1 << WIDE_BITS)

    def wide_low(self, a: int, bits: int) -> int:
        return self.low(a, bits)

    def wide_shr(self, a: int, places: int) -> int:
        return self._fits(a >> places)


class WideIntervals(Intervals):
    """Its bounds over all inputs, computed."""

    def product(self, a: Interval, b: Interval) -> Interval:
        self._fits(a)
        self._fits(b)
        return Interval(a.least * b.least, a.most * b.most)

    def wide_add(self, a: Interval, b: Interval) -> Interval:
        return self._fits(Interval(a.least + b.least, a.most + b.most), 0, 1 << WIDE_BITS)

    def wide_low(self, a: Interval, bits: int) -> Interval:
        return self.low(a, bits)

    def wide_shr(self, a: Interval, places: int) -> Interval:
        return self._fits(Interval(a.least >> places, a.most >> places), 0, UNSIGNED_END)
