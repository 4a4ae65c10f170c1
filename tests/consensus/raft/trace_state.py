"""Lines and state of the TLA+ trace specification of etcd-io/raft, as its reader needs them.

The names in double quotes are those of `tla/etcdraft.tla` and `tla/Traceetcdraft.tla`; field names those of
`state_trace.go`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

NIL: Final = "0"
FOLLOWER, CANDIDATE, LEADER = "StateFollower", "StateCandidate", "StateLeader"
BOOTSTRAP: Final = ("InitState", "BecomeFollower", "ApplyConfChange")
EVENT_KEYS: Final = {"name", "nid", "state", "role", "log", "conf"}
MESSAGE_KEYS: Final = {
    "type": str,
    "term": int,
    "from": str,
    "to": str,
    "entries": int,
    "logTerm": int,
    "index": int,
    "commit": int,
    "vote": str,
    "reject": bool,
    "rejectHint": int,
}

Conf = tuple[frozenset[str], frozenset[str]]
Event = dict[str, Any]


class UnreadableError(Exception):
    """No step of the specification is what a line says."""


class LogEntry(NamedTuple):
    """An entry; `conf` is None for a value."""

    term: int
    conf: frozenset[str] | None = None


@dataclass(frozen=True)
class Sent:
    """A message as the specification has it."""

    type: str
    term: int
    source: str
    dest: str
    index: int = 0  # of the entry before the first, or the last one's, or the reach of an acknowledgement
    log_term: int = 0
    entries: tuple[LogEntry, ...] = ()
    commit: int = 0
    reject: bool = False

    def is_told_by(self, msg: Event) -> bool:
        """ "LoglineIsAppendEntriesRequest" and the three like it."""
        same = (self.type, self.term, self.source, self.dest, self.reject, len(self.entries)) == (
            msg["type"],
            msg["term"],
            msg["from"],
            msg["to"],
            msg["reject"],
            self._length(msg),
        )
        if self.type in ("MsgApp", "MsgSnap", "MsgVote"):
            same = same and (self.index, self.log_term) == (msg["index"], msg["logTerm"])
        if self.type in ("MsgApp", "MsgHeartbeat"):
            same = same and self.commit == msg["commit"]
        if self.type == "MsgAppResp" and not self.reject:
            same = same and self.index == msg["index"]
        return same

    def _length(self, msg: Event) -> int:
        length = msg["entries"]
        return int(length) if self.type in ("MsgApp", "MsgHeartbeat", "MsgSnap") else 0


@dataclass
class Server:
    """The variables of one server, and its durable ones as of its last Ready."""

    name: str
    term: int
    vote: str
    role: str
    log: list[LogEntry]
    commit: int
    conf: Conf
    responded: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)
    match: dict[str, int] = field(default_factory=dict)
    pending_change: int = 0
    durable: tuple[int, str, int, int, Conf] = (0, NIL, 0, 0, (frozenset(), frozenset()))

    def __post_init__(self) -> None:
        self.persist()

    def persist(self) -> None:
        """ "PersistState"."""
        self.durable = self.term, self.vote, len(self.log), self.commit, self.conf

    def follow(self, term: int) -> None:
        """ "BecomeFollowerOfTerm"."""
        if term != self.term:
            self.vote = NIL
        self.term, self.role = term, FOLLOWER

    def term_at(self, index: int) -> int:
        return self.log[index - 1].term if 0 < index <= len(self.log) else 0

    def is_quorum(self, members: Iterable[str]) -> bool:
        """ "Quorum": of the incoming configuration alone."""
        return 2 * len(set(members) & self.conf[0]) > len(self.conf[0])


def events_of(lines: Iterable[bytes]) -> list[Event]:
    """ "TraceLog": the events of tagged lines. Raises UnreadableError at a missing or wrong field."""
    parsed = [json.loads(line) for line in lines]
    events = [line["event"] for line in parsed if line.get("tag") == "trace"]
    for number, event in enumerate(events, start=1):
        msg = event.get("msg", {})
        fits = set(event) >= EVENT_KEYS and set(event["state"]) == {"term", "vote", "commit"}
        fits = fits and len(event["conf"]) == 2 and event["role"] in (FOLLOWER, CANDIDATE, LEADER)
        fits = fits and ("msg" in event) == event["name"].startswith(("Send", "Receive"))
        fits = fits and (not msg or {key: type(found) for key, found in msg.items()} == MESSAGE_KEYS)
        if event["name"] == "ChangeConf":
            found = event["prop"]["cc"]["changes"]
            fits = fits and bool(found) and set(found[0]) == {"nid", "action"}  # "TraceServer" looks at it
        if not fits:
            raise UnreadableError(f"event {number} lacks a field: {event}")
    return events


def conf_of(event: Event) -> Conf:
    """ "ConfFromLog"."""
    return frozenset(event["conf"][0]), frozenset(event["conf"][1])
