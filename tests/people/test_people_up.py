"""What a person sees of `up` on a terminal."""

from __future__ import annotations

import re

from tests.people.conftest import LiveNetwork


def test_the_banner_and_the_line_of_every_node_are_seen_on_a_terminal(network: LiveNetwork) -> None:
    """A spinner that held the old standard error put it back when it ended, and nothing was seen any more."""
    assert len(network.urls) >= 3
    text = network.terminal.await_text(lambda text: re.search(r"node-3 .*height \d+", text))
    assert "development:0" in text
