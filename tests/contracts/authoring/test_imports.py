"""Contracts that call contracts: whose state, whose coins, who calls, and how deep."""

from typing import Any

import pytest
from raychain import Address, CallFailedError, Event, Failure, World, u64

HEAD = """
from raychain import (
    Address, Cell, Event, Struct, Table, UpTo, contract, ctx, emit, entry, interface, require, u64, view
)
"""
BANK = """
class Account(Struct):
    held: u64
    changes: u64

class Moved(Event):
    who: Address
    held: u64

@contract
class Bank:
    accounts: Table[Address, Account]

    @entry(accepts_coins=True)
    def deposit(self, most: UpTo[u64, 50]) -> Account:
        require(ctx.amount <= most, "more than you said")
        old = self.accounts[ctx.sender]
        account = Account(held=old.held + ctx.amount, changes=old.changes + 1)
        self.accounts[ctx.sender] = account
        emit(Moved(who=ctx.sender, held=account.held))
        return account

    @entry
    def people(self) -> tuple[Address, Address]:
        return ctx.sender, ctx.origin

    @view
    def held_by(self, who: Address) -> u64:
        return self.accounts[who].held
"""
CLIENT = """
class Entry(Struct):
    coins: u64
    times: u64

@interface("0b" * 32)
class Bank:
    @entry(accepts_coins=True)
    def deposit(self, most: UpTo[u64, 50]) -> Entry: ...
    @entry
    def people(self) -> tuple[Address, Address]: ...
    @view
    def held_by(self, who: Address) -> u64: ...
    @view
    def nowhere(self) -> u64: ...

@contract
class Client:
    total: Cell[u64]

    @entry(accepts_coins=True)
    def save(self, amount: u64, most: u64) -> u64:
        self.total.value += amount
        made = Bank.deposit(most, coins=amount)
        require(made.times < 3, "often enough")
        return made.coins

    @entry
    def people(self) -> tuple[Address, Address]:
        return Bank.people()

    @view
    def saved(self) -> u64:
        return Bank.held_by(ctx.contract)

    @view
    def deposits(self) -> u64:
        return Bank.deposit(0).coins

    @entry
    def coins_to_a_view(self) -> u64:
        return Bank.held_by(ctx.contract, coins=1)

    @entry
    def tell(self) -> None:
        emit(foreign())

    @view
    def here(self) -> u64:
        return self.total.value
"""


def load(source: str, name: str) -> Any:
    """The contract of a file."""
    names: dict[str, Any] = {"foreign": lambda: Foreign(a=1)}
    exec(HEAD + source, names)
    return names[name]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice", coins=100)


@pytest.fixture
def bank(world: World) -> Any:
    return world.deploy(load(BANK, "Bank"), address="0b" * 32)


@pytest.fixture
def client(world: World, bank: Any) -> Any:
    return world.deploy(load(CLIENT, "Client"))


def test_a_callee_has_its_own_state_and_the_callers_coins(
    world: World, bank: Any, client: Any, alice: Address
) -> None:
    assert client.save(30, 50, sender=alice, coins=40) == 30
    assert [world.balance(who) for who in (alice, client, bank)] == [60, 10, 30]
    assert (client.saved(), bank.held_by(client.address), client.here()) == (30, 30, 30)
    assert (world.events[-1].contract, world.events[-1].event.who) == (bank.address, client.address)


def test_the_caller_is_the_sender_and_the_signer_the_origin(client: Any, alice: Address) -> None:
    assert client.people(sender=alice) == (client.address, alice)


@pytest.mark.parametrize(
    ("amount", "most", "failure"),
    [
        (41, 50, Failure.INSUFFICIENT_COINS),
        (30, 20, Failure.REQUIREMENT),
        (30, 51, Failure.BAD_ARGUMENTS),
        (60, 51, Failure.BAD_ARGUMENTS),
    ],
)
def test_a_failure_of_the_callee_undoes_the_caller(
    world: World, client: Any, alice: Address, amount: int, most: int, failure: Failure
) -> None:
    before = dict(world.entries)
    with pytest.raises(CallFailedError) as failed:
        client.save(amount, most, sender=alice, coins=40)
    assert failed.value.failure is failure
    assert (world.entries, world.balance(alice), world.events) == (before, 100, [])


def test_a_failure_of_the_caller_undoes_the_callee(
    world: World, bank: Any, client: Any, alice: Address
) -> None:
    for _ in range(2):
        client.save(1, 1, sender=alice, coins=1)
    entries = dict(world.entries)
    with pytest.raises(CallFailedError, match="often enough"):
        client.save(1, 1, sender=alice, coins=1)
    assert (world.entries, world.balance(bank), len(world.events)) == (entries, 2, 2)


class Foreign(Event):
    """Of this file, not of the contract's."""

    a: u64


def test_an_event_is_its_files(client: Any, alice: Address) -> None:
    with pytest.raises(TypeError, match="Foreign is no event of Client: declare it in the same file"):
        client.tell(sender=alice)


def test_a_view_calls_views_only(client: Any, alice: Address) -> None:
    with pytest.raises(TypeError, match="a view does not call deposit, an entry"):
        client.deposits()
    with pytest.raises(TypeError, match="not declared with accepts_coins=True"):
        client.coins_to_a_view(sender=alice)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("held_by", "is_held_by"),
        ("who: Address) -> u64:\n        return ", "who: Address) -> bool:\n        return 0 != "),
        ("class Bank:", "class Box:"),
    ],
)
def test_an_import_that_is_not_there_is_not_deployed(world: World, old: str, new: str) -> None:
    name = "Box" if "Box" in new else "Bank"
    world.deploy(load(BANK.replace(old, new), name), address="0b" * 32)
    with pytest.raises(CallFailedError) as failed:
        world.deploy(load(CLIENT, "Client"))
    assert failed.value.failure is Failure.UNKNOWN_FUNCTION


def test_contracts_call_each_other_four_deep(world: World) -> None:
    first = "@contract\nclass Link1:\n    @view\n    def depth(self) -> u64:\n        return u64(1)\n"
    links = [world.deploy(load(first, "Link1"), address="01" * 32)]
    for number in (2, 3, 4, 5):
        source = (
            f'@interface("0{number - 1}" * 32)\nclass Link{number - 1}:\n'
            "    @view\n    def depth(self) -> u64: ...\n\n"
            f"@contract\nclass Link{number}:\n    @view\n    def depth(self) -> u64:\n"
            f"        return Link{number - 1}.depth() + 1\n"
        )
        links.append(world.deploy(load(source, f"Link{number}"), address=f"0{number}" * 32))
    assert [link.depth() for link in links[:4]] == [1, 2, 3, 4]
    with pytest.raises(CallFailedError) as failed:
        links[4].depth()
    assert failed.value.failure is Failure.CALL_DEPTH
