"""Elections: pre-vote, vote, leader stickiness, check-quorum.

- A replica that hears nothing for a random 150-300 ms asks whether it *would* be elected (pre-vote) before
  it raises its term, so that a replica that was cut off disturbs nobody when it returns.
- Two that campaign at once would split the vote, the more often the slower disks and messages are. So whoever
  would vote for another lets that one try first: a follower starts its timer anew, and of two pre-candidates
  the one whose log, then whose number, is behind gives way while the other one refuses. Who gave way does not
  do so again before it has campaigned itself, so that one who is heard, and hears nothing, stops nobody.
- A pre-candidate asks again every heartbeat interval: who refused may have been loyal to a leader that is
  gone.
- Whoever heard from a leader within the shortest election timeout refuses to vote (stickiness), unless the
  leader itself asked for the election. Leases rest on this.
- A leader that has not heard from a majority for the longest election timeout steps down (check-quorum).
- A vote, the candidate's own included, counts when it is durable. A candidate calls for votes only when the
  log that it claims is durable: after a crash and a new campaign in the same term, votes for a log that it
  lost would still arrive.
- Learners vote if asked: a replica may not know yet that it was promoted, and a vote is asked for only by
  one who counts it.
"""

from __future__ import annotations

from . import trace
from .effects import Role
from .identity import Identity
from .messages import PreVoteRequest, PreVoteResponse, TransferRequest, VoteRequest, VoteResponse
from .progress import Progress
from .quorum import VoteOutcome, vote_outcome
from .records import Configuration, Entry, EntryKind


