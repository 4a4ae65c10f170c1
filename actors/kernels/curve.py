"""Points of edwards25519, -x^2 + y^2 = 1 + d x^2 y^2, in extended coordinates (X : Y : Z : T), T = X Y / Z.

Theory of operation. Verification needs long runs of doublings with an addition now and then. A formula ends
in the products E F, G H, F G and E H; what the next formula wants of them differs, so a point is kept in
one of two forms, each with four tight elements:

- *doubling form*: X, Y, Z and X + Y, from which the doubling starts;
- *addition form*: Y + X, Y - X, Z and T, from which the addition starts.

Sums are taken of raw products, so that each form costs four carries. Points to be added come from tables:

- *projective entry*: Y + X, Y - X, 2 Z, 2 d T: tables made while verifying;
- *affine entry*: y + x, y - x, 2 d x y, with Z = 1: tables made before, one multiplication cheaper.

d is no square modulo p, so the addition is complete: it holds for equal points, opposite points, the identity
and points of small order, and Z never becomes 0. Nothing here has a special case.

Source: H. Hisil, K. Wong, G. Carter, E. Dawson, "Twisted Edwards Curves Revisited" (2008), sections 3.1 and
3.3, with a = -1. The twin is ``reference.add``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Literal

from .algebra import Algebra, V
from .field import Element, Field, P
from .reference import D, Point

Form = Literal["doubling", "addition"]

PROJECTIVE_ELEMENTS = 4
AFFINE_ELEMENTS = 3


class Curve(Generic[V]):
    """The formulas, over any algebra."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self.algebra = algebra
        self.field: Field[V] = Field(algebra)

    def double(self, point: Sequence[Element[V]], form: Form) -> list[Element[V]]:
        """Twice a point in doubling form, in the form asked for.

        F and H are the negatives of the paper's, which saves negations and leaves every coordinate as it is.
        """
        f = self.field
        x, y, z, x_plus_y = point
        xx, yy, zz = f.sqr_raw(x), f.sqr_raw(y, bias=1), f.sqr_raw(z, bias=1)
        both = f.add_raw(xx, yy)
        e = f.carry(f.sub_raw(f.sqr_raw(x_plus_y, bias=2), both))
        g = f.carry(f.sub_raw(yy, xx))
        h = f.carry(both)
        f_ = f.carry(f.sub_raw(f.add_raw(f.add_raw(zz, zz), xx), yy))
        return self._finish(e, f_, g, h, form)

    def add(self, point: Sequence[Element[V]], entry: Sequence[Element[V]], form: Form) -> list[Element[V]]:
        """A point in addition form plus a table entry, projective or affine, in the form asked for."""
        f = self.field
        y_plus_x, y_minus_x, z, t = point
        b = f.mul_raw(y_plus_x, entry[0], bias=1)
        a = f.mul_raw(y_minus_x, entry[1])
        c = f.mul_raw(t, entry[-1])
        d = f.mul_raw(z, entry[2], bias=1) if len(entry) == PROJECTIVE_ELEMENTS else f.biased(f.add_raw(z, z))
        e, h = f.carry(f.sub_raw(b, a)), f.carry(f.add_raw(b, a))
        f_, g = f.carry(f.sub_raw(d, c)), f.carry(f.add_raw(d, c))
        return self._finish(e, f_, g, h, form)

    def _finish(
        self, e: Element[V], f_: Element[V], g: Element[V], h: Element[V], form: Form
    ) -> list[Element[V]]:
        f = self.field
        x, y, z = f.mul_raw(e, f_), f.mul_raw(g, h, bias=form == "addition"), f.mul(f_, g)
        if form == "doubling":
            return [f.carry(x), f.carry(y), z, f.carry(f.add_raw(x, y))]
        return [f.carry(f.add_raw(y, x)), f.carry(f.sub_raw(y, x)), z, f.mul(e, h)]

    def opposite(self, entry: Sequence[Element[V]]) -> list[Element[V]]:
        """The entry of the opposite point; its last element is below 2^52 and not tight."""
        return [entry[1], entry[0], *entry[2:-1], self.field.negate(entry[-1])]

    def projective_entry(self, point: Sequence[Element[V]]) -> list[Element[V]]:
        """The table entry of a point in addition form."""
        f = self.field
        y_plus_x, y_minus_x, z, t = point
        return [y_plus_x, y_minus_x, f.add(z, z), f.mul(t, f.const(2 * D))]

    def identity(self, form: Form) -> list[Element[V]]:
        zero, one = self.field.const(0), self.field.const(1)
        return [zero, one, one, one] if form == "doubling" else [one, one, one, zero]


def affine_entry(point: Point) -> list[int]:
    """The table entry of a known point, as numbers below p."""
    x, y = point
    return [(y + x) % P, (y - x) % P, 2 * D * x * y % P]
