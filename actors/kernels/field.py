"""Arithmetic modulo p = 2^255 - 19 in five limbs of 51 bits.

Theory of operation. An element is the sum of limb k times 2^(51 k). 2^255 is 19 modulo p, so what overflows
the fifth limb returns to the first, times 19. A limb may be larger than 51 bits; how much larger is what the
rules are about:

- *tight*: each limb is at most ``TIGHT_MAX``, a little over 2^51. Multiplication takes tight elements,
  because IFMA reads 52 bits of each operand.
- *raw*: what a multiplication leaves, each limb at most ``RAW_MAX``. Raw elements can be added and subtracted
  a few times before a *carry* makes the result tight. Carrying late is what makes the formulas of ``curve``
  cheap: one carry for each operand of a multiplication, none for a sum.

A product of limbs i and j weighs 2^(51 (i + j)). IFMA splits it at bit 52, so its upper half weighs
2^(51 (i + j + 1)) twice; upper halves are summed first, doubled once, and the lower halves summed on top.

Sources: RFC 8032, section 5.1 (the field); S. Gueron and V. Krasnov, "Software implementation of modular
exponentiation, using advanced vector instructions architectures" (2012), for IFMA's use. The twin is
``reference``, which computes with Python integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .algebra import Algebra, V, WideAlgebra, limbs_of, ripple, words_of

P = 2**255 - 19
LIMBS = 5
LIMB_BITS = 51
MASK = (1 << LIMB_BITS) - 1

TIGHT_MAX = (1 << 51) + (1 << 15)
"""The largest limb of a tight element."""
RAW_MAX = (1 << 60) - (1 << 14)
"""The largest limb of a raw element."""

TWICE_P = [2 * (MASK - 18)] + [2 * MASK] * 4
"""2 p in limbs that exceed every tight limb: subtracting a tight element from it leaves no limb negative."""
LARGE_MULTIPLE_OF_P = [limb << 8 for limb in TWICE_P]
"""512 p, whose limbs exceed those of a raw element: a *biased* product has it added, by starting its sums
with it, and so can have another subtracted."""

Element = list[V]


def limbs(value: int) -> list[int]:
    """The limbs of 0 <= value < 2^255, each below 2^51."""
    return [value >> (LIMB_BITS * k) & MASK for k in range(LIMBS)]


def value(element: Sequence[int]) -> int:
    """The number that limbs stand for, modulo p."""
    return sum(limb << (LIMB_BITS * k) for k, limb in enumerate(element)) % P


class Field(Generic[V]):
    """The operations, over any algebra."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self.algebra = algebra
        self._wide: WideAlgebra[V] | None = algebra if isinstance(algebra, WideAlgebra) else None

    def const(self, number: int) -> Element[V]:
        """A constant, tight."""
        return [self.algebra.const(limb) for limb in limbs(number % P)]

    def mul_raw(self, a: Element[V], b: Element[V], bias: int = 0) -> Element[V]:
        """The product of two tight elements plus ``bias`` times 512 p, raw: 50 multiplications, or 25 wide
        ones."""
        if self._wide is not None:
            return self._mul_wide(self._wide, a, b, bias)
        o = self.algebra
        columns = []
        for k in range(2 * LIMBS):
            pairs = [(a[i], b[k - 1 - i]) for i in range(LIMBS) if 0 <= k - 1 - i < LIMBS]
            total = self._start(k, bias, doublings=min(k, 1))
            for x, y in pairs:
                total = o.madhi(total, x, y)
            if pairs:
                total = o.add(total, total)
            for x, y in [(a[i], b[k - i]) for i in range(LIMBS) if 0 <= k - i < LIMBS]:
                total = o.madlo(total, x, y)
            columns.append(total)
        return self._fold(columns)

    def sqr_raw(self, a: Element[V], bias: int = 0) -> Element[V]:
        """The square of a tight element plus ``bias`` times 512 p, raw.

        30 multiplications, or 15 wide ones, as products of two limbs come twice.
        """
        if self._wide is not None:
            return self._sqr_wide(self._wide, a, bias)
        o = self.algebra
        columns = []
        for k in range(2 * LIMBS):
            total = self._start(k, bias, doublings=min(k, 2))
            crossed = self._pairs(k - 1)
            for i, j in crossed:
                total = o.madhi(total, a[i], a[j])
            if crossed:
                total = o.add(total, total)
            for i, j in self._pairs(k):
                total = o.madlo(total, a[i], a[j])
            if k % 2 == 1:
                total = o.madhi(total, a[k // 2], a[k // 2])
            if k > 0:
                total = o.add(total, total)
            if k % 2 == 0:
                total = o.madlo(total, a[k // 2], a[k // 2])
            columns.append(total)
        return self._fold(columns)

    def _mul_wide(self, o: WideAlgebra[V], a: Element[V], b: Element[V], bias: int) -> Element[V]:
        folded = [o.times(limb, 19) for limb in b]
        columns = [o.product(a[0], limb) for limb in b]
        for i in range(1, LIMBS):  # limb by limb of a, which stays in the register that mulx wants it in
            for k in range(LIMBS):
                term = o.product(a[i], b[k - i] if i <= k else folded[k + LIMBS - i])
                columns[k] = o.wide_add(columns[k], term)
        return self._narrowed(o, columns, bias)

    def _sqr_wide(self, o: WideAlgebra[V], a: Element[V], bias: int) -> Element[V]:
        twice, folded = [o.add(limb, limb) for limb in a], [o.times(limb, 19) for limb in a]
        columns = []
        for k in range(LIMBS):
            middle = (k if k % 2 == 0 else k + LIMBS) // 2
            total = o.product(a[middle], a[middle] if k % 2 == 0 else folded[middle])
            for i, j in self._pairs(k):
                total = o.wide_add(total, o.product(twice[i], a[j]))
            for i, j in self._pairs(k + LIMBS):
                total = o.wide_add(total, o.product(twice[i], folded[j]))
            columns.append(total)
        return self._narrowed(o, columns, bias)

    def _narrowed(self, o: WideAlgebra[V], columns: Sequence[V], bias: int) -> Element[V]:
        """Columns below 2^111 as raw limbs: each takes what the one before it has above 51 bits."""
        low = [o.wide_low(column, LIMB_BITS) for column in columns]
        over = [o.wide_shr(column, LIMB_BITS) for column in columns]
        raw = [o.add(low[k], over[k - 1] if k else o.times(over[-1], 19)) for k in range(LIMBS)]
        return self.add_raw(raw, [o.const(bias * limb) for limb in LARGE_MULTIPLE_OF_P]) if bias else raw

    def _start(self, column: int, bias: int, doublings: int) -> V:
        """What the sum of a column begins with, before it is doubled that often, so that the bias is free."""
        limb = LARGE_MULTIPLE_OF_P[column] if column < LIMBS else 0
        return self.algebra.const(bias * limb >> doublings)

    @staticmethod
    def _pairs(total: int) -> list[tuple[int, int]]:
        """Limb numbers i < j whose sum is ``total``."""
        return [(i, total - i) for i in range(LIMBS) if i < total - i < LIMBS]

    def _fold(self, columns: Sequence[V]) -> Element[V]:
        o = self.algebra
        return [o.add(columns[k], o.times(columns[k + LIMBS], 19)) for k in range(LIMBS)]

    def carry(self, a: Element[V]) -> Element[V]:
        """Make an element tight whose limbs are below 2^62."""
        o = self.algebra
        over = [o.shr(limb, LIMB_BITS) for limb in a]
        rest = [o.low(limb, LIMB_BITS) for limb in a]
        first = o.madlo(rest[0], over[4], o.const(19))
        return [first, *(o.add(rest[k], over[k - 1]) for k in range(1, LIMBS))]

    def add_raw(self, a: Element[V], b: Element[V]) -> Element[V]:
        return [self.algebra.add(x, y) for x, y in zip(a, b, strict=True)]

    def biased(self, a: Element[V]) -> Element[V]:
        """a + 512 p."""
        o = self.algebra
        return [o.add(x, o.const(limb)) for x, limb in zip(a, LARGE_MULTIPLE_OF_P, strict=True)]

    def sub_raw(self, a: Element[V], b: Element[V]) -> Element[V]:
        """a - b, for an ``a`` whose bias exceeds ``b``."""
        return [self.algebra.sub(x, y) for x, y in zip(a, b, strict=True)]

    def mul(self, a: Element[V], b: Element[V]) -> Element[V]:
        return self.carry(self.mul_raw(a, b))

    def sqr(self, a: Element[V]) -> Element[V]:
        return self.carry(self.sqr_raw(a))

    def add(self, a: Element[V], b: Element[V]) -> Element[V]:
        return self.carry(self.add_raw(a, b))

    def sub(self, a: Element[V], b: Element[V]) -> Element[V]:
        return self.carry(self.add_raw(a, self.negate(b)))

    def negate(self, a: Element[V]) -> Element[V]:
        """2 p - a for a tight ``a``: limbs below 2^52, an operand of a multiplication as it is."""
        o = self.algebra
        return [o.sub(o.const(limb), x) for limb, x in zip(TWICE_P, a, strict=True)]

    def freeze(self, a: Element[V]) -> Element[V]:
        """The one representative of a tight element below p, each limb below 2^51."""
        o = self.algebra
        for _ in range(2):
            a, over = self._ripple(a)
            a = [o.madlo(a[0], over, o.const(19)), *a[1:]]
        borrow = o.const(19)
        for limb in a:
            borrow = o.shr(o.add(limb, borrow), LIMB_BITS)
        return self._ripple([o.madlo(a[0], borrow, o.const(19)), *a[1:]])[0]

    def _ripple(self, a: Element[V]) -> tuple[Element[V], V]:
        return ripple(self.algebra, a, LIMB_BITS)

    def from_words(self, words: Sequence[V]) -> Element[V]:
        """An element from four little-endian words of 64 bits, of which the highest bit is left out."""
        return limbs_of(self.algebra, words, LIMB_BITS, LIMBS)

    def to_words(self, a: Element[V]) -> list[V]:
        """Four little-endian words of a frozen element."""
        return words_of(self.algebra, a, LIMB_BITS)


X = TypeVar("X")


def power_chain(a: X, mul: Callable[[X, X], X], square_run: Callable[[X, int], X]) -> tuple[X, X]:
    """a^(2^250 - 1) and a^11, from which ``square_root_power`` and ``inverse`` follow.

    ``square_run`` squares a number of times. This is the addition chain of Bernstein's Curve25519 (2006).
    """
    a2 = square_run(a, 1)
    a9 = mul(square_run(a2, 2), a)
    a11 = mul(a9, a2)
    ones5 = mul(square_run(a11, 1), a9)
    ones10 = mul(square_run(ones5, 5), ones5)
    ones20 = mul(square_run(ones10, 10), ones10)
    ones40 = mul(square_run(ones20, 20), ones20)
    ones50 = mul(square_run(ones40, 10), ones10)
    ones100 = mul(square_run(ones50, 50), ones50)
    ones200 = mul(square_run(ones100, 100), ones100)
    return mul(square_run(ones200, 50), ones50), a11


def square_root_power(a: X, mul: Callable[[X, X], X], square_run: Callable[[X, int], X]) -> X:
    """a^((p - 5) / 8), that is a^(2^252 - 3): RFC 8032, section 5.1.3, step 2."""
    ones250, _ = power_chain(a, mul, square_run)
    return mul(square_run(ones250, 2), a)


def inverse(a: X, mul: Callable[[X, X], X], square_run: Callable[[X, int], X]) -> X:
    """a^(p - 2), that is a^(2^255 - 21): 1 / a, and 0 for 0."""
    ones250, a11 = power_chain(a, mul, square_run)
    return mul(square_run(ones250, 5), a11)
