"""The Raft core: the inputs, the order in which the rules see them, and the table of what a role hears.

Rules for the caller
- Inputs never overlap; after one or several of them, take the effects and carry them out as their fields say.
- `now_ms` comes from one monotonic clock. `step` only sets the clock, `tick` fires timers: after a pause,
  step what has arrived before you tick, and a leader that was merely late is not deposed.
- All randomness comes from the `rng` handed in, so a run can be replayed from its inputs.

Sources: D. Ongaro, "Consensus: Bridging Theory and Practice" (2014), by chapter in each module, and, for
asynchronous persistence and flow control, the design of etcd-io/raft.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

from .effects import Role, VoteReceived
from .errors import NotLeaderError, ProtocolViolationError, RaftError, StaleTermError
from .founding import Founding
from .messages import (
    AppendRequest,
    AppendResponse,
    ConfigurationRequest,
    ConfigurationResponse,
    ForwardRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    Message,
    PreVoteRequest,
    PreVoteResponse,
    ReadRequest,
    ReadResponse,
    SnapshotRequest,
    TransferRequest,
    VoteRequest,
    VoteResponse,
)
from .options import RaftOptions
from .progress import FollowerStatus
from .quorum import VoteOutcome, vote_outcome
from .records import BlockVote, DurableState, Proposal
from .signing import signable_index
from .trace import TraceRecord

_FROM_LEADER = (AppendRequest, HeartbeatRequest, SnapshotRequest)


class Raft(Founding):
    """One replica's consensus state machine.

    `durable` is what the replica finds on its disk (`genesis(...)` for a new network), and `incarnation` a
    number that grows with every start, `disk` what tells its memory from any other (identity.py). A replica
    that is the only voter elects itself at once (with leases, after a restart, when its election timeout is
    over): its first effects ask for its vote to be written.
    """

    def __init__(
        self,
        member: int,
        durable: DurableState,
        rng: Random,
        now_ms: int,
        options: RaftOptions | None = None,
        incarnation: int = 0,
        on_trace: Callable[[TraceRecord], None] | None = None,
        disk: bytes = b"",
    ) -> None:
        """Raises CompactionError or MessageError if `durable` does not fit together."""
        self._reads_waiting = deque()
        self._reads_pending = deque()
        self._transfer_target = 0
        self._transfer_deadline_ms = 0
        super().__init__(member, durable, rng, now_ms, options or RaftOptions(), incarnation, on_trace, disk)
        # A restarted replica may have helped to give a lease to another leader, which it has forgotten; one
        # without a durable term has acknowledged nothing.
        may_owe_lease = options is not None and options.lease_reads and self.term > 0
        alone = vote_outcome(self.configuration, {member: True}) is VoteOutcome.WON
        if alone and self.is_promotable and not may_owe_lease:
            self._pre_campaign()

    # --- inputs ------------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Fires the timers that are due. Call at `next_deadline_ms` or more often."""
        self._advance_clock(now_ms)
        if self.role is Role.LEADER:
            self._check_transfer()
            if self.now_ms >= self._heartbeat_deadline_ms:
                self._heartbeat_deadline_ms = self.now_ms + self.options.heartbeat_interval_ms
                self._round_due = True
                self._retry_snapshots()
                self._found()
                self._readmit()
                self._check_quorum()
                self._make_way()
        elif self.now_ms >= self._election_deadline_ms:
            self._reset_election_timer()
            self.leader = None
            self._ask_for_configuration()
            if self.is_promotable:
                self._pre_campaign()
        elif self.role is Role.PRE_CANDIDATE and self.now_ms >= self._ask_again_ms:
            self._ask_for_pre_votes()

    def step(self, message: Message, now_ms: int) -> None:
        """Takes one message from another replica. Its sender must have been authenticated; whether it is a
        member that counts is looked at here (identity.py).

        Raises ProtocolViolationError, and stays as it was, if no correct replica sends such a message.
        """
        self._advance_clock(now_ms)
        if message.to != self.id or message.sender == self.id:
            raise ProtocolViolationError(f"message from {message.sender} to {message.to} reached {self.id}")
        heard = self._hears(message)
        if isinstance(message, ConfigurationRequest):  # a removed member learns so that it is out
            self._on_configuration_request(message)
            return
        if not heard or message.term > self.term_ceiling:
            return
        self._note_origin(message)
        if isinstance(message, ConfigurationResponse):
            self._on_configuration_response(message)
            return
        if self._on_trace is not None:
            self._emit_receipt(message)
        if message.term > self.term:
            if not self._enter_later_term(message):
                return
        elif message.term < self.term:
            self._answer_earlier_term(message)
            return
        handler = self._HEARS[self.role].get(type(message))
        if handler is not None:
            handler(self, message)
        elif self.role is Role.LEADER and isinstance(message, _FROM_LEADER):
            raise ProtocolViolationError(f"{message.sender} leads term {self.term} beside {self.id}")

    def propose(self, proposal: Proposal, now_ms: int) -> int | None:
        """Appends a block to the log, or forwards it to the leader.

        Returns its index if this replica leads, else None: a forwarded proposal may get lost, so its author
        watches what is committed. Raises StaleTermError, NotLeaderError without a known leader,
        LimitReachedError at a bound of the uncommitted log, LeadershipTransferError during a transfer,
        FoundingError before the network is founded.
        """
        self._advance_clock(now_ms)
        if self.role is Role.LEADER:
            self._refuse_during_transfer()
            self._refuse_before_founding()
            if proposal.term not in (0, self.term):
                raise StaleTermError(proposal.term, self.term)
            return self._append_proposal(proposal)
        if self.leader is None:
            raise NotLeaderError(None)
        self._send(ForwardRequest(self.id, self.leader, self.term, (proposal,)))
        return None

    def sign(self, vote: BlockVote) -> None:
        """This replica has signed a block up to `signable_index`: its signature goes to the leader.

        On the leader it is reported in `Effects.votes`; elsewhere it rides on the next acknowledgement. At
        `votes_pending_max` the oldest is dropped.
        """
        if self.role is Role.LEADER:
            self._votes_received.append(VoteReceived(self.id, vote))
        else:
            self._votes_pending.append(vote)

    @property
    def signable_index(self) -> int:
        """Blocks up to this index may be signed in the present term; 0 for none. See signing.py."""
        return signable_index(self)

    @property
    def next_deadline_ms(self) -> int:
        """When `tick` has something to do, if nothing happens before."""
        if self.role is Role.LEADER:
            return self._heartbeat_deadline_ms
        if self.role is Role.PRE_CANDIDATE:
            return min(self._ask_again_ms, self._election_deadline_ms)
        return self._election_deadline_ms

    def followers(self) -> tuple[FollowerStatus, ...]:
        """What this leader knows of each other member. Empty if this replica does not lead."""
        last, now_ms = self.log.last_index, self.now_ms
        return tuple(
            FollowerStatus(
                member, known.state, known.match, last - known.match, now_ms - known.heard_ms, known.counted
            )
            for member, known in self._progress.items()
            if member != self.id
        )

    # --- terms -------------------------------------------------------------------------------------------

    def _emit_receipt(self, message: Message) -> None:
        """Before anything changes. A call for votes that is resisted counts as lost."""
        if isinstance(message, AppendResponse) and message.term == self.term and self.commit_index == 0:
            self._receipts_held.append(message)
            return
        called = isinstance(message, VoteRequest) and message.term >= self.term and not message.transfer
        if not (called and self._is_loyal()):
            self._emit_message("Receive", message)

    def _enter_later_term(self, message: Message) -> bool:
        """Follows a message into its term. False if the message is to be dropped instead."""
        kind = type(message)
        if kind is PreVoteRequest or (kind is PreVoteResponse and getattr(message, "granted", False)):
            return True  # speaks of a term that nobody has entered
        if isinstance(message, VoteRequest) and not message.transfer and self._is_loyal():
            return False
        self._become_follower(message.term, message.sender if isinstance(message, _FROM_LEADER) else None)
        return True

    def _answer_earlier_term(self, message: Message) -> None:
        """Tells a deposed leader or a late candidate of the present term; drops the rest."""
        if isinstance(message, _FROM_LEADER):
            self._reply(AppendResponse(self.id, message.sender, self.term, 0, rejected=True))
        elif isinstance(message, PreVoteRequest):
            self._reply(PreVoteResponse(self.id, message.sender, self.term, False))
        elif isinstance(message, VoteRequest):
            self._send_after_write(VoteResponse(self.id, message.sender, self.term, False, message.disk))

    def _on_forward_request(self, m: ForwardRequest) -> None:
        for proposal in m.proposals:
            try:
                self._refuse_during_transfer()
                self._refuse_before_founding()
                if proposal.term not in (0, self.term):
                    raise StaleTermError(proposal.term, self.term)
                self._append_proposal(proposal)
            except RaftError:
                self.proposals_dropped += 1

    def _on_misdirected_forward(self, m: ForwardRequest) -> None:
        """The leader changed under way. Not passed on: two replicas could do so for ever."""
        self.proposals_dropped += len(m.proposals)

    # What a role hears in its own term. What is not listed is late, or meant for another role, and dropped;
    # a leader's message at another leader of the same term is a violation.
    _HEARS: ClassVar[dict[Role, dict[type[Message], Callable[[Any, Any], None]]]]


