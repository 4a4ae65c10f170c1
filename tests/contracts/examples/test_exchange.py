"""The exchange: amounts are Uniswap v2's, and the product of the reserves never falls.

Published amounts: Uniswap/v2-core, test/UniswapV2Pair.spec.ts (swapTestCases, in units of 10^18), and
Uniswap/v2-periphery, test/UniswapV2Router02.spec.ts (getAmountOut, getAmountsOut).
"""

import random
from fractions import Fraction
from math import floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from raychain import Address, CallFailedError, Failure, World

from actors.contracts.examples.exchange import LOCKED, Exchange, Provided, Swapped, Withdrawn
from actors.contracts.examples.token import Token

TOKEN = b"token".ljust(32, b"\0")
SUPPLY = 10**18
SAFE = 2**59
E18 = 10**18


def formula(amount_in: int, reserve_in: int, reserve_out: int) -> int:
    """The greatest amount out for which (in + 0.997 dx)(out - dy) is not below in * out, as a fraction."""
    taken = Fraction(997, 1000) * amount_in
    return floor(reserve_out - Fraction(reserve_in * reserve_out) / (reserve_in + taken))


@pytest.mark.parametrize(
    ("amount", "reserve_in", "reserve_out", "expected"),
    [
        (1, 5, 10, 1662497915624478906),
        (1, 10, 5, 453305446940074565),
        (2, 5, 10, 2851015155847869602),
        (2, 10, 5, 831248957812239453),
        (1, 10, 10, 906610893880149131),
        (1, 100, 100, 987158034397061298),
        (1, 1000, 1000, 996006981039903216),
    ],
)
def test_the_formula_gives_the_published_amounts(
    amount: int, reserve_in: int, reserve_out: int, expected: int
) -> None:
    """Those have 256 bits between; so the formula is held to them, and the contract to the formula."""
    assert formula(amount * E18, reserve_in * E18, reserve_out * E18) == expected


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice", coins=10**6)


@pytest.fixture
def token(world: World, alice: Address) -> Any:
    return world.deploy(Token, sender=alice, args=(SUPPLY,), address=TOKEN)


@pytest.fixture
def exchange(world: World, token: Any, alice: Address) -> Any:
    deployed = world.deploy(Exchange)
    token.approve(deployed, SUPPLY, sender=alice)
    return deployed


@pytest.mark.parametrize(("amount", "reserves", "expected"), [(2, 100, 1), (2, 10_000, 1)])
def test_the_contract_gives_the_published_amounts(
    exchange: Any, amount: int, reserves: int, expected: int
) -> None:
    assert exchange.amount_out(amount, reserves, reserves) == expected


def test_it_gives_what_the_formula_does_for_many_amounts(exchange: Any) -> None:
    draw = random.Random(20)
    for _ in range(2_000):
        amount, reserve_in, reserve_out = (draw.randrange(1, 1 << draw.randrange(1, 60)) for _ in range(3))
        expected = formula(amount, reserve_in, reserve_out)
        assert exchange.amount_out(amount, reserve_in, reserve_out) == expected
        assert expected < reserve_out


AMOUNTS = st.integers(1, SAFE)


@given(amount=AMOUNTS, reserve_in=AMOUNTS, reserve_out=AMOUNTS)
def test_it_gives_the_most_that_keeps_the_product(amount: int, reserve_in: int, reserve_out: int) -> None:
    world = World()
    world.deploy(Token, args=(SUPPLY,), address=TOKEN)
    given_out = int(world.deploy(Exchange).amount_out(amount, reserve_in, reserve_out))

    def keeps(out: int) -> bool:
        return (1000 * reserve_in + 997 * amount) * (reserve_out - out) >= 1000 * reserve_in * reserve_out

    assert keeps(given_out)
    assert not keeps(given_out + 1)


@pytest.mark.parametrize(
    ("amounts", "message"),
    [((0, 100, 100), "nothing comes in"), ((2, 0, 100), "are empty"), ((2, 100, 0), "are empty")],
)
def test_it_refuses_what_uniswap_refuses(exchange: Any, amounts: tuple[int, ...], message: str) -> None:
    with pytest.raises(CallFailedError, match=message):
        exchange.amount_out(*amounts)


def test_amounts_out_of_its_range_fail_the_call(exchange: Any) -> None:
    with pytest.raises(CallFailedError) as failed:
        exchange.amount_out(2**64 - 1, 1, 2**64 - 1)
    assert failed.value.failure is Failure.OVERFLOW


def test_it_needs_its_token() -> None:
    with pytest.raises(CallFailedError) as failed:
        World().deploy(Exchange)
    assert failed.value.failure is Failure.MISSING_CONTRACT


def test_who_is_first_sets_the_price(world: World, token: Any, exchange: Any, alice: Address) -> None:
    assert exchange.provide(5_000, 0, sender=alice, coins=10_000) == 10_000 - LOCKED
    assert exchange.reserves() == (10_000, 5_000)
    assert (world.balance(exchange), token.balance_of(exchange.address)) == (10_000, 5_000)
    assert exchange.total_shares() == 10_000
    assert world.events[-1].event == Provided(provider=alice, coins=10_000, tokens=5_000, shares=9_000)


