"""The wallet: nothing is paid by fewer than k owners, and nothing twice."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from raychain import Address, CallFailedError, Failure, World

from actors.contracts.examples.wallet import NOBODY, Paid, Payment, Wallet

COINS = 1_000


def named(world: World, names: tuple[str, ...]) -> list[Address]:
    """Eight places for owners."""
    owners = [world.account(name) for name in names]
    return owners + [NOBODY] * (8 - len(owners))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def owners(world: World) -> list[Address]:
    return named(world, ("alice", "bob", "carol"))


@pytest.fixture
def wallet(world: World, owners: list[Address]) -> Any:
    deployed = world.deploy(Wallet, args=(owners, 2))
    deployed.deposit(sender=world.account("patron", coins=COINS), coins=COINS)
    return deployed


def test_two_of_three_pay(world: World, wallet: Any, owners: list[Address]) -> None:
    shop = world.account("shop")
    assert wallet.propose(shop, 300, sender=owners[0]) == 1
    assert world.balance(shop) == 0
    assert wallet.confirm(1, sender=owners[1]) is True
    assert (world.balance(shop), world.balance(wallet)) == (300, COINS - 300)
    assert wallet.payment_of(1) == Payment(to=shop, amount=300, confirmations=2, paid=True)
    assert world.events[-1].event == Paid(1, shop, 300)
    with pytest.raises(CallFailedError, match="it is paid"):
        wallet.confirm(1, sender=owners[2])


def test_nobody_confirms_twice(world: World, wallet: Any, owners: list[Address]) -> None:
    wallet.propose(world.account("shop"), 300, sender=owners[0])
    with pytest.raises(CallFailedError, match="you have confirmed"):
        wallet.confirm(1, sender=owners[0])


def test_a_confirmation_may_be_taken_back(world: World, wallet: Any, owners: list[Address]) -> None:
    wallet.propose(world.account("shop"), 300, sender=owners[0])
    wallet.revoke(1, sender=owners[0])
    assert not wallet.has_confirmed(1, owners[0])
    assert wallet.confirm(1, sender=owners[1]) is False
    with pytest.raises(CallFailedError, match="you have not confirmed"):
        wallet.revoke(1, sender=owners[0])


def test_strangers_do_nothing(world: World, wallet: Any, owners: list[Address]) -> None:
    stranger = world.account("stranger")
    with pytest.raises(CallFailedError, match="no owner"):
        wallet.propose(stranger, 1, sender=stranger)
    wallet.propose(stranger, 1, sender=owners[0])
    with pytest.raises(CallFailedError, match="no owner"):
        wallet.confirm(1, sender=stranger)


def test_what_it_does_not_have_is_not_paid(world: World, wallet: Any, owners: list[Address]) -> None:
    shop = world.account("shop")
    wallet.propose(shop, COINS + 1, sender=owners[0])
    with pytest.raises(CallFailedError) as failed:
        wallet.confirm(1, sender=owners[1])
    assert failed.value.failure is Failure.INSUFFICIENT_COINS
    assert wallet.payment_of(1).confirmations == 1
    wallet.deposit(sender=world.account("patron", coins=1), coins=1)
    assert wallet.confirm(1, sender=owners[1])
    assert world.balance(shop) == COINS + 1


@pytest.mark.parametrize(
    ("names", "needed", "message"),
    [(("alice",), 2, "can never confirm"), (("alice",), 0, "can never"), (("alice", "alice"), 1, "twice")],
)
def test_its_owners_make_sense(world: World, names: tuple[str, ...], needed: int, message: str) -> None:
    with pytest.raises(CallFailedError, match=message):
        world.deploy(Wallet, args=(named(world, names), needed))


NAMES = ("alice", "bob", "carol", "dave")
WHO = st.sampled_from((*NAMES, "stranger"))
NUMBERS = st.integers(0, 4)


class WalletMachine(RuleBasedStateMachine):
    """Any calls in any order, against sets of who has confirmed what."""

    NEEDED = 3

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.shop = self.world.account("shop")
        self.wallet = self.world.deploy(
            Wallet,
            sender=self.world.account("patron", coins=COINS),
            args=(named(self.world, NAMES), self.NEEDED),
            coins=COINS,
        )
        self.amounts: list[int] = []
        self.confirmed: list[set[str]] = []

    def _goes_through(self, expected: bool, call: Any) -> bool:
        if expected:
            call()
        else:
            with pytest.raises(CallFailedError):
                call()
        return expected

    def _is_open(self, number: int) -> bool:
        return 1 <= number <= len(self.amounts) and len(self.confirmed[number - 1]) < self.NEEDED

    @rule(who=WHO, amount=st.integers(0, COINS // 2))
    def propose(self, who: str, amount: int) -> None:
        call = lambda: self.wallet.propose(self.shop, amount, sender=self.world.account(who))  # noqa: E731
        if self._goes_through(who in NAMES, call):
            self.amounts.append(amount)
            self.confirmed.append({who})

    @rule(who=WHO, number=NUMBERS)
    def confirm(self, who: str, number: int) -> None:
        expected = who in NAMES and self._is_open(number) and who not in self.confirmed[number - 1]
        if expected and len(self.confirmed[number - 1]) + 1 == self.NEEDED:
            expected = self.amounts[number - 1] <= self.world.balance(self.wallet)
        call = lambda: self.wallet.confirm(number, sender=self.world.account(who))  # noqa: E731
        if self._goes_through(expected, call):
            self.confirmed[number - 1].add(who)

    @rule(who=WHO, number=NUMBERS)
    def revoke(self, who: str, number: int) -> None:
        expected = self._is_open(number) and who in self.confirmed[number - 1]
        call = lambda: self.wallet.revoke(number, sender=self.world.account(who))  # noqa: E731
        if self._goes_through(expected, call):
            self.confirmed[number - 1].remove(who)

    @invariant()
    def paid_is_what_enough_confirmed(self) -> None:
        pairs = zip(self.amounts, self.confirmed, strict=True)
        paid = sum(amount for amount, owners in pairs if len(owners) == self.NEEDED)
        assert self.world.balance(self.shop) == paid
        assert self.world.balance(self.wallet) == COINS - paid


TestWalletMachine = WalletMachine.TestCase
