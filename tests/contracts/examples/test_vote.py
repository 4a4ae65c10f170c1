"""The vote: each admitted voter counts once, with their weight."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raychain import Address, CallFailedError, Hash, World

from actors.contracts.examples.vote import Cast, Vote, Voter

QUESTION = Hash(bytes([1]) * 32)


@pytest.fixture
def world() -> World:
    return World(height=1)


@pytest.fixture
def chair(world: World) -> Address:
    return world.account("chair")


@pytest.fixture
def vote(world: World, chair: Address) -> Any:
    return world.deploy(Vote, sender=chair, args=(QUESTION, 10))


def test_a_vote_counts_with_its_weight(world: World, vote: Any, chair: Address) -> None:
    alice = world.account("alice")
    vote.admit(alice, 5, sender=chair)
    vote.vote(3, sender=alice)
    assert vote.results() == [0, 0, 0, 5, 0, 0, 0, 0]
    assert vote.winner() == (3, 5, False)
    assert vote.voter_of(alice) == Voter(weight=5, voted=True, option=3)
    assert world.events[-1].event == Cast(alice, 3, 5)


def test_nobody_votes_twice(world: World, vote: Any, chair: Address) -> None:
    vote.admit(chair, 1, sender=chair)
    vote.vote(0, sender=chair)
    with pytest.raises(CallFailedError, match="you have voted"):
        vote.vote(1, sender=chair)
    with pytest.raises(CallFailedError, match="they have voted"):
        vote.admit(chair, 9, sender=chair)


def test_only_the_chair_admits(world: World, vote: Any) -> None:
    alice = world.account("alice")
    with pytest.raises(CallFailedError, match="only the chair"):
        vote.admit(alice, 1, sender=alice)
    with pytest.raises(CallFailedError, match="not admitted"):
        vote.vote(0, sender=alice)


def test_it_closes_and_has_eight_options(world: World, vote: Any, chair: Address) -> None:
    vote.admit(chair, 1, sender=chair)
    with pytest.raises(CallFailedError, match="no such option"):
        vote.vote(8, sender=chair)
    world.height = 10
    with pytest.raises(CallFailedError, match="closed"):
        vote.vote(7, sender=chair)
    with pytest.raises(CallFailedError, match="closed"):
        vote.admit(chair, 2, sender=chair)


def test_it_does_not_open_closed(world: World) -> None:
    with pytest.raises(CallFailedError, match="closed already"):
        world.deploy(Vote, args=(QUESTION, 1))


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 7)), max_size=10))
def test_tallies_are_sums_of_weights(votes: list[tuple[int, int]]) -> None:
    world = World()
    chair = world.account("chair")
    vote = world.deploy(Vote, sender=chair, args=(QUESTION, 10))
    sums = [0] * 8
    for number, (weight, option) in enumerate(votes):
        who = world.account(f"voter {number}")
        vote.admit(who, weight, sender=chair)
        if weight:
            vote.vote(option, sender=who)
            sums[option] += weight
    assert vote.results() == sums
    most = max(sums)
    assert vote.winner() == (sums.index(most), most, most > 0 and sums.count(most) > 1)
