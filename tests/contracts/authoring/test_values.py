"""Bytes, arrays and structs of contracts: their types and order, and that nobody shares what can change."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raychain import (
    Address,
    Array,
    Bytes,
    CallFailedError,
    Event,
    Failure,
    Hash,
    Struct,
    i64,
    sha256,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from raychain import range as contract_range

from actors.contracts.authoring.layouts import layout_of
from actors.contracts.types import U8, U64, U128, encode_value

ALICE, BOB = Address("aa" * 32), Address(b"\xbb" * 32)


class Inner(Struct):
    a: u8
    b: Array[u16, 3]


class Outer(Struct):
    owner: Address
    inner: Inner
    flag: bool


class Told(Event):
    who: Address
    amount: u64


def inner() -> Inner:
    b = Array[u16, 3]()
    b[1] = 5
    return Inner(a=1, b=b)


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
def test_bytes_are_ordered_as_big_endian_numbers(a: bytes, b: bytes) -> None:
    one, other = Bytes[4](a), Bytes[4](b)
    assert (one < other) is (int.from_bytes(a, "big") < int.from_bytes(b, "big"))
    assert (one <= other, one == other, one != other) == (a <= b, a == b, a != b)


def test_bytes_convert_between_types_of_one_width() -> None:
    assert Address(Hash(ALICE)) == ALICE
    assert type(Bytes[32](ALICE)) is Bytes[32]
    assert repr(Bytes[4](b"abcd")) == "Bytes[4]('61626364')"


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Bytes[4](ALICE), "takes 4 bytes, not 32"),
        (lambda: Address("aa"), "takes 32 bytes, not 1"),
        (lambda: Address(5), "takes 32 bytes or 64 hexadecimal digits"),  # type: ignore[arg-type]
        (lambda: Bytes(b"abcd"), r"write Bytes\[32\]"),
        (lambda: Bytes[65], "from 1 to 64"),
        (lambda: Hash(ALICE) == ALICE, r"write Hash\(…\)"),
        (lambda: bytes(BOB) > ALICE, r"write Address\(…\)"),
        (lambda: Array[u64], r"write Array\[u64, 8\]"),
        (Array, r"write Array\[u64, 8\]\(\)"),
        (lambda: Array[u64, 257], "from 1 to 256"),
        (lambda: Array[Inner, 2], "are scalars"),
        (lambda: Array[int, 2], "write u64 or another integer type"),
        (lambda: Array[u64, 2]()[-1], "an index is unsigned"),
        (lambda: Array[u64, 2]()[i64(1)], "an index is unsigned"),
        (lambda: Array[u64, 2]().__setitem__(0, u8(1)), r"u64, not u8: write u64\(…\)"),
        (lambda: Array[bool, 2]().__setitem__(0, 1), "write a comparison, True or False"),
        (lambda: Inner(a=1), "needs b="),  # type: ignore[call-arg]
        (lambda: Inner(a=1, b=Array[u16, 3](), c=3), "has no field c"),  # type: ignore[call-arg]
        (lambda: Inner(a=1, b=Array[u16, 4]()), r"Inner.b is Array\[u16, 3\]"),
        (lambda: inner().replace(c=1), "has no field c"),
        (lambda: setattr(inner(), "a", 2), r"write x.replace\(a=…\)"),
        (lambda: Told(ALICE, 1, 2), "has 2 fields"),  # type: ignore[call-arg]
        (lambda: Told(ALICE, who=ALICE), "given twice"),  # type: ignore[call-arg, misc]
        (lambda: sha256(5), "sha256 takes typed values"),
        (lambda: contract_range(i64(3)), "range takes an unsigned integer"),
        (lambda: contract_range(1025), "at most 1024 rounds"),
    ],
)
def test_what_there_is_not_says_what_to_write(make: Callable[[], object], advice: str) -> None:
    with pytest.raises((TypeError, ValueError), match=advice):
        make()


@pytest.mark.parametrize("index", [3, u64(3), u8(255)])
def test_outside_of_an_array_the_call_fails(index: Any) -> None:
    array = Array[u64, 3]()
    with pytest.raises(CallFailedError) as read:
        array[index]
    with pytest.raises(CallFailedError) as written:
        array[index] = 1
    assert read.value.failure is written.value.failure is Failure.INDEX_OUT_OF_RANGE


def test_an_array_holds_its_type() -> None:
    array = Array[u8, 3]()
    array[u64(2)] = 200
    assert (list(array), len(array), type(array[0])) == ([0, 0, 200], 3, u8)
    other = array.copy()
    other[0] = 1
    assert (array[0], other[0]) == (0, 1)


def test_a_struct_shares_no_array() -> None:
    given_array = Array[u16, 3]()
    made = Inner(a=1, b=given_array)
    given_array[0] = 9
    assert made.b == [0, 0, 0]
    read = made.b
    read[1] = 9
    assert made.b == [0, 0, 0]
    outer = Outer(owner=ALICE, inner=made, flag=True)
    outer.inner.b[2] = 9
    assert outer.inner == Inner(a=1, b=Array[u16, 3]())


def test_a_struct_is_replaced_and_compared_by_value() -> None:
    one = Outer(owner=ALICE, inner=inner(), flag=False)
    other = one.replace(flag=True)
    assert (one.flag, other.flag, other.owner) == (False, True, ALICE)
    assert one == other.replace(flag=False)
    assert hash(one) == hash(other.replace(flag=False))
    assert repr(Told(ALICE, 1)) == f"Told(who={ALICE!r}, amount=u64(1))"


def test_bytes_of_values_are_those_of_the_chain() -> None:
    outer = Outer(owner=ALICE, inner=inner(), flag=True)
    layout = layout_of(Outer, "here")
    data = layout.encode(outer)
    assert data == bytes(ALICE) + b"\x01" + bytes((0, 0, 5, 0, 0, 0)) + b"\x01"
    assert layout.decode(data) == outer
    assert [str(shape.type) for shape in layout.shapes] == ["Address", "u8", "u16", "bool"]
    with pytest.raises(ValueError, match="a bool is 2"):
        layout.decode(data[:-1] + b"\x02")


@given(st.integers(0, 255), st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1), st.booleans())
def test_sha256_is_over_the_bytes_one_after_the_other(a: int, b: int, c: int, d: bool) -> None:
    data = encode_value(U8, a) + encode_value(U64, b) + encode_value(U128, c) + bytes([d])
    assert sha256(u8(a), u64(b), u128(c), d) == hashlib.sha256(data).digest()
    assert sha256(inner()) == hashlib.sha256(bytes((1, 0, 0, 5, 0, 0, 0))).digest()


def test_a_range_has_the_type_of_its_count() -> None:
    assert [type(each) for each in contract_range(u32(2))] == [u32, u32]
    assert [type(each) for each in contract_range(2)] == [u64] * 2
