"""Fuzzing of contracts: random sources agree, planted bugs are found, and a seed is a run."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from actors.contracts import execution, ir
from actors.contracts.authoring.declarations import Declared
from actors.contracts.language import assignments, expressions, operators
from actors.contracts.language.body import Body
from actors.contracts.language.emission import OperationBuilder
from actors.contracts.language.values import Operand
from actors.contracts.limits import EVENTS_PER_CALL_MAX
from bench.fuzz_contracts import Counts, fuzz_contracts, fuzz_program

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


def from_the_right(body: Body, node: ast.BinOp) -> Operand:
    """An operator whose second operand is evaluated first."""
    right, left = body.evaluate(body, node.right), body.evaluate(body, node.left)
    return operators.combine(body, operators.arithmetic_of(node.op, node), left, right, node)


PLANTED: dict[str, tuple[object, str, object]] = {
    "the interpreter divides toward zero": (
        execution,
        "_ARITHMETIC",
        {**execution._ARITHMETIC, ir.Arithmetic.FLOOR_DIV: toward_zero},
    ),
    "the interpreter allows one event less": (execution, "EVENTS_PER_CALL_MAX", EVENTS_PER_CALL_MAX - 1),
    "the compiler evaluates from the right": (expressions, "binary", from_the_right),
    "the compiler moves values one after the other": (
        OperationBuilder,
        "_saved",
        lambda self, part, place: part,
    ),
    "the compiler takes any += for an Increase": (assignments, "_writes", lambda body, node, table: False),
    "ordinary Python does not check what is at most": (Declared, "check_maxima", lambda self, values: None),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*PLANTED[bug])
    found = Counts()

    def progress(counts: Counts) -> None:
        found.disagreements = counts.disagreements

    result: Any = fuzz_contracts(
        1, SEED, progress, programs_max=400, clock=lambda: 60.0 * found.disagreements
    )
    assert result["disagreements"] > 0, f"not in {result['programs']} programs"
    first = result["shown"][0]
    assert first["sources"]
    assert first["calls"]
    assert first["interpreter"] != first["python"]
    again = Counts()
    fuzz_program(SEED, first["program"], again)
    assert again.shown == [first]
