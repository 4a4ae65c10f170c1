"""Calls as a whole: who may call what, coins, events, other contracts, and that a failure undoes all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import ir, limits
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.interpreter import Result, call, check_imports, run_init
from actors.contracts.ir import Fact, FunctionKind, Named, Shape
from actors.contracts.running import CallContext
from actors.contracts.types import ADDRESS, BOOL, U8, U64
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld, Overlay
from bench.contract_fuzz.arguments import random_arguments
from tests.contracts.programs import import_of, random_program
from tests.contracts.single import (
    CONTRACT,
    GAS,
    ORIGIN,
    OTHER,
    SENDER,
    arguments,
    call_one,
    context,
    function,
    program,
    results,
    verified,
)

CELL = ir.Table("cell", (), (Named("value", Shape(U64)),))
PAID = ir.Event("Paid", (Named("who", Shape(ADDRESS)), Named("amount", Shape(U64))))


def world_of(*contracts: ir.Program, coins: int = 0) -> tuple[MemoryWorld, list[bytes]]:
    """Contracts at addresses of their own, each with coins."""
    world, addresses = MemoryWorld(), [bytes((0xC0 + n,)) * 32 for n in range(len(contracts))]
    for address, each in zip(addresses, contracts, strict=True):
        world.programs[address] = verified(each)
        if coins:
            world.balances[address] = coins
    return world, addresses


def call_at(world: MemoryWorld, address: bytes, name: str, data: bytes = b"", gas: int = GAS) -> Result:
    """A call of the contract at an address."""
    at = CallContext(sender=SENDER, contract=address, origin=ORIGIN, height=77, time_ms=5)
    return call(world.programs[address], name, data, at, world, gas)


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_only_entries_and_views_are_called_from_outside(number: int) -> None:
    kinds = (FunctionKind.PRIVATE, FunctionKind.ENTRY, FunctionKind.VIEW, FunctionKind.INIT)
    ready = verified(program(*(function(name=f"f{n}", kind=kind) for n, kind in enumerate(kinds))))
    outside = kinds[number] in (FunctionKind.ENTRY, FunctionKind.VIEW)
    for called in (number, f"f{number}"):
        result = call(ready, called, b"", context(), MemoryWorld(), GAS)
        assert result.failure is (None if outside else Failure.UNKNOWN_FUNCTION)


@pytest.mark.parametrize("called", [1, -1, 255, "g", ""])
def test_what_is_not_there_is_an_unknown_function(called: int | str) -> None:
    result = call(verified(program(function())), called, b"", context(), MemoryWorld(), GAS)
    assert (result.failure, result.gas_used) == (Failure.UNKNOWN_FUNCTION, 0)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x01\x05\x00", b"\x02\x05", b"\xff\x05"])
def test_arguments_are_exactly_the_bytes_of_the_parameters(data: bytes) -> None:
    ready = verified(program(function((BOOL, U8))))
    assert call(ready, "f", b"\x01\x05", context(), MemoryWorld(), GAS).failure is None
    result = call(ready, "f", data, context(), MemoryWorld(), GAS)
    assert (result.failure, result.gas_used) == (Failure.BAD_ARGUMENTS, 0)


def test_coins_come_only_where_they_are_accepted() -> None:
    ready = verified(program(function(name="no"), function(name="yes", accepts_coins=True)))
    assert call_one(ready, name="no", amount=1).failure is Failure.TAKES_NO_COINS
    assert call_one(ready, name="yes", amount=1).failure is None
    assert call_one(ready, name="yes").failure is None


def test_a_function_of_the_same_contract_has_registers_of_its_own() -> None:
    double = function((U8,), (), [ir.Binary(ir.Arithmetic.ADD, 0, 0, 0)], (0,), name="double")
    pair = function((U8, U8), (), (), (1, 0), name="pair", kind=FunctionKind.PRIVATE)
    body = [ir.Call(0, (0,), (1,)), ir.Call(1, (0, 1), (0, 1))]
    one = function((U8,), (U8,), body, (0, 1))
    assert results(one, call_one(program(double, pair, one), 5).results) == [10, 5]


def test_greatest_values_hold_within_a_contract_too() -> None:
    bounded = function((U8,), name="bounded", kind=FunctionKind.PRIVATE, maxima=(7,))
    one = program(bounded, function((U8,), (), [ir.Call(0, (0,), ())]))
    assert call_one(one, 7).failure is None
    assert call_one(one, 8).failure is Failure.BAD_ARGUMENTS


def test_sending_moves_coins_and_needs_them() -> None:
    body = [ir.Send(0, 1), ir.Balance(1)]
    one = program(function((ADDRESS, U64), (), body, (1,)))
    world = MemoryWorld()
    world.balances[CONTRACT] = 10
    came = call_one(one, OTHER, 4, world=world)
    assert results(one.functions[0], came.results) == [6]
    assert world.balances == {CONTRACT: 6, OTHER: 4}
    assert call_one(one, OTHER, 7, world=world).failure is Failure.INSUFFICIENT_COINS
    assert call_one(one, OTHER, 0, world=world).failure is None
    assert call_one(one, CONTRACT, 6, world=world).failure is None
    assert world.balances == {CONTRACT: 6, OTHER: 4}


def test_no_coins_make_no_account() -> None:
    one, world = program(function((ADDRESS, U64), (), [ir.Send(0, 1)])), MemoryWorld()
    assert call_one(one, OTHER, 0, world=world).failure is None
    assert world.balances == {}


def test_events_tell_their_contract_number_and_fields() -> None:
    body = [ir.Emit(1, (0, 1)), ir.Emit(0, ()), ir.Emit(1, (0, 1))]
    one = program(function((ADDRESS, U64), (), body), events=(ir.Event("Nothing", ()), PAID))
    data = OTHER + (9).to_bytes(8, "little")
    assert call_one(one, OTHER, 9).events == ((CONTRACT, 1, data), (CONTRACT, 0, b""), (CONTRACT, 1, data))


@pytest.mark.parametrize("count", [limits.EVENTS_PER_CALL_MAX, limits.EVENTS_PER_CALL_MAX + 1])
def test_a_call_emits_so_many_events(count: int) -> None:
    one = function((U64,), (U64,), [ir.Loop(1, 0, 1000, (ir.Emit(0, ()),))])
    came = call_one(program(one, events=(ir.Event("E", ()),)), count)
    if count <= limits.EVENTS_PER_CALL_MAX:
        assert len(came.events) == count
    else:
        assert (came.failure, came.events) == (Failure.TOO_MANY_EVENTS, ())


def bank() -> ir.Program:
    """Counts what was paid in, and tells its callers who they are."""
    pay = function(
        (U64,),
        (U64, ADDRESS, ADDRESS, U64),
        [
            ir.Context(Fact.AMOUNT, 1),
            ir.Increase(0, (), 1),
            ir.Context(Fact.SENDER, 2),
            ir.Context(Fact.CONTRACT, 3),
            ir.Emit(0, (2, 1)),
            ir.Balance(4),
        ],
        (2, 3, 4),
        name="pay",
        accepts_coins=True,
        maxima=(5,),
    )
    total = function((), (U64,), [ir.Get(0, (), (0,))], (0,), name="total", kind=FunctionKind.VIEW)
    return program(pay, total, tables=(CELL,), events=(PAID,), name="Bank")


def customer(address: bytes, accepts_coins: bool = True) -> ir.Program:
    """Pays into a bank."""
    imports = tuple(import_of(address, bank(), each) for each in bank().functions)
    pay = function(
        (U64, U64),
        (ADDRESS, ADDRESS, U64, U64),
        [ir.Increase(0, (), 0), ir.CallContract(0, (1,), (2, 3, 4), 0), ir.CallContract(1, (), (5,))],
        (2, 3, 4, 5),
        name="pay_bank",
        accepts_coins=accepts_coins,
    )
    return program(pay, imports=imports, tables=(CELL,), name="Customer")


def deployed(coins: int = 100) -> tuple[MemoryWorld, bytes, bytes]:
    world, (first, second) = world_of(bank(), customer(bytes((0xC0,)) * 32))
    world.balances[second] = coins
    return world, first, second


def test_a_contract_that_is_called_runs_in_its_own_place() -> None:
    world, first, second = deployed()
    pay = world.programs[second].functions[0].function
    came = call_at(world, second, "pay_bank", arguments(pay, (30, 5)))
    assert results(pay, came.results) == [second, first, 30, 30]
    assert came.events == ((first, 0, second + (30).to_bytes(8, "little")),)
    assert (world.balance(first), world.balance(second)) == (30, 70)
    assert came.entries_created == len(world.entries) == 2
    check_imports(world.programs[second], world)


def test_a_failure_in_another_contract_undoes_all() -> None:
    world, _, second = deployed()
    pay = world.programs[second].functions[0].function
    before = world.entries.copy(), world.balances.copy()
    for amount, mark, failure in ((101, 5, Failure.INSUFFICIENT_COINS), (1, 6, Failure.BAD_ARGUMENTS)):
        came = call_at(world, second, "pay_bank", arguments(pay, (amount, mark)))
        assert (came.failure, came.events, came.entries_created) == (failure, (), 0)
        assert came.gas_used > 0
        assert (world.entries, world.balances) == before


def test_a_contract_that_is_not_there() -> None:
    world, first, second = deployed()
    pay = world.programs[second].functions[0].function
    gone = world.programs.pop(first)
    data = arguments(pay, (1, 1))
    assert call_at(world, second, "pay_bank", data).failure is Failure.MISSING_CONTRACT
    with pytest.raises(CallFailedError) as failed:
        check_imports(world.programs[second], world)
    assert failed.value.failure is Failure.MISSING_CONTRACT
    world.programs[first] = gone
    assert call_at(world, second, "pay_bank", data).failure is None


def other_banks() -> list[ir.Program]:
    """Contracts that are not what a customer of the bank imports."""
    pay, total = bank().functions
    extra = function((U64, U64), (), (), (), name="pay", accepts_coins=True)
    no_results = function((U64,), (), (), (), name="pay", accepts_coins=True)
    view = function((U64,), (ADDRESS, ADDRESS, U64), (), (1, 2, 3), name="pay", kind=FunctionKind.VIEW)
    rest = {"tables": (CELL,), "events": (PAID,)}
    return [
        program(total, **rest, name="Bank"),  # type: ignore[arg-type]
        program(pay, total, **rest, name="Bench"),  # type: ignore[arg-type]
        *(program(each, total, **rest, name="Bank") for each in (extra, no_results, view)),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("other", other_banks(), ids=str)
def test_an_import_that_is_not_what_is_there(other: ir.Program) -> None:
    world, first, second = deployed()
    world.programs[first] = verified(other)
    data = arguments(world.programs[second].functions[0].function, (1, 1))
    assert call_at(world, second, "pay_bank", data).failure is Failure.UNKNOWN_FUNCTION
    with pytest.raises(CallFailedError) as failed:
        check_imports(world.programs[second], world)
    assert failed.value.failure is Failure.UNKNOWN_FUNCTION


@pytest.mark.parametrize("amount", [0, 1])
def test_coins_for_a_contract_that_takes_none(amount: int) -> None:
    target = program(function(), name="Target")
    imported = import_of(bytes((0xC0,)) * 32, target, target.functions[0])
    one = function((U64,), (), [ir.CallContract(0, (), (), 0)])
    world, (_, second) = world_of(target, program(one, imports=(imported,)), coins=5)
    came = call_at(world, second, "f", arguments(one, (amount,)))
    assert came.failure is (Failure.TAKES_NO_COINS if amount else None)


def tower(height: int, body: Callable[[int], list[ir.AnyOp]]) -> list[ir.Program]:
    """Contracts that each call the one before."""
    contracts: list[ir.Program] = []
    for number in range(height):
        imports = ()
        if contracts:
            below = contracts[-1]
            imports = (import_of(bytes((0xC0 + number - 1,)) * 32, below, below.functions[-1]),)  # type: ignore[assignment]
        contracts.append(program(function((), (BOOL,), body(number)), imports=imports))
    return contracts


@pytest.mark.parametrize("height", [limits.CONTRACTS_DEPTH_MAX, limits.CONTRACTS_DEPTH_MAX + 1])
def test_contracts_call_contracts_so_deep(height: int) -> None:
    contracts = tower(height, lambda number: [ir.CallContract(0, (), ())] if number else [])
    world, addresses = world_of(*contracts)
    came = call_at(world, addresses[-1], "f")
    assert came.failure is (None if height <= limits.CONTRACTS_DEPTH_MAX else Failure.CALL_DEPTH)


def deepest(imports: tuple[ir.Import, ...]) -> ir.Program:
    """Functions within functions, each in lists within lists, as deep as may be."""
    functions: list[ir.Function] = []
    for number in range(limits.CALL_DEPTH_MAX):
        body: list[ir.AnyOp] = [ir.CallContract(0, (), ())] if imports and not number else []
        if number:
            body = [ir.Call(number - 1, (), ())]
        for _ in range(limits.NESTING_MAX):
            body = [ir.If(0, (), tuple(body))]
        functions.append(function((), (BOOL,), body, name=f"f{number}"))
    return program(*functions, imports=imports)


def levels() -> int:
    """Levels of Python's stack in use."""
    frame, count = sys._getframe(), 0
    while frame.f_back:
        frame, count = frame.f_back, count + 1
    return count


