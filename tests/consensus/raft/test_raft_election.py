"""Elections: a lone member, pre-vote, votes, stickiness, check-quorum."""

from __future__ import annotations

from random import Random

import pytest

from actors.consensus.raft import (
    DurableState,
    EntryKind,
    HardState,
    Message,
    ProtocolViolationError,
    Raft,
    RaftOptions,
    Role,
    genesis,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.records import Configuration, SnapshotMeta

from .lockstep import Lockstep, block, proposal, role_of, start, with_log


def test_a_lone_member_leads_and_commits_as_soon_as_its_disk_answers() -> None:
    raft = start(voters=(1,))
    vote = raft.take_effects().write
    assert vote is not None
    assert vote.hard_state == HardState(1, 1)
    assert raft.role is Role.CANDIDATE
    raft.persisted(vote.ticket)
    assert role_of(raft) is Role.LEADER
    assert raft.propose(proposal(7), 0) == 2
    effects = raft.take_effects()
    assert effects.write is not None
    assert [entry.kind for entry in effects.write.entries] == [EntryKind.NOOP, EntryKind.BLOCK]
    assert effects.committed == ()
    raft.persisted(effects.write.ticket)
    assert raft.take_effects().committed == effects.write.entries
    assert not raft.has_effects


def test_a_lone_member_reads_without_asking_anybody() -> None:
    network = Lockstep((1,))
    network[1].read(5, 0)
    (ready,) = network[1].take_effects().reads
    assert (ready.read_id, ready.index) == (5, 1)
    assert network.delivered == []


def test_a_lone_member_that_may_owe_a_lease_waits_at_restart() -> None:
    """Found by the simulator: the leader, itself no voter any more, read from a lease meanwhile."""
    options = RaftOptions(lease_reads=True)
    fresh = start(voters=(1,), options=options)
    assert fresh.role is Role.CANDIDATE
    durable = DurableState(SnapshotMeta(0, 0, Configuration((1,))), HardState(4, 0))
    restarted = start(durable=durable, options=options)
    assert restarted.role is Role.FOLLOWER
    restarted.tick(options.election_timeout_ms_max + 1)
    assert role_of(restarted) is Role.CANDIDATE


def test_three_members_elect_one_leader_whose_first_entry_commits() -> None:
    network = Lockstep()
    network.run(400)
    leader = network.leader()
    assert [raft.leader for raft in network.replicas.values()] == [leader.id] * 3
    network.run(60)
    assert [raft.commit_index for raft in network.replicas.values()] == [1, 1, 1]


def test_no_election_without_a_fault() -> None:
    network = Lockstep((1, 2, 3, 4, 5))
    network.run(400)
    term = network.leader().term
    network.run(5_000)
    assert {raft.term for raft in network.replicas.values()} == {term}


def test_timeouts_are_drawn_between_the_bounds() -> None:
    options = RaftOptions()
    deadlines = [Raft(1, genesis((1, 2)), Random(seed), 0).next_deadline_ms for seed in range(200)]
    assert min(deadlines) >= options.election_timeout_ms_min
    assert max(deadlines) <= options.election_timeout_ms_max
    assert len(set(deadlines)) > 50


def test_a_replica_that_was_cut_off_disturbs_nobody_when_it_returns() -> None:
    network = Lockstep()
    network.elect(1)
    network.cut = {3}
    network[3].tick(network.now_ms)
    for _ in range(10):
        network.run(400)
        network[3].tick(network.now_ms)
        network.settle()
    assert network[3].role is Role.PRE_CANDIDATE
    assert network[3].term == 1
    network.cut = set()
    network.run(400)
    assert network[1].role is Role.LEADER
    assert network[3].leader == 1
    assert {raft.term for raft in network.replicas.values()} == {1}


def test_a_leader_without_a_majority_steps_down_and_says_which_reads_failed() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.cut = {2, 3}
    leader.read(9, network.now_ms)
    network.run(leader.options.election_timeout_ms_max + 60)
    assert leader.role is not Role.LEADER
    assert [read for effects in network.effects[1] for read in effects.reads_failed] == [9]


def test_a_follower_with_a_leader_ignores_a_candidate_but_not_one_that_the_leader_sent() -> None:
    network = Lockstep()
    network.elect(1)
    follower = network[2]
    follower.step(wire.VoteRequest(3, 2, 9, 50, 9), network.now_ms)
    assert (follower.term, follower.vote) == (1, 1)
    follower.step(wire.VoteRequest(3, 2, 9, 50, 9, transfer=True), network.now_ms)
    assert (follower.term, follower.vote) == (9, 3)


def test_a_voter_stays_loyal_when_its_term_moves_on() -> None:
    voter = start(2)
    voter.step(wire.HeartbeatRequest(1, 2, 1, 0, 1, 1), 100)
    voter.step(wire.PreVoteResponse(3, 2, 5, False), 105)
    assert (voter.term, voter.leader) == (5, None)
    voter.step(wire.VoteRequest(3, 2, 5, 9, 5), 110)
    assert voter.vote == 0
    voter.step(wire.VoteRequest(3, 2, 5, 9, 5), 100 + voter.options.election_timeout_ms_min)
    assert voter.vote == 3


def test_a_vote_is_sent_only_when_it_is_durable_and_given_once_a_term() -> None:
    voter = start(2)
    voter.step(wire.VoteRequest(1, 2, 1, 0, 0), 0)
    effects = voter.take_effects()
    assert effects.messages == ()
    assert effects.write is not None
    assert effects.write.hard_state == HardState(1, 1)
    assert effects.messages_after_write == (wire.VoteResponse(2, 1, 1, True),)
    voter.persisted(effects.write.ticket)
    voter.step(wire.VoteRequest(3, 2, 1, 5, 1), 0)
    assert voter.take_effects().messages == (wire.VoteResponse(2, 3, 1, False),)


def test_a_candidate_asks_for_votes_only_when_the_log_that_it_claims_is_durable() -> None:
    network = Lockstep()
    network.elect(1)
    network.hold_writes(2)
    network.propose(1, 1)
    network.cut = {1}
    network.now_ms += 400
    network[2].tick(network.now_ms)
    network.settle()
    assert network[2].role is Role.CANDIDATE
    assert not [m for m in network.delivered if isinstance(m, wire.VoteRequest) and m.sender == 2]
    network.release_writes(2)
    assert role_of(network[2]) is Role.LEADER


@pytest.mark.parametrize(("last_index", "last_term", "granted"), [(9, 1, False), (1, 2, False), (2, 2, True)])
def test_a_vote_needs_a_log_that_is_as_complete(last_index: int, last_term: int, granted: bool) -> None:
    entries = (block(1, 1), block(2, 2))
    durable = DurableState(genesis((1, 2, 3)).snapshot, HardState(2), entries=entries)
    voter = start(2, durable=durable)
    voter.step(wire.VoteRequest(1, 2, 3, last_index, last_term), 0)
    assert voter.take_effects().messages_after_write == (wire.VoteResponse(2, 1, 3, granted),)


def test_a_removed_voter_campaigns_while_its_removal_is_not_known_to_be_committed() -> None:
    """Found by the simulator: the one voter of the new configuration lacked entries that only those that it
    left behind could bring; as none of them campaigned, nobody could win."""
    network = Lockstep()
    network.elect(1)
    network.run(60)
    network.lost = lambda m: m.to == 2 and any(e.index == 3 for e in getattr(m, "entries", ()))
    network[1].change_membership((2,), (1, 3))
    network.settle()
    assert network[1].configuration.voters == (2,)
    assert not network[1].configuration.is_joint
    network[1].tick(network.now_ms)
    network.cut = {2}
    network.run(500)
    assert network[1].role is not Role.LEADER
    network.lost = lambda m: False
    network.cut = set()
    network.run(1500)
    assert network[2].role is Role.LEADER
    assert network[2].configuration == network[1].configuration == network[3].configuration


def test_the_removed_is_no_candidate_once_it_knows() -> None:
    network = Lockstep()
    network.elect(1)
    network.run(60)
    network[1].change_membership((1, 2), ())
    network.settle()
    network.run(60)
    assert not network[3].is_promotable or network[3].configuration.is_joint
    assert network[1].is_promotable


def test_two_leaders_of_one_term_are_a_violation() -> None:
    network = Lockstep()
    leader = network.elect(1)
    for message in (
        wire.AppendRequest(2, 1, 1, 0, 0, 0, 0),
        wire.HeartbeatRequest(2, 1, 1, 0, 0, 0),
    ):
        with pytest.raises(ProtocolViolationError, match="leads term 1 beside 1"):
            leader.step(message, network.now_ms)
    assert leader.role is Role.LEADER


@pytest.mark.parametrize(("sender", "to"), [(1, 1), (2, 3)])
def test_a_message_that_is_not_for_this_replica_is_a_violation(sender: int, to: int) -> None:
    with pytest.raises(ProtocolViolationError, match="reached 1"):
        start(1).step(wire.TransferRequest(sender, to, 0), 0)


def without_leader(*terms: int, member: int) -> Raft:
    """A follower of three with this log, which has heard of no leader for long."""
    raft = with_log(*terms, member=member)
    raft.tick(1)
    return raft


def expire(raft: Raft) -> list[Message]:
    """Let its timer run out; what it says then."""
    raft.tick(raft.next_deadline_ms)
    assert raft.role is Role.PRE_CANDIDATE
    return list(raft.take_effects().messages)


def to(member: int, messages: list[Message]) -> Message:
    (found,) = [message for message in messages if message.to == member]
    return found


@pytest.mark.parametrize("logs", [((1, 1), (1, 1)), ((1,), (1, 1)), ((1, 1), (1,))])
def test_of_two_whose_timers_run_out_at_once_one_gives_way(logs: tuple[tuple[int, ...], ...]) -> None:
    """Both would become candidates of one term and refuse each other, a round of timeouts lost."""
    one, other = without_leader(*logs[0], member=1), without_leader(*logs[1], member=2)
    asked = {1: to(2, expire(one)), 2: to(1, expire(other))}  # they cross
    now_ms = max(one.now_ms, other.now_ms)
    first, behind = (one, other) if len(logs[0]) > len(logs[1]) else (other, one)
    for raft in (one, other):
        raft.step(asked[3 - raft.id], now_ms)
    answers = {raft.id: to(3 - raft.id, list(raft.take_effects().messages)) for raft in (one, other)}
    for raft in (one, other):
        raft.step(answers[3 - raft.id], now_ms)
    assert (first.role, behind.role) == (Role.CANDIDATE, Role.FOLLOWER)
    assert behind.next_deadline_ms >= now_ms + behind.options.election_timeout_ms_min


def test_a_follower_that_would_vote_for_another_lets_it_try_first_but_once() -> None:
    follower = without_leader(1, member=2)
    deadline_ms = follower.next_deadline_ms
    request = wire.PreVoteRequest(1, 2, 2, 1, 1)
    follower.step(request, deadline_ms - 1)
    later_ms = follower.next_deadline_ms
    assert later_ms >= deadline_ms - 1 + follower.options.election_timeout_ms_min
    follower.step(request, later_ms - 1)  # asks again, and gets no further than that
    assert follower.next_deadline_ms == later_ms
    expire(follower)
    follower.step(wire.PreVoteRequest(3, 2, 2, 5, 1), later_ms)  # ahead of it; it has given way before
    assert follower.role is Role.PRE_CANDIDATE
    (answer,) = follower.take_effects().messages
    assert isinstance(answer, wire.PreVoteResponse)
    assert answer.granted


def test_who_refused_out_of_loyalty_is_asked_again_before_the_next_timeout() -> None:
    candidate, voter = without_leader(1, member=1), with_log(1, member=2)
    asked = to(2, expire(candidate))
    began_ms = candidate.now_ms
    voter.step(wire.HeartbeatRequest(3, 2, 1, 0, 1, 1), began_ms - 100)  # heard the leader's last words
    voter.take_effects()
    voter.step(asked, began_ms)
    candidate.step(to(1, list(voter.take_effects().messages)), began_ms)
    assert candidate.role is Role.PRE_CANDIDATE
    again_ms = candidate.next_deadline_ms
    assert again_ms == began_ms + candidate.options.heartbeat_interval_ms
    candidate.tick(again_ms)
    voter.step(to(2, list(candidate.take_effects().messages)), again_ms)
    candidate.step(to(1, list(voter.take_effects().messages)), again_ms)
    assert role_of(candidate) is Role.CANDIDATE


def test_a_late_refusal_does_not_outweigh_a_later_pre_vote() -> None:
    candidate = without_leader(1, member=1)
    expire(candidate)
    candidate.step(wire.PreVoteResponse(2, 1, 1, False), candidate.now_ms)
    candidate.step(wire.PreVoteResponse(2, 1, 2, True), candidate.now_ms)
    assert candidate.role is Role.CANDIDATE


def test_time_does_not_run_backwards() -> None:
    raft = start(now_ms=1000)
    raft.tick(500)
    assert raft.now_ms == 1000
    raft.step(wire.HeartbeatRequest(2, 1, 1, 0, 0, 0), 900)
    assert raft.next_deadline_ms >= 1150