_EVERYBODY_HEARS: dict[type[Message], Callable[[Any, Any], None]] = {
    PreVoteRequest: Raft._on_pre_vote_request,
    VoteRequest: Raft._on_vote_request,
    ReadResponse: Raft._on_read_response,
}
_FOLLOWERS_HEAR: dict[type[Message], Callable[[Any, Any], None]] = _EVERYBODY_HEARS | {
    AppendRequest: Raft._on_append_request,
    HeartbeatRequest: Raft._on_heartbeat_request,
    SnapshotRequest: Raft._on_snapshot_request,
    TransferRequest: Raft._on_transfer_request,
    ForwardRequest: Raft._on_misdirected_forward,
}
Raft._HEARS = {
    Role.FOLLOWER: _FOLLOWERS_HEAR,
    Role.PRE_CANDIDATE: _FOLLOWERS_HEAR | {PreVoteResponse: Raft._on_pre_vote_response},
    Role.CANDIDATE: _FOLLOWERS_HEAR | {VoteResponse: Raft._on_vote_response},
    Role.LEADER: _EVERYBODY_HEARS
    | {
        AppendResponse: Raft._on_append_response,
        HeartbeatResponse: Raft._on_heartbeat_response,
        ReadRequest: Raft._on_read_request,
        ForwardRequest: Raft._on_forward_request,
    },
}
