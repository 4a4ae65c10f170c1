"""How fast a network of members agrees, and how fast it finds another leader.

commit_ms        from a leader's proposal of a small block until a majority has it durable and found it valid
hop_ms, hops     one call of an actor there and back in the same run, and commit_ms.p50 in such calls
floor_ms         one loopback round trip + one fsync, measured alone in the same run: the physical least
blocks_per_s     small blocks committed a second, one client that waits for each
failover_ms      from SIGKILL of the leader's Consensus until another member leads and has committed its
                 first entry, over `kills` kills, each once all members follow one leader; elected_ms until
                 it leads
elections_under_load   leaders elected while the blocks were committed, without a fault
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from actors.topology import Node

ACCOUNTS = 16
DEADLINE_S = 60.0
TRIES_MAX = 5
LOOK_EVERY_S = 0.05  # members tell times by their own clocks: asking more often would only disturb them


def command(
    nodes: Annotated[int, typer.Option(min=1, max=7, help="Members.")] = 3,
    blocks: Annotated[int, typer.Option(min=10, max=4000, help="Small blocks to commit.")] = 300,
    kills: Annotated[int, typer.Option(min=0, max=1000, help="Leaders to kill; needs 3 members.")] = 30,
) -> dict[str, object]:
    """Run the benchmark."""
    from actors.console import UserError, console
    from actors.topology import running_network
    from bench.demo import await_leader
    from config.effective import load

    if kills and nodes < 3:
        raise UserError(f"--kills {kills} needs --nodes 3 or more, so that a majority is left; or --kills 0")
    overrides = [
        "node.validators=1",
        f"network.development_accounts={ACCOUNTS}",
        "consensus.block_interval_ms=1",
    ]
    settings = load("bench", overrides).settings
    with tempfile.TemporaryDirectory(prefix="raychain-bench-") as scratch:
        floor = {"loopback_ms": loopback_ms(), "fsync_ms": fsync_ms(Path(scratch))}
        with running_network(settings, Path(scratch) / "network", nodes) as (_, running):
            console.print(f"committing {blocks} small blocks")
            agreed, leader = _agreed(running, blocks)
            hop_ms = _hop_ms(leader)
            elections = leader.call("consensus", "status")["elections"]
            console.print(f"killing {kills} leaders")
            failovers = [_kill_leader(running) for _ in range(kills)]
            survivor = await_leader(running)
            term = survivor.call("consensus", "status")["term"]
    floor_ms = floor["loopback_ms"] + floor["fsync_ms"]
    return {
        "nodes": nodes,
        "durability": settings.storage.durability,
        "commit_ms": agreed["commit_ms"],
        "hop_ms": round(hop_ms, 3),
        "hops": round(agreed["commit_ms"]["p50"] / hop_ms, 2),
        "floor_ms": round(floor_ms, 3),
        "ratio_to_floor": round(agreed["commit_ms"]["p50"] / floor_ms, 2),
        **{name: round(value, 3) for name, value in floor.items()},
        "blocks_per_s": agreed["blocks_per_s"],
        "elections_under_load": elections - 1,
        "kills": kills,
        "failover_ms": _percentiles([f["commits"] for f in failovers]) if failovers else {},
        "elected_ms": _percentiles([f["leads"] for f in failovers]) if failovers else {},
        "term": term,
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        name: round(ordered[round(last * share)], 2)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


def _agreed(nodes: list[Node], blocks: int) -> tuple[dict[str, Any], Node]:
    """What `_commit` measures at a leader that stays in office meanwhile, and that leader."""
    from bench.demo import await_leader

    for _ in range(TRIES_MAX):
        leader = await_leader(nodes)
        agreed = _commit(leader, blocks)
        if agreed:
            return agreed, leader
    raise RuntimeError(f"no leader stayed in office for {blocks} blocks; try again on a quieter machine")


def _commit(leader: Node, blocks: int) -> dict[str, Any]:
    """Commit blocks of a few transfers, one after the other; nothing if another leads by the end."""
    import numpy as np

    from actors.ledger.rows import Batch
    from actors.ledger.signing import development_signer
    from actors.sdk.client import Client
    from bench.transfers import SignPlan, build_transfers

    genesis = leader.directory.genesis
    before = leader.call("consensus", "status")["height"]
    with Client(leader.url, timeout_s=DEADLINE_S) as client:
        first = client.account(development_signer(genesis.network, 0).public_key)["nonce"]
        began = time.perf_counter()
        for number in range(first, first + blocks):
            place = (ACCOUNTS, 0, ACCOUNTS)
            plan = SignPlan("", genesis.network, genesis.chain_tag, *place, first_nonce=number)
            receipt = client.submit(
                Batch(build_transfers(plan), np.empty(0, dtype=np.uint8)), wait="committed"
            )
            if receipt.rejected:
                raise RuntimeError(f"a valid transfer was refused: {receipt.rejected[0]}")
        elapsed_s = time.perf_counter() - began
    committed = leader.call("consensus", "status")["height"] - before
    times = leader.call("consensus", "agreement").get("commit_times_us", [])
    if not times:
        return {}
    return {
        "commit_ms": _percentiles([spent_us / 1000 for spent_us in times[-blocks:]]),
        "blocks_per_s": round(committed / elapsed_s, 1),
    }


def _kill_leader(nodes: list[Node]) -> dict[str, float]:
    """SIGKILL the leader's Consensus; ms until another leads, and until that one has committed something.
    Returns when all follow the new leader."""
    from bench.demo import await_leader

    leader = await_leader(nodes)
    others = [node for node in nodes if node is not leader]
    pid = leader.health()["consensus"]
    if pid is None:
        raise RuntimeError("the leader does not answer")
    killed_ms = time.monotonic_ns() / 1e6
    os.kill(int(pid["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for node in others:
            told = _told(node)
            if told["leads"] and told["led_since_ms"] >= killed_ms and told["led_commit_ms"]:
                _await_followers(nodes)
                return {
                    "leads": told["led_since_ms"] - killed_ms,
                    "commits": told["led_commit_ms"] - killed_ms,
                }
        time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"no other leader within {DEADLINE_S} s")


def _await_followers(nodes: list[Node]) -> None:
    """Wait until all members know one leader: then any one of them may be lost."""
    from ray.exceptions import RayError

    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            known = {node.call("consensus", "status")["leader"] for node in nodes}
        except RayError:  # one is restarting
            known = set()
        if len(known) == 1 and "" not in known:
            return
        time.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"not all members follow one leader within {DEADLINE_S} s")


def _told(node: Node) -> dict[str, Any]:
    """What a node's Consensus says of its leadership; one that is restarting does not lead."""
    from ray.exceptions import RayError

    try:
        told: dict[str, Any] = node.call("consensus", "agreement")
    except RayError:
        return {"leads": False}
    return told


def _hop_ms(node: Node, calls: int = 300) -> float:
    """One call of an actor, there and back; the median."""
    spent = []
    for _ in range(calls):
        began = time.perf_counter()
        node.call("consensus", "line")
        spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent)


def loopback_ms(rounds: int = 500) -> float:
    """One byte there and back over TCP on loopback; the median."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo = threading.Thread(target=_echo, args=(server, rounds))
        echo.start()
        with socket.create_connection(server.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            spent = []
            for _ in range(rounds):
                began = time.perf_counter()
                client.sendall(b"x")
                client.recv(1)
                spent.append((time.perf_counter() - began) * 1000)
        echo.join()
    return statistics.median(spent)


def _echo(server: socket.socket, rounds: int) -> None:
    connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            connection.sendall(connection.recv(1))


def fsync_ms(folder: Path, rounds: int = 100) -> float:
    """4 KiB appended to a file and synced; the median."""
    spent = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(rounds):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            spent.append((time.perf_counter() - began) * 1000)
    return statistics.median(spent)
