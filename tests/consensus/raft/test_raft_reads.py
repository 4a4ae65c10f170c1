"""Linearizable reads: rounds, forwarding, leases and what ends them."""

from __future__ import annotations

import pytest

from actors.consensus.raft import LimitReachedError, NotLeaderError, RaftOptions, ReadReady, Role
from actors.consensus.raft import messages as wire

from .lockstep import Lockstep, start


def reads_of(network: Lockstep, member: int) -> list[ReadReady]:
    return [ready for effects in network.effects[member] for ready in effects.reads]


def test_a_read_waits_for_a_round_that_began_after_it() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.run(60)
    network.cut = {2, 3}
    leader.read(1, network.now_ms)
    network.settle()
    assert reads_of(network, 1) == []
    late = wire.HeartbeatResponse(2, 1, 1, leader._round - 1, network.now_ms)
    leader.step(late, network.now_ms)
    assert not leader._reads
    leader.step(wire.HeartbeatResponse(2, 1, 1, leader._round, network.now_ms), network.now_ms)
    network.settle()
    assert reads_of(network, 1) == [ReadReady(1, 1)]


def test_reads_that_come_together_share_a_round() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.delivered.clear()
    for read_id in range(20):
        leader.read(read_id, network.now_ms)
    network.settle()
    assert len(reads_of(network, 1)) == 20
    assert len([m for m in network.delivered if isinstance(m, wire.HeartbeatRequest)]) == 2


def test_a_new_leader_answers_only_after_its_first_commit() -> None:
    network = Lockstep()
    network.elect(1)
    network.propose(1, 1, 2)
    network.lost = lambda m: isinstance(m, wire.AppendResponse) and m.to == 2
    leader = network.elect(2)
    leader.read(5, network.now_ms)
    network.settle()
    assert reads_of(network, 2) == []
    network.lost = lambda m: False
    network.run(120)
    (ready,) = reads_of(network, 2)
    assert ready.index >= 4


def test_a_follower_asks_the_leader() -> None:
    network = Lockstep()
    network.elect(1)
    network.propose(1, 1)
    network[3].read(8, network.now_ms)
    network.settle()
    assert reads_of(network, 3) == [ReadReady(8, 2)]


def test_an_answer_to_an_earlier_life_is_dropped() -> None:
    reader = start(2, incarnation=5)
    reader.step(wire.ReadResponse(1, 2, 0, 4, 1, 9), 0)
    assert not reader.has_effects
    reader.step(wire.ReadResponse(1, 2, 0, 5, 1, 9), 0)
    assert reader.take_effects().reads == (ReadReady(1, 9),)


def test_reads_are_bounded() -> None:
    network = Lockstep(options=RaftOptions(reads_max=2))
    leader = network.elect(1)
    network.cut = {2, 3}
    leader.read(1, network.now_ms)
    leader.read(2, network.now_ms)
    with pytest.raises(LimitReachedError, match="reads_max"):
        leader.read(3, network.now_ms)
    leader.step(wire.ReadRequest(2, 1, 1, 0, 4), network.now_ms)
    assert len(leader._reads_pending) == 2
    with pytest.raises(NotLeaderError):
        start().read(1, 0)


def leased() -> Lockstep:
    network = Lockstep(options=RaftOptions(lease_reads=True, clock_rate_error_max=0.1))
    network.run(600)
    return network


def test_a_lease_answers_at_once_and_runs_out() -> None:
    network = leased()
    leader = network.leader()
    network.cut = set(network.replicas) - {leader.id}
    leader.read(1, network.now_ms)
    assert [ready.read_id for ready in leader.take_effects().reads] == [1]
    ends_ms = network.now_ms + int(leader.options.lease_ms) + 1
    leader.read(2, ends_ms)
    assert not leader.take_effects().reads
    assert leader.role is Role.LEADER


def test_a_lease_is_shorter_than_the_stickiness_that_it_rests_on() -> None:
    exact = RaftOptions(lease_reads=True, clock_rate_error_max=0.0)
    assert exact.lease_ms == exact.election_timeout_ms_min
    careful = RaftOptions(lease_reads=True, clock_rate_error_max=0.1)
    # A fast follower's timeout, seen on a slow leader's clock.
    assert careful.lease_ms == pytest.approx(careful.election_timeout_ms_min / 1.1 * 0.9)


def test_a_leader_that_hands_over_has_no_lease_any_more() -> None:
    network = leased()
    leader = network.leader()
    target = next(member for member in network.replicas if member != leader.id)
    network.lost = lambda m: isinstance(m, wire.TransferRequest)
    leader.transfer_leadership(target)
    network.settle()
    network.run(leader.options.election_timeout_ms_max + 60)
    assert leader.role is Role.LEADER
    network.cut = {member for member in network.replicas if member != leader.id}
    leader.read(1, network.now_ms)
    assert not leader.take_effects().reads


def test_a_restarted_voter_respects_a_lease_that_it_forgot() -> None:
    options = RaftOptions(lease_reads=True)
    voter = start(2, options=options, now_ms=1000)
    voter.step(wire.VoteRequest(3, 2, 5, 9, 5), 1001)
    assert voter.vote == 0
    voter.step(wire.VoteRequest(3, 2, 5, 9, 5), 1000 + options.election_timeout_ms_min)
    assert voter.vote == 3
