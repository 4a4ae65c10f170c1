"""Every rule of operations, broken once, and what is said of a program that breaks none."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import ir, limits
from actors.contracts.errors import ProgramError
from actors.contracts.ir import Arithmetic, Comparison, Fact, FunctionKind, Named, Shape
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U64, bytes_type
from actors.contracts.verified import Abilities
from actors.contracts.verifier import verify
from tests.contracts.programs import random_program
from tests.contracts.single import OTHER, function, program

# Registers of the samples below, by what they hold.
KINDS = (U64, U64, U8, I64, BOOL, ADDRESS, HASH, Shape(U64, 3), Shape(U64, 4), bytes_type(32), bytes_type(4))
WORD, WORD2, BYTE, SIGNED, BIT, WHO, DIGEST, ARRAY, LONGER, BYTES32, BYTES4 = range(len(KINDS))
COLUMN = (Named("value", Shape(U64)),)
TABLES = (
    ir.Table("cell", (), COLUMN),
    ir.Table("rows", (ADDRESS, U8), (*COLUMN, Named("more", Shape(U64, 3)))),
    ir.Table("flags", (), (Named("value", Shape(BOOL)),)),
    ir.Table("arrays", (), (Named("value", Shape(U64, 3)),)),
)
EVENTS = (ir.Event("Paid", (Named("who", Shape(ADDRESS)), Named("amount", Shape(U64)))),)
VIEWED = ir.Import(OTHER, "Other", "look", FunctionKind.VIEW, (Shape(U64),), (Shape(BOOL),))
ENTERED = ir.Import(OTHER, "Other", "do", FunctionKind.ENTRY, (), ())
VIEW, ENTRY, PRIVATE, INIT = FunctionKind.VIEW, FunctionKind.ENTRY, FunctionKind.PRIVATE, FunctionKind.INIT


def sample(*body: ir.AnyOp, kind: FunctionKind = ENTRY) -> ir.Program:
    """A function with a register of each kind, after one that takes a word and gives a bit."""
    return program(
        function((U64,), (BOOL,), (), (1,), name="before"),
        function((), (), (), (), name="start", kind=INIT),
        function((), KINDS, body, (), kind=kind),
        function((), (), (), (), name="after"),
        tables=TABLES,
        events=EVENTS,
        imports=(VIEWED, ENTERED),
        messages=("no",),
    )


GOOD: tuple[ir.AnyOp, ...] = (
    ir.Const(WORD, bytes(8)),
    ir.Const(ARRAY, bytes(8)),
    ir.Const(BIT, b"\x01"),
    ir.Move(LONGER, LONGER),
    ir.Binary(Arithmetic.SHL, WORD, WORD2, WORD),
    ir.Binary(Arithmetic.MAX, SIGNED, SIGNED, SIGNED),
    ir.Compare(Comparison.LT, BIT, WHO, WHO),
    ir.Compare(Comparison.NE, BIT, BIT, BIT),
    ir.Not(BIT, BIT),
    ir.Cast(SIGNED, BYTE),
    ir.Cast(DIGEST, BYTES32),
    ir.Load(WORD, ARRAY, BYTE),
    ir.Store(ARRAY, WORD, WORD2),
    ir.Hash(DIGEST, (ARRAY, WHO, BIT)),
    ir.Hash(DIGEST, ()),
    ir.Context(Fact.ORIGIN, WHO),
    ir.Context(Fact.AMOUNT, WORD),
    ir.Get(1, (WHO, BYTE), (WORD, ARRAY)),
    ir.Put(1, (WHO, BYTE), (WORD, ARRAY)),
    ir.Increase(0, (), WORD),
    ir.Emit(0, (WHO, WORD)),
    ir.Send(WHO, WORD),
    ir.Balance(WORD),
    ir.Require(BIT, 0),
    ir.If(BIT, (ir.Not(BIT, BIT),), ()),
    ir.Loop(WORD, WORD2, 4, (ir.Move(BYTE, BYTE), ir.Not(BIT, BIT))),
    ir.Call(0, (WORD,), (BIT,)),
    ir.CallContract(0, (WORD,), (BIT,)),
    ir.CallContract(1, (), (), WORD),
)


def test_what_keeps_all_rules_is_accepted() -> None:
    ready = verify(sample(*GOOD))
    assert ready.functions[2].abilities == Abilities(True, True, True, True, True, frozenset({0, 1}))
    assert ready.functions[0].abilities == Abilities()
    assert ready.init is ready.functions[1]
    assert ready.named("f") is ready.functions[2]
    assert ready.named("g") is None


BAD: tuple[ir.AnyOp, ...] = (
    ir.Const(WORD, bytes(7)),
    ir.Const(ARRAY, bytes(24)),
    ir.Const(BIT, b"\x02"),
    ir.Move(WORD, BYTE),
    ir.Move(ARRAY, LONGER),
    ir.Move(ARRAY, WORD),
    ir.Move(WORD, 11),
    ir.Move(WORD, -1),
    ir.Move(11, WORD),
    ir.Move(-1, WORD),
    ir.Binary(Arithmetic.ADD, WORD, WORD, BYTE),
    ir.Binary(Arithmetic.ADD, WORD, BYTE, WORD),
    ir.Binary(Arithmetic.ADD, BYTE, WORD, WORD),
    ir.Binary(Arithmetic.ADD, ARRAY, ARRAY, ARRAY),
    ir.Binary(Arithmetic.ADD, BIT, BIT, BIT),
    ir.Binary(Arithmetic.ADD, WHO, WHO, WHO),
    *(ir.Binary(what, SIGNED, SIGNED, SIGNED) for what in Arithmetic if 6 <= what <= 10),
    ir.Compare(Comparison.EQ, WORD, WORD, WORD),
    ir.Compare(Comparison.EQ, BIT, WORD, BYTE),
    ir.Compare(Comparison.EQ, BIT, WHO, DIGEST),
    ir.Compare(Comparison.EQ, BIT, ARRAY, ARRAY),
    ir.Compare(Comparison.LT, BIT, BIT, BIT),
    ir.Compare(Comparison.LE, BIT, BIT, BIT),
    ir.Not(BIT, WORD),
    ir.Not(WORD, BIT),
    ir.Cast(BIT, WORD),
    ir.Cast(WORD, BIT),
    ir.Cast(WHO, BYTES4),
    ir.Cast(WORD, WHO),
    ir.Cast(ARRAY, ARRAY),
    ir.Load(BYTE, ARRAY, WORD),
    ir.Load(WORD, WORD, WORD),
    ir.Load(WORD, ARRAY, SIGNED),
    ir.Load(WORD, ARRAY, ARRAY),
    ir.Store(WORD, WORD, WORD),
    ir.Store(ARRAY, BIT, WORD),
    ir.Store(ARRAY, WORD, BYTE),
    ir.Hash(WHO, ()),
    ir.Hash(DIGEST, (99,)),
    ir.Hash(DIGEST, (WORD,) * 33),
    ir.Context(Fact.SENDER, DIGEST),
    ir.Context(Fact.HEIGHT, WHO),
    ir.Get(4, (), (WORD,)),
    ir.Get(-1, (), (WORD,)),
    ir.Get(0, (WHO,), (WORD,)),
    ir.Get(0, (), ()),
    ir.Get(1, (WHO,), (WORD, ARRAY)),
    ir.Get(1, (WHO, WORD), (WORD, ARRAY)),
    ir.Get(1, (WHO, BYTE), (WORD, LONGER)),
    ir.Put(0, (), (BYTE,)),
    ir.Put(0, (), (WORD, WORD)),
    ir.Increase(1, (WHO, BYTE), WORD),
    ir.Increase(2, (), BIT),
    ir.Increase(3, (), ARRAY),
    ir.Increase(0, (), BYTE),
    ir.Emit(1, ()),
    ir.Emit(0, (WHO,)),
    ir.Emit(0, (WORD, WHO)),
    ir.Send(DIGEST, WORD),
    ir.Send(WHO, BYTE),
    ir.Balance(BYTE),
    ir.Require(WORD, 0),
    ir.Require(BIT, 1),
    ir.Require(BIT, -1),
    ir.If(WORD, ()),
    ir.If(BIT, (ir.Not(WORD, BIT),)),
    ir.If(BIT, (), (ir.Not(WORD, BIT),)),
    ir.Loop(WORD, BYTE, 4, ()),
    ir.Loop(SIGNED, SIGNED, 4, ()),
    ir.Loop(ARRAY, ARRAY, 4, ()),
    ir.Loop(WORD, WORD, 4, ()),
    ir.Loop(WORD, WORD2, -1, ()),
    ir.Loop(WORD, WORD2, limits.LOOP_ITERATIONS_MAX + 1, ()),
    ir.Loop(WORD, WORD2, 4, (ir.Const(WORD, bytes(8)),)),
    ir.Loop(WORD, WORD2, 4, (ir.Const(WORD2, bytes(8)),)),
    ir.Loop(WORD, WORD2, 4, (ir.If(BIT, (ir.Get(0, (), (WORD,)),)),)),
    ir.Loop(WORD, WORD2, 4, (ir.Loop(WORD, WORD2, 4, ()),)),
    ir.Loop(WORD, WORD2, 4, (ir.Loop(WORD2, WORD, 4, ()),)),
    ir.Call(2, (), ()),
    ir.Call(3, (), ()),
    ir.Call(-1, (), ()),
    ir.Call(99, (), ()),
    ir.Call(1, (), ()),
    ir.Call(0, (), (BIT,)),
    ir.Call(0, (WORD,), ()),
    ir.Call(0, (BYTE,), (BIT,)),
    ir.Call(0, (WORD,), (WORD,)),
    ir.CallContract(2, (), ()),
    ir.CallContract(-1, (), ()),
    ir.CallContract(0, (WORD, WORD), (BIT,)),
    ir.CallContract(0, (WORD,), (WHO,)),
    ir.CallContract(0, (WORD,), (BIT,), WORD),
    ir.CallContract(1, (), (), BYTE),
)


@pytest.mark.parametrize("operation", BAD, ids=str)
def test_rules_of_operations(operation: ir.AnyOp) -> None:
    with pytest.raises(ProgramError) as refused:
        verify(sample(ir.Not(BIT, BIT), operation))
    assert refused.value.where.startswith("function 'f', operation ")


def test_an_index_may_be_written_after_its_loop() -> None:
    verify(sample(ir.Loop(WORD, WORD2, 4, ()), ir.Const(WORD, bytes(8)), ir.Const(WORD2, bytes(8))))


EFFECTS: tuple[ir.AnyOp, ...] = (
    ir.Put(0, (), (WORD,)),
    ir.Increase(0, (), WORD),
    ir.Emit(0, (WHO, WORD)),
    ir.Send(WHO, WORD),
    ir.CallContract(1, (), ()),
)


@pytest.mark.parametrize("operation", EFFECTS, ids=str)
def test_a_view_changes_nothing(operation: ir.AnyOp) -> None:
    with pytest.raises(ProgramError, match="a view that"):
        verify(sample(ir.If(BIT, (), (ir.Loop(WORD2, 0, 1, (operation,)),)), kind=VIEW))
    by_way_of_another = program(
        function((), KINDS, [operation], (), name="g", kind=PRIVATE),
        function((), (), [ir.Call(0, (), ())], (), name="h", kind=PRIVATE),
        function((), (), [ir.Call(1, (), ())], (), kind=VIEW),
        tables=TABLES,
        events=EVENTS,
        imports=(VIEWED, ENTERED),
    )
    with pytest.raises(ProgramError, match="function 'f': a view that"):
        verify(by_way_of_another)


def test_a_view_may_look() -> None:
    body = (ir.Get(0, (), (WORD,)), ir.Balance(WORD), ir.CallContract(0, (WORD,), (BIT,)), ir.Require(BIT, 0))
    ready = verify(sample(*body, kind=VIEW))
    assert ready.functions[2].abilities == Abilities(reads=True, imports=frozenset({0}))


def test_a_refusal_says_where_and_which_bound() -> None:
    inner = ir.Loop(WORD, WORD2, 2000, ())
    with pytest.raises(ProgramError) as refused:
        verify(sample(ir.Not(BIT, BIT), ir.If(BIT, (ir.Not(BIT, BIT), inner))))
    assert (refused.value.where, refused.value.limit) == ("function 'f', operation 4", 1024)
    assert str(refused.value) == "function 'f', operation 4: rounds of a loop: 2000, the limit is 1024"


def test_empty_loops_are_counted_round_by_round() -> None:
    body: tuple[ir.AnyOp, ...] = ()
    for depth in range(4):
        body = (ir.Loop(2 * depth, 2 * depth + 1, 1024, body),)
    with pytest.raises(ProgramError, match="steps") as refused:
        verify(program(function((), (U64,) * 8, body)))
    assert refused.value.limit == limits.STEPS_MAX


def test_steps_of_calls_are_multiplied_out() -> None:
    functions = [function((), (BOOL,), [ir.Not(0, 0)] * 1000, name="f0", kind=PRIVATE)]
    functions += [
        function((), (), [ir.Call(n - 1, (), ())] * 32, name=f"f{n}", kind=PRIVATE) for n in range(1, 4)
    ]
    with pytest.raises(ProgramError, match=r"function 'f3'.*steps"):
        verify(program(*functions))


@given(st.integers(0, 2**64))
def test_random_programs_are_accepted(seed: int) -> None:
    verify(random_program(Random(seed)))
