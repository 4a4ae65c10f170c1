"""One real node for all cluster tests: a local Ray cluster, real processes, RocksDB, sockets on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.gateway.client import Client
from config.effective import load
from node import Node, RayCluster, running_node

OVERRIDES = [
    "gateway.port=0",
    "node.validators=2",
    "node.mempool_shards=2",
    "network.development_accounts=400",
    "storage.checkpoint_blocks=20",
]


class Running:
    """The node under test."""

    def __init__(self, cluster: RayCluster, node: Node, client: Client) -> None:
        self.cluster, self.node, self.client = cluster, node, client
        self.next_account = 0

    def accounts(self, count: int) -> list[int]:
        """Numbers of development accounts that no other test uses."""
        first, self.next_account = self.next_account, self.next_account + count
        assert self.next_account <= 400, "the network has too few accounts for all tests"
        return list(range(first, first + count))


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A node with two Validators and two mempool shards."""
    data_dir: Path = tmp_path_factory.mktemp("network")
    settings = load("local", OVERRIDES).settings
    with running_node(settings, data_dir, 1) as (cluster, node), Client(node.url) as client:
        yield Running(cluster, node, client)


def eventually(holds: Callable[[], Any], what: str, deadline_s: float = 60.0) -> Any:
    """Wait until `holds` returns something true; the value. Fails, naming `what`, at the deadline."""
    until, pause = time.monotonic() + deadline_s, threading.Event()
    while True:
        value = holds()
        if value:
            return value
        assert time.monotonic() < until, f"not within {deadline_s} s: {what}"
        pause.wait(0.05)
