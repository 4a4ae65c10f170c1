"""Known ways to get Raft wrong, planted to show that the simulator finds them.

Each is a subclass of the real core that differs in one rule. Nothing outside the simulator refers to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.consensus.raft import Configuration, Entry, EntryKind, Message, Raft, SnapshotMeta, Write
from actors.consensus.raft.log import Log
from actors.consensus.raft.membership import configuration_entry, configuration_of, leave_joint
from actors.consensus.raft.messages import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    ReadResponse,
    VoteRequest,
    VoteResponse,
)
from actors.consensus.raft.quorum import agreed
from actors.consensus.raft.reads import PendingRead
from actors.consensus.raft.records import INDEX_MAX, TERM_MAX


def _rewired(kind: type[Message], handler: Callable[[Any, Any], None]) -> dict[Any, dict[Any, Any]]:
    """The core's table of what a role hears, with one handler replaced."""
    return {
        role: {heard: handler if heard is kind else known for heard, known in table.items()}
        for role, table in Raft._HEARS.items()
    }


class VoteNotPersisted(Raft):
    """Writes the term without the vote: after a crash it votes again in the same term."""

    def _take_write(self) -> Write | None:
        write = super()._take_write()
        if write is None or write.hard_state is None:
            return write
        return msgspec.structs.replace(write, hard_state=msgspec.structs.replace(write.hard_state, vote=0))


class VoteTwice(Raft):
    """Forgets, even without a crash, that it has voted in this term."""

    def _on_second_vote_request(self, m: VoteRequest) -> None:
        self.vote = 0 if self.leader is None else self.vote
        self._on_vote_request(m)

    _HEARS = _rewired(VoteRequest, _on_second_vote_request)


class _TrustingLog(Log):
    __slots__ = ()

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        return True


class VoteWithoutLogCheck(Raft):
    """Votes for candidates whose log lacks what is committed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.log.__class__ = _TrustingLog


class CommitOlderTerm(Raft):
    """Commits entries of earlier terms by counting copies (Raft paper, figure 8)."""

    def _advance_commit(self) -> None:
        self._commit_to(agreed(self.configuration, self._match_of))


class AcknowledgeBeforeDurable(Raft):
    """Acknowledges entries that a crash can still take."""

    def _send_after_write(self, message: Message) -> None:
        if isinstance(message, AppendResponse):
            self._send(message)
        else:
            super()._send_after_write(message)


class LeaderCountsUnwritten(Raft):
    """The leader counts its own copy before it is written."""

    def _match_of(self, member: int) -> int:
        return self.log.last_index if member == self.id else super()._match_of(member)


class OvertakenWriteCounts(Raft):
    """The acknowledgement of an overtaken write counts for the entries that replaced its own."""

    def _truncate(self, first: int) -> None:
        reach = [write.last_index for write in self._pending_writes]
        super()._truncate(first)
        for write, last_index in zip(self._pending_writes, reach, strict=True):
            write.last_index = last_index


class TruncateAlways(Raft):
    """Cuts the log at every request, so that a late one takes back what was acknowledged."""

    def _first_new(self, m: AppendRequest) -> int:
        return 0


class HeartbeatCommitUncapped(Raft):
    """Heartbeats carry the leader's commit index, whatever the follower's log holds."""

    def _send(self, message: Message) -> None:
        if isinstance(message, HeartbeatRequest):
            message = msgspec.structs.replace(message, commit=self.commit_index)
        super()._send(message)


class SnapshotForgetsMembership(Raft):
    """A snapshot carries the configuration of the one before."""

    def snapshot_at(self, index: int, digest: bytes) -> SnapshotMeta:
        taken = super().snapshot_at(index, digest)
        return msgspec.structs.replace(taken, configuration=self.log.snapshot.configuration)


class MembershipWithoutJoint(Raft):
    """Goes from one configuration to another that shares no majority with it."""

    def _append_own(self, entry: Entry) -> None:
        if entry.kind is EntryKind.CONFIGURATION and configuration_of(entry).is_joint:
            target: Configuration = leave_joint(configuration_of(entry))
            entry = configuration_entry(entry.index, entry.term, target)
        super()._append_own(entry)


class MembershipNotRolledBack(Raft):
    """Keeps using a configuration whose entry was truncated."""

    def _truncate(self, first: int) -> None:
        kept = self.log.configurations[:]
        super()._truncate(first)
        self.log.configurations = kept
        self._adopt_configuration()


class ReadWithoutRound(Raft):
    """The leader answers reads without proof that it still leads."""

    def _admit_read(self, read: PendingRead) -> None:
        read.index = self.commit_index
        self._answer_read(read)


class ReadBeforeOwnCommit(Raft):
    """A new leader answers reads from a commit index that may lag behind its predecessor's."""

    def _admit_read(self, read: PendingRead) -> None:
        read.index = self.commit_index
        read.round = self._round + 1
        self._reads_pending.append(read)
        self._round_due = True
        self._after_round()


