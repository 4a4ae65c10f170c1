"""What LLVM leaves undefined is not in the text of native code: flags, places, divisors, alignment, undef."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from actors.contracts import examples, ir
from actors.contracts.language import compile_source
from actors.contracts.native.lowering import FunctionFrame, frames_of, operations_of
from actors.contracts.native.program import lowered
from actors.contracts.native.runtime import runtime_text
from actors.contracts.types import BOOL, I64, U8, U16, U32, U64, U128, Type
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.execution.native_block import block_text
from actors.kernels.compiled import Host, host
from tests.contracts.programs import random_program
from tests.contracts.single import function, program, verified

NUMBERS = (U8, U16, U32, U64, U128, I64)
A = ir.Arithmetic
RANDOM_PROGRAMS = 4
FLAGS = re.compile(r"\b(nsw|nuw|exact|disjoint|nneg|inbounds|fast|noalias|nonnull|dereferenceable)\b")
UNSAID = re.compile(r"\b(poison|unreachable|llvm\.assume|musttail|!range|!noundef)\b")


@cache
def samples() -> list[Verified]:
    """Examples, all arithmetic on all types, and programs that are drawn, the same in every run."""
    sources = [Path(examples.__file__).parent / f"{name}.py" for name in ("auction", "exchange", "token")]
    compiled = [verify(compile_source(path.read_text(), path.name).program) for path in sources]
    drawn = [verified(random_program(Random(number), operations=25)) for number in range(RANDOM_PROGRAMS)]
    return [*compiled, *drawn, *arithmetic()]


def arithmetic() -> list[Verified]:
    """All of it on all types."""
    return [
        verified(
            program(
                *[
                    function([kind, kind], [kind], [ir.Binary(what, 2, 0, 1)], (2,), name=what.name.lower())
                    for what in A
                    if kind != I64 or not A.AND <= what <= A.SHR
                ]
            )
        )
        for kind in NUMBERS
    ]


@cache
def texts() -> list[str]:
    """Of all samples, and of what is compiled once for all, as for a processor that does not hash."""
    plain = Host(host().cpu, host().features - {"sha"})
    return [*map(lowered, samples()), runtime_text(plain), block_text()]


def lines_of(pattern: str) -> Iterator[tuple[re.Match[str], dict[str, str]]]:
    """Instructions that look so, each with all that the function around it defines, by name."""
    for text in texts():
        for body in text.split("\ndefine ")[1:]:
            defined = dict(re.findall(r"^\s+(%\S+) = (.*)$", body, re.MULTILINE))
            for found in re.finditer(pattern, body):
                yield found, defined


def test_nothing_is_promised_that_values_may_break() -> None:
    for text in texts():
        without_names = re.sub(r'[%@]"[^"]*"', "", text)
        found = FLAGS.findall(without_names) + UNSAID.findall(without_names)
        assert not found


def test_nothing_undefined_is_read() -> None:
    """Undef is only where a record begins whose fields are all set."""
    seen = 0
    for text in texts():
        for line in text.splitlines():
            if "undef" not in line:
                continue
            seen += 1
            assert re.search(r"insertvalue \{[^}]*\} undef, ", line), line
    assert seen
    for found, defined in lines_of(r"ret \{([^}]*)\} (%\S+)"):
        fields, value, given = found[1].count(",") + 1, found[2], set[str]()
        while defined[value].startswith("insertvalue"):
            inner = re.match(r"insertvalue \{[^}]*\} (\S+), .*, (\d+)", defined[value])
            assert inner
            given.add(inner[2])
            value = inner[1].rstrip(",")
            if value == "undef":
                assert len(given) == fields
                break


def test_a_divisor_with_a_sign_is_never_minus_one() -> None:
    """It is chosen: 1 in the stead of -1. That it is not 0 is looked at before."""
    seen = 0
    for found, defined in lines_of(r"(?:sdiv|srem) i\d+ \S+ (%\S+)"):
        seen += 1
        chosen = re.match(r"select  ?i1 (\S+), i64 1, i64 \S+", defined[found[1]])
        assert chosen, defined[found[1]]
        assert re.match(r"icmp eq i64 \S+ -1", defined[chosen[1].rstrip(",")])
    assert seen >= 2


def test_no_shift_is_by_the_width_or_more() -> None:
    """Places are a number below the width, or chosen to be one, or come from a count of leading zeros."""
    seen = 0
    for found, defined in lines_of(r"(?:shl|lshr|ashr) (?:i|<\d+ x i)(\d+)>? \S+ (.+)"):
        width, places = int(found[1]), found[2]
        if not places.startswith("%"):
            numbers = [int(each) for each in re.findall(r"-?\d+", re.sub(r"i\d+ ", "", places))]
            assert all(0 <= each < width for each in numbers), found[0]
            continue
        seen += 1
        while (origin := defined[places]).startswith(("zext", "trunc")):
            places = origin.split()[2]
        chosen = re.match(r"select  ?i1 (\S+), i\d+ 0, i\d+ (\S+)", origin)
        if chosen:
            limit = re.match(r"icmp uge i\d+ (\S+) (\d+)", defined[chosen[1].rstrip(",")])
            assert limit
            assert (limit[1].rstrip(","), int(limit[2])) == (chosen[2], width)
        else:
            assert "llvm.ctlz.i64" in origin or re.match(r"sub i64 63, ", origin), origin
    assert seen >= 10


def test_leading_zeros_are_defined_for_zero_too() -> None:
    found = [
        text for text in texts() for text in re.findall(r"call i64 @\"?llvm\.ctlz\.i64\"?\((.*)\)", text)
    ]
    assert found
    assert all(each.endswith("i1 0") for each in found)


def test_wide_numbers_may_lie_anywhere() -> None:
    """No alignment beyond 1 is claimed for what a program lays out: it packs values without gaps."""
    seen = 0
    for text in map(lowered, samples()):
        for kind, align in re.findall(r"(?:load|store) (i\d+|ptr)\b(?! \().*, align (\d+)", text):
            seen += kind == "i128"
            assert int(align) <= (8 if kind in ("i64", "ptr") else 4 if kind == "i32" else 2), (kind, align)
            assert kind not in ("i128", "i256", "i512") or align == "1"
        assert not re.search(r"load i\d+, ptr [^,\n]*\n", text)
    assert seen


def _spans(frame: FunctionFrame, shapes: tuple[ir.Shape, ...]) -> list[tuple[int, int]]:
    arrays = [(at, at + shapes[register].width_bytes) for register, at in frame.arrays.items()]
    return [*arrays, (frame.arguments, frame.results), (frame.results, frame.end)]


@pytest.mark.parametrize("number", range(RANDOM_PROGRAMS))
def test_what_is_copied_never_overlaps(number: int) -> None:
    """Frames of a function, and of all that may run within it, share no byte."""
    ready = verified(random_program(Random(number), operations=25))
    frames, frames_bytes = frames_of(ready)
    for function_, frame in zip(ready.functions, frames, strict=True):
        own = sorted(_spans(frame, function_.function.registers))
        assert all(end <= begin for (_, end), (begin, _) in pairwise(own))
        assert frame.end <= frames_bytes
        for op in operations_of(function_.function.body):
            if isinstance(op, ir.Call):
                within = _spans(frames[op.function], ready.functions[op.function].function.registers)
                assert max(end for _, end in within) <= min(begin for begin, _ in own)


def test_a_width_that_needs_no_room_is_not_claimed() -> None:
    """Fewer bytes than a word are loaded as so many, so nothing behind them is read."""
    kind = Type(BOOL.code)
    text = lowered(verified(program(function([kind], [], [], (0,)))))
    assert re.search(r"load i8, ptr %\S+, align 1", text)
