"""Heavy jobs over the cells of this node's Validators, light ones in a cell beside who has the state.

Rules
1. Parts go abroad where that saves more than it costs: `parts` compares what the estimate of gas takes with
   what packing rows, a call and an answer take. Parts are as many as there are Validators.
2. A part that does not come back, or whose Validator has no code for it yet, is run here; a Validator that
   was lost gets nothing for RETRY_S. Whatever happens, the outcome is the same.
3. A Validator's columns are this node's own: they are unpacked with the same care as a cell's, whose answer
   the Validator has checked against its job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.packing import packed, unpack
from actors.execution.job import EngineError, Job, JobOutcome
from actors.ledger.rows import FormatError

NS_PER_GAS = 4
"""What compiled code takes for one unit of gas, about."""
CALL_NS, ROW_NS = 3_000_000, 500
"""What a part costs that goes abroad, and each of its rows."""
RETRY_S = 5.0


class PartCall(Protocol):
    """A part that is under way."""

    def result(self) -> NDArray[np.uint8]:
        """The packed outcome; empty if there is no code for it yet. Raises EngineError."""


class PartWorker(Protocol):
    """A Validator, to whoever has jobs."""

    def begin(self, job: NDArray[np.uint8]) -> PartCall:
        """Send a packed job."""


class OwnEngine(Protocol):
    """What runs jobs beside who has the state: ContractEngine, which says what each does."""

    @property
    def serves(self) -> bool: ...

    @property
    def parts(self) -> int: ...

    def require(self, jobs: list[Job]) -> None: ...

    def run_all(self, jobs: list[Job]) -> list[JobOutcome]: ...

    def facts(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class SpreadingEngine:
    """own: runs what stays here. workers: Validators by name, looked up when parts go abroad. clock:
    monotonic seconds."""

    def __init__(
        self, own: OwnEngine, workers: Callable[[], Mapping[str, PartWorker]], clock: Callable[[], float]
    ) -> None:
        self._own, self._workers, self._clock = own, workers, clock
        self._lost_s: dict[str, float] = {}
        self._parts: Counter[str] = Counter()

    def parts(self, rows: int, gas: int) -> int:
        """How many parts of such a job are worth it."""
        if not worth_spreading(rows, gas, 2) or not self._own.serves:
            return self._own.parts
        workers = len(self._present())
        return workers if worth_spreading(rows, gas, workers) else self._own.parts

    def run_all(self, jobs: list[Job]) -> list[JobOutcome]:
        """As ContractEngine does."""
        workers = list(self._present().items()) if len(jobs) > self._own.parts else []
        if len(workers) < len(jobs):
            return self._own.run_all(jobs)
        self._own.require(jobs)
        calls = [
            (name, worker.begin(packed(job))) for job, (name, worker) in zip(jobs, workers, strict=False)
        ]
        outcomes = [self._answer(name, call) for name, call in calls]
        left = [place for place, outcome in enumerate(outcomes) if outcome is None]
        if not left:
            return [outcome for outcome in outcomes if outcome is not None]
        here = dict(zip(left, self._own.run_all([jobs[place] for place in left]), strict=True))
        return [outcome or here[place] for place, outcome in enumerate(outcomes)]

    def _present(self) -> dict[str, PartWorker]:
        now_s = self._clock()
        self._lost_s = {name: at for name, at in self._lost_s.items() if now_s < at + RETRY_S}
        return {name: worker for name, worker in self._workers().items() if name not in self._lost_s}

    def _answer(self, name: str, call: PartCall) -> JobOutcome | None:
        """None if it is to be run here."""
        try:
            answer = call.result()
            outcome = unpack(JobOutcome, answer.data) if len(answer) else None
        except (EngineError, FormatError):
            self._lost_s[name] = self._clock()
            self._parts["lost"] += 1
            return None
        self._parts["spread" if outcome else "not_ready"] += 1
        return outcome

    def facts(self) -> dict[str, Any]:
        """Those of what runs here, and parts that went abroad by what came of them."""
        return {**self._own.facts(), "parts": dict(self._parts)}

    def close(self) -> None:
        """End what runs here."""
        self._own.close()


def worth_spreading(rows: int, gas: int, workers: int) -> bool:
    """Whether so many parts save at least twice what it costs that they go abroad."""
    saved = NS_PER_GAS * gas * (workers - 1) // max(workers, 1)
    return workers > 1 and saved > 2 * (CALL_NS + ROW_NS * rows)
