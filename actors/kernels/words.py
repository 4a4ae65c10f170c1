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

from llvmlite import ir

from .algebra import OPERAND_BITS, Lanes, Twice, of_one, of_two
from .emitter import I1, I8, I64, Emitter, Value, Vector, whole
from .sha256 import CHOOSE, MAJORITY, XOR

WIDE = ir.IntType(128)


class Words(Lanes):
    """One lane, written as LLVM IR on i64."""

    def __init__(self, emitter: Emitter) -> None:
        Vector.__init__(self, emitter, 1, 64)
        self.kind, self.suffix = I64, "i64"
        self._half_at: Value | None = None

    def splat(self, scalar: Value) -> Value:
        return scalar

    def numbers(self, values: Sequence[int]) -> Value:
        return whole(values[0])

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
        self.emitter.store(self.builder.zext(mask, I8), pointer)

    def half(self, pointer: Value, entry: Value) -> list[Value]:
        """The words of 64 bytes, the first from ``pointer`` and the rest from a template's entry, as its mask
        says; see ``sha512.template``. The first use must be outside of loops."""
        e = self.emitter
        if self._half_at is None:
            self._half_at = e.room(ir.VectorType(I64, 8))
        at = self._half_at
        e.store(e.load(ir.VectorType(I64, 8), entry), at, 64)
        count = e.call(I64, "llvm.ctpop.i64", e.load(I64, e.offset(entry, 64)))
        e.invoke("llvm.memcpy.p0.p0.i64", at, pointer, count, ir.Constant(I1, 0))
        return [self._word(at, 8 * i, 8) for i in range(8)]

    def madlo(self, total: Value, a: Value, b: Value) -> Value:
        return self.add(total, self.wide_low(self.product(a, b), OPERAND_BITS))

    def madhi(self, total: Value, a: Value, b: Value) -> Value:
        return self.add(total, self.wide_shr(self.product(a, b), OPERAND_BITS))

    def product(self, a: Value, b: Value) -> Value:
        wide = [self.builder.zext(operand, WIDE) for operand in (a, b)]
        return self.builder.mul(*wide)

    def wide_add(self, a: Value, b: Value) -> Value:
        return self.add(a, b)

    def wide_low(self, a: Value, bits: int) -> Value:
        return self.low(self.builder.trunc(a, I64), bits)

    def wide_shr(self, a: Value, places: int) -> Value:
        return self.builder.trunc(self.builder.lshr(a, ir.Constant(WIDE, places)), I64)


class TwiceWords(Twice):
    """Two independent rows."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self.product, self.wide_add = of_two(words.product), of_two(words.wide_add)
        self.wide_low, self.wide_shr = of_one(words.wide_low), of_one(words.wide_shr)


def lanes_of(emitter: Emitter) -> Lanes:
    """The operations on as many rows as the emitter's functions work on."""
    return Words(emitter) if emitter.lanes == 1 else Lanes(emitter)


def twice(lanes: Lanes) -> Twice:
    """The same on two groups of rows side by side."""
    return TwiceWords(lanes) if isinstance(lanes, Words) else Twice(lanes)
