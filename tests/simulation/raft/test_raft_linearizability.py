"""The linearizability checker, against known histories and against brute force."""

from __future__ import annotations

from itertools import permutations
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulation.raft import linearizability
from bench.simulation.raft.linearizability import HistoryTooWideError, Operation, is_linearizable


def w(value: int, start: float, end: float = inf) -> Operation:
    return Operation(True, value, start, end)


def r(value: int, start: float, end: float = inf) -> Operation:
    return Operation(False, value, start, end)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], True),
        ([r(0, 0, 1)], True),
        ([r(5, 0, 1)], False),
        ([w(1, 0, 1), r(1, 2, 3)], True),
        ([w(1, 0, 1), r(0, 2, 3)], False),  # stale
        ([w(1, 0, 4), r(0, 1, 2)], True),  # concurrent
        ([w(1, 0, 9), r(1, 1, 2), r(0, 3, 4)], False),  # back in time
        ([w(1, 0), r(0, 1, 2), r(1, 3, 4)], True),  # outcome unknown, took effect late
        ([w(1, 0), r(1, 1, 2), r(0, 3, 4)], False),
        ([w(1, 0, 1), w(2, 2, 3), r(1, 4, 5)], False),
        ([w(1, 0, 5), w(2, 0, 5), r(1, 6, 7), r(1, 8, 9)], True),
        ([w(1, 0, 5), w(2, 0, 5), r(1, 6, 7), r(2, 8, 9)], False),
    ],
)
def test_known_histories(history: list[Operation], expected: bool) -> None:
    assert is_linearizable(history) is expected


def brute_force(history: list[Operation]) -> bool:
    done = [op for op in history if op.returned_at < inf or op.is_write]
    unknown = [op for op in done if op.returned_at == inf]
    for chosen in range(1 << len(unknown)):
        left_out = {id(op) for bit, op in enumerate(unknown) if not chosen >> bit & 1}
        kept = [op for op in done if id(op) not in left_out]
        if any(explains(order) for order in permutations(kept)):
            return True
    return False


def explains(order: tuple[Operation, ...]) -> bool:
    value = 0
    for position, op in enumerate(order):
        if any(later.returned_at < op.invoked_at for later in order[position + 1 :]):
            return False
        if op.is_write:
            value = op.value
        elif op.value != value:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    history = []
    for value in range(1, draw(st.integers(1, 5)) + 1):
        start = draw(st.integers(0, 12))
        end = draw(st.one_of(st.just(inf), st.integers(start + 1, 16)))
        is_write = draw(st.booleans())
        history.append(Operation(is_write, value if is_write else draw(st.integers(0, 5)), start, end))
    return history


@given(histories())
def test_it_agrees_with_brute_force(history: list[Operation]) -> None:
    assert is_linearizable(history) is brute_force(history)


def test_a_long_history_of_concurrent_calls_is_decided() -> None:
    history = [w(value, 10.0 * value, 10.0 * value + 45.0) for value in range(1, 40)]
    history += [r(value, 10.0 * value + 46.0, 10.0 * value + 48.0) for value in range(1, 40, 5)]
    assert is_linearizable(history)


def test_a_history_too_wide_to_decide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearizability, "VISITED_MAX", 50)
    history = [w(value, 0, 100) for value in range(1, 12)] + [r(99, 101, 102)]
    with pytest.raises(HistoryTooWideError, match="50 configurations"):
        is_linearizable(history)
