"""`node.py simulate peers`: all promises at a small size."""

import pytest

from bench.simulation.peer.run import simulate


@pytest.mark.parametrize("seed", [101])
def test_every_promise_holds_in_a_small_network(seed: int) -> None:
    steps: list[str] = []
    result = simulate(128, seed, steps.append)
    assert result["failed"] == [], result
    assert len(steps) == 4
