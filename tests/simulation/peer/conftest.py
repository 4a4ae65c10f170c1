"""How many nodes the peer simulations run: 1,000, or `PEER_NODES=10000` in the environment by hand."""

import os

import pytest


@pytest.fixture
def peer_nodes() -> int:
    """Nodes a simulation."""
    return int(os.environ.get("PEER_NODES", "1000"))
