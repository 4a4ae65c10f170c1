"""Block time is not before the parent's, and nobody votes for what is far ahead of its own clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.ledger.block_time import ahead_fault, time_fault, time_of_block

TIMES = st.integers(0, 2**64 - 1)


@given(clock_ms=TIMES, parent_ms=TIMES)
def test_whatever_the_clock_says_a_proposal_is_not_before_its_parent(clock_ms: int, parent_ms: int) -> None:
    time_ms = time_of_block(clock_ms, parent_ms)
    assert not time_fault(time_ms, parent_ms)
    assert time_ms in (clock_ms, parent_ms)


def test_a_time_before_the_parents_is_a_fault_and_an_equal_one_is_none() -> None:
    assert time_fault(99, 100) == "time 99 ms is before its parent's, 100"
    assert not time_fault(100, 100)
    assert not time_fault(101, 100)


@given(time_ms=TIMES, parent_ms=TIMES, clock_ms=TIMES, ahead_ms_max=st.integers(0, 3_600_000))
def test_what_is_voted_for_is_within_the_bound_or_repeats_its_parent(
    time_ms: int, parent_ms: int, clock_ms: int, ahead_ms_max: int
) -> None:
    refused = bool(ahead_fault(time_ms, parent_ms, clock_ms, ahead_ms_max))
    assert refused == (time_ms > clock_ms + ahead_ms_max and time_ms > parent_ms)


def test_a_refused_time_says_how_far_ahead_it_is() -> None:
    fault = ahead_fault(30_000, 0, 5_000, 10_000)
    assert fault == "its time is 25000 ms ahead of this member's clock, 10000 ms are allowed"
