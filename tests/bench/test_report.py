"""Results say where they come from, and the documents say what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from actors.console import UserError
from bench import report
from bench.results import emit_result, provenance

ROOT = Path(__file__).parent.parent.parent
RUN = {
    "command": "node.py demo --nodes 1",
    "machine": "a CPU",
    "cores": 2,
    "commit": "c0ffee",
    "date": "2026-01-02",
}
DEMO = {"tps": 61133.4, "p50_ms": 131.0, "nodes": 1, "lost_committed": 0, "heights": [7, 7], "run": RUN}


def stored_results() -> list[dict[str, Any]]:
    return [report.read_result(path) for path in report.stored()]


def measured_rows() -> dict[str, str]:
    """Of the README: the figure of each command, by the command with its options."""
    text = (ROOT / "README.md").read_text().partition("## Measured")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", text, re.MULTILINE))


def test_a_result_says_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    emit_result({"passed": True}, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"passed": True, "run": provenance()}
    assert set(printed["run"]) == report.RUN_KEYS


def test_a_section_says_what_was_measured_and_where() -> None:
    text = report.generated([DEMO])
    assert "## `demo --nodes 1`" in text
    assert "2 cores of a CPU, commit c0ffee, 2026-01-02." in text
    assert "| transactions/s committed, from HTTP to a block on disk | 61,133 |" in text
    assert "heights" not in text


def test_items_lend_their_words_and_unknown_commands_show_their_keys() -> None:
    runs = [{"workload": "zipf", "validators": 2, "tps": 5.25}]
    validation = {"runs": runs, "run": {**RUN, "command": "node.py bench validation"}}
    assert report.figures(validation) == [("zipf transfers/s validated, 2 Validator(s)", "5.25")]
    strange = {"passed": True, "share": 0.25, "list": [1], "run": {**RUN, "command": "node.py strange"}}
    assert report.figures(strange) == [("`passed`", "yes"), ("`share`", "0.25")]


def test_the_same_results_give_the_same_text_and_what_people_wrote_stays(tmp_path: Path) -> None:
    other = {**DEMO, "tps": 7, "run": {**RUN, "command": "node.py demo"}}
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for path, result in zip(files, (DEMO, other), strict=True):
        path.write_text(json.dumps(result))
    into = tmp_path / "RESULTS.md"
    into.write_text(f"old\n{report.BY_HAND} -->\nolder\n")
    told = report.command(files, into)
    first = into.read_text()
    assert told == {"into": str(into), "results": 2}
    assert first.index("`demo`") < first.index("`demo --nodes 1`")
    assert first.endswith(f"\n\n{report.BY_HAND} -->\nolder\n")
    assert "old\n" not in first
    report.command(files[::-1], into)
    assert into.read_text() == first


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": {"command": "node.py demo"}}'])
def test_what_is_no_result_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"bad\.json"):
        report.read_result(path)


def test_results_md_is_what_the_stored_results_give() -> None:
    text = (ROOT / "bench" / "RESULTS.md").read_text()
    assert text == report.generated(stored_results()) + report.by_hand(text)


def test_the_readme_says_what_was_measured_on_one_machine() -> None:
    rows = measured_rows()
    assert 0 < len(rows) <= 10
    results = [result for result in stored_results() if report.named(result) in rows]
    for result in results:
        assert report.figures(result)[0][1] in rows[report.named(result)], report.named(result)
    assert len({(result["run"]["machine"], result["run"]["cores"]) for result in results}) <= 1
