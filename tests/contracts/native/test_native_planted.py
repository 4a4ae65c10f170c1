"""Bugs that are planted in native code are found by fuzzing: each by a program that is known to show it."""

from __future__ import annotations

import pytest

from bench.contract_fuzz.planted import PLANTED, planted
from bench.fuzz_planted import fuzz_planted, shows

SEED = 1
SHOWN_BY: dict[str, int] = {}
"""Of each bug, the number of the first program of the seed that shows it."""
ALWAYS = ()
"""The others take longer than every run may."""


def test_each_bug_has_its_program() -> None:
    assert set(SHOWN_BY) == set(PLANTED)
    assert len(PLANTED) == 20


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=() if bug in ALWAYS else pytest.mark.slow_trial) for bug in SHOWN_BY]
)
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug):
        assert shows(SEED, SHOWN_BY[bug])
    assert bug not in ALWAYS or not shows(SEED, SHOWN_BY[bug])


def test_an_unknown_bug_is_no_bug() -> None:
    with pytest.raises(ValueError, match="no planted bug"):
        fuzz_planted(["a wish"], SEED, lambda bug, programs: None)
