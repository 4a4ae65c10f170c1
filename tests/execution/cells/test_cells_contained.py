"""What code in a cell tries ends the cell and nothing else, and the actor is told why."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import ClassVar

import psutil
import pytest

from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.process import CellProcess
from bench.attack.cell_attempts import ATTEMPTING, ATTEMPTS, CellAttempt, CellSurvived

LIMITS = CellLimits(
    cpu_s=0.2, wall_s=2.0, memory_bytes=64 << 20, job_bytes_max=1 << 20, answer_bytes_max=1 << 20
)
TRIED = (
    "socket", "open", "fork", "kill the actor", "ptrace", "thread", "endless native loop", "memory", "crash",
    "an answer too long", "an answer of zeros",
)  # fmt: skip
Attempting = CellProcess[CellAttempt, CellSurvived]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="system calls are filtered on Linux")


@pytest.fixture(scope="module")
def cell() -> Iterator[Attempting]:
    cell = CellProcess(ATTEMPTING, LIMITS, clock=Minutes())
    yield cell
    cell.close()
    assert not [child for child in psutil.Process().children() if child.pid in Minutes.seen]


class Minutes:
    """A clock by which each look is a minute later."""

    seen: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        self._now_s += 60.0
        return self._now_s


def attempt(cell: Attempting, name: str) -> CellSurvived | CellReason:
    try:
        return cell.run(CellAttempt(name, os.getpid()))
    except CellError as error:
        return error.reason
    finally:
        Minutes.seen.append(cell.facts().get("pid", 0))


@pytest.mark.parametrize("name", TRIED)
def test_an_attempt_ends_as_it_must(cell: Attempting, name: str) -> None:
    assert attempt(cell, name) is ATTEMPTS[name].ends


def test_a_cell_lives_on_after_a_refusal_and_has_nothing_of_its_actor(cell: Attempting) -> None:
    assert attempt(cell, "refuse") is CellReason.FAILED
    pid = cell.facts()["pid"]
    assert attempt(cell, "environment") == CellSurvived("{}")
    assert attempt(cell, "descriptors") == CellSurvived("[2]")
    assert cell.facts()["pid"] == pid
    assert cell.facts()["filtered"]
