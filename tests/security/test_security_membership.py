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
from actors.consensus.raft.terms import TERM_MS, term_ceiling
from tests.consensus.raft.lockstep import Lockstep


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


def under(ceiling: int) -> Lockstep:
    network = Lockstep()
    network.elect(1)
    for raft in network.replicas.values():
        raft.term_ceiling = ceiling
    return network


@pytest.mark.parametrize("term", [1001, 2**40, TERM_MAX])
def test_a_member_cannot_carry_the_term_beyond_what_elections_could_have_made_of_it(term: int) -> None:
    network = under(1000)
    for member in (1, 2):
        for lie in lies(3, member, term):
            network[member].step(lie, network.now_ms)
    assert [network[member].term for member in (1, 2)] == [1, 1]
    assert network[1].role is Role.LEADER


def test_a_term_at_the_ceiling_is_left_behind_as_the_network_ages() -> None:
    network = under(1000)
    network[2].step(wire.HeartbeatRequest(3, 2, 1000, 0, 1, 0), network.now_ms)
    network.settle()
    network.run(1000)
    assert all(raft.term <= 1000 for raft in network.replicas.values())
    for raft in network.replicas.values():
        raft.term_ceiling = 1001
    network.run(2000)
    assert network.leader().term == 1001
    network.propose(network.leader().id, 5)
    assert network.digests(2) == [5]


def test_the_ceiling_rises_faster_than_elections_and_fits_for_ever() -> None:
    assert term_ceiling(0) == term_ceiling(-5) == 2**20
    assert term_ceiling(60_000) - term_ceiling(0) == 1200
    assert RaftOptions().election_timeout_ms_min > TERM_MS
    assert term_ceiling(INDEX_MAX) <= TERM_MAX


def test_terms_end_below_what_fits() -> None:
    for term in (TERM_MAX + 1, INDEX_MAX):
        raw = wire.encode(wire.HeartbeatRequest(3, 2, term, 0, 1, 0))
        with pytest.raises(MessageError, match="term"):
            wire.decode(raw)


def test_a_member_that_was_away_for_many_elections_follows_at_once() -> None:
    network = Lockstep()
    away = DurableState(genesis((1, 2, 3)).snapshot, HardState(1_000_000))
    for member in (1, 2):
        network.replicas[member] = Raft(member, away, Random(member), 0)
    network.cut = {3}
    network.elect(1)
    network.cut = set()
    network.run(1000)
    assert network[3].term == network[1].term
    network.propose(network.leader().id, 4)
    assert network.digests(3) == [4]


def test_a_member_of_an_absurd_term_disturbs_nobody() -> None:
    network = under(10**6)
    absurd = DurableState(genesis((1, 2, 3)).snapshot, HardState(INDEX_MAX))
    network.replicas[3] = Raft(3, absurd, Random(3), network.now_ms)
    network.replicas[3].term_ceiling = 10**6
    network.run(3000)
    assert (network[1].term, network[1].role) == (1, Role.LEADER)
    assert network[3].role is Role.FOLLOWER
