"""Replication: batches, windows, back-up, persistence beside it, bounds, block votes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from actors.consensus.raft import (
    DurableState,
    Entry,
    EntryKind,
    FollowerStatus,
    LimitReachedError,
    NotLeaderError,
    ProtocolViolationError,
    RaftOptions,
    Role,
    StaleTermError,
    UnknownTicketError,
    VoteReceived,
    genesis,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.log import Log
from actors.consensus.raft.membership import configuration_entry
from actors.consensus.raft.progress import ProgressState
from actors.consensus.raft.records import Configuration

from .lockstep import Lockstep, block, block_vote, proposal, start, with_log


def appends(network: Lockstep, to: int) -> list[wire.AppendRequest]:
    return [m for m in network.delivered if isinstance(m, wire.AppendRequest) and m.to == to]


def test_proposals_of_one_round_travel_together_and_commit_everywhere() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.delivered.clear()
    for number in range(5):
        leader.propose(proposal(number), network.now_ms)
    network.settle()
    assert [len(request.entries) for request in appends(network, 2) if request.entries] == [5]
    assert network.digests(1) == network.digests(2) == network.digests(3) == [0, 1, 2, 3, 4]


def test_a_majority_of_followers_commits_before_the_leader_has_written() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.hold_writes(1)
    network.propose(1, 7)
    assert leader.commit_index == 2
    assert leader.durable_index == 1
    assert network.digests(1) == []  # not durable here, so not applied here
    assert network.digests(2) == [7]
    network.release_writes(1)
    assert network.digests(1) == [7]


def test_a_follower_acknowledges_only_what_is_durable() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.cut = {3}
    network.hold_writes(2)
    network.propose(1, 7)
    assert leader.commit_index == 1
    network.release_writes(2)
    assert leader.commit_index == 2


def test_a_repeated_request_is_acknowledged_only_after_the_first_write() -> None:
    follower = with_log(1)
    request = wire.AppendRequest(1, 2, 1, 1, 1, 0, 0, (block(2, 1),))
    follower.step(request, 0)
    first = follower.take_effects()
    follower.step(request, 0)
    second = follower.take_effects()
    assert first.write is not None
    assert second.write is not None
    assert second.write.is_barrier
    assert second.messages == ()
    assert second.messages_after_write[0].index == 2  # type: ignore[attr-defined]


def test_an_overtaken_write_does_not_count_for_what_replaced_it() -> None:
    follower = with_log(1)
    follower.step(wire.AppendRequest(1, 2, 1, 1, 1, 0, 0, (block(2, 1), block(3, 1))), 0)
    first = follower.take_effects().write
    follower.step(wire.AppendRequest(3, 2, 2, 1, 1, 0, 0, (block(2, 2), block(3, 2))), 0)
    second = follower.take_effects().write
    assert first is not None
    assert second is not None
    assert [entry.term for entry in second.entries] == [2, 2]
    follower.persisted(first.ticket)
    assert follower.durable_index == 1
    follower.persisted(second.ticket)
    assert follower.durable_index == 3


def test_an_acknowledgement_of_a_write_that_was_never_asked_for_is_refused() -> None:
    with pytest.raises(UnknownTicketError):
        start().persisted(1)


def test_requests_are_pipelined_within_the_windows() -> None:
    options = RaftOptions(append_entries_max=2, inflight_entries_max=4)
    network = Lockstep(options=options)
    leader = network.elect(1)
    network.cut = {3}
    network.hold_writes(2)
    network.delivered.clear()
    for number in range(10):
        leader.propose(proposal(number), network.now_ms)
    network.settle()
    assert [len(request.entries) for request in appends(network, 2)] == [2, 2]
    network.release_writes(2)
    assert network.digests(1) == list(range(10))


def test_bytes_are_capped_too_but_one_large_body_always_passes() -> None:
    options = RaftOptions(append_bytes_max=250, inflight_bytes_max=300)
    network = Lockstep(options=options)
    leader = network.elect(1)
    network.cut = {3}
    network.hold_writes(2)
    network.delivered.clear()
    for size_bytes in (100, 100, 100, 5000, 10):
        leader.propose(proposal(size_bytes, size_bytes), network.now_ms)
    network.settle()
    assert [[e.size_bytes for e in request.entries] for request in appends(network, 2)] == [[100, 100], [100]]
    network.release_writes(2)
    assert network.digests(2) == [100, 100, 100, 5000, 10]


def test_a_lost_request_is_found_and_repaired() -> None:
    network = Lockstep()
    network.elect(1)
    network.lost = lambda m: m.to == 2 and bool(getattr(m, "entries", ()))
    network.propose(1, 1, 2, 3)
    assert network.digests(2) == []
    network.lost = lambda m: False
    network.run(120)
    assert network.digests(2) == [1, 2, 3]


def test_back_up_skips_whole_terms() -> None:
    follower = with_log(1, 1, 2, 2, 2, 2, 2, 2)
    follower.step(wire.AppendRequest(1, 2, 5, 7, 4, 0, 3), 0)
    reply = follower.take_effects()
    (found,) = reply.messages or reply.messages_after_write
    assert found == wire.AppendResponse(2, 1, 5, 7, rejected=True, hint_index=7, hint_term=2, round=3)
    network = Lockstep()
    leader = network.elect(1)
    leader.log = Log(
        DurableState(
            leader.log.snapshot, entries=tuple(block(i, t) for i, t in enumerate((1, 1, 1, 4, 4, 4, 4, 4), 1))
        )
    )
    progress = leader._progress[2]
    progress.become(ProgressState.PROBE, 8)
    leader._on_append_response(msgspec.structs.replace(found, sender=2, to=1, term=1))
    assert progress.next == 4  # one step: past all of the leader's term 4


def test_a_divergent_follower_is_repaired() -> None:
    network = Lockstep()
    network.elect(1)
    network.run(60)
    network.cut = {1}
    network[1].propose(proposal(90), network.now_ms)
    network[1].propose(proposal(91), network.now_ms)
    network.elect(2)
    network.propose(2, 1, 2, 3)
    network.cut = set()
    network.run(200)
    assert network.digests(1) == network.digests(2) == [1, 2, 3]


def test_entries_of_older_terms_commit_only_with_one_of_the_leaders_own() -> None:
    raft = with_log(1, 2, member=1)
    raft.tick(301)
    raft.step(wire.PreVoteResponse(2, 1, 3, True), 301)
    write = raft.take_effects().write
    assert write is not None
    raft.persisted(write.ticket)
    raft.step(wire.VoteResponse(2, 1, 3, True), 302)
    assert raft.role is Role.LEADER
    write = raft.take_effects().write
    assert write is not None
    raft.step(wire.AppendResponse(2, 1, 3, 2), 303)
    assert raft.commit_index == 0  # on two of three disks, but of an earlier term
    raft.persisted(write.ticket)
    raft.step(wire.AppendResponse(3, 1, 3, 3), 304)
    assert raft.commit_index == 3


@pytest.mark.parametrize(
    "entries",
    [
        (block(4, 2),),
        (block(2, 2), block(2, 2)),
        (block(2, 3),),
        (block(2, 2), block(3, 1)),
    ],
    ids=["gap", "repeat", "later-term", "falling-term"],
)
def test_entries_out_of_order_are_a_violation(entries: tuple[Entry, ...]) -> None:
    follower = with_log(1, 1)
    with pytest.raises(ProtocolViolationError, match="out of order"):
        follower.step(wire.AppendRequest(1, 2, 2, 1, 1, 0, 0, entries), 0)
    assert follower.log.last_index == 2


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: wire.AppendRequest(3, 2, 2, 2, 2, 0, 0),
        lambda: wire.AppendRequest(3, 2, 2, 0, 0, 0, 0, (block(1, 1), block(2, 2))),
    ],
    ids=["before", "within"],
)
def test_rewriting_a_committed_entry_is_a_violation(request_of: Callable[[], wire.AppendRequest]) -> None:
    follower = with_log(1, 1, applied_index=2)
    with pytest.raises(ProtocolViolationError, match="rewrites committed entry 2"):
        follower.step(request_of(), 0)
    assert follower.log.last_term == 1


def test_an_acknowledgement_beyond_the_log_is_a_violation() -> None:
    network = Lockstep()
    leader = network.elect(1)
    with pytest.raises(ProtocolViolationError, match="acknowledges 99"):
        leader.step(wire.AppendResponse(2, 1, 1, 99), network.now_ms)


def test_the_uncommitted_log_is_bounded_in_entries_and_bytes() -> None:
    network = Lockstep(options=RaftOptions(uncommitted_entries_max=3, uncommitted_bytes_max=1000))
    leader = network.elect(1)
    network.cut = {2, 3}
    leader.propose(proposal(1, 5000), network.now_ms)  # alone, any size is let in
    with pytest.raises(LimitReachedError) as caught:
        leader.propose(proposal(2, 1), network.now_ms)
    assert (caught.value.name, caught.value.limit) == ("uncommitted_bytes_max", 1000)
    network.cut = set()
    network.run(60)
    network.cut = {2, 3}
    for number in range(3):
        leader.propose(proposal(number, 1), network.now_ms)
    with pytest.raises(LimitReachedError, match="uncommitted_entries_max"):
        leader.propose(proposal(9, 1), network.now_ms)
    network.cut = set()
    network.run(120)
    assert leader._uncommitted_bytes == 0


def test_the_log_in_memory_is_bounded_until_a_snapshot() -> None:
    network = Lockstep(options=RaftOptions(log_entries_max=4))
    leader = network.elect(1)
    network.propose(1, 1, 2, 3)
    with pytest.raises(LimitReachedError, match="log_entries_max"):
        leader.propose(proposal(4), network.now_ms)
    network.snapshot(1)
    network.propose(1, 4)
    assert network.digests(2) == [1, 2, 3, 4]


def test_a_follower_forwards_and_a_proposal_for_another_term_is_refused() -> None:
    network = Lockstep()
    leader = network.elect(1)
    assert network[2].propose(proposal(8), network.now_ms) is None
    network.settle()
    assert network.digests(2) == [8]
    with pytest.raises(StaleTermError):
        leader.propose(proposal(9, term=7), network.now_ms)
    network[2].propose(proposal(9, term=7), network.now_ms)
    network.settle()
    assert leader.proposals_dropped == 1
    network[3].step(wire.ForwardRequest(2, 3, 1, (proposal(9),)), network.now_ms)
    assert network[3].proposals_dropped == 1
    with pytest.raises(NotLeaderError):
        start().propose(proposal(1), 0)


def test_block_votes_ride_on_acknowledgements() -> None:
    network = Lockstep(options=RaftOptions(votes_pending_max=100))
    leader = network.elect(1)
    network.propose(1, 1)
    for index in range(1, 151):
        network[2].sign(block_vote(index))
    leader.sign(block_vote(2))
    network.settle()
    network.propose(1, 2)
    network.run(60)
    received = [vote for effects in network.effects[1] for vote in effects.votes]
    assert received[0] == VoteReceived(1, block_vote(2))
    # The oldest 50 were dropped at the bound; the rest took two messages.
    assert received[1:] == [VoteReceived(2, block_vote(index)) for index in range(51, 151)]


def test_a_batch_of_configurations_fits_into_a_message() -> None:
    disks = tuple((member, bytes(16)) for member in range(1, 190))
    configuration = Configuration((1, 2, 3), disks=disks)
    entries = tuple(configuration_entry(index, 1, configuration) for index in range(1, 400))
    log = Log(DurableState(genesis((1, 2, 3)).snapshot, entries=entries))
    batch = log.batch(1, 256, 1 << 30)
    assert 1 < len(batch) < 399
    wire.encode(wire.AppendRequest(1, 2, 1, 0, 0, 0, 0, batch))


def test_committed_entries_come_in_bounded_portions() -> None:
    network = Lockstep(options=RaftOptions(committed_entries_max=2))
    leader = network.elect(1)
    for number in range(7):
        leader.propose(proposal(number), network.now_ms)
    network.settle()
    assert network.digests(1) == list(range(7))
    assert max(len(effects.committed) for effects in network.effects[1]) == 2


def test_a_no_op_opens_each_term() -> None:
    network = Lockstep()
    network.elect(1)
    assert [entry.kind for entry in network[1].log.entries] == [EntryKind.NOOP]


def test_the_leader_tells_how_its_followers_fare() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.run(60)
    network.cut = {3}
    network.propose(1, 1, 2)
    network.run(40)
    assert leader.followers() == (
        FollowerStatus(2, ProgressState.REPLICATE, 3, 0, leader.followers()[0].silent_ms),
        FollowerStatus(3, ProgressState.REPLICATE, 1, 2, leader.followers()[1].silent_ms),
    )
    assert leader.followers()[0].silent_ms < leader.followers()[1].silent_ms
    assert network[2].followers() == ()
