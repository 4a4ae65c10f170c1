"""Validators come and go, planned and not, while a node works: no transaction fails for it."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np

from actors.ledger.rows import Batch
from actors.sdk.client import Client
from bench.transfers import SignPlan, build_transfers
from tests.cluster.conftest import Running, eventually
from tests.cluster.test_cluster_kills import assert_all_committed_once, pid_of

ACCOUNTS, ROWS_A_BATCH = 20, 20


class Steady:
    """A thread that submits batch after batch and waits for each commit. Anything else is a failure."""

    def __init__(self, running: Running) -> None:
        self._first, *_ = running.accounts(ACCOUNTS)
        self._url, self._genesis = running.node.url, running.node.directory.genesis
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.acknowledged: list[bytes] = []
        self.failures: list[object] = []

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=120)
        assert not self._thread.is_alive(), "the load did not end"

    def more(self, batches: int = 5) -> None:
        """Wait until so many more batches are committed."""
        wanted = len(self.acknowledged) + batches * ROWS_A_BATCH
        eventually(lambda: len(self.acknowledged) >= wanted or self.failures, "batches are committed", 120)
        assert self.failures == []

    def _run(self) -> None:
        nonce = 0
        with Client(self._url, timeout_s=60) as client:
            while not self._stop.is_set():
                place = (ACCOUNTS, 0, ROWS_A_BATCH, nonce, self._first)
                plan = SignPlan("", self._genesis.network, self._genesis.chain_tag, *place)
                batch = Batch(build_transfers(plan), np.empty(0, dtype=np.uint8))
                try:
                    receipt = client.submit(batch, wait="committed")
                except Exception as error:  # noqa: BLE001 -- handed to the test's own thread
                    self.failures.append(error)
                    return
                self.failures += receipt.rejected
                self.acknowledged += receipt.ids
                nonce += 1


def test_validators_are_added_and_removed_under_load_without_a_failed_transaction(running: Running) -> None:
    with Steady(running) as load:
        load.more()
        assert running.client.scale(1) == {"validators": 1, "added": [], "removed": ["validator-1"]}
        eventually(lambda: len(running.cluster.processes("Validator")) == 1, "one process is left")
        load.more()
        assert running.client.scale(2)["added"] == ["validator-1"]
        assert len(running.cluster.processes("Validator")) == 2
        load.more()
        before = eventually(lambda: pid_of(running, "validator-1"), "the added one answers")
        assert before != pid_of(running, "validator-0")
        os.kill(before, signal.SIGKILL)
        load.more()
        eventually(lambda: pid_of(running, "validator-1") not in (None, before), "it was started again")
    assert load.failures == []
    assert_all_committed_once(running, load.acknowledged)
    os.kill(eventually(lambda: pid_of(running, "consensus"), "consensus answers"), signal.SIGKILL)
    again = eventually(lambda: running.client.scale(2), "consensus is back and knows its crew")
    assert again == {"validators": 2, "added": [], "removed": []}
