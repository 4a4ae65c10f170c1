"""Parts of heavy jobs abroad: the outcome is the same whoever runs them, and whoever is lost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.execution import interpreted
from actors.execution.cells.packing import packed, unpack
from actors.execution.costs import CostMemory
from actors.execution.job import EngineError, EngineNotReadyError, Job, JobOutcome
from actors.execution.passes import run_divided, run_in_order
from actors.execution.spreading import RETRY_S, PartWorker, SpreadingEngine, worth_spreading
from bench.fuzz_blocks import state_reader
from tests.execution.jobs import CONTRACTS, PEOPLE
from tests.execution.test_execution_islands import planned, same
from tests.ledger.contract_transactions import Fields, call, payload_of

HEAVY_GAS = 100_000_000


@dataclass
class Own:
    """Runs what stays here, by the interpreter."""

    serves: bool = True
    parts: int = 1
    ready: bool = True
    ran: list[int] = field(default_factory=list)

    def require(self, jobs: list[Job]) -> None:
        if not self.ready:
            raise EngineNotReadyError("no code yet")

    def run_all(self, jobs: list[Job]) -> list[JobOutcome]:
        self.require(jobs)
        self.ran.append(len(jobs))
        return [interpreted.run(job) for job in jobs]

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self.ready = False


@dataclass
class Worker:
    """answers: "outcome", "nothing", "garbage" or "lost"."""

    answers: str = "outcome"
    asked: int = 0

    def begin(self, job: NDArray[np.uint8]) -> Worker:
        self.asked += 1
        self.job = job
        return self

    def result(self) -> NDArray[np.uint8]:
        if self.answers == "lost":
            raise EngineError("it was killed")
        if self.answers == "garbage":
            return np.ones(100, dtype=np.uint8)
        if self.answers == "nothing":
            return np.empty(0, dtype=np.uint8)
        return packed(interpreted.run(unpack(Job, self.job.data)))


def engine_of(own: Own, *workers: PartWorker) -> tuple[SpreadingEngine, list[float]]:
    now_s = [100.0]
    named = {f"validator-{number}": worker for number, worker in enumerate(workers)}
    return SpreadingEngine(own, lambda: named, lambda: now_s[0]), now_s


def rows() -> list[Fields]:
    give = payload_of("token", "transfer", PEOPLE[4], 0)
    name = [payload_of("registry", "register", bytes([n]) * 32, bytes(32)) for n in range(5)]
    return [call(who, 0, CONTRACTS["registry"], name[n]) for n, who in enumerate(PEOPLE)] + [
        call(PEOPLE[0], 1, CONTRACTS["token"], give)
    ]


@pytest.mark.parametrize("other", ["outcome", "nothing", "garbage", "lost"])
def test_the_outcome_is_the_same_whatever_comes_of_a_part(other: str) -> None:
    job, plan, state, entries = planned(rows())
    read = state_reader(state, entries, job.height)
    own, good, bad = Own(), Worker(), Worker(other)
    engine, now_s = engine_of(own, good, bad)
    parts = engine.parts(len(job.batch), HEAVY_GAS)
    assert parts == 2
    outcome, division = run_divided(job, plan, CostMemory().of(job, plan), parts, engine.run_all, read)
    assert division.parts == 2
    same(outcome, run_in_order(job, lambda jobs: [interpreted.run(each) for each in jobs], read))
    assert good.asked == bad.asked == 1
    lost = other in ("garbage", "lost")
    second = "lost" if lost else {"outcome": "spread", "nothing": "not_ready"}[other]
    assert engine.facts() == {"parts": Counter(["spread", second])}
    assert engine.parts(len(job.batch), HEAVY_GAS) == (1 if lost else 2)
    now_s[0] += RETRY_S
    assert engine.parts(len(job.batch), HEAVY_GAS) == 2


def test_nothing_goes_abroad_that_has_no_code_here() -> None:
    worker = Worker()
    engine, _ = engine_of(Own(ready=False), worker, worker)
    job, *_ = planned(rows())
    with pytest.raises(EngineNotReadyError):
        engine.run_all([job, job])
    assert worker.asked == 0
    assert engine_of(Own(serves=False), worker, worker)[0].parts(10, HEAVY_GAS) == 1


def test_light_jobs_stay() -> None:
    assert not worth_spreading(1, 1_000, 2)
    assert not worth_spreading(1_000, HEAVY_GAS, 1)
    assert worth_spreading(1_000, HEAVY_GAS, 2)
    rows_max = next(rows for rows in range(0, 10**7, 1_000) if not worth_spreading(rows, HEAVY_GAS, 2))
    assert rows_max > 10_000
    engine, _ = engine_of(Own(parts=3), Worker(), Worker())
    assert engine.parts(1, 1_000) == 3