def test_the_deepest_call_needs_less_than_650_levels_of_the_stack() -> None:
    contracts: list[ir.Program] = []
    for number in range(limits.CONTRACTS_DEPTH_MAX):
        below = contracts[-1] if contracts else None
        address = bytes((0xC0 + number - 1,)) * 32
        contracts.append(deepest((import_of(address, below, below.functions[-1]),) if below else ()))
    world, addresses = world_of(*contracts)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(levels() + 650)
    try:
        result = call_at(world, addresses[-1], f"f{limits.CALL_DEPTH_MAX - 1}")
    finally:
        sys.setrecursionlimit(limit)
    assert result.failure is None


def test_deployment_calls_the_initial_function_once() -> None:
    start = function(
        (U64,), (), [ir.Put(0, (), (0,))], name="start", kind=FunctionKind.INIT, accepts_coins=True
    )
    ready, world = verified(program(start, tables=(CELL,))), MemoryWorld()
    data = (7).to_bytes(8, "little")
    came = run_init(ready, data, context(amount=3), world, GAS)
    assert (came.failure, came.entries_created, len(world.entries)) == (None, 1, 1)
    assert run_init(ready, b"", context(), world, GAS).failure is Failure.BAD_ARGUMENTS
    assert run_init(ready, data, context(), world, 1).failure is Failure.OUT_OF_GAS


