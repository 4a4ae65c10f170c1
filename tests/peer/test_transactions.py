"""Gossip of transactions over real sockets: from node to node, only what was verified, never back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np

from actors.ledger.rows import ROW_DTYPE, Batch, concatenate
from actors.ledger.verdict import Verdict as Judgement
from actors.peer.gossip import UNJUDGED_BYTES_MAX, GossipItem, ItemVerdict
from actors.peer.messages import Bodies
from actors.peer.network import Network
from actors.peer.offers import decode_offer, encode_offers
from actors.peer.spread import TRANSACTIONS, Spread
from actors.peer.transactions import CALLS_MAX, Transactions
from tests.peer.nodes import config_of, eventually, identity_of, joined, running

FORGED_FEE = 666


def rows_of(nonces: list[int], fee: int = 1) -> Batch:
    rows = np.zeros(len(nonces), dtype=ROW_DTYPE)
    rows["nonce"], rows["fee"] = nonces, fee
    return Batch(rows, np.empty(0, dtype=np.uint8))


class Node:
    """A network with a mempool that is a set of rows: it refuses forged ones and knows those it has."""

    def __init__(self, network: Network, members: int) -> None:
        self.network, self.spread = network, Spread(network)
        self.pool: set[bytes] = set()
        self.sources: set[str] = set()
        self.received: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()
        self.transactions = Transactions(
            self._admit,
            lambda offers, but: self.spread.publish(TRANSACTIONS, offers, but),
            frozenset(identity_of(n) for n in range(members)),
            lambda: 7,
        )
        self.spread.register_judge(TRANSACTIONS, self._judge, apart=True)

    async def _judge(self, items: list[GossipItem]) -> list[ItemVerdict]:
        for item in items:
            self.received += [row.tobytes() for row in decode_offer(item.body)[1].rows]
        return await self.transactions.judge(items)

    async def _admit(self, batch: Batch, source: str) -> np.ndarray:
        await self.open.wait()
        self.sources.add(source)
        return np.array([self._take(row) for row in batch.rows], dtype=np.uint8)

    def _take(self, row: np.void) -> Judgement:
        if row["fee"] == FORGED_FEE:
            return Judgement.BAD_SIGNATURE
        if row.tobytes() in self.pool:
            return Judgement.DUPLICATE
        self.pool.add(row.tobytes())
        return Judgement.OK

    def hand_in(self, batch: Batch, kind: int = 1) -> None:
        """What a client submits here."""
        self.pool |= {row.tobytes() for row in batch.rows}
        self.transactions.offer(batch, np.full(len(batch), kind, dtype=np.uint8))


@asynccontextmanager
async def line(count: int, members: int) -> AsyncIterator[list[Node]]:
    """Nodes of which each is connected to its neighbours only."""
    async with running(*(config_of(n, members) for n in range(count))) as networks:
        nodes = [Node(network, members) for network in networks]
        for left, right in pairwise(networks):
            await joined(left, right)
        yield nodes


def test_rows_reach_nodes_behind_others_and_never_come_back() -> None:
    async def scenario() -> None:
        async with line(3, members=2) as nodes:
            a, b, c = nodes
            batch = rows_of(list(range(1_000)))
            a.hand_in(batch)
            await eventually(lambda: len(c.pool) == 1_000)
            assert b.sources == {f"known:member-{identity_of(0).hex()}"}
            assert c.sources == {f"known:member-{identity_of(1).hex()}"}
            c.hand_in(concatenate([batch, rows_of([1_000])]), kind=2)
            await eventually(lambda: len(a.pool) == 1_001)
            assert f"anonymous:peer-{identity_of(2).hex()}" in b.sources
            assert a.received.count(rows_of([1_000]).rows[0].tobytes()) == 1
            assert len(b.received) == 1_000 + 1_001
            assert len(c.received) == 1_000
            assert a.network.counters()["offences"] == {}

    asyncio.run(scenario())


def test_of_a_mixed_offer_only_what_is_new_travels_on() -> None:
    async def scenario() -> None:
        async with line(3, members=3) as nodes:
            a, b, c = nodes
            known, late = rows_of([1]), rows_of([2])
            b._take = lambda row: Judgement.NONCE_REUSED if row["nonce"] == 1 else Node._take(b, row)  # type: ignore[method-assign]
            a.hand_in(concatenate([known, late]))
            await eventually(lambda: c.pool)
            assert c.pool == {late.rows[0].tobytes()}
            assert a.received == []

    asyncio.run(scenario())


def test_who_passes_on_a_forged_row_is_cut_off_and_it_goes_no_further() -> None:
    async def scenario() -> None:
        async with line(3, members=3) as nodes:
            a, b, c = nodes
            a.hand_in(concatenate([rows_of([1]), rows_of([2], fee=FORGED_FEE)]))
            await eventually(lambda: identity_of(0) not in b.network.connected())
            await eventually(lambda: c.pool)
            assert c.pool == {rows_of([1]).rows[0].tobytes()}
            assert b.network.counters()["offences"] == {"rejected": 1}

    asyncio.run(scenario())


def test_offers_gather_behind_a_slow_mempool_and_a_flood_of_them_is_dropped() -> None:
    async def scenario() -> None:
        async with line(2, members=2) as nodes:
            a, b = nodes
            calls = 0
            admit = b.transactions._admit

            async def counted(batch: Batch, source: str) -> np.ndarray:
                nonlocal calls
                calls += 1
                return await admit(batch, source)

            b.transactions._admit = counted
            b.open.clear()
            for nonce in range(50):
                a.hand_in(rows_of([nonce]))
            await eventually(lambda: len(b.received) == 50)
            b.open.set()
            await eventually(lambda: len(b.pool) == 50)
            assert calls <= 2 * CALLS_MAX + 1
            b.open.clear()
            (body,) = encode_offers(rows_of(list(range(4000))), np.zeros(4000, dtype=np.uint8), 1)
            whole = UNJUDGED_BYTES_MAX // len(body) + 5
            for number in range(whole):
                altered = body[:8] + number.to_bytes(8, "little") + body[16:]
                await b.spread._on_gossip(identity_of(0), Bodies(TRANSACTIONS, [altered]))
            assert b.network.dropped["judging_full"] >= 5
            assert b.spread.core.held["unjudged_bytes"] <= UNJUDGED_BYTES_MAX
            b.open.set()
            await eventually(lambda: not b.spread.core.held["unjudged"])
            assert len(b.pool) == 4000

    asyncio.run(scenario())


def test_a_judge_that_fails_costs_its_items_alone() -> None:
    async def scenario() -> None:
        async with line(2, members=2) as nodes:
            a, b = nodes

            def take(row: np.void) -> Judgement:
                if not row["nonce"]:
                    raise ZeroDivisionError
                return Node._take(b, row)

            b._take = take  # type: ignore[method-assign]
            a.hand_in(rows_of([0]))
            await eventually(lambda: b.network.dropped["judge_errors"] == 1)
            a.hand_in(rows_of([1]))
            await eventually(lambda: b.pool)
            await eventually(lambda: not b.transactions._lanes)

    asyncio.run(scenario())
