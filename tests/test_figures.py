"""Figures as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.figures import FOREVER, ago, count, counted, figure, short, size, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (35e-6, "35 us"),
        (0.0042, "4.2 ms"),
        (3.5, "3.5 s"),
        (125, "2 min 5 s"),
        (120, "2 min"),
        (11_400, "3 h 10 min"),
        (187_200, "2 d 4 h"),
        (-3, "-3 s"),
    ],
)
def test_a_span_has_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("expiry_height", FOREVER, "never"),
        ("expiry_height", 12, "12"),
        ("time_ms", 1_796_103_751_407, "2026-12-01 05:42:31 UTC"),
        ("p99_ms", 1_114.2, "1.11 s"),
        ("event_ms_max", 2.31, "2.31 ms"),
        ("execute_us", 35_230.83, "35.2 ms"),
        ("disk_bytes", 691_279, "691 KB"),
        ("rss_mb", 298.5, "298 MB"),
        ("chain_tag", 9_939_679_072_952_685_055, "9939679072952685055"),
        ("ready", True, "yes"),
        ("clock", "", "-"),
        ("refused_leaders", [], "none"),
        ("queues", {"execute": 0, "wait_ms": 5}, "execute 0, wait_ms 5 ms"),
    ],
)
def test_a_figure_is_shown_with_the_unit_in_its_name(name: str, value: object, words: str) -> None:
    assert figure(name, value) == words


def test_counts_sizes_and_keys_are_short() -> None:
    assert (count(12_345), count(0.123456), counted(1, "block"), counted(2, "block")) == (
        "12,345",
        "0.123",
        "1 block",
        "2 blocks",
    )
    assert (size(512), size(1_500_000), size(999_600)) == ("512 B", "1.5 MB", "1 MB")
    assert (short("ff91ba4474d5f089"), short("alice")) == ("ff91ba44…", "alice")
    assert (ago(1_000, 61_000), ago(5_000, 4_000)) == ("1 min ago", "just now")


@given(st.floats(min_value=-1e12, max_value=1e12, allow_nan=False))
def test_whatever_it_is_a_figure_is_a_few_words(value: float) -> None:
    for name in ("wait_s", "wait_ms", "wait_us", "disk_bytes", "disk_mb", "rows"):
        assert 0 < len(figure(name, value)) < 32
