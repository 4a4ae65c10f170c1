"""Clocks that go wrong by an hour or by ten years, in processes: the chain keeps the time, and goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import NODE

# How fast a busy machine is decides about the other checks.
TIMELESS = ("block_times", "recovered", "nothing_lost", "nothing_duplicated", "no_forks", "certificates")


@pytest.mark.slow_trial
def test_a_network_whose_clocks_go_wrong_by_years_keeps_the_time(tmp_path: Path) -> None:
    options = ("--nodes", "3", "--faults", "clock_skew", "--minutes", "0.5", "--rate", "200", "--seed", "3")
    report = ("--report", str(tmp_path / "soak.html"), "--json")
    done = subprocess.run([*NODE, "soak", *options, *report], capture_output=True, check=False, timeout=400)
    assert done.stdout, done.stderr.decode()
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["faults_injected"].get("clock_skew", 0) >= 1, result["faults_not_injected"]
    assert {check: result["checks_failed"].get(check) for check in TIMELESS} == dict.fromkeys(TIMELESS)
    assert result["acknowledged"] > 500
