"""The demo: a real network under a real open-loop load through its HTTP API, and checks of what it committed.

With --kill leader the whole node of the leader is killed in the middle of the load, as a power cut would.
With --contracts the load is transfers of a token that the demo deploys (demo_contracts.py).
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.config import DataDir, Nodes, Overrides, Profile
from actors.cli.options import Json, Verbose
from actors.console import UserError, console
from actors.directory import members_in
from actors.sdk.client import Client
from actors.sdk.inclusion_proof import ProofError
from actors.settings import Settings
from actors.storage.interface import Audit
from bench.demo_report import demo_summary
from bench.generators import ceiling_tps
from bench.load import LoadPlan
from bench.results import emit_result
from bench.yardstick import libsodium_verifies_per_s
from config.effective import load

if TYPE_CHECKING:
    from bench.demo_contracts import CallYardsticks
    from bench.demo_pools import TransferPool

_YARDSTICK_S = 1.5
_WARM_UP_ROWS = 60_000
_CALIBRATION_S = 4
_CEILING_ROWS = 60_000
_OFFERED_SHARE = 0.6
_POOL_ROWS_MAX = 1_500_000
_POLL_S = 0.1
BLOCK_GAS_MAX = 10_000_000
"""What a demo of calls founds its network with: a block is full by its rows."""
_FAILOVER_POLL_S, _FAILOVER_MAX_S = 0.01, 30.0

KILLS = ("", "leader", "follower")


def command_demo(
    profile: Profile = "local",
    overrides: Overrides = None,
    nodes: Nodes = None,
    data_dir: DataDir = None,
    kill: Annotated[str, typer.Option("--kill", help="leader or follower: SIGKILL its whole node.")] = "",
    contracts: Annotated[bool, typer.Option("--contracts", help="Transfers of a token.")] = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Start a network, load it through its HTTP API, check what it committed, and stop it."""
    from actors.topology import running_network

    if kill not in KILLS:
        raise UserError(f"--kill {kill}: use leader or follower")
    count = nodes or members_in(data_dir)
    if kill and count < 3:
        raise UserError(f"--kill {kill} needs --nodes 3 or more, so that a majority is left")
    own = ["gateway.port=0", *([f"network.block_gas_max={BLOCK_GAS_MAX}"] if contracts else [])]
    settings = load(profile, [*own, *(overrides or [])]).settings
    console.print(
        f"A network of {count} under load for {settings.demo.seconds} s, then checks of all it made."
    )
    console.print("measuring the yardsticks")
    yardstick = libsodium_verifies_per_s(_YARDSTICK_S)
    of_calls = _yardsticks_of_calls(settings) if contracts else None
    with tempfile.TemporaryDirectory(prefix="raychain-load-") as folder:
        began = time.monotonic()
        with running_network(settings, data_dir, count) as (cluster, running):
            started_s = time.monotonic() - began
            seen = len(cluster.processes("Validator"))
            result = _exercise(settings, Path(folder), running, yardstick, kill, of_calls)
            result |= {"validators": seen, "started_s": round(started_s, 1)}
    emit_result(result, as_json, "demo", demo_summary(result), verbose)
    if not result["passed"]:
        raise typer.Exit(1)


def _yardsticks_of_calls(settings: Settings) -> CallYardsticks:
    from bench.demo_contracts import measure_yardsticks

    return measure_yardsticks(settings.network.development_accounts)


