"""What many clients cost a network: idle subscribers, one that never reads, and one key's many transfers.

First a small steady load is committed with nobody listening, then with `subscribers` event streams open and
one more that asks for everything and reads nothing: block times and commit latencies of both stand side by
side. The silent one then begins to read, and must be told that it lagged. At last one key sends `transfers`
through an AsyncClient that knows every gateway, and the leader's whole node is killed on the way (with one
node, its Consensus): each transfer must be committed once, with a nonce of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from actors.ledger.signing import Signer
    from actors.sdk.client import AsyncClient
    from actors.sdk.wallet import Wallet
    from actors.topology import Node
    from bench.listeners import Listener

ACCOUNTS = 400
BATCH_ROWS, BATCH_EVERY_S = 20, 0.05
QUIET_ACCOUNTS = 200
LAGGED_DEADLINE_S = 120.0
RECIPIENT = bytes(31) + b"\x09"


def command(
    nodes: Annotated[int, typer.Option(min=1, max=9, help="Members of the network.")] = 1,
    subscribers: Annotated[int, typer.Option(min=0, max=20_000, help="Idle event streams.")] = 1_000,
    transfers: Annotated[int, typer.Option(min=1, max=1_000_000, help="Transfers of one key.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of each steady phase.")] = 5.0,
) -> dict[str, object]:
    """Start a network, measure, stop it."""
    from actors.topology import running_network
    from config.effective import load

    overrides = ["gateway.port=0", f"network.development_accounts={ACCOUNTS}", "node.validators=1"]
    settings = load("bench", overrides).settings
    with running_network(settings, None, nodes) as (_, running):
        return asyncio.run(_measure(running, subscribers, transfers, seconds))


async def _measure(nodes: list[Node], subscribers: int, transfers: int, seconds: float) -> dict[str, object]:
    from actors.ledger.signing import development_signer
    from actors.sdk.client import AsyncClient
    from actors.sdk.wallet import Wallet
    from bench.demo import await_leader
    from bench.listeners import listen, listen_many, may_open_files

    if not may_open_files(2 * subscribers + 1_000):
        raise typer.BadParameter(f"this system allows too few open files for {subscribers} subscribers")
    leader = await asyncio.to_thread(await_leader, nodes)
    signer = development_signer(leader.directory.genesis.network, ACCOUNTS - 1)
    urls = [leader.url, *(node.url for node in nodes if node is not leader)]
    async with AsyncClient(urls, patience_s=60) as client:
        await _steady(client, leader, 0, 1.0)
        quiet = await _steady(client, leader, 1, seconds)
        idle = await listen_many(leader.url, subscribers, keys=[RECIPIENT[::-1]])
        silent = await listen(leader.url, small_buffers=True, blocks=True, accounts=[signer.public_key])
        crowded = await _steady(client, leader, 2, seconds)
        async with Wallet(client, signer) as wallet:
            told = await _told_that_it_lagged(client, wallet, silent, leader.url, signer)
            for listener in idle:
                listener.close()
            sent = await _send_across_a_kill(wallet, nodes, leader, transfers)
            read = await client.account(signer.public_key, consistency="linearizable")
            resigned, retries = wallet.resigned, wallet.retries
    nonce_errors = sent["refused"] + resigned
    # The key also sent what made the silent one lag, before.
    once = len(set(sent["nonces"])) == transfers and int(read["nonce"]) > max(sent["nonces"], default=0)
    return {
        "nodes": len(nodes),
        "subscribers": subscribers,
        "block_interval_ms": {
            "before": quiet["block_interval_p50_ms"],
            "with_subscribers": crowded["block_interval_p50_ms"],
        },
        "block_interval_ratio": round(crowded["block_interval_p50_ms"] / quiet["block_interval_p50_ms"], 3),
        "commit_p50_ratio": round(crowded["commit_p50_ms"] / quiet["commit_p50_ms"], 3),
        "quiet": quiet,
        "with_subscribers": crowded,
        "lagged": told,
        "transfers": transfers,
        "committed": len(sent["nonces"]),
        "unconfirmed": sent["unconfirmed"],
        "nonce_errors": nonce_errors,
        "each_committed_once": once,
        "transfers_per_s": round(len(sent["nonces"]) / sent["seconds"], 1),
        "longest_gap_s": round(sent["longest_gap_s"], 2),
        "killed": sent["killed"],
        "retries": retries,
        "passed": told and once and not nonce_errors and not sent["unconfirmed"],
    }


async def _steady(client: AsyncClient, leader: Node, phase: int, seconds: float) -> dict[str, float]:
    """Commit a small batch every BATCH_EVERY_S, whatever became of others; latency from when it was due."""
    import numpy as np

    from actors.ledger.rows import Batch
    from bench.transfers import SignPlan, build_transfers

    genesis, batches = leader.directory.genesis, int(seconds / BATCH_EVERY_S)
    share = QUIET_ACCOUNTS // 4
    plan = SignPlan(
        "", genesis.network, genesis.chain_tag, share, 0, batches * BATCH_ROWS, first_account=phase * share
    )
    rows, first = build_transfers(plan), int((await client.status())["head"]["height"])
    took_ms: list[float] = []
    began = time.perf_counter()

    async def one(number: int) -> None:
        due = began + number * BATCH_EVERY_S
        await asyncio.sleep(due - time.perf_counter())
        part = rows[number * BATCH_ROWS : (number + 1) * BATCH_ROWS]
        receipt = await client.submit(Batch(part, np.empty(0, dtype=np.uint8)), wait="committed")
        if receipt.accepted != len(part):
            raise RuntimeError(f"{len(receipt.rejected)} rows were refused: {receipt.rejected[0].verdict}")
        took_ms.append((time.perf_counter() - due) * 1000)

    await asyncio.gather(*(one(number) for number in range(batches)))
    last = int((await client.status())["head"]["height"])
    times_ms = [await _time_ms(client, height) for height in range(first + 1, last + 1)]
    gaps_ms = np.diff(np.array(times_ms))
    return {
        "blocks": last - first,
        "block_interval_p50_ms": float(np.percentile(gaps_ms, 50)),
        "block_interval_p99_ms": float(np.percentile(gaps_ms, 99)),
        "commit_p50_ms": round(float(np.percentile(took_ms, 50)), 2),
        "commit_p99_ms": round(float(np.percentile(took_ms, 99)), 2),
    }


async def _time_ms(client: AsyncClient, height: int) -> int:
    found = await client.block(height, limit=0)
    if found is None:
        raise RuntimeError(f"block {height} is missing")
    return int(found["header"]["time_ms"])


async def _told_that_it_lagged(
    client: AsyncClient, wallet: Wallet, silent: Listener, url: str, signer: Signer
) -> bool:
    """Whether a listener that reads nothing until it lags is told so; one that was cut off begins anew."""
    from bench.listeners import listen

    lagged, until = 0, time.monotonic() + LAGGED_DEADLINE_S
    while time.monotonic() < until:
        health = (await client.actors())["actors"].get("gateway-0")
        if health is None or health["lagged"] <= lagged:
            await asyncio.gather(*(wallet.transfer(RECIPIENT, 1) for _ in range(20)))
            continue
        lagged = health["lagged"]
        async for message in silent.messages():
            if message["type"] == "lagged":
                return True
        silent = await listen(url, small_buffers=True, blocks=True, accounts=[signer.public_key])
    return False


async def _send_across_a_kill(wallet: Wallet, nodes: list[Node], leader: Node, count: int) -> dict[str, Any]:
    """Send at once; a third of the way the leader dies. Nonces, what failed, seconds, and what was killed.

    longest_gap_s: the longest time in which no transfer was reported committed.
    """
    from actors.sdk.sender import RefusedError, UnconfirmedError

    pids = await asyncio.to_thread(leader.pids)
    victims = pids if len(nodes) > 1 else {"consensus": pids["consensus"]}
    nonces: list[int] = []
    failed = {"refused": 0, "unconfirmed": 0}
    began = last = time.perf_counter()
    longest_gap_s = 0.0

    async def one() -> None:
        nonlocal last, longest_gap_s
        try:
            nonces.append((await wallet.transfer(RECIPIENT, 1)).nonce)
        except (RefusedError, UnconfirmedError) as error:
            failed["refused" if isinstance(error, RefusedError) else "unconfirmed"] += 1
            return
        now = time.perf_counter()
        longest_gap_s, last = max(longest_gap_s, now - last), now
        if len(nonces) == count // 3:
            for pid in victims.values():
                os.kill(pid, signal.SIGKILL)

    await asyncio.gather(*(one() for _ in range(count)))
    return {
        "nonces": nonces,
        **failed,
        "seconds": time.perf_counter() - began,
        "longest_gap_s": longest_gap_s,
        "killed": f"{leader.folder.name}: {len(victims)} processes ({', '.join(victims)})",
    }
