"""Kills Validators of a node under load, and shows that no block is lost, wrong, or late by much.

An open loop offers transfers at a fixed rate and waits for their commit, first undisturbed, then while every
`--every-ms` another Validator gets SIGKILL. Latency counts from when a batch was due, so whatever a block
waits for is in it. `late_ms` is the longest latency with kills beyond the longest without. It is held against
`bound_ms`: how long a chunk may be away before somebody else does it, twice, since whoever took it over may
be killed as well, and the chunk's own time.
"""

from __future__ import annotations

import random
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from actors.cluster.actor import RayCluster
    from actors.storage.interface import Audit
    from actors.topology import Node

_ACCOUNTS = 400
_BATCH_ROWS = 200
_WARM_UP_S = 3


def torture_validators(
    seconds: int, quiet_seconds: int, every_ms: int, rate_tps: int, validators: int, seed: int
) -> dict[str, Any]:
    """Run both phases on a fresh node; `passed` says whether everything held."""
    from actors.console import console
    from actors.topology import running_node
    from config.effective import load

    overrides = [
        "gateway.port=0",
        f"node.validators={validators}",
        f"network.development_accounts={_ACCOUNTS}",
        "mempool.sender_rows_max=65536",
    ]
    settings = load("local", overrides).settings
    with tempfile.TemporaryDirectory(prefix="raychain-torture-") as folder:
        scratch = Path(folder)
        with running_node(settings, scratch / "network", 1) as (cluster, node):
            offers = _Offers(node, scratch, rate_tps, _WARM_UP_S + quiet_seconds + seconds)
            offers.run(_WARM_UP_S)
            console.print(f"{quiet_seconds} s undisturbed, {rate_tps:,} transactions a second")
            quiet = offers.run(quiet_seconds)
            console.print(f"{seconds} s with a Validator killed every {every_ms} ms")
            with _Killer(cluster, every_ms / 1000, seed) as killer:
                killed = offers.run(seconds)
            return _judged(node, settings.validator, offers, quiet, killed, killer.kills)


def _judged(
    node: Node, limits: Any, offers: _Offers, quiet: dict[str, Any], killed: dict[str, Any], kills: int
) -> dict[str, Any]:
    audit: Audit = node.call("storage", "audit", timeout_s=300)
    status = node.call("consensus", "status")
    health = node.health()
    pools = [health[name] for name in health if name.startswith("mempool")]
    bound_ms = 2 * limits.chunk_overdue_ms + limits.chunk_target_ms
    late_ms = killed["max_ms"] - quiet["max_ms"]
    checks = {
        "nothing_failed": quiet["failed"] + quiet["rejected"] + killed["failed"] + killed["rejected"] == 0,
        "nothing_lost": status["transactions"] == offers.offered,
        "roots_agree": not audit.problem,
        "supply_conserved": audit.supply == audit.supply_expected,
        "in_time": late_ms <= bound_ms,
    }
    return {
        "kills": kills,
        "validators": status["validators"],
        "rate_tps": offers.rate_tps,
        "committed": status["transactions"],
        "blocks": status["blocks"],
        **{f"quiet_{name}": round(quiet[name], 1) for name in ("p50_ms", "p99_ms", "max_ms")},
        **{f"killed_{name}": round(killed[name], 1) for name in ("p50_ms", "p99_ms", "max_ms")},
        "late_ms": round(late_ms, 1),
        "bound_ms": bound_ms,
        "recoveries": status["recoveries"],
        "validator_pool": status["validator_pool"],
        "mempool_pools": [facts["validators"] for facts in pools if facts],
        "load_errors": {**quiet["errors"], **killed["errors"]},
        **checks,
        "passed": all(checks.values()),
    }


class _Offers:
    """Signed transfers for all phases, offered one phase after the other."""

    def __init__(self, node: Node, scratch: Path, rate_tps: int, seconds: int) -> None:
        import numpy as np

        from bench.transfers import SignPlan, build_transfers

        genesis = node.directory.genesis
        self.rate_tps, self.offered = rate_tps, 0
        self._url, self._scratch, self._path = node.url, scratch, scratch / "rows.npy"
        count = -(-seconds * rate_tps // _ACCOUNTS) * _ACCOUNTS
        plan = SignPlan("", genesis.network, genesis.chain_tag, _ACCOUNTS, 0, count)
        np.save(self._path, build_transfers(plan))

    def run(self, seconds: int) -> dict[str, Any]:
        """Offer the next rows for so long."""
        from bench.generators import run_plans
        from bench.load import LoadPlan

        stop = self.offered + seconds * self.rate_tps // _BATCH_ROWS * _BATCH_ROWS
        place = (self._url, str(self._path), self.offered, stop, _BATCH_ROWS)
        self.offered = stop
        return run_plans(self._scratch, [LoadPlan(*place, mode="open", rate_tps=self.rate_tps)])[0]


class _Killer:
    """A thread that sends SIGKILL to one Validator process after the other, whichever are up."""

    def __init__(self, cluster: RayCluster, every_s: float, seed: int) -> None:
        self._cluster, self._every_s, self._random = cluster, every_s, random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kills = 0

    def __enter__(self) -> _Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            victims = self._cluster.processes("Validator")
            if victims:
                try:
                    self._random.choice(victims).kill()
                    self.kills += 1
                except psutil.NoSuchProcess:
                    continue