def test_who_comes_later_keeps_it(token: Any, exchange: Any, alice: Address) -> None:
    exchange.provide(5_000, 0, sender=alice, coins=10_000)
    with pytest.raises(CallFailedError, match="more tokens than allowed"):
        exchange.provide(500, 0, sender=alice, coins=1_000)
    assert exchange.provide(501, 1_000, sender=alice, coins=1_000) == 1_000
    assert exchange.reserves() == (11_000, 5_501)


def test_a_swap_there_and_back_costs_the_fee(world: World, token: Any, exchange: Any, alice: Address) -> None:
    exchange.provide(10_000, 0, sender=alice, coins=10_000)
    bought = exchange.buy(0, sender=alice, coins=1_000)
    assert bought == formula(1_000, 10_000, 10_000) == 906
    assert world.events[-1].event == Swapped(
        trader=alice, coins_in=1_000, tokens_in=0, coins_out=0, tokens_out=int(bought)
    )
    paid = exchange.sell(bought, 0, sender=alice)
    assert paid == formula(int(bought), 10_000 - int(bought), 11_000) == 993
    assert exchange.reserves() == (10_007, 10_000)


def test_less_than_asked_for_undoes_all(world: World, token: Any, exchange: Any, alice: Address) -> None:
    exchange.provide(10_000, 0, sender=alice, coins=10_000)
    entries, coins, events = dict(world.entries), world.balance(alice), len(world.events)
    with pytest.raises(CallFailedError, match="less than asked for"):
        exchange.buy(907, sender=alice, coins=1_000)
    token.approve(exchange, 0, sender=alice)
    events, entries = events + 1, dict(world.entries)
    with pytest.raises(CallFailedError, match="more than the allowance"):
        exchange.sell(1_000, 0, sender=alice)
    assert (world.entries, world.balance(alice), len(world.events)) == (entries, coins, events)


def test_shares_give_back_their_part(world: World, token: Any, exchange: Any, alice: Address) -> None:
    minted = exchange.provide(20_000, 0, sender=alice, coins=10_000)
    assert exchange.withdraw(minted, 0, 0, sender=alice) == (9_000, 18_000)
    assert world.events[-1].event == Withdrawn(provider=alice, coins=9_000, tokens=18_000, shares=9_000)
    assert exchange.reserves() == (1_000, 2_000)
    with pytest.raises(CallFailedError, match="more than your shares"):
        exchange.withdraw(1, 0, 0, sender=alice)


NAMES = ("alice", "bob")
WHO = st.sampled_from(NAMES)


class ExchangeMachine(RuleBasedStateMachine):
    """Any calls in any order: the product falls by withdrawing alone, and then no share loses anything."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.who = {name: self.world.account(name, coins=10**9) for name in NAMES}
        alice, bob = self.who.values()
        self.token = self.world.deploy(Token, sender=alice, args=(2 * 10**9,), address=TOKEN)
        self.exchange = self.world.deploy(Exchange)
        self.token.transfer(bob, 10**9, sender=alice)
        for who in self.who.values():
            self.token.approve(self.exchange, 2**64 - 1, sender=who)
        self.exchange.provide(30_000, 0, sender=alice, coins=20_000)
        self.product_per_share = self._product_per_share()

    def _product_per_share(self) -> Fraction:
        coins, tokens = map(int, self.exchange.reserves())
        return Fraction(coins * tokens, int(self.exchange.total_shares()) ** 2)

    def _try(self, call: Any) -> None:
        """What a call may fail with here is a requirement."""
        try:
            call()
        except CallFailedError as failed:
            assert failed.failure is Failure.REQUIREMENT  # noqa: PT017

    @rule(who=WHO, coins=st.integers(0, 10**5))
    def provide(self, who: str, coins: int) -> None:
        self._try(lambda: self.exchange.provide(10**9, 0, sender=self.who[who], coins=coins))

    @rule(who=WHO, part=st.fractions(0, 1, max_denominator=100))
    def withdraw(self, who: str, part: Fraction) -> None:
        shares = floor(part * int(self.exchange.shares_of(self.who[who])))
        self._try(lambda: self.exchange.withdraw(shares, 0, 0, sender=self.who[who]))

    @rule(who=WHO, coins=st.integers(0, 10**5))
    def buy(self, who: str, coins: int) -> None:
        self._try(lambda: self.exchange.buy(0, sender=self.who[who], coins=coins))

    @rule(who=WHO, tokens=st.integers(0, 10**5))
    def sell(self, who: str, tokens: int) -> None:
        self._try(lambda: self.exchange.sell(tokens, 0, sender=self.who[who]))

    @invariant()
    def no_share_loses_anything(self) -> None:
        before, self.product_per_share = self.product_per_share, self._product_per_share()
        assert self.product_per_share >= before

    @invariant()
    def reserves_are_what_it_has(self) -> None:
        held = self.world.balance(self.exchange), self.token.balance_of(self.exchange.address)
        assert self.exchange.reserves() == held
        shares = sum(int(self.exchange.shares_of(who)) for who in self.who.values())
        assert self.exchange.total_shares() == shares + LOCKED


TestExchangeMachine = ExchangeMachine.TestCase
