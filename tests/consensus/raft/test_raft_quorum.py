"""Majorities against their definition, and the rules for configurations."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.consensus.raft import Configuration, Entry, EntryKind, MembershipError, MessageError
from actors.consensus.raft.membership import (
    configuration_entry,
    configuration_of,
    enter_joint,
    leave_joint,
)
from actors.consensus.raft.quorum import VoteOutcome, agreed, vote_outcome
from actors.consensus.raft.records import MEMBERS_MAX

halves = st.sets(st.integers(1, 9), min_size=1, max_size=7).map(lambda found: tuple(sorted(found)))
configurations = st.builds(Configuration, halves, st.one_of(st.just(()), halves))


def has_majority(half: tuple[int, ...], supporters: set[int]) -> bool:
    """By definition: some set of more than half of the members supports it."""
    needed = len(half) // 2 + 1
    return any(set(majority) <= supporters for majority in combinations(half, needed))


@given(configurations, st.dictionaries(st.integers(1, 9), st.integers(0, 5)))
def test_the_agreed_index_is_the_largest_that_both_halves_reached(
    configuration: Configuration, reached: dict[int, int]
) -> None:
    possible = [
        index
        for index in range(6)
        if all(
            has_majority(half, {m for m in range(1, 10) if reached.get(m, 0) >= index})
            for half in (configuration.voters, configuration.outgoing)
            if half
        )
    ]
    assert agreed(configuration, lambda member: reached.get(member, 0)) == max(possible)


@given(configurations, st.dictionaries(st.integers(1, 9), st.booleans()))
def test_an_election_is_decided_when_no_open_vote_matters(
    configuration: Configuration, votes: dict[int, bool]
) -> None:
    given_votes = {member for member, granted in votes.items() if granted}
    open_votes = set(range(1, 10)) - set(votes)
    required = [half for half in (configuration.voters, configuration.outgoing) if half]
    if all(has_majority(half, given_votes) for half in required):
        expected = VoteOutcome.WON
    elif all(has_majority(half, given_votes | open_votes) for half in required):
        expected = VoteOutcome.PENDING
    else:
        expected = VoteOutcome.LOST
    assert vote_outcome(configuration, votes) is expected


def test_nobody_decides_without_voters() -> None:
    nobody = Configuration(())
    assert agreed(nobody, lambda member: 5) == 0
    assert vote_outcome(nobody, {1: True}) is VoteOutcome.LOST


def test_a_change_goes_through_a_joint_configuration() -> None:
    old = Configuration((1, 2, 3), disks=((1, b"one"), (2, b"two")))
    joint = enter_joint(old, (3, 1, 4), (5,), ((4, b"four"),))
    assert joint.voters == (1, 3, 4)
    assert joint.outgoing == (1, 2, 3)
    assert joint.learners == (5,)
    assert joint.disks == ((1, b"one"), (2, b"two"), (4, b"four"))
    new = leave_joint(joint)
    assert new == Configuration((1, 3, 4), (), (5,), ((1, b"one"), (4, b"four")))
    assert configuration_of(configuration_entry(7, 2, new)) == new


@pytest.mark.parametrize(
    ("voters", "learners"),
    [
        ((), (1,)),
        ((1, 1), ()),
        ((1,), (2, 2)),
        ((1, 2), (2,)),
        ((0,), ()),
        ((2**32,), ()),
        (tuple(range(1, MEMBERS_MAX + 2)), ()),
    ],
)
def test_an_illegal_target_is_refused(voters: tuple[int, ...], learners: tuple[int, ...]) -> None:
    with pytest.raises(MembershipError):
        enter_joint(Configuration((1, 2, 3)), voters, learners)


def test_a_second_change_waits_for_the_first() -> None:
    with pytest.raises(MembershipError, match="under way"):
        enter_joint(Configuration((1,), (1, 2)), (1,), ())


def test_a_configuration_too_large_for_an_entry_is_refused() -> None:
    disks = tuple((member, bytes(500)) for member in range(1, 200))
    with pytest.raises(MembershipError, match="exceeds"):
        configuration_entry(1, 1, Configuration((1,), disks=disks))


def test_a_malformed_configuration_is_refused() -> None:
    with pytest.raises(MessageError, match="payload"):
        configuration_of(Entry(1, 1, EntryKind.CONFIGURATION, payload=b"\xc1"))


def test_a_change_begins_with_voters() -> None:
    with pytest.raises(MembershipError, match="without voters"):
        enter_joint(Configuration((), (), (1,)), (1,), ())


def test_only_a_joint_configuration_is_left() -> None:
    with pytest.raises(MembershipError, match="no membership change"):
        leave_joint(Configuration((1, 2, 3)))
