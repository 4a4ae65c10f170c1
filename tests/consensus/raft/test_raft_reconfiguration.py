"""Leadership transfer and membership change."""

from __future__ import annotations

import pytest

from actors.consensus.raft import (
    Configuration,
    LeadershipTransferError,
    MembershipError,
    NotLeaderError,
    RaftOptions,
    Role,
)
from actors.consensus.raft import messages as wire

from .lockstep import Lockstep, proposal, role_of


def test_leadership_moves_to_the_target_at_once() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.propose(1, 1)
    leader.transfer_leadership(3)
    network.settle()
    assert network[3].role is Role.LEADER
    assert network[1].role is Role.FOLLOWER
    assert network[3].term == 2


def test_a_target_that_trails_is_brought_up_to_date_first() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.lost = lambda m: m.to == 3 and bool(getattr(m, "entries", ()))
    network.propose(1, 1, 2)
    leader.transfer_leadership(3)
    network.settle()
    assert network[3].role is Role.FOLLOWER
    with pytest.raises(LeadershipTransferError, match="under way"):
        leader.propose(proposal(3), network.now_ms)
    network.lost = lambda m: False
    network.run(120)
    assert role_of(network[3]) is Role.LEADER
    assert network.digests(3) == [1, 2]


def test_a_transfer_that_leads_nowhere_ends() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.lost = lambda m: isinstance(m, wire.TransferRequest)
    leader.transfer_leadership(2)
    network.settle()
    network.run(leader.options.election_timeout_ms_max + 60)
    network.propose(1, 1)
    assert network.digests(2) == [1]


def test_impossible_transfers_are_refused() -> None:
    network = Lockstep(spares=(4,))
    leader = network.elect(1)
    network.run(60)
    leader.change_membership((1, 2, 3), (4,))
    network.settle()
    for target in (1, 4, 9):
        with pytest.raises(LeadershipTransferError, match="not another voter"):
            leader.transfer_leadership(target)
    with pytest.raises(NotLeaderError):
        network[2].transfer_leadership(3)
    network.cut = {2, 3}
    leader.propose(proposal(1), network.now_ms)
    leader.transfer_leadership(2)
    with pytest.raises(LeadershipTransferError, match="under way"):
        leader.transfer_leadership(3)
    with pytest.raises(LeadershipTransferError, match="under way"):
        leader.change_membership((1, 2), ())


def grown() -> Lockstep:
    """Members 1 to 3 as voters, 4 and 5 as learners that caught up."""
    network = Lockstep(spares=(4, 5))
    leader = network.elect(1)
    network.run(60)
    leader.change_membership((1, 2, 3), (4, 5))
    network.settle()
    network.run(120)
    return network


def test_learners_replicate_and_do_not_count() -> None:
    network = grown()
    assert network[1].configuration == Configuration((1, 2, 3), (), (4, 5))
    network.propose(1, 1)
    network.run(60)
    assert network.digests(4) == network.digests(5) == [1]
    network.cut = {2, 3}
    network.propose(1, 2)
    assert network.digests(1) == [1]
    assert not network[4].is_promotable


def test_a_change_needs_both_majorities_and_leaves_the_joint_configuration_by_itself() -> None:
    network = grown()
    leader = network[1]
    network.cut = {4, 5}
    leader.change_membership((1, 4, 5), ())
    network.settle()
    assert leader.configuration.is_joint
    network.propose(1, 1)
    assert network.digests(1) == []  # 1, 2 and 3 have it, and are not enough
    network.cut = set()
    network.run(120)
    assert leader.configuration == Configuration((1, 4, 5))
    network.cut = {2, 3}
    network.propose(1, 2)
    assert network.digests(4) == [1, 2]


def test_a_new_leader_finishes_a_change() -> None:
    network = grown()
    network.lost = lambda m: any(e.index >= 5 for e in getattr(m, "entries", ()))
    network[1].change_membership((2, 4, 5), ())
    network.settle()
    network.run(60)
    assert network[2].configuration.is_joint
    network.cut = {1}
    network.lost = lambda m: False
    network.run(1000)
    assert network.leader().configuration == Configuration((2, 4, 5))
    assert network.leader().commit_index >= 6


def test_a_leader_that_removes_itself_hands_over() -> None:
    network = grown()
    network[1].change_membership((2, 3, 4), ())
    network.settle()
    assert network[1].role is Role.FOLLOWER
    assert network.leader().id in (2, 3, 4)
    term = network.leader().term
    network.run(1000)
    assert network.leader().term == term  # the one who left disturbs nobody


def test_a_truncated_configuration_is_given_up() -> None:
    network = grown()
    network.cut = {1}
    network[1].change_membership((1, 2), ())
    assert network[1].configuration.is_joint
    network.elect(2)
    network.cut = set()
    network.run(200)
    assert network[1].configuration == network[2].configuration == Configuration((1, 2, 3), (), (4, 5))


def test_changes_that_the_rules_refuse() -> None:
    network = Lockstep(spares=(4,), options=RaftOptions(promotion_lag_entries_max=3))
    network.cut = {2, 3}
    with pytest.raises(NotLeaderError):
        network[1].change_membership((1, 2), ())
    network.cut = set()
    network.lost = lambda m: isinstance(m, wire.AppendResponse)
    leader = network.elect(1)
    with pytest.raises(MembershipError, match="nothing is committed"):
        leader.change_membership((1, 2), ())
    network.lost = lambda m: False
    network.run(120)
    with pytest.raises(MembershipError, match="learner before"):
        leader.change_membership((1, 2, 3, 4), ())
    leader.change_membership((1, 2, 3), (4,))
    with pytest.raises(MembershipError, match="under way"):
        leader.change_membership((1, 2, 3), ())
    network.settle()
    network.cut = {4}
    network.propose(1, 1, 2, 3, 4, 5)
    with pytest.raises(MembershipError, match="trails by"):
        leader.change_membership((1, 2, 3, 4), ())
