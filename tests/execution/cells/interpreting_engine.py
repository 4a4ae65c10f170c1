"""The interpreter as an engine of cells."""

from __future__ import annotations

from pathlib import Path

from actors.execution.cells.interface import CellEngine
from actors.execution.cells.outcome_checks import check_outcome
from actors.execution.cells.warm_up import warm_up
from actors.execution.interpreted import run
from actors.execution.job import Job, JobOutcome

__all__ = ["INTERPRETING", "prepare", "run"]


def prepare(_directory: Path | None) -> None:
    """See CellEngine."""
    warm_up(run)


INTERPRETING: CellEngine[Job, JobOutcome] = CellEngine(__name__, JobOutcome, check_outcome)
