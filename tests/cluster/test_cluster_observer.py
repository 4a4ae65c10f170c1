"""An observer joins a running chain, is killed in the middle, resumes, and ends with the same state root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from actors.ledger.rows import Batch
from actors.sdk.client import Client
from bench.transfers import SignPlan, build_transfers
from tests.cluster.conftest import Running, Up, eventually

BLOCKS = 200
ACCOUNTS = 20


def test_an_observer_catches_up_resumes_and_agrees(running: Running, tmp_path: Path) -> None:
    grow(running, BLOCKS - running.node.call("storage", "head").height)
    seed = running.node.facts["peer"]["address"]
    options = (
        "--node", "watcher", "--join", seed, "--genesis", str(running.node.directory.path),
        "--set", "node.validators=1", "--set", "consensus.blocks_inflight_max=1",
    )  # fmt: skip
    with slow_wire(running) as cut:
        served = served_blocks(running)
        observer = Up(tmp_path / "watcher", *options)
        eventually(lambda: served_blocks(running) > served, "the observer fetches blocks")
        cut()
        url = observer.url()
        reached = eventually(lambda: height_of(url), "the observer has committed some")
        observer.kill()
    assert reached < BLOCKS

    again = Up(tmp_path / "watcher", *options)
    url = again.url()
    assert eventually(lambda: height_of(url), "the observer is back") >= reached
    head = running.node.call("storage", "head")
    assert head.height >= BLOCKS
    status = eventually(lambda: caught_up(url, head.height), "the observer has caught up")
    assert status["head"]["state_root"] == head.state_root.hex()
    (peer,) = eventually(lambda: status_of(url)["node"]["peers"], "the observer sees its peer")
    assert peer["identity"] == running.node.directory.nodes[0].identity.hex()
    assert peer["state"].lower() == "active"
    assert {"address", "last_seen_s", "rtt_ms"} <= set(peer)

    grow(running, 3)
    head = running.node.call("storage", "head")
    live = eventually(lambda: caught_up(url, head.height), "the observer follows new blocks")
    assert live["head"]["state_root"] == head.state_root.hex()
    last = again.interrupt()
    assert last["state_root"] == head.state_root.hex()


@contextmanager
def slow_wire(running: Running) -> Iterator[Callable[[], None]]:
    """What others ask of the node comes half a second late, and is lost once the result is called."""

    def set_rule(**rule: float) -> None:
        running.node.call("peer", "set_faults", {"rules": {"": rule}})

    set_rule(delay_ms=500)
    try:
        yield lambda: set_rule(loss=1)
    finally:
        running.node.call("peer", "set_faults", {})


def served_blocks(running: Running) -> int:
    facts = running.node.health()["peer"]
    return 0 if facts is None else int(facts["served_blocks"])


def grow(running: Running, blocks: int) -> None:
    """Commit one small block after another; nothing if `blocks` is not positive."""
    if blocks <= 0:
        return
    genesis, (first, *_) = running.node.directory.genesis, running.accounts(ACCOUNTS)
    plan = SignPlan(
        "",
        genesis.network,
        genesis.chain_tag,
        ACCOUNTS,
        0,
        -(-blocks // ACCOUNTS) * ACCOUNTS,
        first_account=first,
    )
    rows = build_transfers(plan)
    with Client(running.node.url) as client:
        for row in range(blocks):
            batch = Batch(rows[row : row + 1], np.empty(0, dtype=np.uint8))
            assert client.submit(batch, wait="committed").accepted == 1


def status_of(url: str) -> dict[str, Any]:
    with Client(url) as client:
        return client.status()


def height_of(url: str) -> int:
    return int(status_of(url)["head"]["height"])


def caught_up(url: str, height: int) -> dict[str, Any] | None:
    status = status_of(url)
    return status if status["head"]["height"] >= height else None
