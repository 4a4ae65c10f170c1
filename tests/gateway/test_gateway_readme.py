"""The README's Python runs as it is written, but for the address of the node."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.contracts.authoring import EXAMPLES
from tests.gateway.gateway_proving_node import ProvingNode
from tests.gateway.gateway_served import Served

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8470"
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if ADDRESS in block]


@pytest.fixture
def served() -> Iterator[Served]:
    """A node that makes a block as soon as anything is pending."""
    running = Served(ProvingNode())
    with running.making_blocks():
        yield running
    running.stop()
    assert running.faults == []


def test_the_readme_has_a_quickstart() -> None:
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_the_readme_runs(
    block: str,
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "genesis.json").write_bytes(served.node.genesis.encode())
    shutil.copy(EXAMPLES / "counter.py", tmp_path)
    exec(compile(block.replace(ADDRESS, served.url), str(README), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()
    assert served.node.height >= 1
