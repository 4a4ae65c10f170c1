"""Short soaks on two raylets of one machine, one of which is killed with the Validators on it, and on three
Ray clusters, one of which is killed whole.

Each takes a minute or two and is run when asked for:

    RAYCHAIN_SOAK=1 uv run pytest tests/cluster/test_cluster_soak.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import NODE

# How fast a busy machine is decides about the other checks.
TIMELESS = (
    "nothing_lost", "nothing_duplicated", "nothing_expired", "nothing_invalid", "no_forks", "roots_agree",
    "supply_conserved", "certificates", "nonces", "linearizable",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    not os.environ.get("RAYCHAIN_SOAK"), reason="RAYCHAIN_SOAK=1 runs it, for some minutes"
)


def _soaked(*options: str, page: Path, fault: str) -> dict[str, Any]:
    """Result of a short soak with one kind of fault, of which what does not depend on time must hold."""
    more = ("--minutes", "0.2", "--rate", "200", "--seed", "7", "--report", str(page), "--json", "--prove")
    command = [*NODE, "soak", "--faults", fault, *options, *more]
    done = subprocess.run(command, capture_output=True, check=False, timeout=280)
    assert done.stdout, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["faults_injected"].get(fault, 0) >= 1, result["faults_not_injected"]
    assert {check: result["checks_failed"].get(check) for check in TIMELESS} == dict.fromkeys(TIMELESS)
    assert result["acknowledged"] > 500
    assert [name for name, proof in result["proofs"].items() if not proof["caught"]] == []
    assert page.stat().st_size > 1 << 20
    return result


def test_nothing_is_lost_with_a_raylet(tmp_path: Path) -> None:
    placed = ("--raylets", "2", "--set", "node.validators=2")
    assert _soaked(*placed, page=tmp_path / "soak.html", fault="remove_raylet")["raylets"] == 2


def test_nothing_is_lost_with_a_ray_cluster(tmp_path: Path) -> None:
    placed = ("--apart", "--nodes", "3")
    assert _soaked(*placed, page=tmp_path / "soak.html", fault="lose_cluster")["ray_clusters"] == 3
