"""The report is one page that loads nothing, and two of them can be compared."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from actors.settings import Settings
from actors.storage.interface import Audit
from bench.simulation.raft.linearizability import Operation
from bench.soak.chain_walk import WalkedChain
from bench.soak.commands import app
from bench.soak.compare import compare
from bench.soak.judge import Fault, Sample, SoakEvidence, judge
from bench.soak.outcome import summary
from bench.soak.report import write_report
from bench.soak.run import Phase, Soaked, SoakOptions


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a soak of a minute that lost a transaction, with a fault whose name is hostile."""
    keys = np.array([b"a" * 32], dtype="S32")
    ids = np.arange(5, dtype=np.uint64)
    chain = WalkedChain("node-1", [b"h"] * 5, bytes(32), ids, keys, np.array([5]), np.array([100]))
    due = np.arange(0.0, 60.0, 0.1)
    answers = np.column_stack((due + 1_000, due + 1_000.05, np.full(len(due), 10.0)))
    faults = [Fault("pause", "node-1/<script>alert(1)</script>", 1_030.0, 1_032.0, 1_033.0)]
    samples = [Sample(1_000.0 + t, "node-1/storage", 9, 100.0, 20, cpu_s=t / 2) for t in range(60)]
    evidence = SoakEvidence(
        began_s=1_000.0, ended_s=1_060.0, steady=(1_005.0, 1_020.0), chains=[chain],
        audits={"node-1": Audit(1, 1, "", bytes(32), 100, 100)},
        supply=100, acknowledged=np.arange(6, dtype=np.uint64), must_not=np.empty(0, dtype=np.uint64),
        refused=0, unanswered=0, answers=answers, registers=[[Operation(True, 1, 0.0, 1.0)]],
        faults=faults, samples=samples,
    )  # fmt: skip
    load: dict[str, Any] = {"sent": 6, "false_signatures": 0, "repetitions": 0, "errors": {}}
    load |= {"p50_ms": 50.0, "p99_ms": 60.0, "p999_ms": 70.0}
    watch: Any = SimpleNamespace(samples=samples, stages=[(1_001.0, "node-1", {"execute": 2.5})])
    driver: Any = SimpleNamespace(faults=faults, not_injected={})
    phases = [Phase("steady", 1_005.0, 1_020.0), Phase("faults", 1_020.0, 1_050.0)]
    soaked = Soaked(
        SoakOptions(1.0, 7, ("pause",)), 100.0, 1_000.0, 20_000.0, phases, load, watch, driver, evidence,
        judge(evidence), answers, {},
    )  # fmt: skip
    result = {**summary(soaked), "durability": "sync"}
    return write_report(tmp_path_factory.mktemp("report") / "soak.html", soaked, result, Settings())


def test_the_page_loads_nothing_and_escapes_what_it_shows(written: Path) -> None:
    page = written.read_text()
    assert not re.findall(r"<(?:script|img|iframe)[^>]+src=|<link", page)
    assert "<script>alert" not in page
    assert "1 of 6 acknowledged are in no block" in page
    assert "execute" in page
    assert "Plotly.newPlot" in page


def test_the_data_beside_it_is_the_result(written: Path) -> None:
    data = msgspec.json.decode(written.with_suffix(".json").read_bytes())
    assert data["result"]["verdict"] == "fail"
    assert list(data["result"]["checks_failed"]) == ["nothing_lost"]
    assert data["result"]["recovery_ms"] == {"pause": 1000.0}
    assert data["result"]["steady_p50_ms"] == 50.0
    assert data["seconds"]["tps"][10] == 100
    assert data["faults"][0]["injected_s"] == 30.0
    assert {"python", "ray"} <= set(data["versions"])


def test_a_report_equals_itself(written: Path) -> None:
    done = CliRunner().invoke(app, ["report", "compare", str(written), str(written), "--json"])
    assert done.exit_code == 0
    assert msgspec.json.decode(done.stdout)["regressions"] == []


@pytest.mark.parametrize(("name", "factor"), [("tps", 0.8), ("p50_ms", 1.2), ("p99_ms", 1.2)])
def test_a_fifth_worse_is_a_regression(written: Path, name: str, factor: float, tmp_path: Path) -> None:
    before = msgspec.json.decode(written.with_suffix(".json").read_bytes())
    after = copy.deepcopy(before)
    after["seconds"][name] = [value * factor for value in before["seconds"][name]]
    assert compare(before, after)["regressions"] == [name]
    assert compare(after, before)["regressions"] == []
    path = tmp_path / "after.json"
    path.write_bytes(msgspec.json.encode(after))
    assert CliRunner().invoke(app, ["report", "compare", str(written), str(path)]).exit_code == 1


def test_a_change_within_the_noise_is_none_and_a_failed_check_is_one(written: Path) -> None:
    before = msgspec.json.decode(written.with_suffix(".json").read_bytes())
    noisy, after = copy.deepcopy(before), copy.deepcopy(before)
    values = [50.0 * (3 if at % 2 else 0.3) for at in range(len(before["seconds"]["p50_ms"]))]
    noisy["seconds"]["p50_ms"] = values
    after["seconds"]["p50_ms"] = [value * 1.2 for value in values]
    assert compare(noisy, after)["regressions"] == []
    after["result"]["checks"]["nonces"] = False
    assert compare(noisy, after)["regressions"] == ["nonces"]
