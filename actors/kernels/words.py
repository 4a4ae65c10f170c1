"""Rows one after the other in 64-bit registers, for CPUs without AVX-512 IFMA; and who takes which.

Theory of operation. The schedule of ``ed25519`` is written for lanes, and one lane is enough for it. What
differs is the multiplication. `mulx` (BMI2) leaves all 128 bits of a product, so a column of a product of
field elements is one sum of 128 bits, instead of sums of lower and upper halves: 25 multiplications instead
of 50. ``field`` multiplies like this wherever the algebra is wide. Two rows run side by side in ``Twice``
as they do in vectors.

Vectors keep 64 bytes for a word, one word a lane. One lane leaves seven of eight words unused, so that
addresses are the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .algebra import OPERAND_BITS, UNSIGNED_END, Integers, Interval, Intervals, Lanes, Twice
from .emitter import Emitter, Value, Vector
from .sha256 import CHOOSE, MAJORITY, XOR

WIDE_BITS = 128
Pair = tuple[Value, Value]


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


class Words(Lanes):
    """One lane, written as LLVM IR on i64."""

    def __init__(self, emitter: Emitter) -> None:
        Vector.__init__(self, emitter, 1, 64)
        self.kind, self.mask_kind, self.every, self.suffix = "i64", "i1", "true", "i64"
        self._half_at = ""

    def const(self, value: int) -> Value:
        return str((value + (1 << 63)) % (1 << 64) - (1 << 63))

    def splat(self, scalar: Value) -> Value:
        return scalar

    def numbers(self, values: Sequence[int]) -> Value:
        return str(values[0])

    def extract(self, a: Value, lane: int) -> Value:
        if lane:
            raise IndexError(lane)
        return a

    def ternary(self, a: Value, b: Value, c: Value, table: int) -> Value:
        if table == XOR:
            return self.xor(self.xor(a, b), c)
        if table == CHOOSE:
            return self.xor(c, self.and_(a, self.xor(b, c)))
        if table == MAJORITY:
            return self.or_(self.and_(a, b), self.and_(c, self.or_(a, b)))
        raise ValueError(f"no formula for truth table {table:#x}")

    def gather(self, pointers: Sequence[Value], at: int | None = None, align: int = 64) -> list[Value]:
        return [self._word(pointers[0], (at or 0) + 8 * i, min(align, 8)) for i in range(8)]

    def gather_keys(self, pointers: Sequence[Value]) -> list[Value]:
        return [self._word(pointers[0], 8 * i, 1) for i in range(4)]

    def _word(self, pointer: Value, at: int, align: int) -> Value:
        return self.load(self.emitter.offset(pointer, at), align)

    def scatter(self, words: Sequence[Value], place: Callable[[int], Value]) -> None:
        at = place(0)
        for i, word in enumerate(words):
            self.store(word, self.emitter.offset(at, 8 * i), 8)

    def store_bits(self, mask: Value, pointer: Value) -> None:
        self.emitter.store("i8", self.emitter.let(f"zext i1 {mask} to i8"), pointer)

    def half(self, pointer: Value, entry: Value) -> list[Value]:
        """The words of 64 bytes, the first from ``pointer`` and the rest from a template's entry, as its mask
        says; see ``sha512.template``. The first use must be outside of loops."""
        e = self.emitter
        self._half_at = at = self._half_at or e.let("alloca [64 x i8], align 64")
        e.store("<8 x i64>", e.load("<8 x i64>", entry), at, 64)
        count = e.call("i64", "llvm.ctpop.i64", [("i64", e.load("i64", e.offset(entry, 64)))])
        e.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1 immarg)")
        e.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {at}, ptr {pointer}, i64 {count}, i1 false)")
        return [self._word(at, 8 * i, 8) for i in range(8)]

    def madlo(self, total: Value, a: Value, b: Value) -> Value:
        return self.add(total, self.wide_low(self.product(a, b), OPERAND_BITS))

    def madhi(self, total: Value, a: Value, b: Value) -> Value:
        return self.add(total, self.wide_shr(self.product(a, b), OPERAND_BITS))

    def product(self, a: Value, b: Value) -> Value:
        wide = [self.emitter.let(f"zext i64 {operand} to i128") for operand in (a, b)]
        return self.emitter.let(f"mul i128 {wide[0]}, {wide[1]}")

    def wide_add(self, a: Value, b: Value) -> Value:
        return self.emitter.let(f"add i128 {a}, {b}")

    def wide_low(self, a: Value, bits: int) -> Value:
        return self.low(self.emitter.let(f"trunc i128 {a} to i64"), bits)

    def wide_shr(self, a: Value, places: int) -> Value:
        return self.emitter.let(f"trunc i128 {self.emitter.let(f'lshr i128 {a}, {places}')} to i64")


class TwiceWords(Twice):
    """Two independent rows."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self._words = words

    def product(self, a: Pair, b: Pair) -> Pair:
        return self._words.product(a[0], b[0]), self._words.product(a[1], b[1])

    def wide_add(self, a: Pair, b: Pair) -> Pair:
        return self._words.wide_add(a[0], b[0]), self._words.wide_add(a[1], b[1])

    def wide_low(self, a: Pair, bits: int) -> Pair:
        return self._words.wide_low(a[0], bits), self._words.wide_low(a[1], bits)

    def wide_shr(self, a: Pair, places: int) -> Pair:
        return self._words.wide_shr(a[0], places), self._words.wide_shr(a[1], places)


def lanes_of(emitter: Emitter) -> Lanes:
    """The operations on as many rows as the emitter's functions work on."""
    return Words(emitter) if emitter.lanes == 1 else Lanes(emitter)


def twice(lanes: Lanes) -> Twice:
    """The same on two groups of rows side by side."""
    return TwiceWords(lanes) if isinstance(lanes, Words) else Twice(lanes)
