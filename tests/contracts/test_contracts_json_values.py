"""JSON forms of values: what is written is read back, and what is of another type is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.ir import Named, Shape
from actors.contracts.json_values import EXACT_MAX, JsonValueError, slots_from_json, slots_to_json
from actors.contracts.types import ADDRESS, BOOL, I64, U8, U64, U128, Type, bytes_type, fits

KINDS = (BOOL, U8, U64, U128, I64, ADDRESS, bytes_type(3))


def values_of(kind: Type) -> st.SearchStrategy[Any]:
    if kind == BOOL:
        return st.booleans()
    if kind.is_bytes:
        return st.binary(min_size=kind.width_bytes, max_size=kind.width_bytes)
    return st.integers(*kind.range)


@st.composite
def named_slots(draw: st.DrawFn) -> tuple[list[Named], list[Any]]:
    shapes = draw(st.lists(st.builds(Shape, st.sampled_from(KINDS), st.sampled_from((0, 0, 2))), max_size=5))
    slots = [
        draw(st.tuples(*[values_of(shape.type)] * shape.count) if shape.count else values_of(shape.type))
        for shape in shapes
    ]
    return [Named(f"field{i}", shape) for i, shape in enumerate(shapes)], slots


@given(named_slots())
def test_what_is_written_is_read_back_by_name_and_in_order(drawn: tuple[list[Named], list[Any]]) -> None:
    names, slots = drawn
    document = json.loads(json.dumps(slots_to_json(names, slots)))
    assert slots_from_json(names, document, "arguments") == slots
    assert slots_from_json(names, list(document.values()), "arguments") == slots


def test_integers_that_javascript_rounds_are_text() -> None:
    names = [Named("a", Shape(U64)), Named("b", Shape(U64)), Named("c", Shape(I64))]
    slots = [EXACT_MAX, EXACT_MAX + 1, -EXACT_MAX - 1]
    expected = {"a": EXACT_MAX, "b": str(EXACT_MAX + 1), "c": str(-EXACT_MAX - 1)}
    assert slots_to_json(names, slots) == expected


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (U64, "18446744073709551615", 2**64 - 1),
        (I64, "-5", -5),
        (BOOL, "TRUE", True),
        (bytes_type(3), "0xABCDEF", bytes.fromhex("abcdef")),
    ],
)
def test_what_people_type_is_read(kind: Type, value: object, read: object) -> None:
    assert slots_from_json([Named("x", Shape(kind))], [value], "arguments") == [read]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (U8, 256), (U8, -1), (U8, True), (U8, 1.0), (U8, "1.0"), (U8, " 1"), (U8, "٣"), (U8, None),
        (U8, "9" * 5000), (U8, "--1"), (U8, ""), (U8, {"a": 1}), (BOOL, 1), (BOOL, "yes"), (BOOL, [True]),
        (ADDRESS, "ab"), (ADDRESS, 5), (bytes_type(3), "zzzzzz"), (bytes_type(3), "ab cde"),
    ],
)  # fmt: skip
def test_what_is_of_another_type_is_refused_by_name(kind: Type, value: object) -> None:
    with pytest.raises(JsonValueError, match=r"^arguments\.x: got .{,90}, expected "):
        slots_from_json([Named("x", Shape(kind))], {"x": value}, "arguments")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(named_slots(), JSON)
def test_any_json_is_read_or_refused(drawn: tuple[list[Named], list[Any]], document: object) -> None:
    names, _ = drawn
    try:
        slots = slots_from_json(names, document, "arguments")
    except JsonValueError:
        return
    assert len(slots) == len(names)
    for each, slot in zip(names, slots, strict=True):
        items = slot if isinstance(slot, tuple) else (slot,)
        assert all(fits(each.shape.type, item) for item in items)


@pytest.mark.parametrize(
    ("given_value", "said"),
    [
        ({"amount": 1, "to": 2, "more": 3}, "arguments: got 'more', expected one of to, amount"),
        ({"amount": 1}, "arguments.to: got 'nothing', expected u8, an integer from 0 to 255"),
        ([1], "arguments: got '1 values', expected 2: to: u8, amount: u8"),
        ("12", "arguments: got '12', expected an object by name, or a list"),
    ],
)
def test_missing_and_surplus_values_are_named(given_value: object, said: str) -> None:
    names = [Named("to", Shape(U8)), Named("amount", Shape(U8))]
    with pytest.raises(JsonValueError) as caught:
        slots_from_json(names, given_value, "arguments")
    assert str(caught.value) == said
