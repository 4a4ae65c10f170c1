"""A reader as strict as the TLA+ trace specification of etcd-io/raft, for where no model checker is at hand.

It keeps the state of the specification (`tla/etcdraft.tla`), and each line must be a step that the trace
specification (`tla/Traceetcdraft.tla`) takes from there: the names in double quotes are theirs. Given a line,
at most one step is possible, so nothing is searched.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar, NoReturn

from .trace_state import (
    BOOTSTRAP,
    CANDIDATE,
    FOLLOWER,
    LEADER,
    NIL,
    Event,
    LogEntry,
    Sent,
    Server,
    UnreadableError,
    conf_of,
    events_of,
)


class Specification:
    """Reads a trace from its first line on."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.events = events_of(lines)
        self.position = 0
        self.messages: Counter[Sent] = Counter()
        self.pending: Counter[Sent] = Counter()
        self.bootstrap: set[int] = set()
        names = {event["nid"] for event in self.events}
        self.servers = {name: self._bootstrapped(name) for name in sorted(names)}
        first = self.servers[self.events[0]["nid"]]
        if not first.conf[0] <= names:
            raise UnreadableError(f"members without lines: {sorted(first.conf[0] - names)}")

    def _bootstrapped(self, name: str) -> Server:
        """ "LastBootstrapLog" and the initial variables: what a server's first lines say it starts from."""
        own = [number for number, event in enumerate(self.events) if event["nid"] == name]
        first = []
        for number in own:
            if self.events[number]["name"] not in BOOTSTRAP:
                break
            first.append(number)
        if not first:
            raise UnreadableError(f"server {name} does not begin with InitState")
        self.bootstrap |= set(first)
        event = self.events[first[-1]]
        voters = conf_of(event)[0]
        if event["name"] == "ApplyConfChange":
            voters = frozenset(event["prop"]["cc"]["newconf"])
        log = [LogEntry(1, voters)] * event["log"]
        state = event["state"]
        conf = voters, frozenset[str]()
        return Server(name, state["term"], state["vote"], event["role"], log, state["commit"], conf)

    # --- reading -----------------------------------------------------------------------------------------

    def read(self) -> None:
        """Reads all lines. Raises UnreadableError, which names the first that is no step."""
        for event in self.events[self.position :]:
            if self.position not in self.bootstrap:
                self._step(event)
            self.position += 1

    def read_prefix(self) -> int:
        """Reads as many lines as it can, and says how many."""
        with suppress(UnreadableError):
            self.read()
        return self.position

    def _step(self, event: Event) -> None:
        step = self._STEPS.get(event["name"])
        if step is None:
            self._refuse(event, "unknown event")
        server = self.servers[event["nid"]]
        if event["name"].startswith("Receive"):
            if event["msg"]["to"] != server.name:
                self._refuse(event, "not the receiver's")
        elif "msg" in event and event["msg"]["from"] != server.name:
            self._refuse(event, "not the sender's")
        step(self, event, server)

    def _refuse(self, event: Event, reason: str) -> NoReturn:
        raise UnreadableError(f"event {self.position + 1}, {reason}: {json.dumps(event)}")

    def _require(self, event: Event, reason: str, holds: bool) -> None:
        if not holds:
            self._refuse(event, reason)

    def _compare(self, event: Event, server: Server) -> None:
        """ "ValidatePreStates" and "ValidatePostStates"."""
        state = event["state"]
        said = state["term"], event["role"], state["vote"], event["log"], state["commit"], conf_of(event)
        known = server.term, server.role, server.vote, len(server.log), server.commit, server.conf
        self._require(event, f"the state should be {known}", said == known)

    def _send(self, event: Event, server: Server, message: Sent) -> None:
        self._compare(event, server)
        self._require(event, f"the message should be {message}", message.is_told_by(event["msg"]))
        self.pending[message] += 1

    # --- steps -------------------------------------------------------------------------------------------

    def _restart(self, event: Event, server: Server) -> None:
        """ "Restart"."""
        server.term, server.vote, last, server.commit, server.conf = server.durable
        server.role, server.log[last:] = FOLLOWER, []
        server.responded, server.granted, server.match = set(), set(), {}
        server.pending_change = 0
        self.pending = Counter({m: n for m, n in self.pending.items() if m.source != server.name})
        self._compare(event, server)

    def _time_out(self, event: Event, server: Server) -> None:
        """ "Timeout"."""
        self._require(event, "no leader's step", server.role in (FOLLOWER, CANDIDATE))
        self._require(event, "no voter", server.name in server.conf[0])
        server.term, server.vote, server.role = server.term + 1, server.name, CANDIDATE
        server.responded, server.granted = set(), set()
        said = event["role"], event["state"]["term"]
        self._require(event, f"the term should be {server.term}", said == (CANDIDATE, server.term))

    def _request_vote(self, event: Event, server: Server) -> None:
        """ "RequestVote", of another server."""
        to = event["msg"]["to"]
        self._require(event, "not a candidate", server.role == CANDIDATE and to != server.name)
        asked = server.conf[0] - server.responded
        self._require(event, "nobody to ask", to in asked)
        last = len(server.log)
        message = Sent("MsgVote", server.term, server.name, to, last, server.term_at(last))
        self._send(event, server, message)

    def _respond_to_vote(self, event: Event, server: Server) -> None:
        """ "RequestVote", of oneself; the others' responses are "Unused"."""
        if event["msg"]["to"] != server.name:
            return
        self._require(event, "not a candidate", server.role == CANDIDATE)
        self._require(event, "no vote left", server.name in server.conf[0] - server.responded)
        self._send(event, server, Sent("MsgVoteResp", server.term, server.name, server.name))

    def _become_leader(self, event: Event, server: Server) -> None:
        """ "BecomeLeader"."""
        self._require(event, "not elected", server.role == CANDIDATE and server.is_quorum(server.granted))
        server.role, server.match = LEADER, {server.name: len(server.log)}
        self._compare(event, server)

    def _replicate(self, event: Event, server: Server) -> None:
        """ "ClientRequest"."""
        self._require(event, "not a leader", server.role == LEADER)
        server.log.append(LogEntry(server.term))

    def _commit(self, event: Event, server: Server) -> None:
        """ "AdvanceCommitIndex"."""
        self._require(event, "not a leader", server.role == LEADER)
        agreed = [
            index
            for index in range(1, len(server.log) + 1)
            if server.is_quorum(member for member in server.conf[0] if server.match.get(member, 0) >= index)
        ]
        if agreed and server.term_at(agreed[-1]) == server.term:
            server.commit = max(server.commit, agreed[-1])
        self._compare(event, server)
        self._require(event, "committed before it was durable", server.commit <= server.durable[2])

    def _request_append(self, event: Event, server: Server) -> None:
        """ "AppendEntries", "Heartbeat" and "SendSnapshot", all by "AppendEntriesInRangeToPeer"."""
        msg = event["msg"]
        to, last = msg["to"], len(server.log)
        self._require(event, "not a leader", server.role == LEADER and to != server.name)
        self._require(event, "nobody's request", to in {*server.conf[0], *event.get("learners", ())})
        match = server.match.get(to, 0)
        begin, end = msg["index"] + 1, msg["index"] + 1 + msg["entries"]
        if msg["type"] == "MsgApp":
            self._require(event, "out of range", match < begin <= end <= last + 1)
        elif msg["type"] == "MsgHeartbeat":
            begin = end = 1
        else:
            begin, end = 1, msg["entries"] + 1
            self._require(event, "not committed", 1 <= msg["entries"] <= server.commit)
        commit = min(server.commit, match if msg["type"] == "MsgHeartbeat" else end - 1)
        entries = tuple(server.log[begin - 1 : end - 1])
        previous = begin - 1
        message = Sent(
            msg["type"], server.term, server.name, to, previous, server.term_at(previous), entries, commit
        )
        self._send(event, server, message)

    def _respond_to_append(self, event: Event, server: Server) -> None:
        """ "AppendEntriesToSelf"; the others' responses are "Unused"."""
        if event["msg"]["to"] != server.name:
            return
        self._require(event, "not a leader", server.role == LEADER)
        message = Sent("MsgAppResp", server.term, server.name, server.name, len(server.log))
        self._send(event, server, message)

    def _ready(self, event: Event, server: Server) -> None:
        """ "Ready": all becomes durable, and all messages leave."""
        server.persist()
        leaving = Counter({m: n for m, n in self.pending.items() if m.source == server.name})
        self.messages += leaving
        self.pending -= leaving

    def _step_down(self, event: Event, server: Server) -> None:
        """ "StepDownToFollower", unless a message just received has done it."""
        if self._is_step_down_by_message(event):
            return
        self._require(event, "no step down", server.role in (LEADER, CANDIDATE))
        server.follow(server.term)
        self._compare(event, server)

    def _is_step_down_by_message(self, event: Event) -> bool:
        """ "LoglineIsBecomeFollowerInUpdateTermOrReturnToFollower": the server's line before tells."""
        own = [e for e in self.events[: self.position] if e["nid"] == event["nid"]]
        if not own or not own[-1]["name"].startswith("Receive"):
            return False
        before, term = own[-1], own[-1]["state"]["term"]
        told = before["msg"]["term"]
        returned = before["name"] == "ReceiveAppendEntriesRequest" and before["role"] == CANDIDATE
        stepped_down: bool = told == event["state"]["term"] and (term < told or (term == told and returned))
        return stepped_down

    def _change_configuration(self, event: Event, server: Server) -> None:
        """ "AddNewServer", "AddLearner" and "DeleteServer": one change at a time."""
        found = event["prop"]["cc"]["changes"]
        self._require(event, "not a leader's single change", server.role == LEADER and len(found) == 1)
        change, voters = found[0], server.conf[0]
        self._require(event, "a joint change", not server.conf[1])
        if server.pending_change:
            server.log.append(LogEntry(server.term))
            return
        if change["action"] == "AddNewServer":
            voters = voters | {change["nid"]}
        elif change["action"] == "RemoveServer":
            voters = voters - {change["nid"]}
        server.log.append(LogEntry(server.term, voters))
        server.pending_change = len(server.log)

    def _apply_change(self, event: Event, server: Server) -> None:
        """ "ApplySimpleConfChange"."""
        found = [entry.conf for entry in server.log[: server.commit] if entry.conf is not None]
        self._require(event, "no committed change to apply", bool(found) and not server.conf[1])
        server.conf = found[-1], frozenset()
        server.pending_change = 0

    # --- receiving ---------------------------------------------------------------------------------------

    def _receive(self, event: Event, server: Server) -> None:
        """ "Receive": the state before it, and a message on its way. "UpdateTerm" comes first."""
        self._compare(event, server)
        message = next((m for m in self.messages if m.is_told_by(event["msg"])), None)
        if message is None:
            self._refuse(event, "no such message is under way")
        self.messages[message] -= 1
        self.messages += Counter()  # drops those of which none is left
        if message.term > server.term:
            server.follow(message.term)
        self._HANDLERS[message.type](self, server, message)

    def _reply(self, server: Server, to: Sent, reply: str, index: int = 0, reject: bool = False) -> None:
        self.pending[Sent(reply, server.term, server.name, to.source, index, reject=reject)] += 1

    def _on_vote_request(self, server: Server, m: Sent) -> None:
        """ "HandleRequestVoteRequest"."""
        last = len(server.log)
        complete = (m.log_term, m.index) >= (server.term_at(last), last)
        granted = m.term == server.term and complete and server.vote in (NIL, m.source)
        if granted:
            server.vote = m.source
        self._reply(server, m, "MsgVoteResp", reject=not granted)

    def _on_vote_response(self, server: Server, m: Sent) -> None:
        """ "HandleRequestVoteResponse", "DropStaleResponse"."""
        if m.term == server.term:
            server.responded.add(m.source)
            if not m.reject:
                server.granted.add(m.source)

    def _on_append_request(self, server: Server, m: Sent) -> None:
        """ "HandleAppendEntriesRequest": reject, or return to follower and accept."""
        if m.term < server.term:
            self._reply(server, m, "MsgAppResp", reject=True)
            return
        if server.role == LEADER:
            raise UnreadableError(f"event {self.position + 1}, two leaders of term {m.term}")
        server.role = FOLLOWER
        reply = {"MsgHeartbeat": "MsgHeartbeatResp", "MsgSnap": "snapshot"}.get(m.type, "MsgAppResp")
        first, last = m.index + 1, m.index + len(m.entries)
        if m.index and (m.index > len(server.log) or server.term_at(m.index) != m.log_term):
            self._reply(server, m, "MsgAppResp", reject=True)
        elif first <= server.commit:  # "AppendEntriesAlreadyDone"
            if m.type == "MsgHeartbeat":
                server.commit = max(server.commit, m.commit)
            self._reply(server, m, reply, 0 if m.type == "MsgHeartbeat" else server.commit)
        else:
            self._accept(server, m)
            server.commit = max(server.commit, min(m.commit, last))
            self._reply(server, m, reply, last)

    def _accept(self, server: Server, m: Sent) -> None:
        """ "ConflictAppendEntriesRequest" and "NoConflictAppendEntriesRequest"."""
        for index, entry in enumerate(m.entries, start=m.index + 1):
            if index <= len(server.log) and server.term_at(index) != entry.term:
                del server.log[index - 1 :]
            if index > len(server.log):
                server.log.append(entry)

    def _on_append_response(self, server: Server, m: Sent) -> None:
        """ "HandleAppendEntriesResponse", "DropStaleResponse"."""
        if m.term == server.term and not m.reject:
            server.match[m.source] = max(server.match.get(m.source, 0), m.index)

    _STEPS: ClassVar[dict[str, Callable[[Specification, Event, Server], None]]] = {
        "InitState": _restart,
        "BecomeCandidate": _time_out,
        "BecomeFollower": _step_down,
        "BecomeLeader": _become_leader,
        "Commit": _commit,
        "Replicate": _replicate,
        "ChangeConf": _change_configuration,
        "ApplyConfChange": _apply_change,
        "Ready": _ready,
        "SendRequestVoteRequest": _request_vote,
        "SendRequestVoteResponse": _respond_to_vote,
        "SendAppendEntriesRequest": _request_append,
        "SendAppendEntriesResponse": _respond_to_append,
        "ReceiveRequestVoteRequest": _receive,
        "ReceiveRequestVoteResponse": _receive,
        "ReceiveAppendEntriesRequest": _receive,
        "ReceiveAppendEntriesResponse": _receive,
    }
    _HANDLERS: ClassVar[dict[str, Callable[[Specification, Server, Sent], None]]] = {
        "MsgVote": _on_vote_request,
        "MsgVoteResp": _on_vote_response,
        "MsgApp": _on_append_request,
        "MsgHeartbeat": _on_append_request,
        "MsgSnap": _on_append_request,
        "MsgAppResp": _on_append_response,
        "MsgHeartbeatResp": _on_append_response,
    }
