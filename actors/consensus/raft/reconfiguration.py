"""Leadership transfer and membership change.

Transfer (Raft dissertation, section 3.10): the leader takes no proposals, brings the target's log up to its
own, and tells it to campaign at once. If that leads nowhere within the longest election timeout, the leader
goes on as before.

Membership (chapter 4): the leader appends the joint configuration, and the one that leaves it as soon as the
first is committed; a new leader finishes what it finds. One change at a time, and only once an entry of the
leader's own term is committed. A leader that is no voter of the committed result hands over and steps down.
A new voter must have been a learner that nearly caught up, or it could stall the network.
"""

from __future__ import annotations

from . import trace
from .effects import Role
from .errors import LeadershipTransferError, MembershipError, NotLeaderError
from .membership import configuration_entry, enter_joint, leave_joint
from .messages import TransferRequest
from .progress import Progress
from .reads import ReadIndexes


class Reconfiguration(ReadIndexes):
    """Who leads, and who takes part."""

    _transfer_target: int
    _transfer_deadline_ms: int

    # --- leadership transfer -----------------------------------------------------------------------------

    def transfer_leadership(self, target: int) -> None:
        """Starts handing over to the voter `target`.

        Raises NotLeaderError, or LeadershipTransferError if a transfer is under way or `target` is this
        replica or no voter.
        """
        if self.role is not Role.LEADER:
            raise NotLeaderError(self.leader)
        self._refuse_during_transfer()
        if target == self.id or target not in self.configuration.voters:
            raise LeadershipTransferError(f"{target} is not another voter")
        self._transfer_target = target
        self._transfer_deadline_ms = self.now_ms + self.options.election_timeout_ms_max
        self._replication_due = True
        self._after_match(target, self._progress[target])

    def _refuse_during_transfer(self) -> None:
        if self._transfer_target:
            raise LeadershipTransferError(f"a transfer to {self._transfer_target} is under way")

    def _after_match(self, member: int, progress: Progress) -> None:
        """A follower's log grew; the transfer may have waited for that."""
        if member == self._transfer_target and progress.match == self.log.last_index:
            self._hand_over(member)

    def _hand_over(self, member: int) -> None:
        self._lease_forgone = True
        self._send(TransferRequest(self.id, member, self.term))

    def _check_transfer(self) -> None:
        if self._transfer_target and self.now_ms >= self._transfer_deadline_ms:
            self._transfer_target = 0

    # --- membership --------------------------------------------------------------------------------------

    def change_membership(
        self,
        voters: tuple[int, ...],
        learners: tuple[int, ...] = (),
        disks: tuple[tuple[int, bytes], ...] = (),
    ) -> int:
        """Starts the change to `voters` and `learners`; returns the index of the joint entry.

        `disks` names disks beside those of the present voters; a new voter's is the one that it speaks from,
        unless given. Raises NotLeaderError, LeadershipTransferError, LimitReachedError, or MembershipError if
        a change is under way, the leader has committed nothing in its term yet, the target is not legal, or a
        new voter is not ready.
        """
        if self.role is not Role.LEADER:
            raise NotLeaderError(self.leader)
        self._refuse_during_transfer()
        if self.log.configuration_index > self.commit_index or self.configuration.is_joint:
            raise MembershipError("a membership change is under way")
        if self.log.term_at(self.commit_index) != self.term:
            raise MembershipError("nothing is committed in this term yet")
        named = dict(disks)
        for member in set(voters) - set(self.configuration.voters):
            self._check_ready(member)
            if self.configuration.disks and (disk := self._progress[member].disk):
                named.setdefault(member, disk)
        self._check_room(0)
        joint = enter_joint(self.configuration, voters, learners, tuple(named.items()))
        index = self.log.last_index + 1
        self._emit_change(trace.CHANGE_CONF, joint)
        self._append_own(configuration_entry(index, self.term, joint))
        return index

    def _check_ready(self, member: int) -> None:
        progress = self._progress.get(member)
        if progress is None:
            raise MembershipError(f"{member} must be a learner before it can be a voter")
        if self.configuration.disks and not progress.disk:
            raise MembershipError(f"{member} has not answered this leader yet")
        lag = self.log.last_index - progress.match
        if lag > self.options.promotion_lag_entries_max:
            limit = self.options.promotion_lag_entries_max
            raise MembershipError(f"{member} trails by {lag} entries, at most {limit} are allowed")

    def _after_configuration_change(self) -> None:
        if self.role is not Role.LEADER:
            return
        members = self.configuration.members() | {self.id}
        next_index = self.log.last_index + 1
        self._progress = {
            member: self._progress.get(member) or Progress(next_index, self.now_ms)
            for member in sorted(members)
        }
        self._recount()
        if self._transfer_target not in self.configuration.voters:
            self._transfer_target = 0

    def _continue_change(self) -> None:
        """The configuration in force is committed: leave a joint one, or leave office if not part of it."""
        if self.configuration.is_joint:
            index = self.log.last_index + 1
            target = leave_joint(self.configuration)
            self._append_own(configuration_entry(index, self.term, target))
        elif self.id not in self.configuration.voters:
            heir = max(self.configuration.voters, key=self._match_of)
            if self._match_of(heir) == self.log.last_index:
                self._hand_over(heir)
            self._become_follower(self.term, None)

    # --- what the rules do after a change ----------------------------------------------------------------

    def _after_commit(self, previous: int) -> None:
        if self.role is not Role.LEADER:
            return
        for entry in self.log.slice(previous + 1, self.commit_index):
            self._uncommitted_bytes -= entry.size_bytes
        self._replication_due = True
        if self.log.term_at(self.commit_index) != self.term:
            return
        self._admit_waiting_reads()
        if self.log.configuration_index <= self.commit_index:
            self._continue_change()

    def _lose_office(self) -> None:
        self._fail_reads()
        self._transfer_target = 0
        self._replication_due = self._round_due = False
        self._progress = {}

    def _after_persisted(self) -> None:
        if self.role is Role.LEADER:
            own = self._progress[self.id]
            if self.durable_index > own.match:
                own.match = self.durable_index
                if self._on_trace is not None and self.log.term_at(own.match) == self.term:
                    self._emit_own_response("Receive", own.match)
                self._advance_commit()
        elif self.role is Role.CANDIDATE:
            self._count_own_vote()
