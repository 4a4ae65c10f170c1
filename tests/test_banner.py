"""What `up` shows of a node that has not its full part in the network."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from actors.cli.banner import _NodeLine, print_banner
from actors.settings import Settings
from tests.gateway.gateway_fake_node import FakeNode

NEW_DISK = "this member's disk is new: it has no vote"
STATUS = {"role": "follower", "height": 3, "transactions": 0, "halted": "", "standing": ""}


class Node:
    """A node as far as the banner looks at it."""

    url = "http://127.0.0.1:1"

    def __init__(self, **status: Any) -> None:
        self._status = {**STATUS, **status}
        self.directory = SimpleNamespace(genesis=FakeNode().genesis, path=Path())
        self.folder = SimpleNamespace(name="node-1", identity=bytes(32))
        self.facts = {"peer": {"address": "127.0.0.1:2"}, "consensus": {"role": "follower"}}

    def status(self) -> dict[str, Any]:
        return self._status

    def call(self, _actor: str, _method: str) -> dict[str, Any]:
        return self._status

    def health(self) -> dict[str, Any]:
        return {"consensus": {}, "storage": {}}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"standing": NEW_DISK}, NEW_DISK),
        ({"halted": "another root", "standing": NEW_DISK}, "another root"),
        ({}, ""),
    ],
)
def test_a_node_without_its_full_part_says_why(status: dict[str, Any], words: str) -> None:
    node: Any = Node(**status)
    text = io.StringIO()
    print_banner(Console(file=text, width=200), [node], Settings().network)
    line = str(_NodeLine(node).refresh())
    assert "node-1" in text.getvalue()
    assert line.startswith("node-1 follower")
    for shown in (text.getvalue(), line):
        assert words in shown
        assert (NEW_DISK in shown) == (words == NEW_DISK)