def test_deployment_without_an_initial_function_takes_nothing() -> None:
    ready, world = verified(program(function())), MemoryWorld()
    assert run_init(ready, b"", context(), world, GAS) == Result(failure=None, gas_used=0)
    assert run_init(ready, b"\x00", context(), world, GAS).failure is Failure.BAD_ARGUMENTS
    assert run_init(ready, b"", context(amount=1), world, GAS).failure is Failure.TAKES_NO_COINS


@given(st.integers(0, 2**64))
def test_a_call_changes_all_or_nothing(seed: int) -> None:
    """Contracts that call each other at random, in a world below that is seen before and after."""
    random = Random(seed)
    contracts: list[ir.Program] = []
    for number in range(3):
        imports = {}
        for below in range(number):
            address = bytes((0xC0 + below,)) * 32
            for each in contracts[below].functions:
                if each.kind in (FunctionKind.ENTRY, FunctionKind.VIEW):
                    imports[address, each.name] = import_of(address, contracts[below], each)
        chosen = random.sample(list(imports.values()), min(len(imports), limits.IMPORTS_MAX))
        contracts.append(random_program(random, tuple(chosen), operations=15))
    world, addresses = world_of(*contracts, coins=1000)
    for _ in range(5):
        address = random.choice(addresses)
        ready: Verified = world.programs[address]
        called = random.choice(ready.functions)
        before, coins = world.entries.copy(), world.balances.copy()
        came = call_at(world, address, called.function.name, random_arguments(random, called.function.params))
        assert sum(world.balances.values()) == sum(coins.values())
        assert (came.entries_created, came.entries_removed) == (
            len(world.entries.keys() - before.keys()),
            len(before.keys() - world.entries.keys()),
        )
        assert all(any(value) and len(value) <= limits.ENTRY_BYTES_MAX for value in world.entries.values())
        if came.failure is not None or called.abilities.changes_nothing:
            assert (world.entries, world.balances) == (before, coins)
            assert came.events == ()
        if came.failure is not None:
            assert came.results == b""


def test_a_simulation_leaves_the_world_as_it_is() -> None:
    world, _, second = deployed()
    pay = world.programs[second].functions[0].function
    before, coins = world.entries.copy(), world.balances.copy()
    above = Overlay(world)
    at = CallContext(sender=SENDER, contract=second, origin=ORIGIN)
    came = call(world.programs[second], "pay_bank", arguments(pay, (3, 1)), at, above, GAS)
    assert came.failure is None
    assert (world.entries, world.balances) == (before, coins)
    again = call(world.programs[second], "pay_bank", arguments(pay, (3, 1)), at, above, GAS)
    assert (again.entries_created, results(pay, again.results)[3]) == (0, 6)
    assert above.commit() == (2, 0)
    assert world.balance(second) == 94


def test_a_program_is_verified_once_and_called_often() -> None:
    ready = verify(bank())
    first, second = (call_one(ready, 1, name="pay", amount=4) for _ in range(2))
    assert first == second