class ReadOfEarlierLife(Raft):
    """Takes an answer to a read that it asked before its restart."""

    def _on_any_read_response(self, m: ReadResponse) -> None:
        self._on_read_response(msgspec.structs.replace(m, incarnation=self.incarnation))

    _HEARS = _rewired(ReadResponse, _on_any_read_response)


class LeaseWithoutStickiness(Raft):
    """Elects others while a leader relies on its lease."""

    def _is_loyal(self) -> bool:
        return False


class LeaseForgottenAtRestart(Raft):
    """Restarts without regard for the lease that it may have helped to give."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._loyal_until_ms = self.now_ms


class LeaseKeptInTransfer(Raft):
    """Keeps its lease after it told another replica to campaign."""

    def _hand_over(self, member: int) -> None:
        forgone = self._lease_forgone
        super()._hand_over(member)
        self._lease_forgone = forgone


class VoteCountsUnwritten(Raft):
    """Sends its vote before it is durable."""

    def _send_after_write(self, message: Message) -> None:
        if isinstance(message, VoteResponse):
            self._send(message)
        else:
            super()._send_after_write(message)


class WindowNeverOpens(Raft):
    """Never frees the in-flight window: replication stalls for good."""

    def _on_acknowledged(self, m: AppendResponse) -> None:
        progress = self._progress.get(m.sender)
        inflight = (list(progress.inflight), progress.inflight_entries) if progress else ([], 0)
        self._on_append_response(m)
        if progress is not None and not m.rejected:
            progress.inflight.clear()
            progress.inflight.extend(inflight[0])
            progress.inflight_entries = inflight[1]

    _HEARS = _rewired(AppendResponse, _on_acknowledged)


class SignWhateverTerm(Raft):
    """Signs a block when it is durable, whatever its term, and adds votes of all terms up (figure 8)."""

    mixes_terms = True

    @property
    def signable_index(self) -> int:
        return self.durable_index


class SignAtElection(Raft):
    """Signs what it holds for a new leader before it has acknowledged an entry of that leader's term."""

    @property
    def signable_index(self) -> int:
        return self.durable_index if self.leader is not None else 0


class SignWithoutVote(Raft):
    """Signs what is not known to be committed as a learner, or while two configurations are in force."""

    @property
    def signable_index(self) -> int:
        return self.durable_index if self.log.term_at(self.durable_index) == self.term else 0


class DiskNotChecked(Raft):
    """Counts whoever speaks with a member's key, from whatever disk: a voter that forgot votes on."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._founded = True

    def _note_origin(self, m: Message) -> None:
        return

    def _hears(self, m: Message) -> bool:
        return m.sender in self._whom_to_hear()

    def _counts_in(self, configuration: Configuration, member: int, disk: bytes) -> bool:
        return True

    def _is_named(self, configuration: Configuration) -> bool:
        return True


class FoundedByMajority(Raft):
    """Makes the first block when a majority is there."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.options = msgspec.structs.replace(self.options, founded_by_all=False)


class FoundedByTheLastEntry(Raft):
    """Goes by the last founding entry alone, as if the ones before it could not have been finished."""

    @property
    def _electorates(self) -> list[Configuration]:
        return [self.configuration]

    def _founded_up_to(self) -> int:
        return INDEX_MAX if self.is_founded else min(map(self._match_of, self.configuration.voters))


