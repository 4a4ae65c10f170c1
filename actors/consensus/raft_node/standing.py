"""What keeps this member from its full part, in words: for status, readiness, `members` and the log.

Logged once when it begins and once when it ends, so that nothing is repeated while it lasts.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.consensus.raft import Raft, Role
from actors.consensus.raft.records import AWAITED
from actors.ledger.genesis import Genesis
from actors.ledger.membership import DiskState


def describe_standing(genesis: Genesis, raft: Raft) -> str:
    """Why this member cannot vote or the network makes no blocks yet; empty if all is well."""
    if raft.term >= raft.term_ceiling:
        return (
            f"this member's term is {raft.term}, which no network reaches: stop it and run "
            "`node.py members repair-term`"
        )
    if raft.is_out:
        return "this member was removed: the others go on without it"
    if not raft.disk:
        return "" if not raft.configuration.disks else "this member could not write which disk it is on"
    if raft.founded_elsewhere and not raft.configuration.disks:
        return _NEW_DISK
    if raft.configuration.disks and _lost_its_vote(raft):
        return _NEW_DISK
    if not raft.is_founded:
        return f"the network makes its first block when all members are there; {_missing(genesis, raft)}"
    return ""


_NEW_DISK = (
    "this member's disk is new, or older than what it signed: it catches up, and has no vote until the "
    "others have agreed to its new disk"
)


def _lost_its_vote(raft: Raft) -> bool:
    named = raft.configuration.disk_of(raft.id)
    if raft.configuration.is_voter(raft.id):
        return named != raft.disk and raft.id not in raft.readmitted
    return named == AWAITED


def _missing(genesis: Genesis, raft: Raft) -> str:
    if raft.role is Role.FOLLOWER:
        return "its leader knows who is missing" if raft.leader else "they are being asked"
    waiting = ", ".join(genesis.members[member - 1].name for member in raft.founding_waits_for)
    return f"waiting for {waiting or 'their answers'}"


def disk_state(raft: Raft, member: int) -> DiskState:
    """What the configuration says of a member's disk: named, awaited (its vote comes back), or unknown."""
    configuration = raft.configuration
    if member in configuration.learners:
        return "awaited" if configuration.disk_of(member) == AWAITED else "unnamed"
    if not configuration.is_voter(member):
        return "unnamed"
    known = next((known for known in raft.followers() if known.member == member), None)
    if known is not None and not known.counted:
        return "changed"
    return "named" if configuration.disk_of(member) else "unnamed"


class StandingWatch:
    """Watches one replica and says what changes: its own standing, and members that lose or regain a vote.

    note is for what is expected, warn for what somebody should look at.
    """

    def __init__(
        self, genesis: Genesis, raft: Raft, note: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._genesis, self._raft, self._note, self._warn = genesis, raft, note, warn
        self._said = ""
        self._awaited: set[int] = set()

    def look(self) -> None:
        """Compare with the last look."""
        now = describe_standing(self._genesis, self._raft)
        kind = now.partition(";")[0]
        if kind != self._said.partition(";")[0]:
            say = self._warn if now and self._raft.is_founded else self._note
            say(now or f"no more: {self._said.partition(';')[0]}")
        self._said = now
        awaited = {member for member, disk in self._raft.configuration.disks if disk == AWAITED}
        for member in sorted(awaited - self._awaited):
            self._warn(f"{self._name(member)} has lost its disk, and its vote until it has caught up")
        for member in sorted(self._awaited - awaited):
            if self._raft.configuration.is_voter(member):
                self._note(f"{self._name(member)} has caught up on its new disk, and votes again")
        self._awaited = awaited

    def _name(self, member: int) -> str:
        return self._genesis.members[member - 1].name
