"""SIGKILL of each actor under load: it comes back, and nothing that was acknowledged is lost or doubled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.topology import Node
from bench.transfers import SignPlan, build_transfers
from tests.cluster.conftest import Running, eventually

ACCOUNTS, ROWS_A_BATCH = 40, 80
COMMITTED_WITHIN_S = 150.0


class Load:
    """A thread that submits batches until told to stop, each again and again until all of it is committed."""

    def __init__(self, node: Node, first_account: int) -> None:
        self._url, self._genesis = node.url, node.directory.genesis
        self._first_account = first_account
        self._stop, self._pause = threading.Event(), threading.Event()
        self.acknowledged: list[bytes] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * COMMITTED_WITHIN_S)
        assert not self._thread.is_alive(), "the load did not end"
        if self.error is not None:
            raise self.error

    def batches(self) -> Iterator[Batch]:
        rounds = ROWS_A_BATCH // ACCOUNTS
        for number in range(10_000):
            plan = SignPlan(
                "",
                self._genesis.network,
                self._genesis.chain_tag,
                ACCOUNTS,
                0,
                ROWS_A_BATCH,
                first_nonce=number * rounds,
                first_account=self._first_account,
            )
            yield Batch(build_transfers(plan), np.empty(0, dtype=np.uint8))

    def _run(self) -> None:
        try:
            with Client(self._url, timeout_s=40) as client:
                for batch in self.batches():
                    if self._stop.is_set():
                        return
                    self._until_committed(client, batch)
        except BaseException as error:  # noqa: BLE001 -- handed to the test's own thread
            self.error = error

    def _until_committed(self, client: Client, batch: Batch) -> None:
        until = time.monotonic() + COMMITTED_WITHIN_S
        while time.monotonic() < until:
            try:
                receipt = client.submit(batch, wait="committed")
            except ApiError:
                self._pause.wait(0.1)
                continue
            codes = {refusal.code for refusal in receipt.rejected}
            assert codes <= {
                Verdict.NONCE_REUSED,
                Verdict.UNAVAILABLE,
                Verdict.DUPLICATE,
                Verdict.NONCE_GAP,
            }, codes
            if codes <= {Verdict.NONCE_REUSED}:
                self.acknowledged += receipt.ids
                return
            self._pause.wait(0.05)
        raise AssertionError(f"a batch was not committed within {COMMITTED_WITHIN_S} s")


def pid_of(running: Running, actor: str) -> int | None:
    health = running.node.health()[actor]
    return None if health is None else int(health["pid"])


@pytest.mark.parametrize("actor", ["validator-0", "mempool-0", "storage", "consensus", "gateway-0"])
def test_a_killed_actor_comes_back_and_nothing_acknowledged_is_lost(running: Running, actor: str) -> None:
    first, *_ = running.accounts(ACCOUNTS)
    with Load(running.node, first) as load:
        eventually(lambda: len(load.acknowledged) >= 2 * ROWS_A_BATCH or load.error, "load is committed")
        before = eventually(lambda: pid_of(running, actor), "the actor answers")
        os.kill(before, signal.SIGKILL)
        after = eventually(lambda: (p := pid_of(running, actor)) and p != before and p, f"{actor} is back")
        assert after != before
        seen = len(load.acknowledged)
        eventually(
            lambda: len(load.acknowledged) >= seen + 3 * ROWS_A_BATCH or load.error, "commits after the kill"
        )
    assert_all_committed_once(running, load.acknowledged)


def test_a_node_that_is_asked_to_end_ends_at_once_and_comes_back(running: Running) -> None:
    """Again and again: SIGTERM was lost on an actor that Ray had started anew."""
    actors = ["storage", "mempool-0", "consensus", "gateway-0", "peer", "validator-0"]
    first, *_ = running.accounts(ACCOUNTS)
    with Load(running.node, first) as load:
        for _ in range(3):
            seen = len(load.acknowledged)
            pids = {
                actor: eventually(lambda a=actor: pid_of(running, a), f"{actor} answers") for actor in actors
            }
            for pid in pids.values():
                os.kill(pid, signal.SIGTERM)
            for actor, pid in pids.items():
                eventually(lambda p=pid: not psutil.pid_exists(p), f"{actor} has ended")
            eventually(
                lambda n=seen: len(load.acknowledged) >= n + ROWS_A_BATCH or load.error, "commits after it"
            )
    assert_all_committed_once(running, load.acknowledged)


def assert_all_committed_once(running: Running, acknowledged: list[bytes]) -> None:
    head = running.node.call("storage", "head").height
    counted: dict[bytes, int] = {}
    with Client(running.node.url) as client:
        for height in range(1, head + 1):
            block = client.raw_block(height)
            assert block is not None
            for tx_id in block.batch.ids():
                counted[tx_id.tobytes()] = counted.get(tx_id.tobytes(), 0) + 1
    assert acknowledged
    assert [tx_id for tx_id in acknowledged if counted.get(tx_id, 0) != 1] == []
    assert max(counted.values()) == 1
    assert running.node.call("storage", "audit", timeout_s=60).problem == ""


def test_durable_transactions_survive_the_kill_of_their_shard(running: Running) -> None:
    first, *_ = running.accounts(ACCOUNTS)
    genesis = running.node.directory.genesis
    plan = SignPlan("", genesis.network, genesis.chain_tag, ACCOUNTS, 0, 10 * ACCOUNTS, first_account=first)
    batch = Batch(build_transfers(plan), np.empty(0, dtype=np.uint8))
    pids = [eventually(lambda n=n: pid_of(running, f"mempool-{n}"), "a shard answers") for n in range(2)]
    with Client(running.node.url) as client:
        receipt = client.submit(batch, wait="durable")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert receipt.accepted == len(batch)
        eventually(
            lambda: all(client.transaction(i) for i in receipt.ids[:: len(receipt.ids) // 5]), "a sample"
        )
        eventually(lambda: all(client.transaction(i) for i in receipt.ids), "every durable one is committed")
    assert_all_committed_once(running, receipt.ids)
