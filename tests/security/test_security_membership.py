"""Who changes anything in consensus: members of the configurations in force, by terms that rise slowly."""

from __future__ import annotations

from random import Random

import pytest

from actors.consensus.raft import (
    Configuration,
    DurableState,
    HardState,
    Message,
    Raft,
    Role,
    genesis,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.errors import MessageError
from actors.consensus.raft.options import RaftOptions
from actors.consensus.raft.records import INDEX_MAX, TERM_MAX, SnapshotMeta
from tests.consensus.raft.lockstep import Lockstep

JUMP = RaftOptions().term_jump_max


def without_the_third() -> Lockstep:
    """Four members of which the third was removed; the first leads, and all others know of it."""
    network = Lockstep((1, 2, 3, 4))
    leader = network.elect(1)
    network.run(60)
    leader.change_membership((1, 2, 4))
    network.settle()
    network.run(120)
    network.cut = {3}
    assert network[2].configuration == network[4].configuration == Configuration((1, 2, 4))
    assert network[4].commit_index >= network[4].log.configuration_index
    return network


def lies(sender: int, to: int, term: int, last_index: int = 10**6) -> list[Message]:
    return [
        wire.HeartbeatRequest(sender, to, term, 0, 1, 0),
        wire.AppendRequest(sender, to, term, 0, 0, 0, 1),
        wire.SnapshotRequest(sender, to, term, SnapshotMeta(last_index, term, Configuration((sender,)))),
        wire.VoteRequest(sender, to, term, last_index, term, True),
        wire.VoteRequest(sender, to, term, last_index, term),
        wire.VoteResponse(sender, to, term, False),
        wire.PreVoteRequest(sender, to, term, last_index, term),
        wire.PreVoteResponse(sender, to, term, False),
        wire.AppendResponse(sender, to, term, 0, rejected=True),
        wire.HeartbeatResponse(sender, to, term, 1, 0),
        wire.TransferRequest(sender, to, term),
        wire.ReadRequest(sender, to, term, 1, 1),
        wire.ForwardRequest(sender, to, term, ()),
        wire.ConfigurationResponse(sender, to, term, 10**9, Configuration((sender,))),
    ]


@pytest.mark.parametrize("term", [1, 2, 7, 2**32, TERM_MAX])
@pytest.mark.parametrize("sender", [3, 9])
def test_a_removed_member_changes_nothing(sender: int, term: int) -> None:
    network = without_the_third()
    before = {m: (network[m].term, network[m].role, network[m].leader, network[m].vote) for m in (1, 2, 4)}
    for member in (1, 2, 4):
        for lie in lies(sender, member, term):
            network[member].step(lie, network.now_ms)
            sent = network[member].take_effects()
            assert not sent.messages
            assert not sent.write
            assert not sent.messages_after_write
    after = {m: (network[m].term, network[m].role, network[m].leader, network[m].vote) for m in (1, 2, 4)}
    assert after == before
    network.propose(1, 5)
    assert network.digests(4) == [5]


def test_a_removed_member_is_told_that_it_is_out() -> None:
    network = without_the_third()
    removed = Raft(3, genesis((1, 2, 3, 4)), Random(3), network.now_ms)
    network.replicas[3], network.cut = removed, set()
    assert not removed.is_out
    network.run(2000)
    assert removed.is_out
    assert removed.term == 0
    assert network[1].term == 1
    assert network[1].role is Role.LEADER


def test_a_member_of_an_old_configuration_learns_whom_to_hear() -> None:
    network = Lockstep((1, 2, 3), spares=(4, 5))
    leader = network.elect(1)
    network.run(60)
    network.cut = {3}
    leader.change_membership((1, 2, 3), (4,))
    network.settle()
    network.run(120)
    leader.change_membership((1, 2, 3, 4))
    network.settle()
    network.run(120)
    leader.transfer_leadership(4)
    network.settle()
    assert network[4].role is Role.LEADER
    assert 4 not in network[3].configuration.members()
    network.cut = set()
    network.run(2500)
    assert network[3].leader == network.leader().id
    assert network[3].configuration == Configuration((1, 2, 3, 4))


def test_a_removed_member_introduces_nobody() -> None:
    network = without_the_third()
    stranger = Configuration((3, 9))
    network[2].step(wire.ConfigurationResponse(3, 2, 1, 10**9, stranger), network.now_ms)
    network[2].step(wire.HeartbeatRequest(9, 2, 5, 0, 1, 0), network.now_ms)
    assert network[2].term == 1
    assert network[2].leader == 1


# --- terms -----------------------------------------------------------------------------------------------


def test_a_member_cannot_carry_the_term_far() -> None:
    network = Lockstep()
    network.elect(1)
    for lie in lies(3, 2, TERM_MAX):
        network[2].step(lie, network.now_ms)
    assert network[2].term <= 1 + 4 * JUMP  # what a leader or a candidate says: a bounded step each
    for answer in lies(3, 1, TERM_MAX)[5:]:
        network[1].step(answer, network.now_ms)
    assert (network[1].term, network[1].role) == (1, Role.LEADER)


def test_a_vote_of_a_far_term_moves_nobody_who_hears_a_leader() -> None:
    network = Lockstep()
    network.elect(1)
    network.run(60)
    network[2].step(wire.VoteRequest(3, 2, 10**9, 100, 10**9), network.now_ms)
    assert network[2].term == 1


def test_terms_end_below_what_fits() -> None:
    for term in (TERM_MAX + 1, INDEX_MAX):
        raw = wire.encode(wire.HeartbeatRequest(3, 2, term, 0, 1, 0))
        with pytest.raises(MessageError, match="term"):
            wire.decode(raw)


def test_a_member_that_was_away_for_a_million_elections_follows_within_a_minute() -> None:
    network = Lockstep()
    away = DurableState(genesis((1, 2, 3)).snapshot, HardState(1_000_000))
    for member in (1, 2):
        network.replicas[member] = Raft(member, away, Random(member), 0)
    network.cut = {3}
    network.elect(1)
    network.cut = set()
    network.run(60_000)
    assert network[3].term == network[1].term
    assert network[3].leader is not None
    network.propose(network.leader().id, 4)
    assert network.digests(3) == [4]


def test_a_member_that_was_away_for_long_can_be_needed_for_an_election() -> None:
    network = Lockstep()
    network.cut = {1}
    far = DurableState(genesis((1, 2, 3)).snapshot, HardState(20 * JUMP))
    network.replicas[2] = Raft(2, far, Random(2), 0)
    network.run(30_000)
    assert network.leader().term > 20 * JUMP


def test_a_replica_at_the_end_of_terms_does_not_campaign() -> None:
    ended = DurableState(genesis((1,)).snapshot, HardState(INDEX_MAX))
    raft = Raft(1, ended, Random(1), 0)
    for now_ms in range(0, 2000, 10):
        raft.tick(now_ms)
    assert raft.role is Role.FOLLOWER
    assert raft.term == INDEX_MAX
