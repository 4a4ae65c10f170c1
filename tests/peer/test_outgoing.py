"""The way out of a node over real sockets: what its clients hand in reaches others, and who lost it again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from actors.ledger.pending import OutboxSummary
from actors.ledger.rows import Batch, concatenate
from actors.peer import outgoing
from actors.peer.outgoing import Outgoing, ShardCalls
from actors.peer.wire.frames import Priority
from tests.peer.nodes import config_of, eventually, identity_of, joined, running
from tests.peer.test_transactions import Node, rows_of


class AwayError(Exception):
    """The shard does not answer."""


class Shard:
    """A mempool shard, and the node's pool behind it: rows of clients are offered once, and when asked."""

    def __init__(self, node: Node) -> None:
        self.node, self.incarnation = node, 1
        self.held: list[Batch] = []
        self.outbox: list[Batch] = []
        self.asked = 0
        self.away = False
        self.refused = 0
        # Rows that are offered once more are an item of another moment.
        node.transactions._now_ms = itertools.count().__next__

    def hand_in(self, batch: Batch) -> None:
        self.node.pool |= {row.tobytes() for row in batch.rows}
        self.held.append(batch)
        self.outbox.append(batch)

    def begin_anew(self) -> None:
        self.node.pool.clear()
        self.held, self.outbox = [], []
        self.incarnation += 1

    async def read(self, since: int, _wait_s: float, incarnation: int) -> Any:
        if self.away:
            self.refused += 1
            raise AwayError
        start = since if incarnation == self.incarnation else 0
        out = concatenate(self.outbox[start:]) if self.outbox[start:] else rows_of([])
        kinds = np.full(len(out), 1, dtype=np.uint8)
        return OutboxSummary(len(self.outbox), 0, kinds, self.incarnation), out.rows, out.payloads

    async def offer_anew(self) -> None:
        if self.away:
            self.refused += 1
            raise AwayError
        self.asked += 1
        self.outbox += self.held


@asynccontextmanager
async def line(count: int, members: int) -> AsyncIterator[list[Shard]]:
    """Shards of nodes of which each is connected to its neighbours only."""
    async with running(*(config_of(n, members) for n in range(count))) as networks:
        shards = [Shard(Node(network, members)) for network in networks]
        ways = [
            Outgoing([ShardCalls(shard.read, shard.offer_anew)], shard.node.transactions, (AwayError,))
            for shard in shards
        ]
        try:
            for way, network in zip(ways, networks, strict=True):
                way.start(network)
                way.start(network)
            for left, right in pairwise(networks):
                await joined(left, right)
            yield shards
        finally:
            for way in ways:
                way.stop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "ANEW_PAUSE_S", 0.01)
    monkeypatch.setattr(outgoing, "OFFER_IDLE_S", 0.01)


def test_a_node_whose_shard_began_anew_is_offered_again_what_it_had() -> None:
    async def scenario() -> None:
        async with line(2, members=2) as (a, b):
            await eventually(lambda: a.asked and b.asked)  # each is new to the other
            batch = rows_of(list(range(100)))
            a.hand_in(batch)
            await eventually(lambda: len(b.node.pool) == 100)
            asked = a.asked
            b.away = True
            await eventually(lambda: b.refused)
            b.begin_anew()
            b.away = False
            await eventually(lambda: a.asked > asked and len(b.node.pool) == 100)
            assert a.node.transactions.counters["offered_anew"] >= 2

    asyncio.run(scenario())


def test_a_shard_that_is_away_when_it_is_asked_costs_the_others_nothing() -> None:
    async def scenario() -> None:
        async with line(2, members=2) as (a, b):
            await eventually(lambda: a.asked and b.asked)
            a.away = True
            refused = a.refused
            b.begin_anew()
            await eventually(lambda: a.refused > refused)
            a.away = False
            b.begin_anew()
            asked = a.asked
            await eventually(lambda: a.asked > asked)

    asyncio.run(scenario())


def test_who_is_no_member_asks_in_vain() -> None:
    async def scenario() -> None:
        async with line(2, members=1) as (a, stranger):
            stranger.node.network.offer(identity_of(0), outgoing.ANEW_CHANNEL, b"", Priority.TRANSACTIONS)
            stranger.hand_in(rows_of([1]))
            await eventually(lambda: a.node.pool)  # what it said before that was heard
            assert a.asked == 0
            assert a.node.network.counters()["offences"] == {}

    asyncio.run(scenario())
