"""The replica's state machine, and the one that needs no other: a group of a single member.

No I/O, no clock: events come in as calls, one frozen `Effects` record comes out, whose fields say what must
be durable before what is done. A replicated state machine answers with the same record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a replica is in its term."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Entry:
    """One block in the log: its body stays in Storage, here is its name."""

    height: int
    term: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Effects:
    """append: entries to make durable, in order, before their `persisted` event is reported back.

    votes: header hashes this replica may sign now, since it has persisted and validated the block.
    commit_height: every block up to here is committed; None when nothing changed.
    """

    append: tuple[Entry, ...] = ()
    votes: tuple[bytes, ...] = ()
    commit_height: int | None = None


class IllegalEventError(RuntimeError):
    """An event that cannot happen in this state: the shell and the core disagree about the world."""


class SoleReplica:
    """Leader of a group of one: its own durable copy is a majority."""

    def __init__(self, term: int, height: int) -> None:
        self.term = term
        self.role = Role.LEADER
        self.commit_height = height
        self._appended = height
        self._pending: dict[int, bytes] = {}

    def propose(self, height: int, digest: bytes) -> Effects:
        """A block was executed and sealed on top of the last one."""
        if height != self._appended + 1:
            raise IllegalEventError(f"proposed height {height} after {self._appended}")
        self._appended = height
        self._pending[height] = digest
        return Effects(append=(Entry(height, self.term, digest),), votes=(digest,))

    def persisted(self, height: int, digest: bytes) -> Effects:
        """The entry at `height` is durable here."""
        if self._pending.get(height) != digest:
            raise IllegalEventError(f"persisted height {height} that was not proposed as such")
        if height != self.commit_height + 1:
            raise IllegalEventError(f"persisted height {height} while committed is {self.commit_height}")
        del self._pending[height]
        self.commit_height = height
        return Effects(commit_height=height)
