"""One network of three, started on a terminal by the README's own command, for all tests in this folder."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

import node
from tests.people.terminal import Terminal

ROOT = Path(__file__).parent.parent.parent
NODE = [sys.executable, str(ROOT / "node.py")]
UP_OPTIONS = ["--set", "gateway.port=0"]  # the only thing that is not as in the README


@dataclass
class LiveNetwork:
    """The network, the terminal on which it was started, the folder in which that was, and its gateways."""

    terminal: Terminal
    folder: Path
    home: Path
    urls: list[str]

    def environment(self) -> dict[str, str]:
        """What a shell of this user has set."""
        return {"RAYCHAIN_HOME": str(self.home), "RAYCHAIN_URL": self.urls[0], "HOME": str(self.home)}


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNetwork]:
    """`node.py up` until all tests are over; then Ctrl-C, after which nothing of it may be left."""
    folder, home = tmp_path_factory.mktemp("people"), tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    terminal = Terminal([*NODE, "up", *UP_OPTIONS], folder, {"RAYCHAIN_HOME": str(home)})
    try:
        text = terminal.await_text("Ctrl-C")
        yield LiveNetwork(terminal, folder, home, re.findall(r"http://127\.0\.0\.1:\d+(?= |$)", text, re.M))
        family = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.press("\x03")
        assert terminal.end() == 0, terminal.text()
        assert psutil.wait_procs(family, timeout=30)[1] == []
    finally:
        terminal.close()


@pytest.fixture
def shell(network: LiveNetwork, monkeypatch: pytest.MonkeyPatch) -> LiveNetwork:
    """This process as another shell beside the network: its folder, its user's settings."""
    monkeypatch.chdir(network.folder)
    for name, value in network.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    return network


def run(command: str, code: int = 0) -> Result:
    """A command of `node.py`, as a person types it, in this process; it has to end with that exit code."""
    result = CliRunner().invoke(node.built(), shlex.split(command), prog_name="node.py")
    told = f"{command}\n{result.output}\n{result.stderr}\n{result.exception!r}"
    assert result.exit_code == code, told
    assert "Traceback" not in result.output
    return result


def fits(text: str) -> bool:
    """Whether no line is wider than a terminal."""
    return all(len(line) <= int(os.environ.get("COLUMNS", "80")) for line in text.splitlines())
