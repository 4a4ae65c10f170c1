"""The auction: seals hide bids, the highest revealed one pays, and every coin comes out."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raychain import Address, CallFailedError, Hash, World

from actors.contracts.examples.auction import Auction, Best, Revealed

BIDS_UNTIL, REVEALS_UNTIL = 10, 20
SALT = Hash(bytes([7]) * 32)


def seal(who: Address, amount: int, salt: bytes = SALT) -> Hash:
    """As a bidder makes it at home."""
    return Hash(hashlib.sha256(who + amount.to_bytes(8, "little") + salt).digest())


@pytest.fixture
def world() -> World:
    return World(height=1)


@pytest.fixture
def seller(world: World) -> Address:
    return world.account("seller")


@pytest.fixture
def auction(world: World, seller: Address) -> Any:
    return world.deploy(Auction, sender=seller, args=(BIDS_UNTIL, REVEALS_UNTIL))


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice", coins=100)


@pytest.fixture
def bob(world: World) -> Address:
    return world.account("bob", coins=100)


def test_the_highest_bid_wins_and_pays(
    world: World, auction: Any, seller: Address, alice: Address, bob: Address
) -> None:
    auction.bid(seal(alice, 30), sender=alice, coins=90)
    auction.bid(seal(bob, 40), sender=bob, coins=50)
    world.height = BIDS_UNTIL
    assert auction.reveal(30, SALT, sender=alice) is True
    assert auction.reveal(40, SALT, sender=bob) is True
    assert world.events[-1].event == Revealed(bob, 40)
    assert auction.leader() == Best(bidder=bob, amount=40)
    world.height = REVEALS_UNTIL
    assert auction.withdraw(sender=alice) == 90
    assert auction.withdraw(sender=bob) == 10
    assert auction.settle(sender=alice) == 40
    assert [world.balance(who) for who in (alice, bob, seller, auction)] == [100, 60, 40, 0]


def test_of_equal_bids_the_first_to_be_shown_wins(
    world: World, auction: Any, alice: Address, bob: Address
) -> None:
    for who in (alice, bob):
        auction.bid(seal(who, 30), sender=who, coins=30)
    world.height = BIDS_UNTIL
    assert auction.reveal(30, SALT, sender=bob) is True
    assert auction.reveal(30, SALT, sender=alice) is False
    assert auction.leader().bidder == bob


def test_a_bid_may_be_changed_and_deposits_add_up(world: World, auction: Any, alice: Address) -> None:
    auction.bid(seal(alice, 30), sender=alice, coins=30)
    auction.bid(seal(alice, 35), sender=alice, coins=5)
    world.height = BIDS_UNTIL
    with pytest.raises(CallFailedError, match="not what was sealed"):
        auction.reveal(30, SALT, sender=alice)
    assert auction.reveal(35, SALT, sender=alice)
    with pytest.raises(CallFailedError, match="not what was sealed"):
        auction.reveal(35, SALT, sender=alice)


def test_a_seal_is_its_bidders_alone(world: World, auction: Any, alice: Address, bob: Address) -> None:
    auction.bid(seal(alice, 30), sender=alice, coins=30)
    auction.bid(auction.bid_of(alice).seal, sender=bob, coins=30)
    world.height = BIDS_UNTIL
    with pytest.raises(CallFailedError, match="not what was sealed"):
        auction.reveal(30, SALT, sender=bob)


def test_a_deposit_covers_the_bid(world: World, auction: Any, alice: Address) -> None:
    auction.bid(seal(alice, 31), sender=alice, coins=30)
    world.height = BIDS_UNTIL
    with pytest.raises(CallFailedError, match="does not cover"):
        auction.reveal(31, SALT, sender=alice)


@pytest.mark.parametrize(
    ("height", "allowed"),
    [
        (BIDS_UNTIL - 1, {"bid"}),
        (BIDS_UNTIL, {"reveal"}),
        (REVEALS_UNTIL - 1, {"reveal"}),
        (REVEALS_UNTIL, {"withdraw", "settle"}),
    ],
)
def test_each_thing_has_its_time(
    world: World, auction: Any, alice: Address, height: int, allowed: set[str]
) -> None:
    auction.bid(seal(alice, 30), sender=alice, coins=30)
    arguments: dict[str, tuple[Any, ...]] = {"bid": (seal(alice, 30),), "reveal": (30, SALT)}
    world.height = height
    done = set()
    for name in ("bid", "reveal", "withdraw", "settle"):
        try:
            getattr(auction, name)(*arguments.get(name, ()), sender=alice)
        except CallFailedError:
            continue
        done.add(name)
    assert done == allowed


def test_the_heights_are_in_order(world: World) -> None:
    for heights in ((1, 5), (5, 5), (6, 5)):
        with pytest.raises(CallFailedError, match="not in order"):
            world.deploy(Auction, args=heights)


BIDS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60), st.booleans()), max_size=6)


@given(BIDS)
def test_every_coin_comes_out(bids: list[tuple[int, int, bool]]) -> None:
    """Each bidder has an amount, a deposit, and perhaps reveals."""
    world = World(height=1)
    seller = world.account("seller")
    auction = world.deploy(Auction, sender=seller, args=(BIDS_UNTIL, REVEALS_UNTIL))
    bidders = [world.account(f"bidder {number}", coins=60) for number in range(len(bids))]
    for who, (amount, deposit, _) in zip(bidders, bids, strict=True):
        auction.bid(seal(who, amount), sender=who, coins=deposit)
    world.height = BIDS_UNTIL
    valid = []
    for who, (amount, deposit, reveals) in zip(bidders, bids, strict=True):
        if reveals and 0 < amount <= deposit:
            auction.reveal(amount, SALT, sender=who)
            valid.append(amount)
    world.height = REVEALS_UNTIL
    for who, (_, deposit, _) in zip(bidders, bids, strict=True):
        if deposit:
            auction.withdraw(sender=who)
    auction.settle(sender=seller)
    price = max(valid, default=0)
    assert (world.balance(seller), world.balance(auction)) == (price, 0)
    assert sorted(60 - world.balance(who) for who in bidders if world.balance(who) < 60) == [price] * bool(
        price
    )
