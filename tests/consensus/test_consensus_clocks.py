"""A replica's clocks: skewed for tests, and never set back where timers follow them."""

from __future__ import annotations

import time

import pytest

from actors.consensus.clocks import AHEAD_MS_MAX, SKEW_MS_MAX, Clocks


def test_the_monotonic_clock_only_goes_forward() -> None:
    clocks = Clocks()
    before = clocks.monotonic_us()
    clocks.skew(0, ahead_ms=5_000)
    clocks.skew(0, ahead_ms=0)
    assert clocks.monotonic_us() >= before + 5_000_000


def test_the_wall_clock_is_set_apart_and_comes_back() -> None:
    clocks = Clocks()
    clocks.skew(-3_600_000)
    assert clocks.wall_ms() <= time.time_ns() // 1_000_000 - 3_600_000
    clocks.skew(0)
    assert clocks.wall_ms() <= time.time_ns() // 1_000_000


def test_a_wall_clock_years_behind_says_nothing_before_1970() -> None:
    clocks = Clocks()
    clocks.skew(-SKEW_MS_MAX)
    assert clocks.wall_ms() == 0
    clocks.skew(SKEW_MS_MAX)
    assert clocks.wall_ms() > SKEW_MS_MAX


@pytest.mark.parametrize("skew", [(SKEW_MS_MAX + 1, 0), (0, -1), (0, AHEAD_MS_MAX + 1)])
def test_a_skew_out_of_range_is_refused(skew: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="skew"):
        Clocks().skew(*skew)
