"""Fuzzing of contracts: random sources agree, planted bugs are found, and a seed is a run."""

from __future__ import annotations

from typing import Any

import pytest

from actors.contracts import execution, ir
from bench.fuzz_contracts import fuzz_contracts

SEED = 1


def fuzz(seed: int, programs: int) -> dict[str, Any]:
    """So many programs, however long they take."""
    result = fuzz_contracts(1_000_000, seed, lambda counts: None, programs_max=programs)
    result.pop("verify_ms_max")
    return result


def test_random_contracts_agree() -> None:
    result = fuzz(SEED, 150)
    assert (result["disagreements"], result["crashes"], result["refused"]) == (0, 0, 0), result
    assert result["programs"] == 150
    assert 0.2 * result["calls"] < result["failed_calls"] < 0.6 * result["calls"]
    assert result["mutants_accepted"] > 0


def test_the_same_seed_is_the_same_run() -> None:
    assert fuzz(7, 12) == fuzz(7, 12)
    assert fuzz(7, 12)["calls"] != fuzz(8, 12)["calls"]


def toward_zero(a: int, b: int) -> int:
    """As C divides."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if b else 0


def test_a_division_that_rounds_toward_zero_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(execution._ARITHMETIC, ir.Arithmetic.FLOOR_DIV, toward_zero)
    result = fuzz(SEED, 40)
    assert result["disagreements"] > 0
    first = result["shown"][0]
    assert first["sources"]
    assert first["calls"]
    assert first["interpreter"] != first["python"]
