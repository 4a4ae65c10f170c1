"""The first sentence of what hunts and benchmarks say."""

from __future__ import annotations

from typing import Any

import pytest

from bench.verdict import verdict_of


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"passed": True, "linearizable": False}, "Held: everything that was checked is as it must be."),
        ({"verdict": "pass", "checks_failed": {}}, "Held: everything that was checked is as it must be."),
        ({"verdict": "fail", "checks_failed": {"forks": "two"}}, "Did not hold: checks failed forks."),
        ({"violations": ["seed 7"], "disagreements": 0}, "Did not hold: violations seed 7."),
        ({"disagreements": 3, "crashes": 1}, "Did not hold: disagreements 3; crashes 1."),
        ({"passed": False, "no_errors": False}, "Did not hold: no errors."),
        ({"passed": False}, "Did not hold: see what was measured."),
        ({"missed": list(range(7))}, "Did not hold: missed 0, 1, 2, 3, 4 and 2 more."),
    ],
)
def test_it_says_whether_it_held_and_what_did_not(result: dict[str, Any], sentence: str) -> None:
    found = verdict_of(result)
    assert found is not None
    assert found.sentence == sentence
    assert found.standing == ("good" if sentence.startswith("Held") else "bad")


def test_what_judges_nothing_has_no_verdict() -> None:
    assert verdict_of({"per_second": 3}) is None
