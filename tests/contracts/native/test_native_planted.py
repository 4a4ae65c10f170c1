"""Bugs that are planted in native code are found by fuzzing: each by a program that is known to show it."""

from __future__ import annotations

import pytest

from bench.contract_fuzz.planted import PLANTED, planted
from bench.fuzz_planted import fuzz_planted, shows

SEED = 1
SHOWN_BY: dict[str, int] = {
    "sums are not checked": 8,
    "numbers without sign are compared with one": 0,
    "division rounds toward zero": 7,
    "the least number by -1 is itself": 23,
    "places to shift by are taken modulo the width": 10,
    "bytes are compared from their ends": 0,
    "one branch begins for nothing": 0,
    "coins are not undone": 0,
    "the second entry of a row is not undone": 43,
    "events outlive a failure": 0,
    "registers are not cleared": 2,
    "a loop runs once more than it may": 7,
    "bools of arguments are not looked at": 0,
    "what is at most is not looked at": 0,
    "zero is an entry, too": 0,
    "quotients lose their high word": 33,
    "casts are not checked": 0,
    "arrays have one element more": 23,
    "the balance is that of before": 1,
    "messages of 55, 56 and 64 bytes have no end": 7,
}
"""Of each bug, the number of the first program of the seed that shows it."""
ALWAYS = (
    "division rounds toward zero",
    "the least number by -1 is itself",
    "a loop runs once more than it may",
    "messages of 55, 56 and 64 bytes have no end",
)
"""Those that a small program shows; the others take longer than every run may."""


def test_each_bug_has_its_program() -> None:
    assert set(SHOWN_BY) == set(PLANTED)
    assert len(PLANTED) == 20


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=() if bug in ALWAYS else pytest.mark.slow_trial) for bug in SHOWN_BY]
)
def test_a_planted_bug_is_found(bug: str) -> None:
    with planted(bug):
        assert shows(SEED, SHOWN_BY[bug])


def test_a_program_shows_nothing_where_nothing_is_planted() -> None:
    assert not shows(SEED, SHOWN_BY[ALWAYS[0]])


def test_an_unknown_bug_is_no_bug() -> None:
    with pytest.raises(ValueError, match="no planted bug"):
        fuzz_planted(["a wish"], SEED, lambda bug, programs: None)
