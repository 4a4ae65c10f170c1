"""The README's Python runs as it is written, but for the address of the node."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.gateway_fake_node import FakeNode
from tests.gateway.gateway_served import Served

README = Path(__file__).parents[2] / "README.md"
ADDRESS = "http://127.0.0.1:8470"
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if ADDRESS in block]


@pytest.fixture
def served() -> Iterator[Served]:
    """A node that makes a block as soon as anything is pending."""
    running = Served(FakeNode())

    async def make_blocks() -> None:
        while True:
            await asyncio.sleep(0.005)
            if any(shard.pending for shard in running.node.shards):
                running.node.commit()

    blocks = asyncio.run_coroutine_threadsafe(make_blocks(), running._loop)
    yield running
    blocks.cancel()
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
    exec(compile(block.replace(ADDRESS, served.url), str(README), "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()
    assert served.node.height >= 1
