"""Field, curve and scalar arithmetic: proven bounds over all inputs, and equality with plain integers."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernels import curve as curves
from actors.kernels import field as fields
from actors.kernels import multiply, reference
from actors.kernels import scalar as scalars
from actors.kernels.cases import _times_base
from actors.kernels.field import LIMBS, TIGHT_MAX, P
from tests.kernels.algebras import BoundError, Integers, Interval, Intervals, WideIntegers, WideIntervals

TIGHT = [Interval(0, TIGHT_MAX)] * LIMBS
OPERAND = [Interval(0, 2**52 - 1)] * LIMBS
RAW = [Interval(0, fields.RAW_MAX)] * LIMBS
FORMS: tuple[curves.Form, ...] = ("doubling", "addition")

field = fields.Field(Integers())
wide = fields.Field(WideIntegers())
curve = curves.Curve(Integers())
BOUNDS = pytest.mark.parametrize("tracker", [Intervals(), WideIntervals()], ids=["halves", "wide"])
scalar = scalars.Scalars(Integers())

tight_limbs = st.lists(st.integers(0, TIGHT_MAX), min_size=5, max_size=5)
edges = st.sampled_from([0, 1, 2, 18, 19, P - 19, P - 1, (P - 1) // 2, 2**252, 2**51 - 1, 2**204 - 1])
elements = st.one_of(edges, st.integers(0, P - 1))


def most(element: Sequence[Interval]) -> int:
    return max(limb.most for limb in element)


class Columns(scalars.Scalars[Interval]):
    """Shows the columns of a product before they are carried."""

    def _ripple(self, a: Sequence[Interval]) -> list[Interval]:
        self.seen = list(a)
        return super()._ripple(a)


class TestBounds:
    """What the interval reading does not refuse holds for every input."""

    @BOUNDS
    def test_products_are_raw_and_carried_ones_tight(self, tracker: Intervals) -> None:
        bounds = fields.Field(tracker)
        assert most(bounds.mul_raw(TIGHT, OPERAND)) <= fields.RAW_MAX
        assert most(bounds.sqr_raw(TIGHT)) <= fields.RAW_MAX
        for element in (bounds.mul(TIGHT, OPERAND), bounds.sqr(TIGHT), bounds.add(TIGHT, TIGHT)):
            assert most(element) <= TIGHT_MAX
        assert most(bounds.sub(TIGHT, TIGHT)) <= TIGHT_MAX
        assert most(bounds.carry(bounds.negate(TIGHT))) <= TIGHT_MAX

    @BOUNDS
    def test_a_raw_element_can_be_subtracted_and_carried(self, tracker: Intervals) -> None:
        bounds = fields.Field(tracker)
        biased = bounds.biased(bounds.add_raw(RAW, RAW))
        assert most(bounds.carry(bounds.sub_raw(biased, RAW))) <= TIGHT_MAX

    @BOUNDS
    @pytest.mark.parametrize("bias", [1, 2])
    def test_a_biased_product_exceeds_what_is_subtracted(self, bias: int, tracker: Intervals) -> None:
        bounds, subtracted = fields.Field(tracker), RAW
        for _ in range(bias - 1):
            subtracted = bounds.add_raw(subtracted, RAW)
        assert most(bounds.sub_raw(bounds.mul_raw(TIGHT, OPERAND, bias), subtracted)) < 2**62
        assert most(bounds.sub_raw(bounds.sqr_raw(TIGHT, bias), subtracted)) < 2**62

    @BOUNDS
    def test_frozen_limbs_and_words(self, tracker: Intervals) -> None:
        bounds = fields.Field(tracker)
        frozen = bounds.freeze(TIGHT)
        assert most(frozen) < 2**51
        assert most(bounds.to_words(frozen)) < 2**64
        assert most(bounds.from_words([Interval(0, 2**64 - 1)] * 4)) < 2**51

    @BOUNDS
    @pytest.mark.parametrize("form", FORMS)
    def test_each_formula_leaves_tight_elements(self, form: curves.Form, tracker: Intervals) -> None:
        """Tight in, tight out: so any number of steps stays within bounds."""
        bounds = curves.Curve(tracker)
        entries = {"projective": [TIGHT, TIGHT, TIGHT, OPERAND], "affine": [TIGHT, TIGHT, OPERAND]}
        results = [bounds.double([TIGHT] * 4, form)]
        results += [bounds.add([TIGHT] * 4, entry, form) for entry in entries.values()]
        assert all(most(element) <= TIGHT_MAX for result in results for element in result)

    @BOUNDS
    def test_table_entries(self, tracker: Intervals) -> None:
        bounds = curves.Curve(tracker)
        entry = bounds.projective_entry([TIGHT] * 4)
        assert all(most(element) <= TIGHT_MAX for element in entry)
        *same, turned = bounds.opposite(entry)
        assert all(most(element) <= TIGHT_MAX for element in same)
        assert most(turned) < 2**52

    def test_reduction_and_digits(self) -> None:
        bounds = scalars.Scalars(Intervals())
        words = [Interval(0, 2**64 - 1)] * 8
        reduced = bounds.reduce(bounds.from_words(words, 10))
        assert most(reduced) < 2**52
        full = [Interval(0, 2**52 - 1)] * 6
        columns = Columns(Intervals())
        columns._product(full, full, 12)
        assert most(columns.seen) < 2**56
        biased = bounds.biased(reduced, 5, 51)
        for place in range(50):
            digit = bounds.digit(biased, 5, 51, place)
            assert (digit.least, digit.most) == (-16, 15)

    def test_the_tracker_refuses_what_the_hardware_would_drop(self) -> None:
        tracker, wide = Intervals(), Interval(0, 2**52)
        with pytest.raises(BoundError):
            tracker.madlo(tracker.const(0), wide, TIGHT[0])
        with pytest.raises(BoundError):
            tracker.add(Interval(0, 2**63), Interval(0, 2**63))
        with pytest.raises(BoundError):
            tracker.sub(TIGHT[0], TIGHT[0])
        with pytest.raises(BoundError):
            fields.Field(tracker).mul(fields.Field(tracker).add_raw(TIGHT, TIGHT), TIGHT)


class TestIntervalsAreSound:
    """No computed value leaves the interval computed for it, at the ends of the inputs or between them."""

    ends = st.one_of(st.just(0), st.just(TIGHT_MAX), st.integers(0, TIGHT_MAX))
    points = st.lists(st.lists(ends, min_size=5, max_size=5), min_size=4, max_size=4)

    def inside(self, values: Sequence[Sequence[int]], bounds: Sequence[Sequence[Interval]]) -> bool:
        return all(
            bound.least <= limb <= bound.most
            for element, limits in zip(values, bounds, strict=True)
            for limb, bound in zip(element, limits, strict=True)
        )

    @given(points, points, st.sampled_from(FORMS))
    def test_curve(self, point: list[list[int]], entry: list[list[int]], form: curves.Form) -> None:
        bounds = curves.Curve(Intervals())
        assert self.inside(curve.double(point, form), bounds.double([TIGHT] * 4, form))
        assert self.inside(curve.add(point, entry, form), bounds.add([TIGHT] * 4, [TIGHT] * 4, form))
        turned = curve.opposite(entry)
        assert self.inside(curve.add(point, turned, form), bounds.add([TIGHT] * 4, [OPERAND] * 4, form))
        assert self.inside([field.freeze(a) for a in point], [fields.Field(Intervals()).freeze(TIGHT)] * 4)

    @given(st.integers(0, 2**512 - 1))
    def test_scalar(self, number: int) -> None:
        bounds = scalars.Scalars(Intervals())
        limits = bounds.reduce(bounds.from_words([Interval(0, 2**64 - 1)] * 8, 10))
        words = [number >> 64 * k & (2**64 - 1) for k in range(8)]
        assert self.inside([scalar.reduce(scalar.from_words(words, 10))], [limits])


class TestField:
    @given(tight_limbs, tight_limbs)
    def test_equals_integers(self, a: list[int], b: list[int]) -> None:
        x, y = fields.value(a), fields.value(b)
        assert fields.value(field.mul(a, b)) == x * y % P
        assert fields.value(field.sqr(a)) == x * x % P
        assert fields.value(field.add(a, b)) == (x + y) % P
        assert fields.value(field.sub(a, b)) == (x - y) % P
        for way in (field, wide):
            for bias in (0, 1, 2):
                assert fields.value(way.mul_raw(a, b, bias)) == x * y % P
                assert fields.value(way.sqr_raw(a, bias)) == x * x % P
            assert fields.value(way.mul(a, b)) == x * y % P
        assert fields.value(field.biased(a)) == x
        assert fields.value(field.negate(a)) == -x % P
        assert sum(limb << 51 * k for k, limb in enumerate(field.freeze(a))) == x

    @given(elements, st.sampled_from([0, P]))
    def test_freezes_to_the_representative_below_p(self, number: int, more: int) -> None:
        words = [min(number + more, 2**255 - 1) >> 64 * k & (2**64 - 1) for k in range(4)]
        expected = sum(word << 64 * k for k, word in enumerate(words)) % P
        out = field.to_words(field.freeze(field.from_words(words)))
        assert sum(word << 64 * k for k, word in enumerate(out)) == expected

    @settings(max_examples=25, deadline=None)
    @given(elements)
    def test_powers(self, number: int) -> None:
        def square_run(a: list[int], count: int) -> list[int]:
            for _ in range(count):
                a = field.sqr(a)
            return a

        a = fields.limbs(number)
        inverse = fields.inverse(a, field.mul, square_run)
        assert fields.value(inverse) == pow(number, P - 2, P)
        root = fields.square_root_power(a, field.mul, square_run)
        assert fields.value(root) == pow(number, (P - 5) // 8, P)


def extended(point: reference.Point, form: curves.Form, z: int) -> list[list[int]]:
    x, y = point[0] * z % P, point[1] * z % P
    coordinates = (x, y, z, x + y) if form == "doubling" else (y + x, y - x, z, point[0] * point[1] * z)
    return [fields.limbs(number % P) for number in coordinates]


def affine(point: Sequence[Sequence[int]], form: curves.Form) -> reference.Point:
    a, b, z, last = (fields.value(element) for element in point)
    if form == "doubling":
        assert (a + b) % P == last
        return a * pow(z, -1, P) % P, b * pow(z, -1, P) % P
    half = pow(2 * z, -1, P)
    x, y = (a - b) * half % P, (a + b) * half % P
    assert x * y * z % P == last
    return x, y


POINTS = [
    reference.IDENTITY,
    reference.BASE,
    *reference.TORSION,
    reference.multiply(2**200 + 9, reference.BASE),
]


class TestCurve:
    """Every pair of awkward points, in both forms: there are no special cases to forget."""

    @pytest.mark.parametrize("form", FORMS)
    def test_double(self, form: curves.Form) -> None:
        for i, point in enumerate(POINTS):
            twice = curve.double(extended(point, "doubling", i + 2), form)
            assert affine(twice, form) == reference.add(point, point)

    @pytest.mark.parametrize("form", FORMS)
    def test_add_either_entry_and_its_opposite(self, form: curves.Form) -> None:
        for i, a in enumerate(POINTS):
            for b in POINTS:
                entries = [
                    [fields.limbs(number) for number in curves.affine_entry(b)],
                    curve.projective_entry(extended(b, "addition", 7)),
                ]
                for entry in entries:
                    start = extended(a, "addition", i + 2)
                    assert affine(curve.add(start, entry, form), form) == reference.add(a, b)
                    less = curve.add(start, curve.opposite(entry), form)
                    assert affine(less, form) == reference.add(a, reference.negate(b))

    @pytest.mark.parametrize("form", FORMS)
    def test_identity(self, form: curves.Form) -> None:
        assert affine(curve.identity(form), form) == reference.IDENTITY

    def test_multiples_for_tables(self) -> None:
        points = multiply.multiples(reference.BASE, 20)
        assert points == [reference.multiply(k, reference.BASE) for k in range(20)]


ORDER = reference.ORDER
order_edges = [k * ORDER + e for k in (0, 1, 2, 3, 2**259) for e in (-1, 0, 1) if k * ORDER + e >= 0]
hashes = st.one_of(st.sampled_from([*order_edges, 2**512 - 1]), st.integers(0, 2**512 - 1))


class TestScalar:
    @given(hashes)
    def test_reduces_like_integers(self, number: int) -> None:
        number %= 2**512
        words = [number >> 64 * k & (2**64 - 1) for k in range(8)]
        reduced = scalar.reduce(scalar.from_words(words, 10))
        assert sum(limb << 52 * k for k, limb in enumerate(reduced)) == number % ORDER

    @given(hashes)
    def test_knows_what_is_below_the_order(self, number: int) -> None:
        number %= 2**256
        words = [number >> 64 * k & (2**64 - 1) for k in range(4)]
        assert scalar.below_order(scalar.from_words(words, 5)) == (-1 if number < ORDER else 0)

    @given(st.integers(0, ORDER - 1), st.sampled_from([(5, 51), (10, 26), (4, 64), (8, 32)]))
    def test_digits_add_up(self, number: int, shape: tuple[int, int]) -> None:
        bits, places = shape
        biased = scalar.biased(scalars.limbs(number, 5), bits, places)
        digits = [scalar.digit(biased, bits, places, place) for place in range(places)]
        assert sum(digit << bits * place for place, digit in enumerate(digits)) == number
        assert all(abs(digit) <= 1 << (bits - 1) for digit in digits)


def test_torsion_has_eight_points_and_the_projective_law_is_the_affine_one() -> None:
    assert len(set(reference.TORSION)) == 8
    assert len(reference.SMALL_ORDER_Y) == 5
    for i, a in enumerate(reference.TORSION):
        for j, b in enumerate(reference.TORSION):
            assert reference.add(a, b) == reference.TORSION[(i + j) % 8]
    total = reference.IDENTITY
    for k in range(40):
        assert reference.multiply(k, reference.BASE) == total
        total = reference.add(total, reference.BASE)
    assert reference.multiply(ORDER, reference.BASE) == reference.IDENTITY


@given(st.one_of(st.sampled_from([0, 1, ORDER - 1]), st.integers(0, ORDER - 1)))
def test_the_multiples_that_cases_are_made_of_are_the_references(scalar: int) -> None:
    assert _times_base(scalar) == reference.multiply(scalar, reference.BASE)


def test_reference_agrees_with_an_independent_library() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    rng = random.Random(1)
    for _ in range(4):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        key = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        message = rng.randbytes(50)
        signature = private.sign(message)
        assert reference.verify(key, signature, message)
        assert not reference.verify(key, signature, message + b"!")
