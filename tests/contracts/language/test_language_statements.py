"""Flow, variables and calls: what each becomes. State and names are those of listing.py."""

from __future__ import annotations

import pytest

from actors.contracts.language import compile_source
from tests.contracts.language.listing import listing, source_of

CASES = {
    "an array": (
        """
@entry
def f(self, i: u8) -> u64:
    a = Array[u64, 8]()
    a[i] = RATE
    a[2] += 4
    return a[i] + len(a)
""",
        """
r3 = 0
r4 = 30
r3[r0] = r4
r4 = 2
r5 = r3[r4]
r7 = 4
r6 = ADD r5 r7
r3[r4] = r6
r4 = r3[r0]
r6 = 8
r1 = ADD r4 r6
""",
    ),
    "a loop over a number": (
        """
@entry
def f(self) -> u64:
    s = u64(0)
    for i in range(10):
        s += i
    return s
""",
        """
r1 = 0
r2 = 10
loop r3 to r2 at most 10
  r1 = ADD r1 r3
r0 = r1
""",
    ),
    "a loop over a parameter": (
        """
@entry
def f(self, n: UpTo[u8, 16]) -> None:
    for i in range(n):
        self.total.value += u64(i)
""",
        """
loop r1 to r0 at most 16
  r2 = u64 r1
  increase 0 [] by r2
""",
    ),
    "a loop over a length": (
        """
@entry
def f(self) -> None:
    a = self.numbers.value.copy()
    for i in range(len(a)):
        a[i] = i
""",
        """
r1 = get 3 []
r2 = 8
loop r3 to r2 at most 8
  r1[r3] = r3
""",
    ),
    "a loop over an array": (
        """
@entry
def f(self) -> u64:
    s = u64(0)
    for x in self.numbers.value:
        s += x
    return s
""",
        """
r1 = 0
r2 = get 3 []
r3 = 8
loop r4 to r3 at most 8
  r5 = r2[r4]
  r1 = ADD r1 r5
r0 = r1
""",
    ),
    "if": (
        """
@entry
def f(self, a: u64) -> None:
    if a == 1:
        self.total.value = 1
    elif a == 2:
        self.total.value = 2
    else:
        pass
""",
        """
r2 = 1
r1 = EQ r0 r2
if r1
  r3 = 1
  put 0 [] = r3
else
  r3 = 2
  r4 = EQ r0 r3
  if r4
    r5 = 2
    put 0 [] = r5
""",
    ),
    "what follows a return": (
        """
@entry
def f(self, a: u64) -> u64:
    if a == 1:
        return 7
    self.total.value = a
    return a
""",
        """
r3 = 1
r2 = EQ r0 r3
if r2
  r1 = 7
else
  put 0 [] = r0
  r1 = r0
""",
    ),
    "a return on some paths": (
        """
@entry
def f(self, a: u64, b: bool) -> u64:
    if a == 1:
        if b:
            return 7
    self.total.value = a
    return a
""",
        """
r4 = 1
r3 = EQ r0 r4
if r3
  if r1
    r2 = 7
    r5 = True
if r5
else
  put 0 [] = r0
  r2 = r0
""",
    ),
    "both branches assign": (
        """
@entry
def f(self, b: bool) -> u64:
    if b:
        x = u64(1)
    else:
        x = RATE
    return x
""",
        """
if r0
  r2 = 1
else
  r2 = 30
r1 = r2
""",
    ),
    "require": (
        """
@entry
def f(self, b: bool) -> None:
    require(b, "first")
    require(not b, "second")
    require(b, "first")
""",
        """
require r0 0
r1 = not r0
require r1 1
require r0 0
""",
    ),
    "several results": (
        """
@entry
def f(self, a: u64) -> tuple[bool, u64]:
    b, c = self._g(a)
    return c, b
def _g(self, a: u64) -> tuple[u64, bool]:
    return a, True
""",
        """
r5 r6 = call 0 (r0)
r1 = r6
r2 = r5
""",
    ),
    "results that are passed on": (
        """
@entry
def f(self, a: u64) -> u64:
    self._g(b=1, a=a)
    return self._g(a, 2)
def _g(self, a: u64, b: u8) -> u64:
    return a + u64(b)
""",
        """
r2 = 1
r3 = call 0 (r0 r2)
r2 = 2
r1 = call 0 (r0 r2)
""",
    ),
    "augmented operators": (
        """
@entry
def f(self, a: u32) -> u32:
    a <<= 1
    a //= 3
    a %= 2
    return a
""",
        """
r3 = 1
r0 = SHL r0 r3
r3 = 3
r0 = FLOOR_DIV r0 r3
r3 = 2
r0 = MOD r0 r3
r1 = r0
""",
    ),
    "a body of its own": (
        """
@entry
def f(self, a: u64) -> None:
    pass
""",
        """
""",
    ),
    "an array that is passed on": (
        """
@entry
def f(self, a: u64) -> u64:
    b = Array[u64, 3]()
    c = self._g(b)
    c[a] = b[a]
    return c[a]
def _g(self, b: Array[u64, 3]) -> Array[u64, 3]:
    return b.copy()
""",
        """
r3 = 0
r4 = call 0 (r3)
r5 = r3[r0]
r4[r0] = r5
r1 = r4[r0]
""",
    ),
    "nested loops": (
        """
@entry
def f(self, n: UpTo[u64, 4]) -> None:
    for i in range(n):
        for j in range(RATE):
            self.total.value += i * j
    for i in range(3):
        self.total.value += i
""",
        """
loop r1 to r0 at most 4
  r2 = 30
  loop r3 to r2 at most 30
    r4 = MUL r1 r3
    increase 0 [] by r4
r2 = 3
loop r1 to r2 at most 3
  increase 0 [] by r1
""",
    ),
    "an annotation": (
        """
@entry
def f(self, b: bool) -> u64:
    x: u64 = self.total.value
    return x
""",
        """
r3 = get 0 []
r1 = r3
""",
    ),
    "a name that was a loop's": (
        """
@entry
def f(self) -> u64:
    for i in range(3):
        pass
    i = u64(2)
    return i
""",
        """
r1 = 3
loop r2 to r1 at most 3
r2 = 2
r0 = r2
""",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_what_a_construct_becomes(title: str) -> None:
    functions, expected = CASES[title]
    program = compile_source(source_of(functions.strip())).program
    assert listing(program) == expected.strip()
