"""The asyncio shell of the gossip of transactions: what the own mempool took in goes out, what peers offer
goes to the mempool, and on from here as `offers.py` says.

Offers of one peer gather while CALLS_MAX calls are under way for it and then go to the mempool together, so
many small offers cost few calls, and a peer that offers much delays nobody but itself. How much of a peer may
wait here is bounded by whoever calls `judge` (`Spread`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import Batch, FormatError, concatenate
from actors.ledger.source import kind_of, relayed_source
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.offers import (
    UnknownVersionError,
    decode_offer,
    encode_offers,
    outcome,
)

CALLS_MAX = 2
CALL_ROWS_MAX = 8_192

Admit = Callable[[Batch, str], Coroutine[Any, Any, NDArray[np.uint8]]]
"""Offers a batch to the mempool, named by its source; (n,) uint8 verdicts."""
Publish = Callable[[list[bytes], frozenset[bytes]], object]
"""Gossips offers, but not to the given peers."""


class Transactions:
    """Offers of one node. `now_ms` is its clock in milliseconds."""

    def __init__(
        self, admit: Admit, publish: Publish, members: frozenset[bytes], now_ms: Callable[[], int]
    ) -> None:
        self._admit, self._publish, self._members, self._now_ms = admit, publish, members, now_ms
        self._lanes: dict[str, _Lane] = {}
        self.counters: Counter[str] = Counter()

    def offer(self, batch: Batch, kinds: NDArray[np.uint8], but: frozenset[bytes] = frozenset()) -> None:
        """Tell others of rows; kinds: (n,) indices into KINDS. Peers in `but` have them."""
        if len(batch):
            self.counters["rows_offered"] += len(batch)
            self._publish(list(encode_offers(batch, kinds, self._now_ms())), but)

    async def judge(self, items: list[GossipItem]) -> list[ItemVerdict]:
        """What gossip shall do with each item; rows that are new here are in the mempool then."""
        return list(await asyncio.gather(*(self._judge(item) for item in items)))

    async def _judge(self, item: GossipItem) -> ItemVerdict:
        try:
            standing, batch = decode_offer(item.body)
        except UnknownVersionError:
            self.counters["offers_of_later_version"] += 1
            return ItemVerdict.IGNORE
        except FormatError:
            self.counters["offers_malformed"] += 1
            return ItemVerdict.REJECT
        source = relayed_source(item.peer, item.peer in self._members, standing)
        verdicts = await self._through_lane(source, batch)
        verdict, onward = outcome(verdicts)
        self.counters["rows_received"] += len(batch)
        self.counters["rows_new"] += int((verdicts == 0).sum())
        self.counters[f"offers_{verdict.value}"] += 1
        if onward.any():
            kind = kind_of(source)
            rows = batch.take(onward)
            self.offer(rows, np.full(len(rows), kind, dtype=np.uint8), frozenset((item.peer,)))
        return verdict

    async def _through_lane(self, source: str, batch: Batch) -> NDArray[np.uint8]:
        lane = self._lanes.setdefault(source, _Lane(self._admit, source))
        try:
            return await lane.admit(batch)
        finally:
            if lane.idle:
                self._lanes.pop(source, None)


class _Lane:
    """Offers of one source on their way to the mempool."""

    def __init__(self, admit: Admit, source: str) -> None:
        self._admit, self._source = admit, source
        self._waiting: deque[tuple[Batch, asyncio.Future[NDArray[np.uint8]]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._open = 0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for a verdict."""
        return not self._open

    async def admit(self, batch: Batch) -> NDArray[np.uint8]:
        """(n,) verdicts."""
        answer: asyncio.Future[NDArray[np.uint8]] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, answer))
        self._open += 1
        if len(self._calls) < CALLS_MAX:
            call = asyncio.create_task(self._work())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        try:
            return await answer
        finally:
            self._open -= 1

    async def _work(self) -> None:
        while self._waiting:
            together = [self._waiting.popleft()]
            rows = len(together[0][0])
            while self._waiting and rows + len(self._waiting[0][0]) <= CALL_ROWS_MAX:
                rows += len(self._waiting[0][0])
                together.append(self._waiting.popleft())
            await self._call(together)

    async def _call(self, together: list[tuple[Batch, asyncio.Future[NDArray[np.uint8]]]]) -> None:
        batches = [batch for batch, _ in together]
        try:
            verdicts = await self._admit(concatenate(batches), self._source)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for _, answer in together:
                if not answer.done():
                    answer.set_exception(error)
            return
        parts = np.split(verdicts, np.cumsum([len(batch) for batch in batches])[:-1])
        for (_, answer), part in zip(together, parts, strict=True):
            if not answer.done():
                answer.set_result(part)
