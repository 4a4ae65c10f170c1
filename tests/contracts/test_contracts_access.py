"""Derived access: which rows an entry touches, whether their keys are static, what they wait for."""

from __future__ import annotations

import pytest

from actors.contracts import access, ir
from actors.contracts.access import FunctionAccess, derive_access
from actors.contracts.language import compile_source
from actors.contracts.types import U64
from tests.contracts.language.listing import HEAD_LINES, source_of
from tests.contracts.language.sources import TOKEN

CASES = {
    "keys from arguments and context": (
        """
@entry
def f(self, to: Address, a: u64) -> None:
    self.amounts[ctx.sender] -= a
    self.amounts[to] += a
    self.flags[Address(sha256(to)), a * 2 + RATE] = True
""",
        "2 READ amounts, 2 WRITE amounts, 3 ADD amounts, 4 WRITE flags",
    ),
    "additions alone commute": (
        """
@entry
def f(self, to: Address, a: u64) -> None:
    self.amounts[to] += a
    self.amounts[ctx.sender] += self.total.value
    self.below.value += -5
""",
        "2 ADD amounts commutes, 3 READ total, 3 ADD amounts commutes, 4 ADD below commutes",
    ),
    "a key that was read": (
        """
@entry
def f(self, a: u64) -> bool:
    n = self.total.value
    n += a
    return self.flags[ctx.sender, n]
""",
        "2 READ total, 4 READ flags waits for 2",
    ),
    "a key from another contract": (
        """
@entry
def f(self, a: u64) -> bool:
    n = Token.balance_of(ctx.sender)
    return self.flags[ctx.sender, n]
""",
        "3 READ flags waits for 2, imports 0",
    ),
    "a key from the coins of the contract": (
        """
@entry
def f(self) -> bool:
    return self.flags[ctx.sender, ctx.balance]
""",
        "2 READ flags waits for 2",
    ),
    "what was read decides which key": (
        """
@entry
def f(self, a: u64) -> bool:
    n = a
    if self.total.value == 1:
        n = a + 1
    m = a
    if a == 2:
        m = u64(0)
    self.flags[ctx.sender, m] = True
    return self.flags[ctx.sender, n]
""",
        "3 READ total, 8 WRITE flags, 9 READ flags waits for 3",
    ),
    "what was read decides whether a static key is touched": (
        """
@entry
def f(self, a: u64) -> None:
    if self.total.value == 1:
        return
    self.flags[ctx.sender, a] = True
""",
        "2 READ total, 4 WRITE flags",
    ),
    "a variable that is static again": (
        """
@entry
def f(self, a: u64) -> None:
    n = self.total.value
    n = a
    self.flags[ctx.sender, n] = True
""",
        "2 READ total, 4 WRITE flags",
    ),
    "around a loop": (
        """
@entry
def f(self, a: u64, n: UpTo[u64, 4]) -> None:
    k = a
    m = a
    for i in range(n):
        self.flags[ctx.sender, i] = True
        self.flags[ctx.sender, k] = True
        k = m
        m = self.total.value
""",
        "5 WRITE flags, 6 WRITE flags waits for 8, 8 READ total",
    ),
    "an element of an array": (
        """
@entry
def f(self, a: u64) -> None:
    xs = Array[u64, 4]()
    ys = Array[u64, 4]()
    xs[a] = self.total.value
    ys[a] = a
    self.flags[ctx.sender, xs[0]] = True
    self.flags[ctx.sender, ys[1]] = True
""",
        "4 READ total, 6 WRITE flags waits for 4, 7 WRITE flags",
    ),
    "through private functions": (
        """
@entry
def f(self, a: u64) -> None:
    self._mark(a)
    self.flags[ctx.sender, self._same(a)] = True
    self.flags[ctx.sender, self._same(self.total.value)] = False
@entry
def g(self, a: u64) -> None:
    self._mark(self.total.value)
def _mark(self, a: u64) -> None:
    self.flags[ctx.sender, a] = True
def _same(self, a: u64) -> u64:
    return a
""",
        "9 WRITE flags, 3 WRITE flags, 4 READ total, 4 WRITE flags waits for 4",
    ),
}  # fmt: skip


def words_of(functions: str) -> str:
    compiled = compile_source(source_of(functions.strip()))
    found = derive_access(compiled.program, compiled.lines)[0]
    return told(compiled.program, found)


def told(program: ir.Program, found: FunctionAccess) -> str:
    """Lines are counted from the function's `def`, which is the second line."""
    words = []
    for row in found.rows:
        waits = "" if row.is_static else f" waits for {row.waits_for_line - HEAD_LINES - 1}"
        commutes = " commutes" if row.commutes else ""
        table = program.tables[row.table].name
        words.append(f"{row.line - HEAD_LINES - 1} {row.touch.name} {table}{waits}{commutes}")
    words.extend(f"imports {number}" for number in found.imports)
    return ", ".join(words)


@pytest.mark.parametrize("title", CASES)
def test_what_an_entry_touches(title: str) -> None:
    functions, expected = CASES[title]
    assert words_of(functions) == expected


def test_the_same_private_function_waits_in_one_entry_alone() -> None:
    functions, _ = CASES["through private functions"]
    program = compile_source(source_of(functions.strip())).program
    by_name = {one.name: one for one in derive_access(program)}
    assert [row.is_static for row in by_name["f"].rows] == [True, True, True, False]
    assert [row.is_static for row in by_name["g"].rows] == [False, True]
    assert all(row.line == 0 == row.waits_for_line for row in by_name["g"].rows)


def test_a_token_is_static() -> None:
    found = derive_access(compile_source(TOKEN).program)
    assert [one.name for one in found] == ["start", "transfer", "approve", "transfer_from", "balance_of"]
    assert all(one.is_static for one in found)


def nested_loops(depth: int) -> ir.Program:
    """Loops within each other in which what was read goes from register to register."""
    chain = tuple(ir.Move(n + 1, n) for n in reversed(range(2, 40)))
    body: tuple[ir.AnyOp, ...] = (*chain, ir.Get(0, (), (2,)), ir.Put(1, (40,), (2,)))
    for index in range(41, 41 + depth):
        body = (ir.Loop(index, 1, 2, body),)
    registers = tuple(ir.Shape(U64) for _ in range(41 + depth))
    function = ir.Function("f", ir.FunctionKind.ENTRY, False, (), registers, (), body)
    column = (ir.Named("value", ir.Shape(U64)),)
    tables = (ir.Table("cell", (), column), ir.Table("rows", (U64,), column))
    return ir.Program(ir.IR_VERSION, "Nested", tables, (), (), (), (function,))


@pytest.mark.parametrize("steps", [access.STEPS_MAX, 5000, 200, 50, 20, 1])
def test_the_work_is_bounded_and_errs_to_chained(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "STEPS_MAX", steps)
    (found,) = derive_access(nested_loops(16))
    assert [row.is_static for row in found.rows] == [True, False]


def test_arguments_in_many_ways_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    functions, _ = CASES["through private functions"]
    monkeypatch.setattr(access, "CONTEXTS_MAX", 1)
    program = compile_source(source_of(functions.strip())).program
    by_name = {one.name: one for one in derive_access(program)}
    assert [row.is_static for row in by_name["f"].rows] == [True, True, True, False]
    assert not by_name["g"].rows[0].is_static
