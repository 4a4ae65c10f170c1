"""How many members decide: the one definition of a quorum.

Two quorums of the same members always share one of them: under Byzantine faults, one that is honest. And
those that are not faulty always make one, as long as no more fail than `faults_max` says. Whoever counts
members asks here, so that another fault model is a word and not a search.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class FaultModel(Enum):
    """What members beyond a quorum may do: stop, or anything at all. A genesis of version 2 means CRASH."""

    CRASH = "crash"
    BYZANTINE = "byzantine"


def faults_max(members: int, model: FaultModel = FaultModel.CRASH) -> int:
    """How many of so many members may be faulty at once."""
    return max(members - 1, 0) // (2 if model is FaultModel.CRASH else 3)


def quorum(members: int, model: FaultModel = FaultModel.CRASH) -> int:
    """How many of so many members decide: a majority, n // 2 + 1, or ceil((2n + 1) / 3). Never fewer than
    one, so nobody decides where there is nobody."""
    return max(members - faults_max(members, model), 1)


def reached(values: Iterable[int], members: int, model: FaultModel = FaultModel.CRASH) -> int | None:
    """The largest value that a quorum of `members` has reached, where `values` are what some of them, or all,
    have come to; None while fewer than a quorum say."""
    descending, needed = sorted(values, reverse=True), quorum(members, model)
    return descending[needed - 1] if len(descending) >= needed else None
