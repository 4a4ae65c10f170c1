"""The escrow: coins go to the seller or back to the buyer, once, and no others move."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from raychain import Address, CallFailedError, World

from actors.contracts.examples.escrow import Closed, Deal, Escrow


@pytest.fixture
def world() -> World:
    return World(height=10)


@pytest.fixture
def buyer(world: World) -> Address:
    return world.account("buyer", coins=100)


@pytest.fixture
def seller(world: World) -> Address:
    return world.account("seller")


@pytest.fixture
def escrow(world: World, buyer: Address, seller: Address) -> Any:
    deployed = world.deploy(Escrow)
    deployed.open(1, seller, 20, sender=buyer, coins=30)
    return deployed


def test_coins_wait(world: World, escrow: Any, buyer: Address, seller: Address) -> None:
    assert (world.balance(buyer), world.balance(escrow), world.balance(seller)) == (70, 30, 0)
    assert escrow.deal_of(buyer, 1) == Deal(seller=seller, amount=30, deadline=20)


def test_the_buyer_releases_them(world: World, escrow: Any, buyer: Address, seller: Address) -> None:
    world.height = 25
    escrow.release(1, sender=buyer)
    assert (world.balance(seller), world.balance(escrow)) == (30, 0)
    assert world.events[-1].event == Closed(seller, buyer, 1, 30)
    assert world.entries == {}
    with pytest.raises(CallFailedError, match="no such deal"):
        escrow.refund(buyer, 1, sender=seller)


def test_the_seller_gives_them_back(world: World, escrow: Any, buyer: Address, seller: Address) -> None:
    escrow.refund(buyer, 1, sender=seller)
    assert world.balance(buyer) == 100


def test_from_the_deadline_on_anybody_may(world: World, escrow: Any, buyer: Address) -> None:
    stranger = world.account("stranger")
    world.height = 19
    for who in (stranger, buyer):
        with pytest.raises(CallFailedError, match="the deadline has not passed"):
            escrow.refund(buyer, 1, sender=who)
    world.height = 20
    escrow.refund(buyer, 1, sender=stranger)
    assert (world.balance(buyer), world.balance(stranger)) == (100, 0)


def test_only_the_buyer_releases(escrow: Any, seller: Address) -> None:
    with pytest.raises(CallFailedError, match="no such deal"):
        escrow.release(1, sender=seller)


@pytest.mark.parametrize(
    ("number", "deadline", "coins", "message"),
    [(2, 20, 0, "no coins"), (2, 10, 5, "the deadline has passed"), (1, 20, 5, "this number is taken")],
)
def test_a_deal_makes_sense(
    world: World,
    escrow: Any,
    buyer: Address,
    seller: Address,
    number: int,
    deadline: int,
    coins: int,
    message: str,
) -> None:
    with pytest.raises(CallFailedError, match=message):
        escrow.open(number, seller, deadline, sender=buyer, coins=coins)
    assert (world.balance(buyer), world.balance(escrow)) == (70, 30)


NAMES = ("alice", "bob", "carol")
WHO, NUMBERS = st.sampled_from(NAMES), st.integers(0, 2)


class EscrowMachine(RuleBasedStateMachine):
    """Any calls in any order: what waits is what the escrow has, and all coins are somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.who = {name: self.world.account(name, coins=1_000) for name in NAMES}
        self.escrow = self.world.deploy(Escrow)
        self.deals: dict[tuple[str, int], tuple[str, int, int]] = {}

    def _goes_through(self, expected: bool, call: Any) -> bool:
        if expected:
            call()
        else:
            with pytest.raises(CallFailedError):
                call()
        return expected

    @rule(blocks=st.integers(1, 5))
    def blocks_pass(self, blocks: int) -> None:
        self.world.height += blocks

    @rule(buyer=WHO, seller=WHO, number=NUMBERS, coins=st.integers(0, 50), wait=st.integers(0, 9))
    def open(self, buyer: str, seller: str, number: int, coins: int, wait: int) -> None:
        coins = min(coins, self.world.balance(self.who[buyer]))
        deadline = self.world.height + wait
        expected = coins > 0 and wait > 0 and (buyer, number) not in self.deals
        if self._goes_through(
            expected,
            lambda: self.escrow.open(number, self.who[seller], deadline, sender=self.who[buyer], coins=coins),
        ):
            self.deals[buyer, number] = (seller, coins, deadline)

    @rule(buyer=WHO, number=NUMBERS)
    def release(self, buyer: str, number: int) -> None:
        expected = (buyer, number) in self.deals
        if self._goes_through(expected, lambda: self.escrow.release(number, sender=self.who[buyer])):
            del self.deals[buyer, number]

    @rule(buyer=WHO, who=WHO, number=NUMBERS)
    def refund(self, buyer: str, who: str, number: int) -> None:
        seller, _, deadline = self.deals.get((buyer, number), ("", 0, 2**64))
        expected = who == seller or self.world.height >= deadline
        before = self.world.balance(self.who[buyer])
        call = lambda: self.escrow.refund(self.who[buyer], number, sender=self.who[who])  # noqa: E731
        if self._goes_through(expected, call):
            _, coins, _ = self.deals.pop((buyer, number))
            assert self.world.balance(self.who[buyer]) == before + coins

    @invariant()
    def all_coins_are_somewhere(self) -> None:
        waiting = self.world.balance(self.escrow)
        assert waiting == sum(coins for _, coins, _ in self.deals.values())
        assert sum(self.world.balance(who) for who in self.who.values()) + waiting == 3_000


TestEscrowMachine = EscrowMachine.TestCase
