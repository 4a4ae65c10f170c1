"""Founding a network, and giving a voter that lost its disk its vote back.

Founding. At the first start nobody knows anybody's disk, and a member that lost its memory then is not to be
told from one that starts for the first time: 1 and 2 found the network while 3 is away, 2 is emptied, and 2
and 3 found it again. So the first entry of the log, the founding entry, names the disks of all voters, and

- whoever founds it is elected by every voter, so that two cannot be in one term, even if somebody forgets
  that it voted; it writes the entry once nobody's log names disks already;
- nothing is committed, and no block proposed, before every voter has acknowledged it from the disk that it
  names (or a majority, if the operator has asked for that: `founded_by_all`).

From then on each voter's own log tells it whom to believe, so that no set of members that lost their disks
can begin a second history with one that did not. A block in a log, or a change of members, says that
founding was over. While it goes on, a voter whose disk is another than the one in an unfinished founding
entry is named in the next one. Whoever writes that cannot know whether the one before was finished after all,
and its majorities be at work, so until a replica knows that founding is over

- it is elected by a majority of every founding entry of its log, each by the disks that this one names,
- it commits nothing before every voter has acknowledged the last of them, and such majorities with it, and
- it hears candidates and leaders from any disk, and campaigns, as a last resort, from one that is not named,
  without a vote of its own: the founder may have lost its disk, and nobody else have the entry. If it wins
  and is not named soon, somebody who knows that founding is over does not hear it: it makes way for others.

Readmission. A voter that speaks from another disk than the one that is named has forgotten what it promised.
The leader makes it a learner by an ordinary change of membership, whose majorities it takes no part in, and a
voter again, named with its new disk, when it has caught up. As any new voter it then holds, from the leader,
all that is committed; and the change that names it is committed by majorities that have forgotten nothing.
Where no such majority is left (two members, one of which lost its disk) nothing can tell the emptied member
from a thief of its key: an operator has to say so (`readmit`).
"""

from __future__ import annotations

from functools import partial

import msgspec

from actors.ledger.quorum import quorum

from . import trace
from .effects import Role
from .errors import FoundingError, RaftError
from .membership import configuration_entry
from .progress import Progress, ProgressState
from .quorum import agreed
from .reconfiguration import Reconfiguration
from .records import AWAITED, INDEX_MAX, Configuration, EntryKind

READMITTED_LAG_ENTRIES_MAX = 64
TIMEOUTS_UNTIL_UNNAMED_GOES = 2


class Founding(Reconfiguration):
    """How the disks of voters come to be named."""

    # --- founding ----------------------------------------------------------------------------------------

    @property
    def is_founded(self) -> bool:
        """True once this replica knows that founding is over. It stays so."""
        if not self._founded and self.configuration.disks:
            log = self.log
            at = next(index for index, known in log.configurations if known.disks)
            later = log.entries[max(at - log.base_index, 0) :]
            changed = any(known.disks and known.is_joint for _, known in log.configurations)
            block = any(entry.kind is EntryKind.BLOCK for entry in later)
            self._founded = at <= self.commit_index or changed or block
        return self._founded

    @property
    def founding_waits_for(self) -> tuple[int, ...]:
        """Voters that have not voted for this candidate, or not acknowledged this leader's founding entry."""
        if self.is_founded or self.role is Role.FOLLOWER:
            return ()
        if self.role is not Role.LEADER:
            voted = {member for member, _ in self._votes}
            return tuple(m for m in self.configuration.voters if m not in voted)
        index = self.log.last_index or 1
        return tuple(m for m in self.configuration.voters if self._match_of(m) < index)

    def _refuse_before_founding(self) -> None:
        if not self.is_founded:
            raise FoundingError(self.founding_waits_for)

    def _founded_up_to(self) -> int:
        if self.is_founded or not self.options.founded_by_all:
            return INDEX_MAX
        reached = min(map(self._match_of, self.configuration.voters), default=0)
        for electorate in self._electorates:
            reached = min(reached, agreed(electorate, partial(self._match_in, electorate)))
        return reached if reached >= self.log.configuration_index else 0

    def _match_in(self, electorate: Configuration, member: int) -> int:
        known = self._progress.get(member)
        disk = self.disk if member == self.id else known and known.disk
        return known.match if known and disk and self._counts_in(electorate, member, disk) else 0

    def _found(self) -> None:
        """Write a founding entry, if one is missing or names a disk that is gone."""
        configuration = self.configuration
        if self.is_founded or configuration.is_joint:
            return
        spoken = {self.id: self.disk}
        spoken |= {m: known.disk for m, known in self._progress.items() if known.disk and m != self.id}
        disks = tuple((voter, spoken[voter]) for voter in configuration.voters if voter in spoken)
        missing = len(configuration.voters) - len(disks)
        if missing and (self.options.founded_by_all or len(disks) < quorum(len(configuration.voters))):
            return
        if configuration.disks and (disks == configuration.disks or not self.options.founded_by_all):
            return
        founding = msgspec.structs.replace(configuration, disks=disks)
        self._append_own(configuration_entry(self.log.last_index + 1, self.term, founding))
        self._emit(trace.REPLICATE)  # no change of members

    def _make_way(self) -> None:
        """Stop leading from a disk that is not named, and cannot be."""
        patience_ms = TIMEOUTS_UNTIL_UNNAMED_GOES * self.options.election_timeout_ms_max
        unnamed = self.configuration.is_voter(self.id) and not self._is_named(self.configuration)
        if self.role is Role.LEADER and unnamed and self.now_ms - self._elected_ms > patience_ms:
            self._become_follower(self.term, None)
            self._timeouts_without_leader = 0

    # --- readmission -------------------------------------------------------------------------------------

    def readmit(self, member: int) -> None:
        """An operator says that `member`, perhaps this one, counts from whatever disk it speaks from, until a
        configuration names that disk. Not remembered over a restart."""
        self.readmitted[member] = self.configuration.disk_of(member)
        self._recount()

    def _readmit(self) -> None:
        """Begin the next change that a lost disk asks for, if one does and none is under way."""
        now = self.configuration
        settled = self.log.configuration_index <= self.commit_index and not now.is_joint
        if not now.disks or not settled or self.log.term_at(self.commit_index) != self.term:
            return
        change = self._readmission()
        if change is None or not agreed(now, self._is_present):
            return
        try:
            self.change_membership(*change)
        except RaftError:  # the log is full, or leadership is being handed over: at a later tick
            return

    def _readmission(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, bytes], ...]] | None:
        now = self.configuration
        for member, known in self._progress.items():
            if member == self.id or not known.disk or not self._answers(known):
                continue
            named = now.disk_of(member)
            if member in now.learners and named == AWAITED and self._has_caught_up(known):
                rest = tuple(learner for learner in now.learners if learner != member)
                return (*now.voters, member), rest, ((member, known.disk),)
            if member in now.voters and named != known.disk:
                if member in self.readmitted:
                    return now.voters, now.learners, ((member, known.disk),)
                rest = tuple(voter for voter in now.voters if voter != member)
                return rest, (*now.learners, member), ((member, AWAITED),)
        return None

    def _answers(self, known: Progress) -> bool:
        return self.now_ms - known.heard_ms <= self.options.election_timeout_ms_max

    def _is_present(self, member: int) -> int:
        known = self._progress.get(member)
        return int(member == self.id or (known is not None and known.counted and self._answers(known)))

    def _has_caught_up(self, known: Progress) -> bool:
        lag = self.log.last_index - known.match
        return known.state is ProgressState.REPLICATE and lag <= READMITTED_LAG_ENTRIES_MAX
