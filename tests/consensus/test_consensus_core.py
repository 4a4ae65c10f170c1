"""Ordering, stage times: pure pieces of the consensus room."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.consensus.ordering import merge_by_rank, split_by_draw
from actors.consensus.stages import StageTimes
from actors.shell import first_line

draws = st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=12), max_size=5)


def merged_plainly(fees: list[list[int]]) -> list[int]:
    """Take the highest head among the draws, again and again; the earlier draw wins a tie."""
    offsets = np.cumsum([0, *(len(f) for f in fees)])
    at = [0] * len(fees)
    out: list[int] = []
    while True:
        open_draws = [d for d in range(len(fees)) if at[d] < len(fees[d])]
        if not open_draws:
            return out
        best = max(open_draws, key=lambda d: (min(fees[d][: at[d] + 1]), -d))
        out.append(int(offsets[best]) + at[best])
        at[best] += 1


@given(draws)
def test_the_merge_takes_the_best_head_and_keeps_each_draw_in_order(fees: list[list[int]]) -> None:
    order = merge_by_rank([np.array(f, dtype=np.uint64) for f in fees])
    assert list(order) == merged_plainly(fees)


@given(draws)
def test_verdicts_return_to_the_draw_they_belong_to(fees: list[list[int]]) -> None:
    order = merge_by_rank([np.array(f, dtype=np.uint64) for f in fees])
    total = sum(len(f) for f in fees)
    verdict_of_row = np.arange(total, dtype=np.uint64).astype(np.uint8)
    parts = split_by_draw(verdict_of_row[order], order, [len(f) for f in fees])
    assert [list(part) for part in parts] == [
        list(part)
        for part in (np.split(verdict_of_row, np.cumsum([len(f) for f in fees])[:-1]) if fees else [])
    ]


def test_stage_times_are_means_per_transaction() -> None:
    times = StageTimes()
    times.add("execute", 100, 10)
    times.add("execute", 300, 10)
    times.add("empty", 5, 0)
    assert times.us_per_transaction() == {"execute": 20.0}
    times.reset()
    assert times.us_per_transaction() == {}


def test_an_error_without_words_has_a_first_line() -> None:
    assert first_line(TimeoutError()) == "TimeoutError"
    assert first_line(ValueError("one\ntwo")) == "one"