def _exercise(
    settings: Settings,
    scratch: Path,
    nodes: list[Any],
    yardstick: float,
    kill: str,
    of_calls: CallYardsticks | None,
) -> dict[str, Any]:
    from bench.demo_pools import CONCURRENCY, TokenPool, TransferPool

    leader = await_leader(nodes)
    genesis = leader.directory.genesis
    with Client(leader.url) as client:
        pool = (TokenPool if of_calls else TransferPool)(scratch, genesis, client)
        before = leader.call("consensus", "status")
        console.print("calibrating: what does the network take?")
        pool.extend(_WARM_UP_ROWS)
        warm_up = pool.load(leader.url, settings, "closed")
        if not warm_up["accepted"]:
            raise UserError(
                f"none of {_WARM_UP_ROWS:,} transactions were taken: `node.py doctor` says whether this "
                f"machine has the memory for it, {leader.folder.path / 'logs'} what its actors say"
            )
        pool.extend(min(int(warm_up["tps"] * _CALIBRATION_S), _POOL_ROWS_MAX))
        calibration = pool.load(leader.url, settings, "closed")
        rate = settings.demo.rate_tps or calibration["tps"] * _OFFERED_SHARE
        rows = min(int(rate * settings.demo.seconds), _POOL_ROWS_MAX)
        console.print(f"signing {rows:,} transfers for the open loop")
        pool.extend(rows)
        console.print(f"offering {rate:,.0f} transactions/s for {settings.demo.seconds} s")
        idle = cpu_s_by_kind(leader)
        killing = _Killing(nodes, leader, kill, settings.demo.seconds / 3)
        load = pool.load(killing.url, settings, "open", rate_tps=rate)
        killed = killing.result()
        spent = cpu_s_by_kind(leader)
    console.print("checking what was committed")
    final = agree(nodes)
    leader = await_leader(nodes)
    audit: Audit = leader.call("storage", "audit", timeout_s=120)
    status = leader.call("consensus", "status")
    with Client(leader.url) as client:
        verified = _verify_a_proof(client, genesis)
        certificates = _certificates_verified(client, genesis, before["height"], status["height"])
    ceiling = _ceiling(scratch, pool, settings)
    acknowledged = warm_up["accepted"] + calibration["accepted"] + load["accepted"]
    committed = _committed_between(nodes, before["height"], final["height"])
    heights = range(before["height"] + 1, final["height"] + 1)
    called = dict[str, Any]()
    if isinstance(pool, TokenPool) and of_calls:
        from bench.demo_contracts import call_rows

        called = call_rows(pool, of_calls, nodes, heights, load["tps"])
        called["stages_us_per_call"] = status["stages_us_per_tx"]
    checks = {
        "supply_conserved": audit.supply == audit.supply_expected,
        "roots_agree": not audit.problem and final["agree"],
        "proof_verified": verified,
        "certificates_verified": certificates > 0,
        "nothing_lost": committed >= acknowledged > 0,
        "no_errors": bool(kill) or load["failed"] + load["rejected"] == 0,
    }
    if called:
        checks["tokens_conserved"] = set(called["tokens_held"]) == {called["tokens"]}
        checks["calls_succeeded"] = not called["failed_calls"]
    cpu = {
        name: round((spent[name] - idle[name]) / max(load["accepted"], 1) * 1e6, 2)
        for name in ([] if kill else spent)
    }
    return {
        "committed": committed,
        "tps": round(load["tps"], 1),
        "p50_ms": round(load["p50_ms"], 1),
        "p99_ms": round(load["p99_ms"], 1),
        "height": final["height"],
        "state_root": final["state_root"],
        "mempool_shards": status["mempool_shards"],
        "nodes": len(nodes),
        **checks,
        **called,
        "lost_committed": max(acknowledged - committed, 0),
        **killed,
        "elections": status["elections"],
        "certificates": certificates,
        "heights": final["heights"],
        "acknowledged": acknowledged,
        "offered_tps": round(rate, 1),
        "calibration_tps": round(calibration["tps"], 1),
        "generator_ceiling_tps": round(ceiling, 1),
        "signature_yardstick_per_core": round(yardstick, 1),
        "ratio_to_yardstick": round(load["tps"] / (2 * yardstick), 3),
        "durability": settings.storage.durability,
        "load_errors": {**load["errors"], **calibration["errors"], **warm_up["errors"]},
        "stages_us_per_tx": status["stages_us_per_tx"],
        "cpu_us_per_tx": cpu,
        "limiting_actor": max(cpu, key=lambda name: cpu[name]) if cpu else "",
        "kernels": nodes[0].facts["validator-0"]["kernels"],
        "rows_per_request": settings.demo.batch_rows,
        "requests_in_flight_max": CONCURRENCY,
        "passed": all(checks.values()),
    }


def await_leader(nodes: list[Any], deadline_s: float = 60.0) -> Any:
    """The node that leads in the highest term. Raises RuntimeError when there is none by the deadline."""
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        leads = []
        for node in nodes:
            with contextlib.suppress(Exception):  # an actor that is restarting does not lead
                status = node.call("consensus", "status", timeout_s=5)
                leads += [(status["term"], node)] if status["role"] == "leader" else []
        if leads:
            return max(leads, key=lambda lead: lead[0])[1]
        time.sleep(_POLL_S)
    raise RuntimeError(f"no node became leader within {deadline_s} s")


