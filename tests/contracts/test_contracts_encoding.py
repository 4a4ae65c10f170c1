"""One form for each program, and a typed refusal of everything else."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import ir, limits
from actors.contracts.encoding import decode_program, encode_program, program_hash
from actors.contracts.errors import ProgramError
from actors.contracts.types import BOOL, U8, U128
from actors.contracts.verifier import verify
from tests.contracts.programs import random_program
from tests.contracts.single import function, program, verified

SMALL = program(function((U8,), (), [ir.Move(0, 0)], (0,)))


@given(st.integers(0, 2**64))
def test_a_program_comes_out_of_its_bytes(seed: int) -> None:
    sample = random_program(Random(seed))
    assert decode_program(encode_program(sample)) == sample


def test_the_bytes_of_a_program_are_pinned() -> None:
    """Version, name, tables, events, imports, messages, functions."""
    data = bytes.fromhex(
        "97 01 a653616d706c65 90 90 90 90"
        "91 97 a166 01 c2 91 93 a27030 92 92 02 00 00 c0  91 92 92 02 00 00"
        "91 92 00 92 a27230 92 92 02 00 00  91 93 02 00 00"
    )
    assert encode_program(SMALL) == data
    assert program_hash(data) == sha256(data).digest()


def test_every_byte_counts() -> None:
    data = encode_program(SMALL)
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            with suppress(ProgramError):
                assert encode_program(decode_program(bytes(changed))) == changed


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.append(0),
        lambda tree: tree.pop(),
        lambda tree: tree.__setitem__(0, 1.0),
        lambda tree: tree[6][0].__setitem__(2, 0),
        lambda tree: tree[6][0][3][0].pop(),  # a greatest value that is not said at all
        lambda tree: tree[6][0][3][0][1].pop(),  # nor a count
        lambda tree: tree[6][0][6][0].__setitem__(0, 22),
        lambda tree: tree[6][0][6][0].append(0),
        lambda tree: tree[6][0].__setitem__(1, 4),
        lambda tree: tree[6][0][6].append(None),
    ],
)
def test_what_is_no_form_of_a_program(change: object) -> None:
    tree = msgspec.msgpack.decode(encode_program(SMALL))
    assert callable(change)
    change(tree)
    with pytest.raises(ProgramError, match=r"malformed|canonical"):
        decode_program(msgspec.msgpack.encode(tree))


def test_longer_forms_of_the_same_are_refused() -> None:
    data = encode_program(SMALL)
    with pytest.raises(ProgramError, match="canonical"):
        decode_program(data[:1] + b"\xcc\x01" + data[2:])  # version 1 in two bytes
    for wrong in (data + b"\x00", data[:-1], b""):
        with pytest.raises(ProgramError, match="malformed"):
            decode_program(wrong)


def test_what_is_too_long_is_not_decoded() -> None:
    with pytest.raises(ProgramError) as refused:
        decode_program(b"\xc1" * (limits.PROGRAM_BYTES_MAX + 1))
    assert refused.value.limit == limits.PROGRAM_BYTES_MAX
    long = program(function((U8,), (), [ir.Move(0, 0)] * 9000))
    with pytest.raises(ProgramError) as refused:
        encode_program(long)
    assert refused.value.limit == limits.PROGRAM_BYTES_MAX


def nested(depth: int) -> bytes:
    """Bytes of a program with an `If` in an `If`, `depth` of them."""
    head = encode_program(program(function((BOOL,), (), [ir.Not(0, 0)], (0,))))
    (operation,) = (msgspec.msgpack.encode([5, 0, 0]),)
    assert head.endswith(b"\x91" + operation)
    return head[: -len(operation)] + b"\x94\x12\x00\x91" * depth + operation + b"\x90" * depth


@pytest.mark.parametrize("depth", [limits.NESTING_MAX + 1, 300, 1000, 5000])
def test_deep_lists_are_refused_before_the_stack_ends(depth: int) -> None:
    with pytest.raises(ProgramError, match="within each other") as refused:
        verify(decode_program(nested(depth)))
    assert refused.value.limit == limits.NESTING_MAX


def test_lists_as_deep_as_may_be() -> None:
    ready = verify(decode_program(nested(limits.NESTING_MAX)))
    assert ready.functions[0].worst.steps == limits.NESTING_MAX + 1


def test_deep_lists_made_in_memory_are_refused() -> None:
    body: tuple[ir.AnyOp, ...] = (ir.Not(0, 0),)
    for _ in range(3000):
        body = (ir.If(0, body),)
    deep = program(function((BOOL,), (), body))
    with pytest.raises(ProgramError, match="within each other"):
        encode_program(deep)
    with pytest.raises(ProgramError, match="within each other"):
        verify(deep)


def test_deep_garbage() -> None:
    for opening in (b"\x91", b"\x97", b"\x81"):
        with pytest.raises(ProgramError):
            decode_program(opening * limits.PROGRAM_BYTES_MAX)


def test_numbers_of_more_than_64_bits_have_no_bytes() -> None:
    one = program(function((U128,), maxima=(1 << 64,)))
    with pytest.raises(ProgramError, match="cannot be encoded"):
        encode_program(one)
    assert verified(program(function((U128,), maxima=((1 << 64) - 1,))))


def test_text_that_is_no_unicode_has_no_bytes() -> None:
    sample = program(messages=("\ud800",))
    assert verify(sample)
    with pytest.raises(ProgramError, match="cannot be encoded"):
        encode_program(sample)
