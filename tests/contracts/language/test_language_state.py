"""Tables, cells, events, coins and imports: what each becomes. State and names are those of listing.py."""

from __future__ import annotations

import pytest

from actors.contracts.language import compile_source
from tests.contracts.language.listing import listing, source_of

CASES = {
    "a cell": (
        """
@entry
def f(self, a: u64) -> None:
    self.total.value = self.total.value // a
""",
        """
r1 = get 0 []
r2 = FLOOR_DIV r1 r0
put 0 [] = r2
""",
    ),
    "+= of a cell": (
        """
@entry
def f(self, a: u64) -> None:
    self.total.value += a
""",
        """
increase 0 [] by r0
""",
    ),
    "+= of a row": (
        """
@entry
def f(self, a: u64) -> None:
    self.amounts[ctx.sender] += a * 2
""",
        """
r1 = SENDER
r3 = 2
r2 = MUL r0 r3
increase 4 [r1] by r2
""",
    ),
    "-= of a row": (
        """
@entry
def f(self, a: u64) -> None:
    self.amounts[ctx.sender] -= a
""",
        """
r1 = SENDER
r2 = get 4 [r1]
r3 = SUB r2 r0
put 4 [r1] = r3
""",
    ),
    "the value comes before the key": (
        """
@entry
def f(self) -> None:
    self.amounts[ctx.sender] = self.total.value
""",
        """
r0 = get 0 []
r1 = SENDER
put 4 [r1] = r0
""",
    ),
    "+= of a table that the value writes": (
        """
@entry
def f(self) -> None:
    self.total.value += self._g()
def _g(self) -> u64:
    self.total.value = 5
    return 1
""",
        """
r0 = get 0 []
r1 = call 0 ()
r2 = ADD r0 r1
put 0 [] = r2
""",
    ),
    "composite keys": (
        """
@entry
def f(self, a: u64) -> None:
    self.flags[ctx.sender, a] = True
""",
        """
r1 = SENDER
r2 = True
put 5 [r1 r0] = r2
""",
    ),
    "replace": (
        """
@entry
def f(self, a: u64) -> None:
    p = self.point.value
    self.point.value = p.replace(x=a)
""",
        """
r3 r4 = get 2 []
put 2 [] = r0 r4
""",
    ),
    "fields change places": (
        """
@entry
def f(self, a: u8) -> Line:
    p = self.lines[a]
    p = p.replace(start=p.end, end=p.start)
    return p
""",
        """
r11 r12 r13 r14 r15 = get 6 [r0]
r6 = r11
r7 = r12
r11 = r13
r12 = r14
r13 = r6
r14 = r7
r1 = r11
r2 = r12
r3 = r13
r4 = r14
r5 = r15
""",
    ),
    "emit": (
        """
@entry
def f(self, p: Point) -> None:
    emit(Moved(to=p, who=ctx.origin))
""",
        """
r2 = ORIGIN
emit 0 r2 r0 r1
""",
    ),
    "send": (
        """
@entry
def f(self) -> None:
    send(ctx.sender, ctx.balance // 2)
""",
        """
r0 = SENDER
r1 = BALANCE
r3 = 2
r2 = FLOOR_DIV r1 r3
send r0 r2
""",
    ),
    "an import": (
        """
@entry(accepts_coins=True)
def f(self, a: u64) -> bool:
    Token.deposit(ctx.sender, coins=a)
    return Token.transfer(ctx.sender, Token.balance_of(ctx.sender))
""",
        """
r2 = SENDER
import 2 (r2) coins r0
r2 = SENDER
r3 = SENDER
r4 = import 1 (r3)
r1 = import 0 (r2 r4)
""",
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_what_a_construct_becomes(title: str) -> None:
    functions, expected = CASES[title]
    program = compile_source(source_of(functions.strip())).program
    assert listing(program) == expected.strip()