class CountsUnnamedDisk(Raft):
    """Counts acknowledgements of a disk that is not the one that is named."""

    def _match_of(self, member: int) -> int:
        progress = self._progress.get(member)
        return progress.match if progress else 0


class HeartbeatForAnyDisk(Raft):
    """Takes the commit index of a heartbeat that was meant for another disk."""

    def _on_any_heartbeat(self, m: HeartbeatRequest) -> None:
        self._on_heartbeat_request(msgspec.structs.replace(m, acknowledged=self.disk))

    _HEARS = _rewired(HeartbeatRequest, _on_any_heartbeat)


class ReadmissionWithoutJoint(Raft):
    """Names a voter's new disk by one entry for which that disk counts at once."""

    def _readmit(self) -> None:
        now = self.configuration
        if not now.disks or now.is_joint or self.log.configuration_index > self.commit_index:
            return
        for member, known in self._progress.items():
            if member in now.voters and known.disk and now.disk_of(member) != known.disk:
                disks = {**dict(now.disks), member: known.disk}
                named = msgspec.structs.replace(now, disks=tuple(sorted(disks.items())))
                self._append_own(configuration_entry(self.log.last_index + 1, self.term, named))
                return


class RemovedMemberCounts(Raft):
    """Hears everybody whose key the network has ever known."""

    def _hears(self, m: Message) -> bool:
        return True


class TermsUnbounded(Raft):
    """Follows a message into whatever term it claims."""

    def step(self, message: Message, now_ms: int) -> None:
        self.term_ceiling = TERM_MAX
        super().step(message, now_ms)


# Each with the features of a schedule under which it hides worst.
PLANTED: tuple[tuple[type[Raft], frozenset[str]], ...] = (
    (VoteNotPersisted, frozenset(("turncoat", "crowded", "rash"))),
    (VoteTwice, frozenset(("crowded", "rash"))),
    (VoteCountsUnwritten, frozenset(("turncoat", "crowded", "slow-disk", "rash"))),
    (VoteWithoutLogCheck, frozenset(("assassin",))),
    (CommitOlderTerm, frozenset(("assassin", "tight", "crowded"))),
    (AcknowledgeBeforeDurable, frozenset(("crash",))),
    (LeaderCountsUnwritten, frozenset(("slow-disk",))),
    (OvertakenWriteCounts, frozenset(("assassin", "slow-disk"))),
    (TruncateAlways, frozenset(("straggle", "duplicate"))),
    (HeartbeatCommitUncapped, frozenset(("assassin",))),
    (SnapshotForgetsMembership, frozenset(("snapshot", "membership"))),
    (MembershipWithoutJoint, frozenset(("membership", "partition"))),
    (MembershipNotRolledBack, frozenset(("membership", "assassin"))),
    (ReadWithoutRound, frozenset(("usurper", "partition"))),
    (ReadBeforeOwnCommit, frozenset(("assassin",))),
    (ReadOfEarlierLife, frozenset(("amnesiac",))),
    (LeaseWithoutStickiness, frozenset(("lease", "usurper"))),
    (LeaseForgottenAtRestart, frozenset(("lease", "usurper", "crowded"))),
    (LeaseKeptInTransfer, frozenset(("lease", "usurper"))),
    (WindowNeverOpens, frozenset(("tight",))),
    (SignWhateverTerm, frozenset(("figure-8", "tight"))),
    (SignAtElection, frozenset(("figure-8", "tight"))),
    (SignWithoutVote, frozenset(("membership", "assassin"))),
    (DiskNotChecked, frozenset(("wipe", "backup", "crash"))),
    (FoundedByMajority, frozenset(("refound",))),
    (FoundedByTheLastEntry, frozenset(("founding", "twin", "crash", "crowded", "rash"))),
    (CountsUnnamedDisk, frozenset(("wipe", "crash"))),
    (HeartbeatForAnyDisk, frozenset(("backup", "assassin"))),
    (ReadmissionWithoutJoint, frozenset(("wipe", "straggle"))),
    (RemovedMemberCounts, frozenset(("outcast",))),
    (TermsUnbounded, frozenset(("outcast",))),
)
