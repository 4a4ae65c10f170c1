"""Replication: proposals, AppendEntries with pipelining and fast back-up, commitment, snapshots.

The leader sends what it has not written yet: its own write runs beside its followers'. Requests are built
when effects are taken, so that everything proposed since the last record travels in one request a follower.
`commit` moves to the index that a majority has durably, if the entry there is of the leader's own term.
"""

from __future__ import annotations

from abc import abstractmethod

from . import trace
from .effects import Role, SnapshotOffer, VoteReceived
from .election import Election
from .errors import CompactionError, LimitReachedError, ProtocolViolationError
from .membership import configuration_of
from .messages import (
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    SnapshotRequest,
)
from .progress import Progress, ProgressState
from .quorum import agreed
from .records import Entry, EntryKind, Proposal, SnapshotMeta


class Replication(Election):
    """How the log gets from the leader to everybody."""

    @abstractmethod
    def _founded_up_to(self) -> int:
        """How far founding lets this leader commit."""

    # --- leader: proposals -------------------------------------------------------------------------------

    def _check_room(self, size_bytes: int) -> None:
        options = self.options
        uncommitted = self.log.last_index - self.commit_index
        if uncommitted >= options.uncommitted_entries_max:
            raise LimitReachedError("uncommitted_entries_max", options.uncommitted_entries_max)
        # One body of any size is let in when nothing waits, or it could never be committed.
        total_bytes = self._uncommitted_bytes + size_bytes
        if self._uncommitted_bytes and total_bytes > options.uncommitted_bytes_max:
            raise LimitReachedError("uncommitted_bytes_max", options.uncommitted_bytes_max)
        if len(self.log.entries) >= options.log_entries_max:
            raise LimitReachedError("log_entries_max", options.log_entries_max)

    def _append_proposal(self, proposal: Proposal) -> int:
        self._check_room(proposal.size_bytes)
        index = self.log.last_index + 1
        self._append_own(Entry(index, self.term, EntryKind.BLOCK, proposal.digest, proposal.size_bytes))
        self._emit(trace.REPLICATE)
        return index

    def _append_own(self, entry: Entry) -> None:
        self._uncommitted_bytes += entry.size_bytes
        self._append((entry,))

    # --- leader: sending ---------------------------------------------------------------------------------

    def _replicate(self) -> None:
        """Sends every follower what it may have now, and a round of heartbeats if one is due."""
        self._replication_due = False
        if self.role is not Role.LEADER:
            self._round_due = False
            return
        if self._round_due:
            self._send_heartbeats()
        last, commit = self.log.last_index, self.commit_index
        for member, progress in self._progress.items():
            if member != self.id and (progress.next <= last or progress.commit_sent < commit):
                self._feed(member, progress)

    def _send_heartbeats(self) -> None:
        self._round_due = False
        self._round += 1
        for member, progress in self._progress.items():
            if member != self.id:
                commit = min(progress.match, self.commit_index)
                self._send(
                    HeartbeatRequest(
                        self.id, member, self.term, commit, self._round, self.now_ms, progress.disk or b""
                    )
                )

    def _feed(self, member: int, progress: Progress) -> None:
        """Sends `member` all that its window has room for."""
        options = self.options
        while progress.state is not ProgressState.SNAPSHOT:
            if progress.state is ProgressState.PROBE and progress.probe_sent:
                return
            if progress.next <= self.log.base_index:
                self._offer_snapshot(member, progress)
                return
            entries_room = options.inflight_entries_max - progress.inflight_entries
            bytes_room = options.inflight_bytes_max - progress.inflight_bytes
            if entries_room <= 0 or bytes_room <= 0:
                return
            entries = self.log.batch(
                progress.next,
                min(entries_room, options.append_entries_max),
                min(bytes_room, options.append_bytes_max),
            )
            last = progress.next - 1 + len(entries)
            size_bytes = sum(entry.size_bytes for entry in entries)
            if progress.inflight and size_bytes > bytes_room:
                return
            if not entries and progress.commit_sent >= self.commit_index:
                return
            self._send_append(member, progress, entries)
            if progress.state is ProgressState.PROBE:
                progress.probe_sent = True
                return
            if not entries:
                return
            progress.record_sent(last, len(entries), size_bytes)

    def _send_append(self, member: int, progress: Progress, entries: tuple[Entry, ...]) -> None:
        previous = progress.next - 1
        previous_term = self.log.term_at(previous)
        if previous_term is None:
            raise IndexError(f"entry {previous} is not in the log")
        self._send(
            AppendRequest(
                self.id, member, self.term, previous, previous_term, self.commit_index, self._round, entries
            )
        )
        progress.commit_sent = min(self.commit_index, previous + len(entries))

    def _offer_snapshot(self, member: int, progress: Progress) -> None:
        snapshot = self.log.snapshot
        progress.become(ProgressState.SNAPSHOT, snapshot.index + 1)
        progress.snapshot_sent_ms = self.now_ms
        self._send(SnapshotRequest(self.id, member, self.term, snapshot))

    def _retry_snapshots(self) -> None:
        """Offers anew what a follower has not reported in time: the offer, or the report, may be lost."""
        for progress in self._progress.values():
            waited_ms = self.now_ms - progress.snapshot_sent_ms
            if progress.state is ProgressState.SNAPSHOT and waited_ms >= self.options.snapshot_retry_ms:
                progress.become(ProgressState.PROBE, progress.match + 1)
                self._replication_due = True

    # --- leader: answers ---------------------------------------------------------------------------------

    def _hear(self, m: AppendResponse | HeartbeatResponse) -> Progress | None:
        """Notes a follower's sign of life. None if it is not a member (any more)."""
        progress = self._progress_of(m)
        if progress is None:
            return None
        progress.heard_ms = self.now_ms
        if progress.counted:
            self._votes_received += [VoteReceived(m.sender, vote) for vote in m.votes]
        if m.round > progress.round:
            progress.round = m.round
            self._after_round()
        return progress

    def _on_append_response(self, m: AppendResponse) -> None:
        progress = self._hear(m)
        if progress is None:
            return
        if m.rejected:
            self._back_up(progress, m)
            return
        if m.index > self.log.last_index:
            raise ProtocolViolationError(f"{m.sender} acknowledges {m.index} of {self.log.last_index}")
        progress.release(m.index)
        advanced = m.index > progress.match
        if advanced:
            progress.match = m.index
        if progress.state is ProgressState.SNAPSHOT:
            if progress.match >= self.log.base_index:
                progress.become(ProgressState.REPLICATE, progress.match + 1)
        elif progress.state is ProgressState.PROBE:
            if progress.match >= progress.next - 1 or advanced:
                progress.become(ProgressState.REPLICATE, progress.match + 1)
        elif progress.match >= progress.next:
            progress.next = progress.match + 1
        self._replication_due = True
        if advanced:
            self._advance_commit()
            self._after_match(m.sender, progress)

    def _back_up(self, progress: Progress, m: AppendResponse) -> None:
        """Finds the next place to try, skipping whole terms that cannot match."""
        if m.index <= progress.match or progress.state is ProgressState.SNAPSHOT:
            return  # stale: it has acknowledged more since
        if progress.state is ProgressState.PROBE and m.index != progress.next - 1:
            return  # the answer to another question
        candidate = min(m.hint_index, m.index - 1)
        if candidate >= self.log.base_index:  # else what it needs is compacted, and a snapshot follows
            candidate, _ = self.log.last_not_after(candidate, m.hint_term)
        progress.become(ProgressState.PROBE, max(candidate, progress.match) + 1)
        self._replication_due = True

    def _on_heartbeat_response(self, m: HeartbeatResponse) -> None:
        progress = self._hear(m)
        if progress is None:
            return
        progress.lease_start_ms = max(progress.lease_start_ms, m.sent_ms)
        progress.probe_sent = False
        if progress.match < self.log.last_index:
            self._replication_due = True
            if progress.state is ProgressState.REPLICATE and progress.inflight:
                self._show_gap(m.sender, progress)

    def _show_gap(self, member: int, progress: Progress) -> None:
        """A lost request leaves a gap that only a request behind it can show."""
        if progress.next > self.log.base_index:
            self._send_append(member, progress, ())
        else:  # compacted meanwhile: a snapshot follows
            progress.become(ProgressState.PROBE, progress.match + 1)

    def _advance_commit(self) -> None:
        index = min(agreed(self.configuration, self._match_of), self._founded_up_to())
        if index > self.commit_index and self.log.term_at(index) == self.term:
            self._commit_to(index)

    # --- follower ----------------------------------------------------------------------------------------

    def _on_append_request(self, m: AppendRequest) -> None:
        self._check_entries(m)
        self._follow(m.sender)
        if m.prev_index < self.commit_index:
            self._acknowledge(m, self.commit_index)
            return
        if self.log.term_at(m.prev_index) != m.prev_term:
            hint_index, hint_term = self.log.last_not_after(m.prev_index, m.prev_term)
            self._reply(
                AppendResponse(
                    self.id, m.sender, self.term, m.prev_index, True, hint_index, hint_term, m.round
                )
            )
            return
        first_new = self._first_new(m)
        if first_new < len(m.entries):
            first = m.entries[first_new].index
            if first <= self.log.last_index:
                self._truncate(first)
            self._append(m.entries[first_new:])
        last = m.prev_index + len(m.entries)
        self._commit_to(min(m.commit, last))
        self._acknowledge(m, last)

    def _acknowledge(self, m: AppendRequest, index: int) -> None:
        self._send_after_write(
            AppendResponse(self.id, m.sender, self.term, index, round=m.round, votes=self._take_votes())
        )

    def _check_entries(self, m: AppendRequest) -> None:
        """Refuses what no correct leader sends, before anything changes."""
        index, term = m.prev_index, m.prev_term
        self._check_history(m.sender, index, term)
        for entry in m.entries:
            index += 1
            if entry.index != index or not term <= entry.term <= m.term:
                raise ProtocolViolationError(f"{m.sender} sends entries out of order at {entry.index}")
            term = entry.term
            self._check_history(m.sender, index, term)
            if entry.kind is EntryKind.CONFIGURATION:
                configuration_of(entry)

    def _check_history(self, sender: int, index: int, term: int) -> None:
        if index <= self.commit_index and self.log.term_at(index) not in (None, term):
            raise ProtocolViolationError(f"{sender} rewrites committed entry {index}")

    def _first_new(self, m: AppendRequest) -> int:
        """The position of the first entry that is not in the log."""
        for position, entry in enumerate(m.entries):
            if self.log.term_at(entry.index) != entry.term:
                return position
        return len(m.entries)

    def _on_heartbeat_request(self, m: HeartbeatRequest) -> None:
        self._follow(m.sender)
        if m.acknowledged == self.disk:  # another disk's log may hold other entries up there
            self._commit_to(min(m.commit, self.log.last_index))
        self._reply(HeartbeatResponse(self.id, m.sender, self.term, m.round, m.sent_ms, self._take_votes()))

    # --- snapshots ---------------------------------------------------------------------------------------

    def _on_snapshot_request(self, m: SnapshotRequest) -> None:
        self._follow(m.sender)
        if m.snapshot.index <= self.commit_index:
            self._send_after_write(AppendResponse(self.id, m.sender, self.term, self.commit_index))
        else:
            self._snapshot_offer = SnapshotOffer(m.sender, m.snapshot)

    def snapshot_installed(self, snapshot: SnapshotMeta) -> bool:
        """The offered state is durable and in use here. False if the log has passed it meanwhile.

        The shell must not put a state in use that is older than what it has applied: if this replica's
        `handed_index` has reached the snapshot, drop it and do not call.
        """
        if snapshot.index <= self.handed_index:
            return False
        if self.log.term_at(snapshot.index) == snapshot.term:
            # The log holds the same history. It stays: entries behind may have been acknowledged already.
            self._commit_to(snapshot.index)
        else:
            self.log.restore(snapshot)
            self.written_index = self.durable_index = snapshot.index
            for write in self._pending_writes:
                write.last_index = min(write.last_index, snapshot.index)
            self._restored = snapshot
            self._commit_to(snapshot.index)
        self.handed_index = max(self.handed_index, snapshot.index)
        self._adopt_configuration()
        if self.leader is not None and self.leader != self.id:
            self._send_after_write(AppendResponse(self.id, self.leader, self.term, snapshot.index))
        return True

    def snapshot_at(self, index: int, digest: bytes) -> SnapshotMeta:
        """The record to store with a state taken after applying `index`.

        Raises CompactionError if `index` was not handed out as committed, is not durable in the log, or lies
        before the last snapshot.
        """
        self._check_handed(index)
        return self.log.snapshot_at(index, digest)

    def compact(self, snapshot: SnapshotMeta, retain_entries: int = 0) -> None:
        """`snapshot` is durable: drops the log up to it, but for the last `retain_entries`.

        Raises CompactionError as `snapshot_at` does.
        """
        self._check_handed(snapshot.index)
        self.log.compact(snapshot, retain_entries)

    def _check_handed(self, index: int) -> None:
        if not self.log.snapshot.index <= index <= min(self.handed_index, self.durable_index):
            raise CompactionError(f"no snapshot at {index}: {self.handed_index} is handed out")
