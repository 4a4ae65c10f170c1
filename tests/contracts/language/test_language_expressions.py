"""Expressions: what each becomes. State and names are those of listing.py."""

from __future__ import annotations

import pytest

from actors.contracts.language import compile_source
from tests.contracts.language.listing import listing, source_of

CASES = {
    "addition": (
        """
@entry
def f(self, a: u64, b: u64) -> u64:
    return a + b
""",
        """
r2 = ADD r0 r1
""",
    ),
    "a number takes the type of what it meets": (
        """
@entry
def f(self, a: u8) -> u8:
    return 3 * a - 1
""",
        """
r3 = 3
r2 = MUL r3 r0
r5 = 1
r1 = SUB r2 r5
""",
    ),
    "known values are computed": (
        """
@entry
def f(self) -> u64:
    return RATE * 2 + min(u64(7), RATE)
""",
        """
r0 = 67
""",
    ),
    "a constant of the module": (
        """
@entry
def f(self) -> i64:
    return BELOW
""",
        """
r0 = -5
""",
    ),
    "a minus": (
        """
@entry
def f(self, a: i64) -> i64:
    return -a
""",
        """
r3 = 0
r1 = SUB r3 r0
""",
    ),
    "a comparison changes its sides": (
        """
@entry
def f(self, a: u64, b: u64) -> bool:
    return a > b
""",
        """
r2 = LT r1 r0
""",
    ),
    "a chain is evaluated once": (
        """
@entry
def f(self, a: u64) -> bool:
    return 1 < a <= self.total.value
""",
        """
r3 = 1
r4 = LT r3 r0
if r4
  r5 = get 0 []
  r4 = LE r0 r5
r1 = r4
""",
    ),
    "and": (
        """
@entry
def f(self, a: u64) -> bool:
    return a == 1 and self.total.value == 2
""",
        """
r4 = 1
r2 = EQ r0 r4
if r2
  r5 = get 0 []
  r7 = 2
  r2 = EQ r5 r7
r1 = r2
""",
    ),
    "several in a row": (
        """
@entry
def f(self, a: u64, b: bool, c: bool) -> bool:
    return b and c and 1 < a < 5 < RATE
""",
        """
r4 = r1
if r4
  r4 = r2
if r4
  r6 = 1
  r7 = LT r6 r0
  if r7
    r9 = 5
    r7 = LT r0 r9
  if r7
    r7 = True
  r4 = r7
r3 = r4
""",
    ),
    "or, not": (
        """
@entry
def f(self, a: bool) -> bool:
    return a or not self.flags[ctx.sender, 3]
""",
        """
r2 = r0
if r2
else
  r3 = SENDER
  r4 = 3
  r5 = get 5 [r3 r4]
  r2 = not r5
r1 = r2
""",
    ),
    "a conditional expression": (
        """
@entry
def f(self, a: u64) -> u64:
    return a if a < 9 else self.total.value
""",
        """
r3 = 9
r2 = LT r0 r3
if r2
  r4 = r0
else
  r4 = get 0 []
r1 = r4
""",
    ),
    "conversions": (
        """
@entry
def f(self, a: u64, h: Hash) -> Bytes[32]:
    b = u8(a)
    c = u128(b)
    return Bytes[32](h)
""",
        """
r4 = u8 r0
r6 = u128 r4
r2 = Bytes[32] r1
""",
    ),
    "literals of bytes": (
        """
@entry
def f(self) -> Bytes[4]:
    a = Bytes[2]("beef")
    return Bytes[4](b"abcd")
""",
        """
r1 = beef
r0 = 61626364
""",
    ),
    "a struct's field": (
        """
@entry
def f(self) -> u8:
    return self.point.value.y
""",
        """
r1 r2 = get 2 []
r0 = r2
""",
    ),
    "a struct": (
        """
@entry
def f(self, a: u64) -> Point:
    return Point(y=1, x=a)
""",
        """
r1 = r0
r2 = 1
""",
    ),
    "bits": (
        """
@entry
def f(self, a: u32) -> u32:
    return (a << 3 | a >> 1) & 15 ^ u32(255)
""",
        """
r3 = 3
r2 = SHL r0 r3
r5 = 1
r4 = SHR r0 r5
r6 = OR r2 r4
r8 = 15
r7 = AND r6 r8
r10 = 255
r1 = XOR r7 r10
""",
    ),
    "max": (
        """
@view
def f(self, a: u64) -> u64:
    return max(a, self.total.value)
""",
        """
r2 = get 0 []
r1 = MAX r0 r2
""",
    ),
    "order of bytes": (
        """
@view
def f(self, a: Address) -> bool:
    return a <= Address("0000000000000000000000000000000000000000000000000000000000000000")
""",
        """
r3 = 0000000000000000000000000000000000000000000000000000000000000000
r1 = LE r0 r3
""",
    ),
    "context": (
        """
@entry
def f(self) -> bool:
    return ctx.contract == ctx.origin and ctx.amount + ctx.height < ctx.time_ms
""",
        """
r2 = CONTRACT
r3 = ORIGIN
r1 = EQ r2 r3
if r1
  r5 = AMOUNT
  r6 = HEIGHT
  r7 = ADD r5 r6
  r8 = TIME_MS
  r1 = LT r7 r8
r0 = r1
""",
    ),
    "sha256": (
        """
@entry
def f(self, p: Point) -> Hash:
    return sha256(p, self.numbers.value, u8(3))
""",
        """
r3 = get 3 []
r4 = 3
r2 = sha256 r0 r1 r3 r4
""",
    ),
    "a copy": (
        """
@entry
def f(self) -> None:
    a = self.numbers.value.copy()
    a[0] = 1
    self.numbers.value = a
""",
        """
r1 = get 3 []
r2 = 1
r3 = 0
r1[r3] = r2
put 3 [] = r1
""",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_what_a_construct_becomes(title: str) -> None:
    functions, expected = CASES[title]
    program = compile_source(source_of(functions.strip())).program
    assert listing(program) == expected.strip()
