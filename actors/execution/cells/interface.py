"""What is asked of a cell, what it may take, and how it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

J = TypeVar("J")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class CellEngine(Generic[J, A]):
    """What runs in a cell.

    module: has `run(job: J) -> A`, and may have `prepare(directory)`, which imports and opens all that `run`
    will need: nothing can be imported or opened later. directory: where it may keep compiled code until
    then, a Path or None. J and A are dataclasses that packing.py knows. answer: A.
    check: raises ValueError for an answer that cannot be one to this job; it is told what a hostile child
    said.
    """

    module: str
    answer: type[A]
    check: Callable[[J, A], None]


@dataclass(frozen=True, slots=True)
class CellLimits:
    """cpu_s, wall_s: of one job. start_s: until a child is ready. memory_bytes: more than it has then.

    job_bytes_max, answer_bytes_max: of the buffers that cross. keep_bytes: memory of each that is kept from
    job to job. restarts_max: in a minute. nice: how much others come first. confined: no child works whose
    system calls are not filtered.
    """

    cpu_s: float = 2.0
    wall_s: float = 10.0
    start_s: float = 30.0
    memory_bytes: int = 512 << 20
    job_bytes_max: int = 256 << 20
    answer_bytes_max: int = 256 << 20
    keep_bytes: int = 32 << 20
    restarts_max: int = 10
    nice: int = 0
    confined: bool = True


class CellReason(StrEnum):
    """Why a cell has no answer."""

    START = "start"  # no child could be started
    UNCONFINED = "unconfined"  # nothing filters system calls here, and the limits ask for it
    RESTARTS = "restarts"  # too many have ended in the last minute
    TOO_LARGE = "too_large"  # the job is
    TIME = "time"
    MEMORY = "memory"
    FORBIDDEN = "forbidden"  # it tried a system call that it may not use
    DIED = "died"
    GARBAGE = "garbage"  # it answered what is no answer
    FAILED = "failed"  # its engine refused the job; the child lives on


class CellError(RuntimeError):
    """There is no answer. text: printable, and short."""

    def __init__(self, reason: CellReason, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.text = reason, text

    def __reduce__(self) -> tuple[type[CellError], tuple[CellReason, str]]:
        """Errors cross processes; without this they would be rebuilt from their message alone."""
        return type(self), (self.reason, self.text)
