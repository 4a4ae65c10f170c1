"""Arithmetic modulo the group order L = 2^252 + 277..., in limbs of 52 bits.

Theory of operation. SHA-512's 512 bits are reduced modulo L by Barrett's method with radix 2^52: ten limbs
times a precomputed 2^520 / L estimate the quotient, at most two too small, so at most two subtractions of L
remain; both are always computed, and kept only where they do not borrow. Borrows are signed carries: a limb
that went negative shifts, arithmetically, to -1 in the next.

A scalar becomes digits by adding one half of the radix at every place and taking it away from each window:
digit_i = window_i(scalar + sum of half * radix^i) - half, in -half .. half - 1. No carry runs from digit to
digit. The highest place takes no half: scalars are below 2^253, so its window is small, and never negative.

Bounds: a limb is below 2^52. A column of a product sums at most twelve halves, so it and its carry are below
2^56; differences and their borrows are above -2^53.

Sources: P. Barrett (1986); Handbook of Applied Cryptography, algorithm 14.42. The twin is Python's ``%``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from .algebra import Algebra, V, limbs_of, ripple, words_of
from .reference import ORDER

LIMB_BITS = 52
ORDER_LIMBS = 5
HASH_LIMBS = 10
QUOTIENT = (1 << (LIMB_BITS * HASH_LIMBS)) // ORDER


def limbs(number: int, count: int) -> list[int]:
    """The first limbs of a number, each below 2^52."""
    return [number >> (LIMB_BITS * k) & ((1 << LIMB_BITS) - 1) for k in range(count)]


def digit_bias(bits: int, count: int) -> int:
    """Half the radix at each place but the highest: what is added before digits are taken."""
    return sum(1 << (bits * i + bits - 1) for i in range(count - 1))


class Scalars(Generic[V]):
    """The operations, over any algebra."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self.algebra = algebra

    def _consts(self, number: int, count: int) -> list[V]:
        return [self.algebra.const(limb) for limb in limbs(number, count)]

    def from_words(self, words: Sequence[V], count: int) -> list[V]:
        """Limbs of a number in little-endian words of 64 bits."""
        return limbs_of(self.algebra, words, LIMB_BITS, count)

    def reduce(self, a: Sequence[V]) -> list[V]:
        """A number below 2^512, in ten limbs, modulo L, in five."""
        quotient = self._product(a[ORDER_LIMBS - 1 :], self._consts(QUOTIENT, 6), 12)[6:]
        taken = self._product(quotient, self._consts(ORDER, 6), 6)
        rest, _ = self._subtract(a[:6], taken)
        order = self._consts(ORDER, 6)
        for _ in range(2):
            less, borrow = self._subtract(rest, order)
            rest = self._ripple(
                [
                    self.algebra.add(x, self.algebra.only_if(borrow, y))
                    for x, y in zip(less, order, strict=True)
                ]
            )
        return rest[:ORDER_LIMBS]

    def below_order(self, a: Sequence[V]) -> V:
        """-1 where five limbs stand for less than L, else 0."""
        return self._subtract(a, self._consts(ORDER, ORDER_LIMBS))[1]

    def biased(self, a: Sequence[V], bits: int, count: int) -> list[V]:
        """Five limbs plus ``digit_bias``, in four words: ``count`` windows of ``bits`` hold digits plus
        half."""
        bias = self._consts(digit_bias(bits, count), ORDER_LIMBS)
        total = self._ripple([self.algebra.add(x, y) for x, y in zip(a, bias, strict=True)])
        return words_of(self.algebra, total, LIMB_BITS)

    def digit(self, words: Sequence[V], bits: int, count: int, place: int) -> V:
        """The signed digit of that place, of the words that ``biased`` answered."""
        o = self.algebra
        word, skip = divmod(bits * place, 64)
        window = o.shr(words[word], skip)
        if skip + bits > 64 and word + 1 < len(words):
            window = o.join(window, o.shl(o.low(words[word + 1], skip + bits - 64), 64 - skip))
        half = 0 if place == count - 1 else 1 << (bits - 1)
        return o.sub_signed(o.low(window, bits), o.const(half))

    def _product(self, a: Sequence[V], b: Sequence[V], count: int) -> list[V]:
        """The first limbs of a product."""
        o = self.algebra
        columns = []
        for k in range(count):
            total = o.const(0)
            for i, x in enumerate(a):
                if 0 <= k - i < len(b):
                    total = o.madlo(total, x, b[k - i])
                if 0 <= k - 1 - i < len(b):
                    total = o.madhi(total, x, b[k - 1 - i])
            columns.append(total)
        return self._ripple(columns)

    def _ripple(self, a: Sequence[V]) -> list[V]:
        """Carry from limb to limb, dropping what is above the last."""
        return ripple(self.algebra, a, LIMB_BITS)[0]

    def _subtract(self, a: Sequence[V], b: Sequence[V]) -> tuple[list[V], V]:
        """a - b modulo the limbs' range, and -1 where it borrowed."""
        o = self.algebra
        out, borrow = [], o.const(0)
        for x, y in zip(a, b, strict=True):
            total = o.add(o.sub_signed(x, y), borrow)
            out.append(o.low(total, LIMB_BITS))
            borrow = o.sar(total, LIMB_BITS)
        return out, borrow
