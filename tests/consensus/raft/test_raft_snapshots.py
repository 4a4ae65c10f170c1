"""Snapshots, compaction and restarts."""

from __future__ import annotations

import pytest

from actors.consensus.raft import (
    CompactionError,
    DurableState,
    HardState,
    RaftOptions,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.progress import ProgressState
from actors.consensus.raft.records import Configuration, SnapshotMeta

from .lockstep import DIGEST, Lockstep, block, start, with_log


def test_a_follower_behind_the_log_is_offered_a_state() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.cut = {3}
    network.propose(1, 1, 2, 3)
    taken = network.snapshot(1)
    network.propose(1, 4)
    network.cut = set()
    network.run(120)
    offers = [e.snapshot_offer for e in network.effects[3] if e.snapshot_offer]
    assert (offers[0].source, offers[0].snapshot) == (1, taken)
    assert [leader._progress[3].state] == [ProgressState.SNAPSHOT]
    assert network[3].snapshot_installed(taken)
    network.settle()
    network.run(60)
    assert leader._progress[3].state is ProgressState.REPLICATE
    assert network.digests(3) == [4]
    assert not network[3].snapshot_installed(taken)  # old news by now


def test_an_offer_without_report_is_made_again() -> None:
    network = Lockstep(options=RaftOptions(snapshot_retry_ms=200))
    network.elect(1)
    network.cut = {3}
    network.propose(1, 1, 2)
    network.snapshot(1)
    network.cut = set()
    network.run(600)
    assert len([e for e in network.effects[3] if e.snapshot_offer]) >= 2


def test_compaction_under_a_full_window_leads_to_a_snapshot() -> None:
    """Found by the simulator: the leader looked for an entry that it had just compacted."""
    network = Lockstep(options=RaftOptions(inflight_entries_max=1, append_entries_max=1))
    leader = network.elect(1)
    network.lost = lambda m: m.to == 3 and bool(getattr(m, "entries", ()))
    network.propose(1, 1, 2, 3)
    network.snapshot(1)
    leader.step(wire.HeartbeatResponse(3, 1, 1, 1, network.now_ms), network.now_ms)
    network.settle()
    assert leader._progress[3].state is ProgressState.SNAPSHOT


def test_a_log_that_holds_the_offered_state_already_is_kept() -> None:
    follower = with_log(1, 1, 1)
    follower.step(wire.HeartbeatRequest(1, 2, 1, 0, 1, 1), 0)
    snapshot = SnapshotMeta(2, 1, Configuration((1, 2, 3)), DIGEST)
    assert follower.snapshot_installed(snapshot)
    assert follower.log.last_index == 3
    assert (follower.commit_index, follower.handed_index) == (2, 2)


def test_a_state_replaces_a_log_that_diverged_and_the_disk_is_told() -> None:
    follower = with_log(1, 2, 2)
    follower.step(wire.HeartbeatRequest(1, 2, 3, 0, 1, 1), 0)
    snapshot = SnapshotMeta(2, 3, Configuration((1, 2)), DIGEST)
    assert follower.snapshot_installed(snapshot)
    write = follower.take_effects().write
    assert write is not None
    assert (write.snapshot, write.entries) == (snapshot, ())
    assert follower.configuration == Configuration((1, 2))
    assert follower.log.last_index == 2


def test_a_crash_between_the_state_and_the_reset_of_the_log_is_repaired() -> None:
    snapshot = SnapshotMeta(2, 3, Configuration((1, 2)), DIGEST)
    durable = DurableState(snapshot, HardState(3), entries=(block(1, 1), block(2, 2), block(3, 2)))
    raft = start(2, durable=durable)
    assert raft.log.last_index == 2
    write = raft.take_effects().write
    assert write is not None
    assert write.snapshot == snapshot


def test_compaction_respects_what_was_handed_out() -> None:
    network = Lockstep()
    leader = network.elect(1)
    network.propose(1, 1, 2, 3)
    with pytest.raises(CompactionError):
        leader.snapshot_at(5, DIGEST)
    first = network.snapshot(1, retain_entries=2)
    assert (first.index, leader.log.base_index) == (4, 2)
    network.propose(1, 4)
    network.snapshot(1)
    with pytest.raises(CompactionError):
        leader.compact(first)


def test_a_restart_continues_where_the_disk_says() -> None:
    raft = with_log(1, 1, 2, applied_index=2)
    assert (raft.term, raft.commit_index, raft.durable_index) == (2, 2, 3)
    assert not raft.has_effects
    with pytest.raises(CompactionError, match="log ends"):
        with_log(1, applied_index=9)
