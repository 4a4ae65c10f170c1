"""Majorities, plain and joint.

A joint configuration agrees only where both of its halves agree (Raft dissertation, section 4.3). An index is
agreed on if a majority reached it, so the agreed index is the median of what voters reached, rounded down.
How many make a majority, `actors/ledger/quorum.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from actors.ledger.quorum import quorum

from .records import INDEX_MAX, Configuration


class VoteOutcome(Enum):
    """How an election stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority_reached(voters: tuple[int, ...], reached: Callable[[int], int]) -> int:
    """The largest value that a majority of `voters` reached; without voters there is no limit."""
    if not voters:
        return INDEX_MAX
    return sorted(map(reached, voters))[-quorum(len(voters))]


def agreed(configuration: Configuration, reached: Callable[[int], int]) -> int:
    """The largest value that every required majority reached. Zero if there is no voter at all."""
    if not configuration.voters:
        return 0
    value = majority_reached(configuration.voters, reached)
    if configuration.outgoing:
        value = min(value, majority_reached(configuration.outgoing, reached))
    return value


def _half_outcome(voters: tuple[int, ...], votes: Mapping[int, bool]) -> VoteOutcome:
    needed = quorum(len(voters))
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteOutcome.WON
    return VoteOutcome.LOST if len(voters) - refused < needed else VoteOutcome.PENDING


def vote_outcome(configuration: Configuration, votes: Mapping[int, bool]) -> VoteOutcome:
    """Whether `votes` (by member; True for granted) win, lose, or leave the election open."""
    halves = [_half_outcome(half, votes) for half in (configuration.voters, configuration.outgoing) if half]
    if not halves or VoteOutcome.LOST in halves:
        return VoteOutcome.LOST
    return VoteOutcome.WON if all(half is VoteOutcome.WON for half in halves) else VoteOutcome.PENDING
