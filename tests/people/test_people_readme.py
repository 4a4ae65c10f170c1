"""Every command of the README, as it is written there, beside a network that runs.

What stands for something of the reader's is filled in; what takes minutes is run for seconds, or where that
is too much still has options that the command line knows.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import Any

import pytest
from click import Context
from typer.main import get_command

import node
from tests.people.conftest import ROOT, LiveNetwork, fits, run

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for line in re.findall(r"uv run node\.py (.*)", block)
]
# Networks of their own or with governors, or minutes of a processor: tests/cluster, tests/trials, tests/bench
# and tests/storage run them, or what they call.
LONG = (
    "up", "demo", "load", "attack --only", "soak", "torture", "simulate", "fuzz", "report compare",
    "governed make", "governed sign", "governed submit",
)  # fmt: skip
FOLLOWING = ("next:", "      node.py")
SHORTER = {"top": "top --looks 1", "scale --validators 4": "scale --validators 1"}


@pytest.fixture(scope="session")
def known(network: LiveNetwork) -> dict[str, str]:
    """What the reader has learned so far: an id, an address."""
    return {}


def is_long(command: str) -> bool:
    return command.startswith(LONG)


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) > 30
    assert any(is_long(command) for command in COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if not is_long(each)])
def test_a_command_of_the_readme_runs_as_it_is_written(
    command: str, shell: LiveNetwork, known: dict[str, str]
) -> None:
    filled = re.sub(r"\b(ID|ADDRESS)\b", lambda word: known[word[0]], SHORTER.get(command, command))
    result = run(filled)
    if command == "logs":  # which has lines as long as they are
        return
    assert fits_but_for_what_is_to_be_copied(result.stdout), result.stdout
    _learn(known, result.stdout)


def fits_but_for_what_is_to_be_copied(text: str) -> bool:
    """Commands to try next may be longer than a line."""
    return fits("\n".join(line for line in text.splitlines() if not line.startswith(FOLLOWING)))


def _learn(known: dict[str, str], text: str) -> None:
    for word, pattern in (
        ("ID", r"next: node\.py tx (\w{64})"),
        ("ADDRESS", r"address +(\w{64})"),
    ):
        if found := re.search(pattern, text):
            known.setdefault(word, found[1])


@pytest.mark.parametrize("command", [each for each in COMMANDS if is_long(each)])
def test_a_long_command_of_the_readme_has_options_that_there_are(command: str) -> None:
    parse(shlex.split(command.replace("PORT", "7001")))


@cache
def whole() -> Any:
    return get_command(node.built())


def parse(words: list[str]) -> dict[str, Any]:
    """The options of a command, not run."""
    command = whole()
    context = Context(command, info_name="node.py")
    while hasattr(command, "get_command") and words and (below := command.get_command(context, words[0])):
        command, words = below, words[1:]
        context = Context(command, parent=context, info_name=command.name)
    command.parse_args(context, list(words))
    return dict(context.params)


def test_every_example_in_the_help_has_options_that_there_are() -> None:
    from actors.cli.guide import EXAMPLES

    for path, examples in EXAMPLES.items():
        for example in examples:
            assert f"{example} ".startswith(f"{path} "), example
            words = shlex.split(example)
            if words not in (["keys"], ["networks"]):
                parse(words)


def test_an_unknown_option_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["soak", "--hours", "3"])


def test_every_page_of_help_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for path in ("", "up", "send", "members", "contract", "bench", "snapshot create"):
        assert fits(run(f"{path} --help").stdout), path
    assert run("--version").stdout.startswith("raychain ")
