"""Each rung of the ladder differs from the one below in one thing, and is a configuration that exists."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from bench.ladder import steps, write_plot
from config.effective import load


def test_a_rung_changes_one_thing() -> None:
    ladder = steps(batch_rows=500, validators=2)
    for below, above in pairwise(ladder):
        changed = [a for a, b in zip(below.overrides, above.overrides, strict=True) if a != b]
        assert len(changed) + (below.batch_rows != above.batch_rows) + (below.cached != above.cached) == 1
    assert len({step.name for step in ladder}) == len(ladder)


def test_every_rung_is_a_valid_configuration() -> None:
    for step in steps(batch_rows=500, validators=2):
        load("bench", list(step.overrides))


def test_the_plot_is_one_page(tmp_path: Path) -> None:
    table = [{"step": name, "tps": 1.0, "p99_ms": 2.0, "reads_per_s": 3.0, "errors": 0} for name in "ab"]
    write_plot(tmp_path / "ladder.html", table)
    assert "<script src" not in (tmp_path / "ladder.html").read_text()
