"""What runs the jobs of a benchmark: the one place that knows what a Validator's share of them is run by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.execution.contract_engine import ContractEngine
from actors.execution.job import EngineNotReadyError, Job, JobOutcome
from actors.kernels.interface import Kernels
from actors.shell import kernel_cache_dir
from actors.storage.contract_jobs import JobEngine
from actors.storage.contract_programs import ProgramShelf

SEED = 0x5EED


class MeasuredEngines:
    """One engine for each number of Validators, whose share of a job is what a cell runs."""

    def __init__(self, numbers: list[int], told: Callable[[str], None]) -> None:
        self._told, self._shelf = told, ProgramShelf()
        self._of = {number: ContractEngine(number, kernel_cache_dir(), told) for number in {1, *numbers}}

    def engine(self, validators: int, parts: int, kernels: Kernels) -> JobEngine:
        """For a state: jobs in so many parts."""
        return self._engine(self._of[validators].run_all, parts, kernels)

    def interpreter(self, kernels: Kernels) -> JobEngine:
        """For a state: all is interpreted."""
        return self._engine(_nothing_compiled, 1, kernels)

    def _engine(
        self, run_all: Callable[[list[Job]], list[JobOutcome]], parts: int, kernels: Kernels
    ) -> JobEngine:
        return JobEngine(run_all, lambda *_: parts, kernels.hash_rows, SEED, self._shelf, self._told)

    def wait(self) -> None:
        """Until what was begun is done: programs that are compiled, cells that start."""
        for engine in self._of.values():
            engine.wait()

    def interpreted(self) -> int:
        """Jobs that compiled code could not run."""
        return sum(engine.facts()["jobs"].get("interpreted", 0) for engine in self._of.values())

    def close(self) -> None:
        """End them."""
        for engine in self._of.values():
            engine.close()


def _nothing_compiled(_: list[Job]) -> list[JobOutcome]:
    raise EngineNotReadyError("interpreted")


@contextmanager
def measured_engines(numbers: list[int], told: Callable[[str], None]) -> Iterator[MeasuredEngines]:
    """For as long as the context lasts."""
    engines = MeasuredEngines(numbers, told)
    try:
        yield engines
    finally:
        engines.close()
