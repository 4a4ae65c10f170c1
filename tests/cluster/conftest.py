"""One real node for all cluster tests: a local Ray cluster, real processes, RocksDB, sockets on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.cluster.actor import RayCluster
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import Client
from actors.topology import Node, running_node
from config.effective import load

ROOT = Path(__file__).parent.parent.parent
NODE = [sys.executable, str(ROOT / "node.py")]
OVERRIDES = [
    "gateway.port=0",
    "node.validators=2",
    "node.mempool_shards=2",
    "network.development_accounts=400",
    "storage.checkpoint_blocks=20",
    "consensus.block_interval_ms=20",
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
def only_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The node of all cluster tests, with two Validators and two mempool shards."""
    data_dir: Path = tmp_path_factory.mktemp("network")
    settings = load("local", OVERRIDES).settings
    with running_node(settings, data_dir, 1) as (cluster, node), Client(node.url) as client:
        yield Running(cluster, node, client)


@pytest.fixture
def running(only_node: Running) -> Running:
    """That node, whole: what an earlier test killed is back and answers."""
    eventually(lambda: is_whole(only_node), "every actor is back and ready")
    return only_node


def is_whole(running: Running) -> bool:
    """Whether every actor answers, and those that say when they are ready are."""
    health = running.node.health()
    return all(facts is not None and facts.get("ready", True) for facts in health.values())


def eventually(holds: Callable[..., Any], what: str, deadline_s: float = 150.0) -> Any:
    """Wait until `holds` returns something true; the value. Fails, naming `what`, at the deadline.

    That a part of the node is restarting is an answer, "not yet"; every other error fails at once.
    """
    until, pause, last = time.monotonic() + deadline_s, threading.Event(), ""
    while True:
        try:
            value = holds()
        except UnavailableApiError as error:
            value, last = None, f" ({error})"
        if value:
            return value
        assert time.monotonic() < until, f"not within {deadline_s} s: {what}{last}"
        pause.wait(0.05)


class Up:
    """A running `node.py up` process."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.log = data_dir.parent / f"up-{len(list(data_dir.parent.glob('up-*')))}.log"
        command = [*NODE, "up", "--json", "--data-dir", str(data_dir), "--set", "gateway.port=0", *options]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def url(self) -> str:
        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            match = re.search(r"(http://127\.0\.0\.1:\d+) ", self.log.read_text())
            return match.group(1) if match else None

        url: str = eventually(found, "the banner shows the address", deadline_s=240)
        return url

    def interrupt(self) -> dict[str, Any]:
        """Ctrl-C; the JSON of the last line. Nothing that the node started may be left."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.kill(self.process.pid, signal.SIGINT)
        out, _ = self.process.communicate(timeout=180)
        assert self.process.returncode == 0, self.log.read_text()
        assert len(family) > 5
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
        report: dict[str, Any] = json.loads(out.splitlines()[-1])
        return report

    def kill(self) -> None:
        """SIGKILL of the command and of whatever of its cluster does not die with it."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=60)
        assert alive == []
        self.process.communicate(timeout=60)
