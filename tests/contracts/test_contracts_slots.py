"""Many values at once are the bytes that types.py says of each."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.ir import Shape
from actors.contracts.slots import SlotLayout, codec
from actors.contracts.types import BOOL, HASH, I64, U8, U64, Type, bytes_type, decode_value, fits
from bench.contract_fuzz.arguments import encode, random_slot
from tests.contracts.programs import TYPES, random_shape


def plainly_decoded(kind: Type, data: bytes, count: int) -> object:
    """Value by value, as types.py says."""
    width = kind.width_bytes
    values = [decode_value(kind, data[start : start + width]) for start in range(0, len(data), width)]
    return tuple(values) if count else values[0]


@pytest.mark.parametrize("kind", TYPES, ids=str)
@given(st.integers(0, 2**64), st.integers(0, 20))
def test_slots_have_the_bytes_of_their_values(kind: Type, seed: int, count: int) -> None:
    shape = Shape(kind, count)
    ready, slot = codec(shape), random_slot(Random(seed), shape)
    data = ready.encode(slot)
    assert data == encode(shape, slot)
    decoded = ready.decode(data)
    assert decoded == slot == plainly_decoded(kind, data, count)
    assert all(fits(kind, value) for value in (decoded if count else (decoded,)))
    assert (ready.width_bytes, ready.encode(ready.zero)) == (shape.width_bytes, bytes(shape.width_bytes))


@given(st.integers(0, 2**64), st.integers(0, 6), st.booleans())
def test_slots_stand_one_after_the_other(seed: int, count: int, plain: bool) -> None:
    """Plain ones are single numbers and bytes."""
    random = Random(seed)
    shapes = [random_shape(random) for _ in range(count)]
    if plain:
        shapes = [Shape(random.choice((U8, U64, I64, HASH, bytes_type(5)))) for _ in shapes]
    slots = [random_slot(random, shape) for shape in shapes]
    layout = SlotLayout(shapes)
    data = layout.encode(slots)
    assert data == b"".join(map(encode, shapes, slots))
    assert layout.decode(data) == slots
    for wrong in (data + b"\x00", data[:-1]):
        if wrong != data:
            with pytest.raises(ValueError, match="bytes"):
                layout.decode(wrong)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("wrong", [2, 255])
def test_a_bool_is_zero_or_one(count: int, wrong: int) -> None:
    layout = SlotLayout((Shape(U8), Shape(BOOL, count), Shape(U64)))
    good = b"\x02" + b"\x01" * max(count, 1) + b"\x02" * 8
    assert layout.decode(good)
    bad = bytearray(good)
    bad[max(count, 1)] = wrong
    with pytest.raises(ValueError, match=f"a bool is {wrong}"):
        layout.decode(bytes(bad))
