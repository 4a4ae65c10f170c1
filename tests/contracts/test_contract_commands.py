"""`node.py contract`: what it writes, says and refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from actors.cli.contracts.authoring import EXAMPLES
from actors.cli.contracts.commands import contract_app

ROOT = Path(__file__).parents[2]
BROKEN = '''"""Not a contract yet."""

from raychain import Cell, contract, entry, u64


@contract
class Broken:
    total: Cell[u64]

    @entry
    def add(self, by: u64) -> None:
        while by:
            self.total.value += by / 2
'''


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(contract_app, [str(argument) for argument in arguments])


def told(result: Result) -> dict[str, object]:
    last = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(last, dict)
    return last


def test_a_new_contract_is_right_and_passes_its_tests_and_each_step_names_the_next(tmp_path: Path) -> None:
    began = run("new", "coffee_tally", "--folder", tmp_path)
    source = tmp_path / "coffee_tally.py"
    assert began.exit_code == 0
    assert f"Next: node.py contract check {source}" in began.output.replace("\n", "")
    assert "class CoffeeTally:" in source.read_text()
    checked = run("check", source)
    assert checked.exit_code == 0
    assert "CoffeeTally is right: 3 functions" in checked.output
    assert "before, commute" in checked.output
    assert "Next: node.py contract test" in checked.output
    tested = run("test", source)
    assert tested.exit_code == 0, tested.output
    assert "CoffeeTally passed its tests" in tested.output
    again = run("new", "coffee_tally", "--folder", tmp_path)
    assert again.exit_code == 2
    assert "is there already" in again.output.replace("\n", " ")


def test_the_commands_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text().partition("### Contracts")[2].partition("\n### ")[0]
    commands = re.findall(r"^uv run node.py contract ((?:new|check|test) [^#\n]+)", section, re.MULTILINE)
    assert len(commands) == 3
    monkeypatch.chdir(tmp_path)
    for command in commands:
        assert run(*command.split()).exit_code == 0, command


def test_the_same_as_json(tmp_path: Path) -> None:
    source = tmp_path / "tally.py"
    began = told(run("new", "tally", "--folder", tmp_path, "--json"))
    assert began == {"contract": "Tally", "source": str(source), "tests": str(tmp_path / "test_tally.py")}
    checked = told(run("check", source, "--json"))
    functions = checked["functions"]
    assert isinstance(functions, list)
    assert [(each["name"], each["kind"], each["static"]) for each in functions] == [
        ("add", "entry", True),
        ("value", "view", True),
        ("count_of", "view", True),
    ]
    assert {row["commutes"] for row in functions[0]["rows"]} == {True}
    assert told(run("test", source, "--json"))["passed"] is True


def test_a_test_that_fails_is_exit_code_1(tmp_path: Path) -> None:
    run("new", "tally", "--folder", tmp_path)
    tests = tmp_path / "test_tally.py"
    tests.write_text(tests.read_text().replace("== (7, 3, 4)", "== (8, 3, 4)"))
    result = run("test", tmp_path / "tally.py", "--json")
    assert result.exit_code == 1
    assert told(result)["passed"] is False


def test_what_is_not_allowed_is_told_with_its_place_and_the_way_out(tmp_path: Path) -> None:
    source = tmp_path / "broken.py"
    source.write_text(BROKEN)
    result = run("check", source)
    assert result.exit_code == 1
    assert f"{source}:12:9" in result.output.replace("\n", "")
    faults = told(run("check", source, "--json"))["faults"]
    assert isinstance(faults, list)
    assert faults[0]["line"] == 12
    assert all(fault["advice"] for fault in faults)


@pytest.mark.parametrize("name", ["Tally", "2x", "a-b", "", "x" * 49])
def test_a_name_that_cannot_be_one_is_refused(name: str, tmp_path: Path) -> None:
    result = run("new", "--folder", tmp_path, "--", name)
    assert result.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    assert "contract new NAME" in run("check", tmp_path / "none.py").output.replace("\n", " ")
    binary = tmp_path / "binary.py"
    binary.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in run("check", binary).output.replace("\n", " ")
    large = tmp_path / "large.py"
    large.write_bytes(b"#" * 100_000)
    assert "the limit is 65,536" in run("check", large).output.replace("\n", " ")
    alone = tmp_path / "alone.py"
    alone.write_text((EXAMPLES / "counter.py").read_text())
    assert "test_alone.py is not there" in run("test", alone).output.replace("\n", " ")


@pytest.mark.parametrize(
    "example", sorted(p for p in EXAMPLES.glob("*.py") if p.stem != "__init__"), ids=lambda p: p.stem
)
def test_every_example_is_right(example: Path) -> None:
    assert run("check", example).exit_code == 0