class Election(Identity):
    """How a replica becomes leader, and stops being one."""

    def _is_loyal(self) -> bool:
        """True while a leader may rely on this replica to elect nobody else."""
        if self.role is Role.LEADER:
            return self.now_ms - self._majority_heard_ms() < self.options.election_timeout_ms_min
        return self.now_ms < self._loyal_until_ms

    def _follow(self, leader: int) -> None:
        """The leader of this term is alive."""
        if self.role is not Role.FOLLOWER or self.leader != leader:
            self._become_follower(self.term, leader)
        self._loyal_until_ms = self.now_ms + self.options.election_timeout_ms_min
        self._gave_way = False
        self._timeouts_without_leader = 0
        self._reset_election_timer()

    def forsake(self, leader: int, now_ms: int) -> None:
        """The shell found this leader's entries invalid: follow it no longer, and let another one be elected.

        To keep it from being followed again is the shell's: it drops what the liar says, as if it were lost.
        """
        self._advance_clock(now_ms)
        if self.leader == leader and self.role is not Role.LEADER:
            self._become_follower(self.term, None)
            self._loyal_until_ms = self.now_ms
            self._reset_election_timer()

    # --- campaigning -------------------------------------------------------------------------------------

    def _pre_campaign(self) -> None:
        was, self.role = self.role, Role.PRE_CANDIDATE
        self.leader = None
        if was is Role.CANDIDATE:
            self._emit(trace.BECOME_FOLLOWER)
        self._stubborn, self._gave_way = self._gave_way, False
        self._votes = {(self.id, self.disk): True}
        self._reset_election_timer()
        if self._outcome() is VoteOutcome.WON:
            self._campaign(transfer=False)
            return
        self._ask_for_pre_votes()

    def _ask_for_pre_votes(self) -> None:
        """Ask whoever has not granted one; what was refused before counts no more."""
        self._ask_again_ms = self.now_ms + self.options.heartbeat_interval_ms
        self._votes = {voter: granted for voter, granted in self._votes.items() if granted}
        last_index, last_term = self.log.last_index, self.log.last_term
        granted = [self._votes_in(electorate) for electorate in self._electorates]
        for member in self._voters_to_ask():
            if not all(member in votes for votes in granted):
                self._send(PreVoteRequest(self.id, member, self.term + 1, last_index, last_term))

    def _campaign(self, transfer: bool) -> None:
        self.role = Role.CANDIDATE
        self.leader = None
        self.term += 1
        self.vote, self._vote_disk = self.id, self.disk
        self._votes = {}
        self._reset_election_timer()
        self._emit(trace.BECOME_CANDIDATE)
        if self._on_trace is not None:
            self._emit_message("Send", self._own_vote())
        last_index, last_term = self.log.last_index, self.log.last_term
        for member in self._voters_to_ask():
            self._send_after_write(
                VoteRequest(self.id, member, self.term, last_index, last_term, transfer),
            )

    def _voters_to_ask(self) -> list[int]:
        voters = {*self.configuration.voters, *self.configuration.outgoing} - {self.id}
        return sorted(voters)

    def _count_own_vote(self) -> None:
        durable = self._durable_hard
        own = self.id, self.disk
        if durable.term == self.term and durable.vote == self.id and own not in self._votes:
            if self._on_trace is not None:
                self._emit_message("Receive", self._own_vote())
            self._count_vote(*own, granted=True)

    def _own_vote(self) -> VoteResponse:
        """What is never sent, but to the specification is."""
        return VoteResponse(self.id, self.id, self.term, True, self.disk)

    def _count_vote(self, member: int, disk: bytes, granted: bool) -> None:
        self._votes.setdefault((member, disk), granted)
        outcome = self._outcome()
        if outcome is VoteOutcome.WON:
            if self.role is Role.PRE_CANDIDATE:
                self._campaign(transfer=False)
            else:
                self._become_leader()
        elif outcome is VoteOutcome.LOST:
            self._become_follower(self.term, None)

    def _outcome(self) -> VoteOutcome:
        """How the election stands. Who founds a network needs every vote: while no disks are named, one that
        lost its own would be counted twice in a term."""
        outcomes = {vote_outcome(each, self._votes_in(each)) for each in self._electorates}
        if outcomes != {VoteOutcome.WON}:
            return VoteOutcome.LOST if VoteOutcome.LOST in outcomes else VoteOutcome.PENDING
        if self.disk and not self.configuration.disks and self.options.founded_by_all:
            votes, every = self._votes_in(self.configuration), (self.id, *self._voters_to_ask())
            return VoteOutcome.WON if all(votes.get(voter) for voter in every) else VoteOutcome.PENDING
        return VoteOutcome.WON

    def _votes_in(self, electorate: Configuration) -> dict[int, bool]:
        """The votes that count in a configuration, by member."""
        votes: dict[int, bool] = {}
        for (member, disk), granted in self._votes.items():
            if self._counts_in(electorate, member, disk):
                votes.setdefault(member, granted)
        return votes

    def _may_vote(self, member: int, disk: bytes) -> bool:
        return any(self._counts_in(electorate, member, disk) for electorate in self._electorates)

    def _become_leader(self) -> None:
        self.role = Role.LEADER
        self.leader = self.id
        next_index = self.log.last_index + 1
        self._progress = {
            member: Progress(next_index, self.now_ms)
            for member in sorted(self.configuration.members() | {self.id})
        }
        own = self._progress[self.id]
        own.match, own.counted = self.durable_index, self.counts(self.id, self.disk)
        self._uncommitted_bytes = sum(
            entry.size_bytes for entry in self.log.slice(self.commit_index + 1, self.log.last_index)
        )
        self._round, self._elected_ms = 0, self.now_ms
        self._lease_forgone = False
        self._heartbeat_deadline_ms = self.now_ms + self.options.heartbeat_interval_ms
        self._emit(trace.BECOME_LEADER)
        # Only an entry of its own term lets a leader commit what earlier terms left (Raft paper, 5.4.2).
        # A network that is not founded begins its log with the founding entry instead.
        if self.configuration.disks or not self.disk:
            self._append((Entry(next_index, self.term, EntryKind.NOOP),))
            self._emit(trace.REPLICATE)

    def _check_quorum(self) -> None:
        if self.now_ms - self._majority_heard_ms() > self.options.election_timeout_ms_max:
            self._become_follower(self.term, None)

    # --- messages ----------------------------------------------------------------------------------------

    def _on_pre_vote_request(self, m: PreVoteRequest) -> None:
        granted = (
            m.term > self.term
            and not self._is_loyal()
            and self.log.is_up_to_date(m.last_index, m.last_term)
            and not self._goes_first(m)
        )
        term = m.term if granted else self.term
        if granted:
            self._give_way()
        self._reply(PreVoteResponse(self.id, m.sender, term, granted))

    def _goes_first(self, m: PreVoteRequest) -> bool:
        """True if this pre-candidate is ahead of that one, which has not refused it."""
        voted = any(voter == m.sender for voter, _ in self._votes)
        if self.role is not Role.PRE_CANDIDATE or m.term != self.term + 1 or voted:
            return False
        return (self.log.last_term, self.log.last_index, self.id) > (m.last_term, m.last_index, m.sender)

    def _give_way(self) -> None:
        """Let another one campaign first."""
        if self.role is Role.FOLLOWER and not self._gave_way:
            self._gave_way = True
            self._reset_election_timer()
        elif self.role is Role.PRE_CANDIDATE and not self._stubborn:
            self._gave_way = True
            self._become_follower(self.term, None)

    def _on_pre_vote_response(self, m: PreVoteResponse) -> None:
        if not self._may_vote(m.sender, m.disk) or (m.granted and m.term != self.term + 1):
            return  # without a vote, or an answer to an earlier question
        if m.granted:
            self._votes.pop((m.sender, m.disk), None)  # it may have refused before
        self._count_vote(m.sender, m.disk, m.granted)

    def _on_vote_request(self, m: VoteRequest) -> None:
        if self._is_loyal() and not m.transfer:
            return
        same = (self.vote, self._vote_disk) == (m.sender, m.disk)
        free = same or (self.vote == 0 and self.leader is None)
        granted = free and self.log.is_up_to_date(m.last_index, m.last_term)
        if granted:
            self.vote, self._vote_disk = m.sender, m.disk
            self._reset_election_timer()
        self._send_after_write(VoteResponse(self.id, m.sender, self.term, granted, m.disk))

    def _on_vote_response(self, m: VoteResponse) -> None:
        if m.candidate == self.disk and self._may_vote(m.sender, m.disk):
            self._count_vote(m.sender, m.disk, m.granted)

    def _on_transfer_request(self, _m: TransferRequest) -> None:
        if self.is_promotable:
            self._campaign(transfer=True)
