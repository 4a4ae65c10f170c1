"""The asyncio shell of the way out: what clients hand in at the shards of this node is offered to others.

An offer is lost when it reaches a mempool that dies, or nobody. So a node says to members that it has lost
what they offered it: to all of them when a shard of its own has begun anew, and to each that it has just been
connected to. Who hears that has its shards offer once more what they hold of their clients, at most once in
ANEW_PAUSE_S however many ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from actors.ledger.pending import OutboxSummary
from actors.ledger.rows import Batch
from actors.peer.network import Network
from actors.peer.table import Link
from actors.peer.transactions import Transactions
from actors.peer.wire.frames import Priority
from actors.shell import first_line

ANEW_CHANNEL, ANEW_PAUSE_S = "anew", 2.0
OFFER_PAUSE_S, OFFER_WAIT_S, OFFER_IDLE_S = 0.01, 2.0, 0.5

Told = tuple[OutboxSummary, NDArray[Any], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class ShardCalls:
    """What is asked of one mempool shard; see its `outbox` and `offer_anew`."""

    outbox: Callable[[int, float, int], Awaitable[Told]]
    offer_anew: Callable[[], Awaitable[object]]


class Outgoing:
    """The way out of one node. absent: what a call to a shard that is away raises."""

    def __init__(
        self, shards: Sequence[ShardCalls], transactions: Transactions, absent: tuple[type[Exception], ...]
    ) -> None:
        self._shards, self._transactions, self._absent = list(shards), transactions, absent
        self._asked = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._network: Network | None = None

    def start(self, network: Network) -> None:
        """Offer over this network from now on, and hear who wants it once more; idempotent."""
        if not self._shards or self._network is network:
            return
        self._network = network
        network.register_channel(ANEW_CHANNEL, self._on_asked)
        network.links.on_established.append(self._on_established)
        self._ask_all()
        if not self._tasks:
            works = [self._offer_rows(shard) for shard in self._shards]
            self._tasks = [asyncio.create_task(work) for work in (*works, self._offer_anew())]
            for task in self._tasks:
                task.add_done_callback(_ended)

    def stop(self) -> None:
        """Offer nothing any more."""
        for task in self._tasks:
            task.cancel()
        self._tasks, self._network = [], None

    async def _offer_rows(self, shard: ShardCalls) -> None:
        """Gossip what clients hand in at a shard, for ever. Without peers it waits in the shard's outbox."""
        since, incarnation = 0, 0
        while True:
            await asyncio.sleep(OFFER_PAUSE_S)
            if self._network is None or not self._network.connected():
                await asyncio.sleep(OFFER_IDLE_S)
                continue
            try:
                told, rows, payloads = await shard.outbox(since, OFFER_WAIT_S, incarnation)
            except self._absent as error:
                logger.warning("no offers from a shard: {}", first_line(error))
                await asyncio.sleep(OFFER_IDLE_S)
                continue
            since, before, incarnation = told.next, incarnation, told.incarnation
            if incarnation != before:
                self._ask_all()
            self._transactions.counters["rows_missed"] += told.missed
            self._transactions.offer(Batch(rows, payloads), told.kinds)

    # What was lost

    def _ask_all(self) -> None:
        """Whatever was offered to this node may be lost."""
        if self._network is not None:
            for identity in self._network.connected():
                self._ask(identity)

    def _on_established(self, link: Link, _record: object) -> None:
        self._ask(link.identity)

    def _ask(self, identity: bytes) -> None:
        if self._network is not None and identity in self._network.links.members:
            self._network.offer(identity, ANEW_CHANNEL, b"", Priority.TRANSACTIONS)

    async def _on_asked(self, batch: list[tuple[bytes, bytes]]) -> None:
        assert self._network is not None
        if self._network.links.members.intersection(identity for identity, _ in batch):
            self._asked.set()

    async def _offer_anew(self) -> None:
        """Have the shards offer all once more whenever a member has asked for it."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._transactions.counters["offered_anew"] += 1
            for shard in self._shards:
                try:
                    await shard.offer_anew()
                except self._absent as error:
                    logger.warning("a shard does not offer anew: {}", first_line(error))
            await asyncio.sleep(ANEW_PAUSE_S)


def _ended(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.opt(exception=error).error("this node's transactions are offered no more")
