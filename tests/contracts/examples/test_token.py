"""The token: transfers, allowances, and a supply that nothing changes."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from raychain import Address, CallFailedError, Failure, World

from actors.contracts.examples.token import Approval, Token, Transfer

SUPPLY = 1_000


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice")


@pytest.fixture
def bob(world: World) -> Address:
    return world.account("bob")


@pytest.fixture
def token(world: World, alice: Address) -> Any:
    return world.deploy(Token, sender=alice, args=(SUPPLY,))


def test_who_deploys_has_all_units(world: World, token: Any, alice: Address) -> None:
    assert token.total_supply() == token.balance_of(alice) == SUPPLY
    assert world.events[0].event == Transfer(sender=token.address, recipient=alice, amount=SUPPLY)


def test_a_transfer_moves_units_and_tells(world: World, token: Any, alice: Address, bob: Address) -> None:
    assert token.transfer(bob, 5, sender=alice) is True
    assert (token.balance_of(alice), token.balance_of(bob)) == (SUPPLY - 5, 5)
    assert world.events[-1].event == Transfer(alice, bob, 5)


def test_a_transfer_to_oneself_changes_nothing(token: Any, alice: Address) -> None:
    token.transfer(alice, SUPPLY, sender=alice)
    assert token.balance_of(alice) == SUPPLY


def test_nobody_gives_more_than_they_have(world: World, token: Any, alice: Address, bob: Address) -> None:
    before = dict(world.entries)
    with pytest.raises(CallFailedError, match="more than the balance") as failed:
        token.transfer(alice, 1, sender=bob)
    assert failed.value.failure is Failure.REQUIREMENT
    assert world.entries == before


def test_an_allowance_is_used_up(world: World, token: Any, alice: Address, bob: Address) -> None:
    token.approve(bob, 7, sender=alice)
    assert world.events[-1].event == Approval(alice, bob, 7)
    token.transfer_from(alice, bob, 4, sender=bob)
    assert (token.allowance(alice, bob), token.balance_of(bob)) == (3, 4)
    with pytest.raises(CallFailedError, match="more than the allowance"):
        token.transfer_from(alice, bob, 4, sender=bob)


def test_an_allowance_is_not_a_balance(token: Any, alice: Address, bob: Address) -> None:
    token.approve(alice, 10, sender=bob)
    with pytest.raises(CallFailedError, match="more than the balance"):
        token.transfer_from(bob, alice, 1, sender=alice)
    assert token.allowance(bob, alice) == 10


NAMES = st.sampled_from(["alice", "bob", "carol"])
AMOUNTS = st.integers(0, SUPPLY + 1)


class TokenMachine(RuleBasedStateMachine):
    """Any calls in any order, against two dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.who = {name: self.world.account(name) for name in ("alice", "bob", "carol")}
        self.token = self.world.deploy(Token, sender=self.who["alice"], args=(SUPPLY,))
        self.balances = {"alice": SUPPLY, "bob": 0, "carol": 0}
        self.allowances: dict[tuple[str, str], int] = {}

    def _moves(self, goes_through: bool, call: Any, owner: str, to: str, amount: int) -> None:
        if not goes_through:
            with pytest.raises(CallFailedError):
                call()
            return
        call()
        self.balances[owner] -= amount
        self.balances[to] += amount

    @rule(sender=NAMES, to=NAMES, amount=AMOUNTS)
    def transfer(self, sender: str, to: str, amount: int) -> None:
        self._moves(
            amount <= self.balances[sender],
            lambda: self.token.transfer(self.who[to], amount, sender=self.who[sender]),
            sender, to, amount,
        )  # fmt: skip

    @rule(owner=NAMES, spender=NAMES, amount=AMOUNTS)
    def approve(self, owner: str, spender: str, amount: int) -> None:
        self.token.approve(self.who[spender], amount, sender=self.who[owner])
        self.allowances[owner, spender] = amount

    @rule(owner=NAMES, spender=NAMES, to=NAMES, amount=AMOUNTS)
    def transfer_from(self, owner: str, spender: str, to: str, amount: int) -> None:
        allowed = self.allowances.get((owner, spender), 0)
        goes_through = amount <= min(allowed, self.balances[owner])
        self._moves(
            goes_through,
            lambda: self.token.transfer_from(self.who[owner], self.who[to], amount, sender=self.who[spender]),
            owner, to, amount,
        )  # fmt: skip
        if goes_through:
            self.allowances[owner, spender] = allowed - amount

    @invariant()
    def balances_agree_and_the_supply_is_conserved(self) -> None:
        assert {name: self.token.balance_of(who) for name, who in self.who.items()} == self.balances
        assert sum(self.balances.values()) == self.token.total_supply() == SUPPLY


TestTokenMachine = TokenMachine.TestCase
