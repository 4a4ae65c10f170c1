"""The demo: a real node under a real open-loop load through its HTTP API, and checks of what it committed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rich.console import Console

from actors.gateway.client import Client
from actors.gateway.proof import ProofError
from actors.settings import Settings
from bench.generators import ceiling_tps, run_plans
from bench.load import LoadPlan, SignPlan
from bench.yardstick import libsodium_verifies_per_s

_YARDSTICK_S = 1.5
_CALIBRATION_ROWS = 60_000
_CEILING_ROWS = 60_000
_CONCURRENCY = 24
_OFFERED_SHARE = 0.9
_POOL_ROWS_MAX = 1_500_000

RunningNode = Callable[[Settings, Path | None, int], AbstractContextManager[tuple[Any, Any]]]


def run_demo(
    settings: Settings, data_dir: Path | None, nodes: int, running_node: RunningNode, console: Console
) -> dict[str, Any]:
    """Run the whole demo; `passed` in the result says whether every check held."""
    console.print("measuring the yardstick: libsodium on one core")
    yardstick = libsodium_verifies_per_s(_YARDSTICK_S)
    with tempfile.TemporaryDirectory(prefix="raychain-load-") as folder:
        scratch = Path(folder)
        with running_node(settings, data_dir, nodes) as (cluster, node):
            seen = len(cluster.processes("Validator"))
            return _exercise(settings, scratch, node, console, yardstick, seen)


def _exercise(
    settings: Settings, scratch: Path, node: Any, console: Console, yardstick: float, validators_seen: int
) -> dict[str, Any]:
    before = node.call("consensus", "status")
    with Client(node.url) as client:
        first_nonce = _first_nonce(client, settings)
        pool = _Pool(scratch, node.directory.genesis, first_nonce)
        console.print("calibrating: what does the node take?")
        pool.extend(_CALIBRATION_ROWS)
        calibration = pool.load(node.url, settings, "closed")
        rate = settings.demo.rate_tps or calibration["tps"] * _OFFERED_SHARE
        rows = min(int(rate * settings.demo.seconds), _POOL_ROWS_MAX)
        console.print(f"signing {rows:,} transfers for the open loop")
        pool.extend(rows)
        console.print(f"offering {rate:,.0f} transactions/s for {settings.demo.seconds} s")
        idle = _cpu_s(node)
        load = pool.load(node.url, settings, "open", rate_tps=rate)
        cpu = {
            name: round((spent - idle[name]) / load["accepted"] * 1e6, 2)
            for name, spent in _cpu_s(node).items()
        }
        console.print("checking what was committed")
        audit = node.call("storage", "audit", timeout_s=120)
        status = node.call("consensus", "status")
        verified = _verify_a_proof(client, node.directory.genesis)
    ceiling = _ceiling(scratch, pool, settings)
    committed = status["transactions"] - before["transactions"]
    acknowledged = calibration["accepted"] + load["accepted"]
    checks = {
        "supply_conserved": bool(audit["supply_conserved"]),
        "roots_agree": bool(audit["roots_agree"]),
        "proof_verified": verified,
        "nothing_lost": committed >= acknowledged > 0,
        "no_errors": load["failed"] + load["rejected"] == 0,
    }
    return {
        "committed": committed,
        "tps": round(load["tps"], 1),
        "p50_ms": round(load["p50_ms"], 1),
        "p99_ms": round(load["p99_ms"], 1),
        "height": status["height"],
        "state_root": status["state_root"],
        "validators": validators_seen,
        "mempool_shards": status["mempool_shards"],
        "nodes": 1,
        **checks,
        "acknowledged": acknowledged,
        "offered_tps": round(rate, 1),
        "calibration_tps": round(calibration["tps"], 1),
        "generator_ceiling_tps": round(ceiling, 1),
        "signature_yardstick_per_core": round(yardstick, 1),
        "ratio_to_yardstick": round(load["tps"] / (2 * yardstick), 3),
        "durability": settings.storage.durability,
        "load_errors": {**load["errors"], **calibration["errors"]},
        "stages_us_per_tx": status["stages_us_per_tx"],
        "cpu_us_per_tx": cpu,
        "limiting_actor": max(cpu, key=lambda name: cpu[name]),
        "kernels": node.facts["validator-0"]["kernels"],
        "passed": all(checks.values()),
    }


def _cpu_s(node: Any) -> dict[str, float]:
    """CPU seconds of each kind of actor so far, all of a kind together."""
    spent: dict[str, float] = {}
    for name, answer in node.health().items():
        kind = name.partition("-")[0]
        spent[kind] = spent.get(kind, 0.0) + float((answer or {}).get("cpu_s", 0.0))
    return spent


def _first_nonce(client: Client, settings: Settings) -> int:
    """Nonce to begin with: on a directory that has seen a demo, after those that were used."""
    from actors.ledger.signing import development_signer

    step = max(1, settings.network.development_accounts // 64)
    sample = range(0, settings.network.development_accounts, step)
    nonces = {
        client.account(development_signer(settings.network.name, i).public_key)["nonce"] for i in sample
    }
    if len(nonces) != 1:
        raise RuntimeError(
            "the development accounts have been used by hand; take a fresh --data-dir for demo"
        )
    return int(nonces.pop())


class _Pool:
    """Signed transfers in files, extended as needed, each row offered once."""

    def __init__(self, scratch: Path, genesis: Any, first_nonce: int) -> None:
        self._scratch, self._genesis, self._first_nonce = scratch, genesis, first_nonce
        self._signed = 0
        self._files: list[tuple[str, int]] = []

    def extend(self, rows: int) -> None:
        """Sign at least `rows` more, in whole rounds of all accounts, with two processes."""
        accounts = self._genesis.accounts
        rounds = -(-rows // accounts)
        count = rounds * accounts
        half = rounds // 2 * accounts
        plans = []
        for number, (start, size) in enumerate(((0, half), (half, count - half))):
            path = str(self._scratch / f"pool-{self._signed}-{number}.npy")
            place = (accounts, self._signed + start, size, self._first_nonce)
            plans.append(SignPlan(path, self._genesis.network, self._genesis.chain_tag, *place))
        run_plans(self._scratch, [plan for plan in plans if plan.count])
        merged = str(self._scratch / f"pool-{self._signed}.npy")
        _merge([plan.path for plan in plans if plan.count], merged)
        self._files.append((merged, count))
        self._signed += count

    def load(self, url: str, settings: Settings, mode: Any, rate_tps: float = 0) -> dict[str, Any]:
        """Offer the rows of the newest file, all of them, so that the next file's nonces follow."""
        path, count = self._files[-1]
        plan = LoadPlan(url, path, 0, count, settings.demo.batch_rows, mode, rate_tps, _CONCURRENCY)
        return run_plans(self._scratch, [plan])[0]

    def sample(self) -> tuple[str, int]:
        """A file of signed rows and how many it holds."""
        return self._files[0]


def _merge(paths: list[str], target: str) -> None:
    import numpy as np

    np.save(target, np.concatenate([np.load(path) for path in paths]))
    for path in paths:
        Path(path).unlink()


def _verify_a_proof(client: Client, genesis: Any) -> bool:
    """Take a transaction of the latest block and check its proof and certificate here."""
    block = client.raw_block("latest")
    if block is None or not len(block.batch):
        return False
    tx_id = block.batch.ids()[len(block.batch) // 2].tobytes()
    with contextlib.suppress(ProofError):
        return client.verified_proof(tx_id, genesis).height == block.header.height
    return False


def _ceiling(scratch: Path, pool: _Pool, settings: Settings) -> float:
    """What the generator reaches against a server that accepts everything at once."""
    path, count = pool.sample()
    plan = LoadPlan(
        "", path, 0, min(count, _CEILING_ROWS), settings.demo.batch_rows, "closed", concurrency=_CONCURRENCY
    )
    return ceiling_tps(scratch, [plan])
