"""Typed errors of the Raft core: what a caller, an operator or a stranger's bytes can do wrong."""

from __future__ import annotations


class RaftError(Exception):
    """Base of every error that the Raft core raises on purpose."""


class NotLeaderError(RaftError):
    """The call needs the leader, and this replica is not it. `leader` is the leader's id, or None."""

    def __init__(self, leader: int | None) -> None:
        super().__init__(f"not the leader (leader: {leader if leader is not None else 'unknown'})")
        self.leader = leader


class StaleTermError(RaftError):
    """A proposal was built for a term that has passed; its author must rebuild it for `current_term`."""

    def __init__(self, proposed_term: int, current_term: int) -> None:
        super().__init__(f"proposal of term {proposed_term}, current term is {current_term}")
        self.proposed_term = proposed_term
        self.current_term = current_term


class LimitReachedError(RaftError):
    """A bound was reached and the call was refused; nothing changed. Names the bound and its value."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(f"{name} reached its limit of {limit}")
        self.name = name
        self.limit = limit


class FoundingError(RaftError):
    """The network is not founded yet: voters `waits_for` have not acknowledged the founding entry."""

    def __init__(self, waits_for: tuple[int, ...]) -> None:
        missing = ", ".join(map(str, waits_for)) or "an answer"
        super().__init__(f"the network is being founded: waiting for {missing}")
        self.waits_for = waits_for


class LeadershipTransferError(RaftError):
    """A leadership transfer is under way, or the one asked for is impossible."""


class MembershipError(RaftError):
    """A membership change that the rules refuse: another one is under way, or the target is not legal."""


class UnknownTicketError(RaftError):
    """A persistence acknowledgement for a write that the core never asked for."""


class CompactionError(RaftError):
    """A snapshot beyond what was handed out as committed, or older than the one that exists."""


class ProtocolViolationError(RaftError):
    """A message that no correct replica sends (two leaders of one term, a rewritten committed entry).

    The message is refused and this replica's state stays as it was.
    """


class MessageError(RaftError):
    """Bytes that are not a valid message. `field` names what is wrong, `reason` states the limit."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason
