"""What a call pays, and that it never pays more than the verifier said."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.gas import WEIGH, WEIGHT_MAX, Sizes, Weights
from actors.contracts.interpreter import Result, call
from actors.contracts.ir import Arithmetic, Fact, FunctionKind, Named, Shape
from actors.contracts.running import CallContext
from actors.contracts.types import ADDRESS, BOOL, HASH, U8, U16, U64, bytes_type
from actors.contracts.verified import Verified, Worst
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import PEOPLE, random_arguments
from tests.contracts.programs import random_program
from tests.contracts.single import OTHER, call_one, context, function, program, verified

# Primes, so that a sum tells what it is made of.
WEIGHTS = Weights(
    simple=2,
    element=3,
    operand=5,
    chunk=7,
    hash=1009,
    hash_chunk=11,
    read=10007,
    write=20011,
    emit=1103,
    send=1201,
    balance=1301,
    round=13,
    call=1409,
    call_contract=1511,
)
ADD = ir.Binary(Arithmetic.ADD, 0, 0, 1)
TABLES = (
    ir.Table("cell", (), (Named("value", Shape(U64)),)),
    ir.Table("rows", (ADDRESS, U8), (Named("a", Shape(U64, 8)), Named("b", Shape(BOOL)))),
)


def weigh(registers: tuple[Shape, ...], operation: ir.AnyOp) -> Worst:
    """The worst of a function of this operation alone, after a function of a word and an array."""
    sample = program(
        function((U64, Shape(U64, 16)), (), (), (0,), name="called"),
        function((), registers, [operation]),
        tables=TABLES,
        events=(ir.Event("E", (Named("a", Shape(ADDRESS)), Named("b", Shape(U8, 33)))),),
        imports=(ir.Import(OTHER, "O", "f", FunctionKind.ENTRY, (Shape(U64, 16),), (Shape(U64),)),),
        messages=("no",),
    )
    return verify(sample, WEIGHTS).functions[1].worst


WORD, WORDS, BIT, WHO, DIGEST, BYTE, TEXT, EIGHT, LONG = range(9)
REGISTERS = (
    Shape(U64),
    Shape(U64, 16),
    Shape(BOOL),
    Shape(ADDRESS),
    Shape(HASH),
    Shape(U8),
    Shape(bytes_type(64)),
    Shape(U64, 8),
    Shape(U8, 33),
)


@pytest.mark.parametrize(
    ("operation", "gas"),
    [
        (ir.Const(WORD, bytes(8)), 2),
        (ir.Const(WORDS, bytes(8)), 2 + 2 * 7),
        (ir.Move(WORD, WORD), 2),
        (ir.Move(WORDS, WORDS), 2 + 2 * 7),
        (ir.Binary(Arithmetic.MUL, WORD, WORD, WORD), 2),
        (ir.Compare(ir.Comparison.EQ, BIT, TEXT, TEXT), 2),
        (ir.Not(BIT, BIT), 2),
        (ir.Cast(WORD, BYTE), 2),
        (ir.Load(WORD, WORDS, BYTE), 3),
        (ir.Store(WORDS, BYTE, WORD), 3),
        (ir.Hash(DIGEST, ()), 1009),
        (ir.Hash(DIGEST, (WORD, TEXT)), 1009 + 2 * 5 + 2 * 11),
        (ir.Hash(DIGEST, (WORDS,)), 1009 + 5 + 2 * 11),
        (ir.Context(Fact.SENDER, WHO), 2),
        (ir.Get(0, (), (WORD,)), 5 + 10007),
        (ir.Get(1, (WHO, BYTE), (EIGHT, BIT)), 4 * 5 + 2 * 10007),
        (ir.Put(0, (), (WORD,)), 5 + 20011),
        (ir.Put(1, (WHO, BYTE), (EIGHT, BIT)), 4 * 5 + 2 * 20011),
        (ir.Increase(0, (), WORD), 5 + 10007 + 20011),
        (ir.Emit(0, (WHO, LONG)), 1103 + 2 * 5 + 2 * 7),
        (ir.Send(WHO, WORD), 1201),
        (ir.Balance(WORD), 1301),
        (ir.Require(BIT, 0), 2),
        (ir.If(BIT, (ir.Not(BIT, BIT),), (ir.Balance(WORD),)), 2 + 1301),
        (ir.If(BIT, (ir.Not(BIT, BIT),)), 2 + 2),
        (ir.Loop(0, 9, 4, (ir.Not(BIT, BIT),)), 2 + 4 * (13 + 2)),
        (ir.Call(0, (WORD, WORDS), (WORD,)), 1409 + 3 * 5 + 3 * 7),
        (ir.CallContract(0, (WORDS,), (WORD,)), 1511 + 2 * 5 + 3 * 7),
    ],
    ids=str,
)
def test_weights_of_operations(operation: ir.AnyOp, gas: int) -> None:
    assert weigh((*REGISTERS, Shape(U64)), operation).gas == gas


def test_every_operation_has_a_weight() -> None:
    assert set(WEIGH) == set(ir.AnyOp.__args__)


@pytest.mark.parametrize("weight", [-1, WEIGHT_MAX + 1])
def test_weights_are_bounded(weight: int) -> None:
    with pytest.raises(ValueError, match="the weight send"):
        Weights(send=weight)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"send": weight}, Weights)


def test_a_block_is_paid_before_its_first_operation() -> None:
    """Three operations are paid though the first fails; what stands behind the choice is not."""
    body = [ir.Require(2, 0), ADD, ADD, ir.If(2, ()), ADD, ADD, ADD, ADD]
    ready = verified(program(function((U64, U64, BOOL), (), body), messages=("",)))
    failed = call_one(ready, 0, 0, False)
    assert (failed.failure, failed.gas_used) == (Failure.REQUIREMENT, 3)
    assert call_one(ready, 0, 0, True).gas_used == 8
    for limit in range(3):
        out = call_one(ready, 0, 0, False, gas=limit)
        assert (out.failure, out.gas_used) == (Failure.OUT_OF_GAS, limit)
    assert call_one(ready, 0, 0, False, gas=3).failure is Failure.REQUIREMENT


def test_rounds_are_paid_one_by_one() -> None:
    body = [ir.Loop(2, 3, 100, (ADD,))]
    ready = verified(program(function((U64, U64, U16, U16), (), body)))
    for count in range(5):
        assert call_one(ready, 0, 0, 0, count).gas_used == 1 + 2 * count
    assert ready.functions[0].worst == Worst(201, 201, 0)
    out = call_one(ready, 0, 0, 0, 5, gas=6)
    assert (out.failure, out.gas_used) == (Failure.OUT_OF_GAS, 6)
    over = call_one(ready, 0, 0, 0, 101)
    assert (over.failure, over.gas_used) == (Failure.LOOP_BOUND, 1)


def test_the_dearer_list_is_the_worst() -> None:
    body = [ir.If(2, (ADD, ADD), (ADD,))]
    ready = verified(program(function((U64, U64, BOOL), (), body)))
    assert [call_one(ready, 0, 0, holds).gas_used for holds in (True, False)] == [3, 2]
    assert ready.functions[0].worst == Worst(3, 3, 0)


def test_calls_of_other_contracts_stand_apart() -> None:
    imported = ir.Import(OTHER, "O", "f", FunctionKind.VIEW, (), ())
    calls = ir.CallContract(0, (), ())
    body = [ir.Loop(0, 1, 10, (calls, ir.If(2, (calls,), ())))]
    sample = program(function((), (U8, U8, BOOL), body), imports=(imported,))
    assert verify(sample).functions[0].worst.contract_calls == 20


def same_call(ready: Verified, number: int, data: bytes, limit: int) -> tuple[Result, MemoryWorld]:
    """The same call in the same world, with another limit."""
    world = MemoryWorld()
    world.balances = dict.fromkeys(PEOPLE, 50)
    at = CallContext(sender=PEOPLE[0], contract=PEOPLE[1], origin=PEOPLE[2])
    return call(ready, number, data, at, world, limit), world


@given(st.integers(0, 2**64))
@settings(max_examples=80)
def test_no_call_pays_more_than_its_worst(seed: int) -> None:
    """With less than it used it runs out; with just as much it does the same again."""
    random = Random(seed)
    ready = verify(random_program(random), WEIGHTS)
    for each in ready.functions:
        if each.function.kind not in (FunctionKind.ENTRY, FunctionKind.VIEW):
            continue
        data = random_arguments(random, each.function.params)
        result, world = same_call(ready, each.number, data, each.worst.gas)
        assert result.failure is not Failure.OUT_OF_GAS
        assert result.gas_used <= each.worst.gas
        again, world_again = same_call(ready, each.number, data, result.gas_used)
        assert (again, world_again.entries) == (result, world.entries)
        if result.gas_used:
            out, untouched = same_call(ready, each.number, data, result.gas_used - 1)
            assert (out.failure, out.gas_used) == (Failure.OUT_OF_GAS, result.gas_used - 1)
            assert untouched.entries == {}


def test_a_contract_that_is_called_pays_from_the_same_limit() -> None:
    target = program(function((), (U64, U64), [ADD] * 7, name="f", kind=FunctionKind.VIEW), name="O")
    imported = ir.Import(OTHER, "O", "f", FunctionKind.VIEW, (), ())
    ready = verify(program(function((), (), [ir.CallContract(0, (), ())]), imports=(imported,)), WEIGHTS)
    world = MemoryWorld()
    world.programs[OTHER] = verify(target, WEIGHTS)
    assert call(ready, "f", b"", context(), world, 10_000).gas_used == 1511 + 14
    out = call(ready, "f", b"", context(), world, 1511 + 13)
    assert (out.failure, out.gas_used) == (Failure.OUT_OF_GAS, 1511 + 13)


def test_a_genesis_that_says_nothing_of_divisions_weighs_them_as_before() -> None:
    said = msgspec.json.encode(Weights(simple=3))
    assert b"divide" not in said
    divided = ir.Binary(Arithmetic.FLOOR_DIV, 0, 1, 2)
    for weights, gas in ((msgspec.json.decode(said, type=Weights), 3), (Weights(simple=3, divide=8), 8)):
        assert WEIGH[ir.Binary](Sizes(weights, [], []), divided) == gas
