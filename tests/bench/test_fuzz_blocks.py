"""Fuzzing of blocks: the engines agree with the rules, wrong islands are found, and a seed is a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.execution import interpreted, passes
from actors.execution.job import Job, JobOutcome
from actors.execution.planning import TouchPlan
from bench import fuzz_blocks as module
from bench.fuzz_blocks import Engine, engines_of, fuzz_blocks

SEED, BLOCKS = 3, 30


@pytest.fixture(autouse=True)
def short_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCKS_EACH", BLOCKS)


def fuzz(engines: dict[str, Engine], seed: int = SEED) -> dict[str, Any]:
    """One chain."""
    result = fuzz_blocks(1, seed, engines, lambda counts: None)
    result.pop("seconds")
    return result


def test_random_blocks_agree() -> None:
    result = fuzz(engines_of(["interpreter"]))
    assert (result["disagreements"], result["blocks"]) == (0, BLOCKS), result
    assert result["divided"] > 0
    assert 0 < result["passed"] < result["rows"]
    assert 0 < result["failed_calls"] < result["calls"]
    assert fuzz(engines_of(["interpreter"])) == result


def test_rows_that_are_not_independent_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_apart(plan: TouchPlan, _existing: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.arange(len(plan.whole))

    monkeypatch.setattr(passes, "islands_of", all_apart)
    (first, *_) = fuzz(engines_of(["interpreter"]))["shown"]
    assert first["chain"] == 0
    assert "parts" in first["way"]


def test_an_engine_that_forgets_a_nonce_is_found() -> None:
    def forgetful(job: Job) -> JobOutcome:
        outcome = interpreted.run(job)
        outcome.changed.nonces[:] = np.minimum(outcome.changed.nonces, 2)
        return outcome

    (first, *_) = fuzz({"forgetful": forgetful})["shown"]
    assert "accounts" in first["what"]