def agree(nodes: list[Any], deadline_s: float = 90.0) -> dict[str, Any]:
    """Wait until all nodes stand at one height; that height, its root, and whether all have the same hash."""
    until = time.monotonic() + deadline_s
    while True:
        heads = []
        for node in nodes:
            with contextlib.suppress(Exception):  # an actor that is restarting has no head yet
                heads.append(node.call("storage", "head", timeout_s=5))
        settled = len(heads) == len(nodes) and len({head.height for head in heads}) == 1
        if settled or time.monotonic() > until:
            break
        time.sleep(_POLL_S)
    if not heads:
        raise RuntimeError("no node answers")
    return {
        "agree": settled and len({(head.hash, head.state_root) for head in heads}) == 1,
        "height": heads[0].height,
        "heights": [head.height for head in heads],
        "state_root": heads[0].state_root.hex(),
    }


class _Killing:
    """Kills a whole node some seconds into the load, and measures until the others commit again."""

    def __init__(self, nodes: list[Any], leader: Any, kill: str, after_s: float) -> None:
        self._nodes, self._kill, self._after_s = nodes, kill, after_s
        others = [node for node in nodes if node is not leader]
        self._victim: Any = leader if kill == "leader" else others[0] if kill else None
        # The load goes to a node that stays, so that what it acknowledges can be held against the chain.
        self.url = leader.url if kill != "leader" else others[0].url
        self._failover_ms = 0.0
        self._thread = threading.Thread(target=self._run) if kill else None
        if self._thread is not None:
            self._thread.start()

    def _run(self) -> None:
        time.sleep(self._after_s)
        watched = next(node for node in self._nodes if node is not self._victim)
        height = watched.call("storage", "head").height
        console.print(f"killing the {self._kill}'s node: {self._victim.folder.name}")
        began = time.monotonic()
        self._victim.kill()
        while time.monotonic() - began < _FAILOVER_MAX_S:
            if watched.call("storage", "head").height > height + 1:
                self._failover_ms = (time.monotonic() - began) * 1000
                return
            time.sleep(_FAILOVER_POLL_S)

    def result(self) -> dict[str, Any]:
        """What was killed, and how long no block was committed."""
        if self._thread is None:
            return {}
        self._thread.join()
        return {"killed": self._victim.folder.name, "failover_ms": round(self._failover_ms, 1)}


def _committed_between(nodes: list[Any], first: int, last: int) -> int:
    """Distinct transactions in the blocks after `first` up to `last`, as the first node holds them."""
    committed: set[bytes] = set()
    with Client(nodes[0].url) as client:
        for height in range(first + 1, last + 1):
            block = client.raw_block(height)
            if block is not None:
                committed.update(row.tobytes() for row in block.batch.ids())
    return len(committed)


def _certificates_verified(client: Client, genesis: Any, first: int, last: int) -> int:
    """How many sampled blocks have a certificate that a majority of the genesis signed; 0 if one has not."""
    from actors.ledger.block import decode_sealed_header

    heights = sorted({first + 1 + (last - first - 1) * step // 9 for step in range(10)})
    for height in heights:
        sealed = client.sealed_header(height)
        if sealed is None or decode_sealed_header(sealed).verify(genesis.hash(), genesis.member_keys):
            return 0
    return len(heights)


def cpu_s_by_kind(node: Any) -> dict[str, float]:
    """CPU seconds of each kind of actor so far, all of a kind together."""
    spent: dict[str, float] = {}
    for name, answer in node.health().items():
        kind = name.partition("-")[0]
        spent[kind] = spent.get(kind, 0.0) + float((answer or {}).get("cpu_s", 0.0))
    return spent


def _verify_a_proof(client: Client, genesis: Any) -> bool:
    """Take a transaction of the latest block and check its proof and certificate here."""
    block = client.raw_block("latest")
    if block is None or not len(block.batch):
        return False
    tx_id = block.batch.ids()[len(block.batch) // 2].tobytes()
    with contextlib.suppress(ProofError):
        return client.verified_proof(tx_id, genesis).height == block.header.height
    return False


def _ceiling(scratch: Path, pool: TransferPool, settings: Settings) -> float:
    """What the generator reaches against a server that accepts everything at once."""
    from bench.demo_pools import CONCURRENCY

    path, count = pool.sample()
    plan = LoadPlan(
        "", path, 0, min(count, _CEILING_ROWS), settings.demo.batch_rows, "closed", concurrency=CONCURRENCY
    )
    return ceiling_tps(scratch, [plan])
