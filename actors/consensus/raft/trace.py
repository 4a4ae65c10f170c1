"""State-machine events as plain records and as NDJSON lines, for a checker outside this program.

The checker is the TLA+ trace specification of etcd-io/raft (`tla/Traceetcdraft.tla`, `tla/etcdraft.tla`). The
lines are those of its `state_trace.go`: `{"tag": "trace", "ts": ..., "event": {...}}`. An event has `name`,
`nid`, `state` (term, vote, commit), `role`, `log` (last index), `conf` (voters, outgoing voters), and, as it
may be, `msg` and `prop`. Three keys come on top: `logTerm`, `learners`, and `time` in ms of the replica's
clock. `ts` is in us of the machine's monotonic clock, and of one width, since `validate.sh` sorts by the text
from the second colon on.

What the specification asks for, and how a replica meets it
- A message is received before it changes anything, and after its sender's `Ready`. A call for votes that a
  replica resists for its leader's sake counts as lost.
- A candidate answers its own call, and a leader acknowledges its own entries: both are sent before the
  `Ready` that writes them, and received when they are durable.
- Only a leader's `Commit` is told: a follower's commit index follows from what it receives.
- There is no pre-vote. A pre-candidate is a follower: a candidate becomes one when it begins another
  pre-campaign, and giving up a pre-campaign is no event.
- The first entry is genesis, of term 1: it names the members. So indexes are ours plus one, and no commit
  index is ever zero. Before it first commits anything else, a leader receives no acknowledgement but just
  then, since a heartbeat that names no commit index says that there was none.
- The founding entry, which changes no members, is a value.
- A request to append names no commit index beyond its last entry: the follower looks at no other.

What it does not know: it reads on up to the first of these.
- A change of members. Ours are all joint (Raft dissertation, section 4.3), and it has single steps only.
- The answer to a snapshot, which it takes for no answer of its kinds.
- A message that arrives twice, and a later term learnt from a message that it has not: a refused pre-vote, a
  forwarded proposal or read, the call of a transfer.
- A replica that starts anew and knows less than at its last `Ready`. There all is durable at once, the commit
  index too; here that is kept as far as it is applied. So it reads on after an idle replica's restart only.

A file begins with the network's first term, and holds the lines of all members of one machine.
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

ADD_SERVER: Final = "AddNewServer"
ADD_LEARNER: Final = "AddLearner"
REMOVE_SERVER: Final = "RemoveServer"

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
    Role.PRE_CANDIDATE: "StateFollower",
    Role.CANDIDATE: "StateCandidate",
    Role.LEADER: "StateLeader",
}
_ENCODER = msgspec.json.Encoder()


class TraceRecord(msgspec.Struct, frozen=True):
    """One event, with the replica's state right after it, or before, where a message is received or members
    change. `target` is the configuration of such a change."""

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
    target: Configuration | None = None


def message_event(direction: str, message: Message) -> str | None:
    """The event's name for a message that is sent ("Send") or received ("Receive"); None if not traced."""
    found = _MESSAGE_EVENTS.get(type(message))
    return f"{direction}{found[0]}" if found else None


def changes(current: Configuration, target: Configuration) -> list[dict[str, str]]:
    """What a change from `current` to `target` does to each member, in the specification's words."""
    before, after = {*current.voters, *current.learners}, {*target.voters, *target.learners}
    actions = [(member, ADD_SERVER) for member in target.voters if member not in current.voters]
    actions += [(member, ADD_LEARNER) for member in target.learners if member not in current.learners]
    actions += [(member, REMOVE_SERVER) for member in sorted(before - after)]
    return [{"nid": str(member), "action": action} for member, action in actions]


def is_told(name: str, current: Configuration, target: Configuration) -> bool:
    """False if nobody comes, goes or turns: disks are named, or a joint configuration is left."""
    if name == CHANGE_CONF:
        return bool(changes(current, target))
    return (current.voters, current.outgoing, current.learners) != (
        target.voters,
        target.outgoing,
        target.learners,
    )


def to_ndjson(record: TraceRecord, at_us: int) -> bytes:
    """`record`, written at `at_us` of the machine's monotonic clock, as one line of JSON with its newline."""
    configuration = record.configuration
    event: dict[str, Any] = {
        "name": record.name,
        "time": record.time_ms,
        "nid": str(record.member),
        "state": {"term": record.term, "vote": str(record.vote), "commit": _index(record.commit)},
        "role": _ROLE_NAMES[record.role],
        "log": _index(record.last_index),
        "logTerm": _term(record.last_term),
        "conf": [_names(configuration.voters), _names(configuration.outgoing)],
        "learners": _names(configuration.learners),
    }
    if record.message is not None:
        event["msg"] = _message_fields(record.message)
    if record.target is not None:
        event["prop"] = {"cc": {"newconf": _names(record.target.voters)}}
        if record.name == CHANGE_CONF:
            event["prop"]["cc"]["changes"] = changes(configuration, record.target)
    return _ENCODER.encode({"tag": "trace", "ts": f"{at_us:020}", "event": event}) + b"\n"


def _names(members: tuple[int, ...]) -> list[str]:
    return [str(member) for member in members]


def _index(index: int) -> int:
    """Genesis is the first entry there."""
    return index + 1


def _term(term: int) -> int:
    """The term of an entry, genesis being of term 1 there."""
    return max(term, 1)


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
        last = message.prev_index + len(message.entries)
        fields.update(
            entries=len(message.entries),
            logTerm=_term(message.prev_term),
            index=_index(message.prev_index),
            commit=_index(min(message.commit, last)),
        )
    elif isinstance(message, AppendResponse):
        fields.update(index=_index(message.index), reject=message.rejected)
        if message.rejected:
            fields.update(logTerm=_term(message.hint_term), rejectHint=_index(message.hint_index))
    elif isinstance(message, HeartbeatRequest):  # zero until the follower has acknowledged something
        fields.update(commit=_index(message.commit) if message.commit else 0)
    elif isinstance(message, SnapshotRequest):
        fields.update(entries=_index(message.snapshot.index))
    elif isinstance(message, VoteRequest):
        fields.update(index=_index(message.last_index), logTerm=_term(message.last_term))
    elif isinstance(message, VoteResponse):
        fields.update(reject=not message.granted)
    return fields
