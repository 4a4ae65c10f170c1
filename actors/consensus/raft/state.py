"""The state that all rules of the core share, and the primitives that change it.

Persistence is asynchronous. Entries get into the log at once and are handed to the writer with the next
effects record, as a write with a ticket. Three indexes move along the log behind `last_index`:

    handed_index   committed and given out to be applied
    durable_index  durable here (acknowledged by `persisted`)
    written_index  handed to the writer

A truncation pulls back the last two, and the reach of every write that is still under way, so that the
acknowledgement of an overtaken write never counts for entries that replaced its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from random import Random

import msgspec

from . import trace
from .effects import Effects, ReadReady, Role, SnapshotOffer, VoteReceived, Write
from .errors import CompactionError, UnknownTicketError
from .log import Log
from .messages import VOTES_PER_MESSAGE_MAX, AppendResponse, Message
from .options import RaftOptions
from .progress import Progress
from .quorum import agreed
from .records import TERM_MAX, BlockVote, Configuration, DurableState, Entry, HardState, SnapshotMeta

NO_EFFECTS = Effects()


class PendingWrite:
    """A write under way: what its acknowledgement will prove durable."""

    __slots__ = ("hard_state", "last_index", "ticket")

    def __init__(self, ticket: int, last_index: int, hard_state: HardState) -> None:
        self.ticket = ticket
        self.last_index = last_index
        self.hard_state = hard_state


class RaftState(ABC):
    """Base of the rule classes (election, replication, reads, reconfiguration). Not used by itself."""

    def __init__(
        self,
        member: int,
        durable: DurableState,
        rng: Random,
        now_ms: int,
        options: RaftOptions,
        incarnation: int,
        on_trace: Callable[[trace.TraceRecord], None] | None,
        disk: bytes,
    ) -> None:
        self.id = member
        self.disk = disk
        self.options = options
        self.now_ms = now_ms
        self.incarnation = incarnation
        self.term = durable.hard_state.term
        self.vote, self._vote_disk = durable.hard_state.vote, durable.hard_state.disk
        self.role = Role.FOLLOWER
        self.leader: int | None = None
        self.log = Log(durable)
        self.configuration = self.log.configuration
        self.commit_index = max(self.log.snapshot.index, durable.applied_index)
        if self.commit_index > self.log.last_index:
            raise CompactionError(f"applied {durable.applied_index}, log ends at {self.log.last_index}")
        self.handed_index = self.commit_index
        self.durable_index = self.written_index = self.log.last_index
        self.proposals_dropped = 0
        self.term_ceiling = TERM_MAX  # the shell's, see terms.py
        self.founded_elsewhere = False  # a member's log names disks, and this one's does not
        # Members that an operator lets count from whatever disk, with the disk that was named for them.
        self.readmitted: dict[int, bytes | None] = {}
        self._founded = not disk
        self._heard: dict[int, frozenset[bytes]] | None = None  # see identity.py; None: to be drawn up anew
        self._told: Configuration | None = None
        self._told_index = self._timeouts_without_leader = self._ask_again_ms = self._round = 0
        self._elected_ms = now_ms

        self._rng = rng
        self._on_trace = on_trace
        self._receipts_held: list[Message] = []  # until the first commit, see trace.py
        self._durable_hard = self._written_hard = durable.hard_state
        self._pending_writes: deque[PendingWrite] = deque()
        self._last_ticket = 0
        self._restored: SnapshotMeta | None = self.log.snapshot if self.log.was_reset else None
        self._messages: list[Message] = []
        self._messages_after_write: list[Message] = []
        self._reads: list[ReadReady] = []
        self._reads_failed: list[int] = []
        self._votes_received: list[VoteReceived] = []
        self._snapshot_offer: SnapshotOffer | None = None
        self._votes_pending: deque[BlockVote] = deque(maxlen=options.votes_pending_max)

        self._progress: dict[int, Progress] = {}
        self._votes: dict[tuple[int, bytes], bool] = {}  # by member and disk
        self._gave_way = self._stubborn = False
        self._round_due = self._lease_forgone = self._replication_due = False
        self._heartbeat_deadline_ms = now_ms
        self._uncommitted_bytes = 0
        # A replica that has forgotten whom it heard must respect a lease that it may have helped to give.
        self._loyal_until_ms = now_ms + (options.election_timeout_ms_min if options.lease_reads else 0)
        self._election_deadline_ms = 0
        self._reset_election_timer()
        self._emit(trace.INIT_STATE)

    # --- to be filled in by the rules -------------------------------------------------------------------

    @property
    @abstractmethod
    def is_founded(self) -> bool:
        """True once this replica knows that founding is over."""

    @abstractmethod
    def _lose_office(self) -> None:
        """A leader stops being one."""

    @abstractmethod
    def _replicate(self) -> None:
        """Sends what is due to followers."""

    @abstractmethod
    def _after_commit(self, previous: int) -> None:
        """The commit index has moved on from `previous`."""

    @abstractmethod
    def _after_configuration_change(self) -> None:
        """Another configuration is in force."""

    @abstractmethod
    def _recount(self) -> None:
        """Draws up anew who is heard and who counts."""

    @abstractmethod
    def _after_persisted(self) -> None:
        """A write was acknowledged."""

    @abstractmethod
    def _after_round(self) -> None:
        """A follower answered a later round of contact."""

    @abstractmethod
    def _after_match(self, member: int, progress: Progress) -> None:
        """A follower's log is known to match further."""

    # --- primitives --------------------------------------------------------------------------------------

    def _reset_election_timer(self) -> None:
        options = self.options
        timeout_ms = self._rng.randint(options.election_timeout_ms_min, options.election_timeout_ms_max)
        self._election_deadline_ms = self.now_ms + timeout_ms

    def _advance_clock(self, now_ms: int) -> None:
        """Time never runs backwards here, whatever the caller's clock does."""
        self.now_ms = max(self.now_ms, now_ms)

    def _become_follower(self, term: int, leader: int | None) -> None:
        was = self.role
        if term == self.term and was is Role.FOLLOWER:
            self.leader = leader
            return
        told = was is not Role.PRE_CANDIDATE or term > self.term  # see trace.py
        if term > self.term:
            self.term = term
            self.vote, self._vote_disk = 0, b""
        self.role = Role.FOLLOWER
        self.leader = leader
        self._reset_election_timer()
        if was is Role.LEADER:
            self._lose_office()
        if told:
            self._emit(trace.BECOME_FOLLOWER)

    def _stamped(self, message: Message) -> Message:
        if not self.disk:
            return message
        return msgspec.structs.replace(message, disk=self.disk, named=bool(self.configuration.disks))

    def _send(self, message: Message) -> None:
        """Sends without waiting for any write."""
        self._messages.append(self._stamped(message))
        if self._on_trace is not None:
            self._emit_message("Send", message)

    def _send_after_write(self, message: Message) -> None:
        """Sends once all that has happened so far is durable."""
        self._messages_after_write.append(self._stamped(message))
        if self._on_trace is not None:
            self._emit_message("Send", message)

    def _reply(self, message: Message) -> None:
        """Sends what claims no more than this replica's term: waits only for that to be durable."""
        if self._durable_hard.term == self.term:
            self._send(message)
        else:
            self._send_after_write(message)

    def _take_votes(self) -> tuple[BlockVote, ...]:
        """The block votes that ride on an acknowledgement."""
        if not self._votes_pending:
            return ()
        count = min(len(self._votes_pending), VOTES_PER_MESSAGE_MAX)
        return tuple(self._votes_pending.popleft() for _ in range(count))

    def _match_of(self, member: int) -> int:
        progress = self._progress.get(member)
        return progress.match if progress and progress.counted else 0

    def _heard_of(self, member: int) -> int:
        progress = self._progress.get(member)
        if member == self.id:
            return self.now_ms
        return progress.heard_ms if progress and progress.counted else 0

    def _majority_heard_ms(self) -> int:
        """The time since when a majority has been in touch with this leader."""
        return agreed(self.configuration, self._heard_of)

    def _commit_to(self, index: int) -> None:
        if index <= self.commit_index:
            return
        previous = self.commit_index
        if self._receipts_held:
            self._emit_held_receipts()
        self.commit_index = index
        if self.log.configuration_index > previous:
            self._heard = None
        if self.role is Role.LEADER:
            self._emit(trace.COMMIT)
        self._after_commit(previous)

    def _append(self, entries: tuple[Entry, ...]) -> None:
        self.log.append(entries)
        self._replication_due = True
        self._adopt_configuration()

    def _truncate(self, first: int) -> None:
        self.log.truncate(first)
        last = first - 1
        self.written_index = min(self.written_index, last)
        self.durable_index = min(self.durable_index, last)
        for write in self._pending_writes:
            write.last_index = min(write.last_index, last)
        self._adopt_configuration()

    def _adopt_configuration(self) -> None:
        """Puts the latest configuration of the log in force."""
        if self.log.configuration is not self.configuration:
            self._emit_change(trace.APPLY_CONF_CHANGE, self.log.configuration)
            self.configuration = self.log.configuration
            self._recount()
            self._after_configuration_change()

    # --- writes and effects ------------------------------------------------------------------------------

    def persisted(self, ticket: int) -> None:
        """The write of `ticket`, and all before it, are durable. Raises UnknownTicketError."""
        if ticket > self._last_ticket:
            raise UnknownTicketError(f"ticket {ticket}, the last one given is {self._last_ticket}")
        pending = self._pending_writes
        while pending and pending[0].ticket <= ticket:
            write = pending.popleft()
            self.durable_index = max(self.durable_index, write.last_index)
            self._durable_hard = write.hard_state
        self._after_persisted()

    def take_effects(self) -> Effects:
        """What is to be done now. Each effect is handed out once."""
        if self._replication_due or self._round_due:
            self._replicate()
        write = self._take_write()
        committed = self._take_committed()
        if not (write or committed or self._messages or self._messages_after_write or self._has_reports()):
            return NO_EFFECTS
        if write is None:
            self._messages += self._messages_after_write
            self._messages_after_write = []
        effects = Effects(
            tuple(self._messages),
            write,
            tuple(self._messages_after_write),
            committed,
            tuple(self._reads),
            tuple(self._reads_failed),
            tuple(self._votes_received),
            self._snapshot_offer,
        )
        self._messages = []
        self._messages_after_write = []
        if self._has_reports():
            self._reads = []
            self._reads_failed = []
            self._votes_received = []
            self._snapshot_offer = None
        if self._on_trace is not None:
            if write is not None and write.entries and self.role is Role.LEADER:
                self._emit_own_response("Send", write.entries[-1].index)
            self._emit(trace.READY)
        return effects

    @property
    def has_effects(self) -> bool:
        """True if `take_effects` has something to hand out."""
        return bool(
            self._messages
            or self._messages_after_write
            or self._replication_due
            or self._round_due
            or self.written_index != self.log.last_index
            or self._restored
            or self._written_hard != self._hard_state()
            or self.handed_index < min(self.commit_index, self.durable_index)
            or self._has_reports()
        )

    def _has_reports(self) -> bool:
        return bool(self._reads or self._reads_failed or self._votes_received or self._snapshot_offer)

    def _hard_state(self) -> HardState:
        written = self._written_hard
        if (written.term, written.vote, written.disk) == (self.term, self.vote, self._vote_disk):
            return written
        return HardState(self.term, self.vote, self._vote_disk)

    def _take_write(self) -> Write | None:
        hard_state = self._hard_state()
        hard_changed = hard_state is not self._written_hard
        last = self.log.last_index
        if not (hard_changed or self.written_index != last or self._restored):
            if not (self._messages_after_write and self._pending_writes):
                return None
            entries: tuple[Entry, ...] = ()
        else:
            entries = self.log.slice(self.written_index + 1, last)
        self._last_ticket += 1
        write = Write(self._last_ticket, self._restored, hard_state if hard_changed else None, entries)
        self._pending_writes.append(PendingWrite(write.ticket, last, hard_state))
        self._written_hard = hard_state
        self.written_index = last
        self._restored = None
        return write

    def _take_committed(self) -> tuple[Entry, ...]:
        ready = min(self.commit_index, self.durable_index)
        if ready <= self.handed_index:
            return ()
        last = min(ready, self.handed_index + self.options.committed_entries_max)
        committed = self.log.slice(self.handed_index + 1, last)
        self.handed_index = last
        return committed

    # --- trace -------------------------------------------------------------------------------------------

    def _emit(self, name: str, message: Message | None = None, target: Configuration | None = None) -> None:
        if self._on_trace is None:
            return
        self._on_trace(
            trace.TraceRecord(
                name,
                self.now_ms,
                self.id,
                self.term,
                self.vote,
                self.commit_index,
                self.role,
                self.log.last_index,
                self.log.last_term,
                self.configuration,
                message,
                target,
            )
        )

    def _emit_message(self, direction: str, message: Message) -> None:
        name = trace.message_event(direction, message)
        if name is not None:
            self._emit(name, message)

    def _emit_held_receipts(self) -> None:
        held, self._receipts_held = self._receipts_held, []
        for message in held:
            if self.role is Role.LEADER and message.term == self.term:
                self._emit_message("Receive", message)

    def _emit_own_response(self, direction: str, index: int) -> None:
        """A leader's write of its own entries, as the acknowledgement that it is to the specification."""
        self._emit_message(direction, AppendResponse(self.id, self.id, self.term, index))

    def _emit_change(self, name: str, target: Configuration) -> None:
        if self._on_trace is not None and trace.is_told(name, self.configuration, target):
            self._emit(name, target=target)
