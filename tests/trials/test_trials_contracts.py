"""Contracts on a network: a member that was restarted, an observer that began with a snapshot and one that
executed every block have the same state, and so says the check of their directories."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.ledger.rows import Batch, concatenate
from actors.ledger.signing import development_signer, sign_transfer
from actors.sdk.client import Client
from bench.contract_examples import Catalog
from bench.contract_workload import mixed
from bench.workload import CallsPlan, PoolPlan, build_pool
from tests.cluster.conftest import NODE, Up, eventually
from tests.trials.test_trials_memory import free_ports

ACCOUNTS, DEPLOYER = 40, 40
ROUNDS, ROWS = 12, 20
SETTINGS = {
    "network.development_accounts": ACCOUNTS + 1,
    "node.validators": 1,
    "node.mempool_shards": 1,
    "storage.snapshot_blocks": 5,
    "storage.checkpoint_blocks": 4,
}
BEGINNINGS = ("snapshot", "blocks")
pytestmark = pytest.mark.slow_trial


class Traffic:
    """Signed transfers and calls, in batches that build on each other."""

    def __init__(self, client: Client) -> None:
        self.client = client
        genesis = client.genesis()
        signer, tag, prices = development_signer(genesis.network, DEPLOYER), genesis.chain_tag, genesis.prices
        opening = Catalog(signer.public_key, prices).opening()
        self._opening = concatenate([sign_transfer(signer, tag, said) for said in opening])
        calls = CallsPlan(DEPLOYER, prices.fee_min, prices.gas_per_unit, prices.entry_deposit, 0.02)
        half, count = ACCOUNTS // 2, 2 * ROUNDS * ROWS
        self._pools = [
            build_pool(PoolPlan("", genesis.network, tag, half, count, first, calls=wanted))
            for first, wanted in ((0, None), (half, calls))
        ]
        self._round = 0

    def deploy(self) -> None:
        self._commit(self._opening)

    def rounds(self, count: int) -> None:
        """So many batches, each committed before the next."""
        chance = np.random.default_rng(7)
        for _ in range(count):
            place = np.arange(self._round * ROWS, (self._round + 1) * ROWS)
            transfers, calls = (Batch(pool.rows, pool.payloads).take(place) for pool in self._pools)
            self._commit(mixed(transfers, calls, chance))
            self._round += 1

    def _commit(self, batch: Batch) -> None:
        receipt = self.client.submit(batch, wait="committed")
        assert (receipt.accepted, receipt.rejected) == (len(batch), [])


def test_a_restart_a_snapshot_and_a_replay_give_the_same_state(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    member, ups = tmp_path / "member" / "data", list[Up]()
    own = set_to({**SETTINGS, "peer.port": address.rpartition(":")[2]})
    try:
        ups.append(Up(member, "--nodes", "1", *own))
        with Client(ups[0].url()) as client:
            traffic = Traffic(client)
            traffic.deploy()
            traffic.rounds(ROUNDS)
            before = client.status()["head"]
        ups.pop().interrupt()
        ups.append(Up(member, *own))
        with Client(ups[0].url()) as client:
            assert client.status()["head"] == before
            for begin in BEGINNINGS:
                place = ("--node", begin, "--join", address, "--genesis", str(member))
                more = set_to({"node.validators": 1, "node.mempool_shards": 1, "peer.begin_with": begin})
                ups.append(Up(tmp_path / begin / "data", *place, *more))
            urls = [up.url() for up in ups[1:]]
            traffic.client = client
            traffic.rounds(ROUNDS)
            last = client.status()["head"]
        for url in urls:
            with Client(url) as other:
                assert head(other, last["height"])["state_root"] == last["state_root"]
        observed = [ups.pop().interrupt() for _ in BEGINNINGS][::-1]
        reports = [ups.pop().interrupt(), *observed]
    finally:
        for up in ups:
            up.kill()
    assert {report["state_root"] for report in reports} == {last["state_root"]}
    assert ["begun_with_snapshot" in report for report in reports] == [False, True, False]
    checked = [check(tmp_path / name / "data") for name in ("member", *BEGINNINGS)]
    assert {(found["ok"], found["state_root"]) for found in checked} == {(True, last["state_root"])}
    assert len({(found["entries"], found["accounts"]) for found in checked}) == 1
    assert checked[0]["entries"] > 100
    assert [found["replayed_from"] > 0 for found in checked] == [False, True, False]


def set_to(settings: dict[str, object]) -> list[str]:
    """Options of `up`."""
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def head(client: Client, height: int) -> dict[str, Any]:
    """The head of a node once it has come to a height."""

    def reached() -> dict[str, Any] | None:
        found: dict[str, Any] = client.status()["head"]
        return found if found["height"] >= height else None

    found: dict[str, Any] = eventually(reached, f"it stands at {height}")
    return found


def check(data_dir: Path) -> dict[str, Any]:
    """What the offline check says."""
    done = subprocess.run(
        [*NODE, "check", "--json", "--data-dir", str(data_dir)], capture_output=True, check=False
    )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report
