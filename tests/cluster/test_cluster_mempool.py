"""SIGKILL of mempool shards that hold durable rows, and the gossip of transactions with another node.

Durable rows: every one is committed in the end, and none twice. They wait behind a missing nonce, so that
none can be committed before the kill. 2,000 rows by default; DURABLE_ROWS=50000 in the environment makes them
fifty thousand.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import numpy as np

from actors.ledger.rows import Batch
from actors.peer.config import PeerConfig
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.network import Network
from actors.peer.offers import decode_offer, encode_offers
from actors.peer.spread import TRANSACTIONS, Spread
from actors.sdk.client import Client
from bench.transfers import SignPlan, build_transfers
from tests.cluster.conftest import Running, eventually
from tests.cluster.test_cluster_kills import assert_all_committed_once, pid_of

ROWS = int(os.environ.get("DURABLE_ROWS", "2000"))
ACCOUNTS, ROWS_A_BATCH, SHARDS = 50, 2_000, 2
NO_BYTES = np.empty(0, dtype=np.uint8)


def held_rows(running: Running) -> int | None:
    health = running.node.health()
    shards = [health[f"mempool-{number}"] for number in range(SHARDS)]
    if any(facts is None or not facts["ready"] for facts in shards):
        return None
    return sum(int(facts["journal"]["durable_rows"]) for facts in shards if facts)


def test_every_durable_row_of_a_killed_shard_is_committed_once(running: Running) -> None:
    first, *_ = running.accounts(ACCOUNTS)
    genesis = running.node.directory.genesis
    count = ROWS + ACCOUNTS
    plan = SignPlan("", genesis.network, genesis.chain_tag, ACCOUNTS, 0, count, first_account=first)
    rows = build_transfers(plan)
    opening, waiting = rows[:ACCOUNTS], rows[ACCOUNTS:]
    ids: list[bytes] = []
    with Client(running.node.url, timeout_s=60) as client:
        for at in range(0, len(waiting), ROWS_A_BATCH):
            batch = Batch(waiting[at : at + ROWS_A_BATCH], NO_BYTES)
            receipt = client.submit(batch, wait="durable")
            assert receipt.accepted == len(batch)
            ids += receipt.ids
        assert eventually(lambda: held_rows(running), "the shards answer") >= ROWS
        pids = [eventually(lambda n=n: pid_of(running, f"mempool-{n}"), "a shard") for n in range(SHARDS)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: (held_rows(running) or 0) >= ROWS, "the journals are replayed")
        eventually(lambda: client.submit(Batch(opening, NO_BYTES), wait="accepted"), "the gap is closed")
        eventually(lambda: all(client.transaction(i) for i in ids[-ACCOUNTS:]), "the last are committed")
    assert len(ids) == len(set(ids)) == ROWS
    assert_all_committed_once(running, ids)


def test_a_leader_takes_what_a_peer_passes_on_and_offers_nothing_that_is_in_its_next_block(
    running: Running,
) -> None:
    first, *_ = running.accounts(2)
    genesis, client = running.node.directory.genesis, running.client
    plan = SignPlan("", genesis.network, genesis.chain_tag, 2, 0, 20, first_account=first)
    rows = build_transfers(plan)
    passed_on, handed_in = (Batch(np.ascontiguousarray(rows[n::2]), NO_BYTES) for n in (0, 1))
    heard = list[bytes]()

    async def judge(items: list[GossipItem]) -> list[ItemVerdict]:
        heard.extend(row.tobytes() for item in items for row in decode_offer(item.body)[1].rows)
        return [ItemVerdict.ACCEPT] * len(items)

    async def peer() -> None:
        seed, nowhere = bytes(31) + b"\x05", "127.0.0.1:1"  # nobody shall reach this peer later
        network = Network(PeerConfig(seed, genesis.hash(), advertise_address=nowhere))
        spread = Spread(network)
        spread.register_judge(TRANSACTIONS, judge)
        await network.start(1)
        try:
            await network.links.dial(str(running.node.facts["peer"]["address"]))
            spread.publish(TRANSACTIONS, encode_offers(passed_on, np.zeros(10, dtype=np.uint8), 1))
            last = passed_on.ids()[-1].tobytes()
            await until(lambda: client.transaction(last) is not None, "what the peer passed on is committed")
            await asyncio.to_thread(client.submit, handed_in)
            last = handed_in.ids()[-1].tobytes()
            await until(lambda: client.transaction(last) is not None, "what clients hand in is committed")
        finally:
            await network.stop()

    async def until(holds: Callable[[], bool], what: str) -> None:
        await asyncio.to_thread(eventually, holds, what)

    asyncio.run(peer())
    assert not heard
