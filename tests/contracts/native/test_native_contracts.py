"""Contracts that call contracts, natively: who is told what, what is undone, and what an import leads to."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts import ir, limits
from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result
from actors.contracts.types import BOOL, U8, U64, Slot
from actors.contracts.verified import Verified
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import PEOPLE
from tests.contracts.native.beside import Beside
from tests.contracts.native.test_native_drawn import calls_of_all
from tests.contracts.programs import import_of, random_program
from tests.contracts.single import GAS, SENDER, arguments, context, function, program, verified
from tests.contracts.test_contracts_calls import deployed, other_banks, tower, world_of

PUBLIC = (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
FIRST = bytes((0xC0,)) * 32


def run(
    world: MemoryWorld,
    ready: Verified,
    cases: list[tuple[Slot, ...]],
    amount: int = 0,
    gas: list[int] | None = None,
) -> list[Result]:
    """Calls of the last function of a program that lives nowhere else."""
    called = ready.functions[-1].function
    data = [arguments(called, case) for case in cases]
    contexts = [context(amount)] * len(cases)
    return Beside(world).run(ready, called.name, data, contexts, gas or [GAS] * len(cases))


def test_it_runs_in_its_own_place_and_a_failure_undoes_all() -> None:
    world, _, second = deployed()
    world.balances[SENDER] = 1_000
    customer = world.programs[second]
    cases: list[tuple[Slot, ...]] = [(30, 5), (1, 6), (0, 0), (500, 5), (70, 1)]
    few, bad = Failure.INSUFFICIENT_COINS, Failure.BAD_ARGUMENTS
    came = run(world, customer, cases, amount=40)
    assert [each.failure for each in came] == [None, bad, None, few, None]
    spent = came[0].gas_used
    limits_of_gas = [0, 1, spent // 2, spent - 1, spent]
    came = run(world, customer, [(3, 5)] * 5, amount=4, gas=limits_of_gas)
    assert [each.failure for each in came] == [*[Failure.OUT_OF_GAS] * 4, None]


@pytest.mark.parametrize("other", other_banks(), ids=str)
def test_an_import_that_is_not_what_is_there(other: ir.Program) -> None:
    world, first, second = deployed()
    world.programs[first] = verified(other)
    (came,) = run(world, world.programs[second], [(1, 1)])
    assert came.failure is Failure.UNKNOWN_FUNCTION
    del world.programs[first]
    (came,) = run(world, world.programs[second], [(1, 1)])
    assert came.failure is Failure.MISSING_CONTRACT


@pytest.mark.parametrize("address", [FIRST, b"entry\0\0\0".ljust(32, b"x")])
def test_coins_where_none_are_taken_and_a_key_that_no_account_has(address: bytes) -> None:
    target = program(function((U8,), maxima=(7,)), name="Target")
    imported = import_of(address, target, target.functions[0])
    one = verified(program(function((U8, U64), (), [ir.CallContract(0, (0,), (), 1)]), imports=(imported,)))
    world = MemoryWorld()
    world.programs[address] = verified(target)
    came = run(world, one, [(7, 1), (8, 0), (7, 0)])
    last = None if address == FIRST else Failure.RESERVED_ADDRESS
    assert [each.failure for each in came] == [Failure.TAKES_NO_COINS, Failure.BAD_ARGUMENTS, last]


def test_contracts_call_contracts_so_deep() -> None:
    contracts = tower(
        limits.CONTRACTS_DEPTH_MAX + 1, lambda number: [ir.CallContract(0, (), ())] if number else []
    )
    world, addresses = world_of(*contracts)
    failures = []
    for address in addresses:
        (came,) = run(world, world.programs[address], [()])
        failures.append(came.failure)
    assert failures == [*[None] * limits.CONTRACTS_DEPTH_MAX, Failure.CALL_DEPTH]


def test_arrays_of_contracts_lie_apart_and_words_are_those_of_who_says_them() -> None:
    array = ir.Shape(U64, 40)
    double = [
        ir.Require(1, 1),
        ir.Loop(3, 2, 40, (ir.Load(4, 0, 3), ir.Binary(ir.Arithmetic.ADD, 4, 4, 4), ir.Store(0, 3, 4))),
    ]
    count = ir.Const(2, (40).to_bytes(8, "little"))
    below = program(
        function((array, BOOL), (U64, U64, U64), [count, *double], (0,)),
        messages=("one", "two"),
        name="Below",
    )
    imported = import_of(FIRST, below, below.functions[0])
    body = [ir.CallContract(0, (0, 1), (2,)), ir.CallContract(0, (2, 1), (3,)), ir.Require(1, 0)]
    above = function((array, BOOL), (array, array), body, (0, 2, 3))
    world, _ = world_of(below)
    ready = verified(program(above, imports=(imported,), messages=("three",)))
    numbers = tuple(range(40))
    good, bad = run(world, ready, [(numbers, True), (numbers, False)])
    assert good.failure is None
    assert (bad.failure, bad.message) == (Failure.REQUIREMENT, "two")


@settings(max_examples=4)
@given(st.integers(0, 2**64 - 1))
def test_drawn_programs_that_call_each_other(seed: int) -> None:
    random, world = Random(seed), MemoryWorld()
    world.balances = dict.fromkeys(PEOPLE, 1_000)
    imports: tuple[ir.Import, ...] = ()
    for number in range(2):
        address = bytes((0xC0 + number,)) * 32
        below = random_program(random, imports, operations=12)
        world.programs[address] = verified(below)
        public = [
            each for each in below.functions if each.kind in (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
        ]
        imports += tuple(import_of(address, below, each) for each in public)
    above = verified(random_program(random, imports[-limits.IMPORTS_MAX :], operations=20))
    calls_of_all(random, above, Beside(world))
