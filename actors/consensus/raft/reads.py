"""Linearizable reads without a log entry (Raft dissertation, section 6.4).

ReadIndex: the leader notes its commit index, then proves that it was still the leader *after* the read came
in, by a round of heartbeats that a majority answers; whoever asked answers the read once it has applied that
index. Reads that come in together share a round. Until an entry of its own term is committed, a leader may
not know the true commit index, so reads wait for that.

Lease: with `options.lease_reads` a majority's answers to a heartbeat also prove that nobody else can be
elected for a while after it was *sent*, because of stickiness; reads in that time need no round. This rests
on an assumption: no two members' clocks differ in rate by more than `clock_rate_error_max`. A leader that has
told another replica to campaign has no lease any more in its term, for that message may arrive late.
"""

from __future__ import annotations

from collections import deque

from .effects import ReadReady, Role
from .errors import LimitReachedError, NotLeaderError
from .messages import ReadRequest, ReadResponse
from .quorum import agreed
from .records import INDEX_MAX
from .replication import Replication


class PendingRead:
    """A read that waits for its leader to be confirmed."""

    __slots__ = ("incarnation", "index", "member", "read_id", "reader", "round")

    def __init__(self, member: int, incarnation: int, read_id: int, reader: bytes) -> None:
        self.member = member
        self.reader = reader
        self.incarnation = incarnation
        self.read_id = read_id
        self.index = 0
        self.round = 0


class ReadIndexes(Replication):
    """Read indexes, for this replica's readers and for others'."""

    _reads_waiting: deque[PendingRead]  # for the first commit of the term
    _reads_pending: deque[PendingRead]  # for a round, in the order of their rounds

    def read(self, read_id: int, now_ms: int) -> None:
        """Asks for a read index; `Effects.reads` or `reads_failed` answers, or nothing if a message is lost.

        `read_id` is the caller's own, unique in this incarnation. Raises NotLeaderError without a known
        leader, and LimitReachedError at `reads_max`.
        """
        self._advance_clock(now_ms)
        if self.role is Role.LEADER:
            if len(self._reads_waiting) + len(self._reads_pending) >= self.options.reads_max:
                raise LimitReachedError("reads_max", self.options.reads_max)
            self._admit_read(PendingRead(self.id, self.incarnation, read_id, self.disk))
        elif self.leader is not None:
            self._send(ReadRequest(self.id, self.leader, self.term, self.incarnation, read_id))
        else:
            raise NotLeaderError(None)

    def _on_read_request(self, m: ReadRequest) -> None:
        """A leader that is full drops the request; the asker asks again."""
        if len(self._reads_waiting) + len(self._reads_pending) < self.options.reads_max:
            self._admit_read(PendingRead(m.sender, m.incarnation, m.read_id, m.disk))

    def _on_read_response(self, m: ReadResponse) -> None:
        if (m.incarnation, m.reader) == (self.incarnation, self.disk):
            self._reads.append(ReadReady(m.read_id, m.index))

    def _admit_read(self, read: PendingRead) -> None:
        if self.log.term_at(self.commit_index) != self.term:
            self._reads_waiting.append(read)
            return
        read.index = self.commit_index
        if self._holds_lease():
            self._answer_read(read)
            return
        read.round = self._round + 1
        self._reads_pending.append(read)
        self._round_due = True
        self._after_round()

    def _admit_waiting_reads(self) -> None:
        """The first entry of the term is committed."""
        while self._reads_waiting:
            self._admit_read(self._reads_waiting.popleft())

    def _holds_lease(self) -> bool:
        if not self.options.lease_reads or self._lease_forgone:
            return False
        return self.now_ms < agreed(self.configuration, self._lease_start_of) + self.options.lease_ms

    def _lease_start_of(self, member: int) -> int:
        progress = self._progress.get(member)
        if member == self.id:
            return self.now_ms
        return progress.lease_start_ms if progress and progress.counted else 0

    def _round_of(self, member: int) -> int:
        progress = self._progress.get(member)
        if member == self.id:
            return INDEX_MAX
        return progress.round if progress and progress.counted else 0

    def _after_round(self) -> None:
        """Releases the reads whose round a majority has answered."""
        if self._reads_pending:
            confirmed = agreed(self.configuration, self._round_of)
            while self._reads_pending and self._reads_pending[0].round <= confirmed:
                self._answer_read(self._reads_pending.popleft())

    def _answer_read(self, read: PendingRead) -> None:
        if read.member == self.id:
            self._reads.append(ReadReady(read.read_id, read.index))
        else:
            response = ReadResponse(
                self.id, read.member, self.term, read.incarnation, read.read_id, read.index, read.reader
            )
            self._send(response)

    def _fail_reads(self) -> None:
        """The office is lost: local readers ask again, remote ones time out."""
        for queue in (self._reads_waiting, self._reads_pending):
            self._reads_failed += [read.read_id for read in queue if read.member == self.id]
            queue.clear()
