"""The trace: etcd's vocabulary, one JSON object a line, and the order in which things happened."""

from __future__ import annotations

import json

from actors.consensus.raft import TraceRecord, to_ndjson

from .lockstep import Lockstep

VOCABULARY = {
    "InitState",
    "BecomeCandidate",
    "BecomeFollower",
    "BecomeLeader",
    "Commit",
    "Replicate",
    "ChangeConf",
    "ApplyConfChange",
    "Ready",
    "SendAppendEntriesRequest",
    "ReceiveAppendEntriesRequest",
    "SendAppendEntriesResponse",
    "ReceiveAppendEntriesResponse",
    "SendRequestVoteRequest",
    "ReceiveRequestVoteRequest",
    "SendRequestVoteResponse",
    "ReceiveRequestVoteResponse",
}
KEYS = {"name", "time", "nid", "state", "role", "log", "logTerm", "conf", "learners"}
MESSAGE_KEYS = {
    "type",
    "term",
    "from",
    "to",
    "entries",
    "logTerm",
    "index",
    "commit",
    "vote",
    "reject",
    "rejectHint",
}


def traced() -> tuple[list[TraceRecord], Lockstep]:
    records: list[TraceRecord] = []
    network = Lockstep(spares=(4,), on_trace=records.append)
    network.elect(1)
    network.propose(1, 1, 2)
    network.run(60)
    network[1].change_membership((1, 2, 3), (4,))
    network.settle()
    network.cut = {4}
    network.propose(1, 3)
    network.snapshot(1)
    network.cut = set()
    network.run(120)
    network[1].transfer_leadership(2)
    network.settle()
    return records, network


def test_every_event_is_in_the_vocabulary_and_all_of_it_occurs() -> None:
    records, _ = traced()
    assert {record.name for record in records} == VOCABULARY
    types = {type(record.message).__name__ for record in records if record.message is not None}
    assert types == {
        "AppendRequest",
        "AppendResponse",
        "HeartbeatRequest",
        "HeartbeatResponse",
        "SnapshotRequest",
        "VoteRequest",
        "VoteResponse",
    }


def test_a_line_is_one_json_object_with_all_keys() -> None:
    records, _ = traced()
    for record in records:
        line = to_ndjson(record)
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        event = json.loads(line)
        assert set(event) >= KEYS
        assert set(event["state"]) == {"term", "vote", "commit"}
        if record.message is not None:
            assert set(event["msg"]) == MESSAGE_KEYS
        if record.name in ("ChangeConf", "ApplyConfChange"):
            assert event["prop"]["cc"]["newconf"] == event["conf"][0]


def test_the_trace_of_an_election_tells_it_in_order() -> None:
    records, _ = traced()
    names = [record.name for record in records if record.member == 1 and record.term == 1]
    told = [name for name in names if name.startswith("Become") or "Vote" in name or name == "Commit"]
    assert told[:7] == [
        "BecomeCandidate",
        "SendRequestVoteRequest",
        "SendRequestVoteRequest",
        "ReceiveRequestVoteResponse",
        "BecomeLeader",
        "ReceiveRequestVoteResponse",
        "Commit",
    ]


def test_tracing_changes_nothing() -> None:
    _, network = traced()
    silent = Lockstep(spares=(4,))
    silent.elect(1)
    silent.propose(1, 1, 2)
    assert network.digests(2)[:2] == silent.digests(2) == [1, 2]
    assert network[2].term == 2
