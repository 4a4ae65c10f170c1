"""State-machine events as plain records and as NDJSON lines, for a checker outside this program.

Names, keys and roles follow the trace validation of etcd-io/raft (`state_trace.go`), so that its TLA+ trace
specification can read them: `nid`, `state` (term, vote, commit), `role`, `log` (last index), `conf` (voters
and outgoing voters), `msg`. Three keys come on top: `logTerm`, `learners`, and `time` in ms of the replica's
clock. Heartbeats and snapshots are AppendEntries requests there. Pre-votes, which change nothing, are not
traced.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .effects import Role
from .messages import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    SnapshotRequest,
    VoteRequest,
    VoteResponse,
)
from .records import Configuration

INIT_STATE: Final = "InitState"
BECOME_FOLLOWER: Final = "BecomeFollower"
BECOME_CANDIDATE: Final = "BecomeCandidate"
BECOME_LEADER: Final = "BecomeLeader"
COMMIT: Final = "Commit"
REPLICATE: Final = "Replicate"
CHANGE_CONF: Final = "ChangeConf"
APPLY_CONF_CHANGE: Final = "ApplyConfChange"
READY: Final = "Ready"

# Message type -> (event's stem, the message's name in etcd's vocabulary).
_MESSAGE_EVENTS: dict[type[Message], tuple[str, str]] = {
    AppendRequest: ("AppendEntriesRequest", "MsgApp"),
    HeartbeatRequest: ("AppendEntriesRequest", "MsgHeartbeat"),
    SnapshotRequest: ("AppendEntriesRequest", "MsgSnap"),
    AppendResponse: ("AppendEntriesResponse", "MsgAppResp"),
    HeartbeatResponse: ("AppendEntriesResponse", "MsgHeartbeatResp"),
    VoteRequest: ("RequestVoteRequest", "MsgVote"),
    VoteResponse: ("RequestVoteResponse", "MsgVoteResp"),
}
_ROLE_NAMES = {
    Role.FOLLOWER: "StateFollower",
    Role.PRE_CANDIDATE: "StatePreCandidate",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
_ENCODER = msgspec.json.Encoder()


class TraceRecord(msgspec.Struct, frozen=True):
    """One event, with the replica's state right after it."""

    name: str
    time_ms: int
    member: int
    term: int
    vote: int
    commit: int
    role: Role
    last_index: int
    last_term: int
    configuration: Configuration
    message: Message | None = None


def message_event(direction: str, message: Message) -> str | None:
    """The event's name for a message that is sent ("Send") or received ("Receive"); None if not traced."""
    found = _MESSAGE_EVENTS.get(type(message))
    return f"{direction}{found[0]}" if found else None


def to_ndjson(record: TraceRecord) -> bytes:
    """`record` as one line of JSON, with its newline."""
    configuration = record.configuration
    line: dict[str, Any] = {
        "name": record.name,
        "time": record.time_ms,
        "nid": str(record.member),
        "state": {"term": record.term, "vote": str(record.vote), "commit": record.commit},
        "role": _ROLE_NAMES[record.role],
        "log": record.last_index,
        "logTerm": record.last_term,
        "conf": [[str(m) for m in half] for half in (configuration.voters, configuration.outgoing)],
        "learners": [str(m) for m in configuration.learners],
    }
    if record.message is not None:
        line["msg"] = _message_fields(record.message)
    if record.name in (CHANGE_CONF, APPLY_CONF_CHANGE):
        line["prop"] = {"cc": {"changes": [], "newconf": line["conf"][0]}}
    return _ENCODER.encode(line) + b"\n"


def _message_fields(message: Message) -> dict[str, Any]:
    """The fields that etcd's trace gives of every message, zero where a type has none."""
    fields: dict[str, Any] = {
        "type": _MESSAGE_EVENTS[type(message)][1],
        "term": message.term,
        "from": str(message.sender),
        "to": str(message.to),
        "entries": 0,
        "logTerm": 0,
        "index": 0,
        "commit": 0,
        "vote": "0",
        "reject": False,
        "rejectHint": 0,
    }
    if isinstance(message, AppendRequest):
        fields.update(
            entries=len(message.entries),
            logTerm=message.prev_term,
            index=message.prev_index,
            commit=message.commit,
        )
    elif isinstance(message, AppendResponse):
        fields.update(
            index=message.index,
            logTerm=message.hint_term,
            reject=message.rejected,
            rejectHint=message.hint_index,
        )
    elif isinstance(message, HeartbeatRequest):
        fields.update(commit=message.commit)
    elif isinstance(message, SnapshotRequest):
        fields.update(entries=message.snapshot.index)
    elif isinstance(message, VoteRequest):
        fields.update(index=message.last_index, logTerm=message.last_term)
    elif isinstance(message, VoteResponse):
        fields.update(reject=not message.granted)
    return fields
