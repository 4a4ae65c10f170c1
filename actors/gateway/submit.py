"""From requests to mempool shards: batches are split by sender, single transactions gathered to batches.

An `Admit` takes rows, payloads and whether to journal them first, and answers (n,) uint8 verdicts. A shard
that does not answer costs its own rows the verdict UNAVAILABLE and no others. Order within a batch is kept
within each shard, so a sender's nonces stay in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import UnavailableError
from actors.ledger.rows import Batch, concatenate, shard_of
from actors.ledger.verdict import Verdict

GATHERED_ROWS_MAX = 1024


class Admit(Protocol):
    """One mempool shard's admission. Raises UnavailableError when the shard does not answer."""

    async def __call__(
        self, rows: NDArray[Any], payloads: NDArray[np.uint8], durable: bool
    ) -> NDArray[np.uint8]: ...


class Splitter:
    """Offers batches to the shards of their senders and merges the verdicts back in order."""

    def __init__(self, shards: Sequence[Admit], timeout_s: float) -> None:
        self._shards = list(shards)
        self._timeout_s = timeout_s

    async def admit(self, batch: Batch, durable: bool) -> NDArray[np.uint8]:
        """(n,) uint8 verdicts of the batch's rows. Never raises UnavailableError."""
        if len(batch) == 0:
            return np.empty(0, dtype=np.uint8)
        if len(self._shards) == 1:
            return await self._admit_part(0, batch, durable)
        shard_of_row = shard_of(batch.rows["sender"], len(self._shards))
        verdicts = np.empty(len(batch), dtype=np.uint8)
        masks = [(int(shard), shard_of_row == shard) for shard in np.unique(shard_of_row)]
        answers = await asyncio.gather(
            *(self._admit_part(shard, batch.take(mask), durable) for shard, mask in masks)
        )
        for (_, mask), answer in zip(masks, answers, strict=True):
            verdicts[mask] = answer
        return verdicts

    async def _admit_part(self, shard: int, part: Batch, durable: bool) -> NDArray[np.uint8]:
        try:
            async with asyncio.timeout(self._timeout_s):
                verdicts = await self._shards[shard](part.rows, part.payloads, durable)
        except (UnavailableError, TimeoutError):
            return np.full(len(part), Verdict.UNAVAILABLE, dtype=np.uint8)
        return np.asarray(verdicts, dtype=np.uint8)


class Gatherer:
    """Turns single submissions that arrive within `wait_s` of each other into one batch.

    A batch leaves when its first transaction has waited `wait_s`, or at `rows_max` rows. How many may wait
    in all is bounded by the caller, who counts every row in flight.
    """

    def __init__(self, splitter: Splitter, durable: bool, wait_s: float) -> None:
        self._splitter, self._durable, self._wait_s = splitter, durable, wait_s
        self._gathered: list[tuple[Batch, asyncio.Future[int]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def admit(self, batch: Batch) -> int:
        """Verdict of a batch of one row, submitted together with its neighbours in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._gathered.append((batch, answer))
        if len(self._gathered) >= GATHERED_ROWS_MAX:
            self._leave()
        elif self._timer is None:
            self._timer = loop.call_later(self._wait_s, self._leave)
        return await answer

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A caller that went away before its row left has withdrawn it.
        gathered = [entry for entry in self._gathered if not entry[1].done()]
        self._gathered = []
        if gathered:
            task = asyncio.get_running_loop().create_task(self._admit(gathered))
            self._leaving.add(task)
            task.add_done_callback(lambda done: self._left(gathered, done))

    async def _admit(self, gathered: list[tuple[Batch, asyncio.Future[int]]]) -> None:
        batch = concatenate([single for single, _ in gathered])
        verdicts = (await self._splitter.admit(batch, self._durable)).tolist()
        for (_, answer), verdict in zip(gathered, verdicts, strict=True):
            if not answer.done():
                answer.set_result(verdict)

    def _left(self, gathered: list[tuple[Batch, asyncio.Future[int]]], done: asyncio.Task[None]) -> None:
        self._leaving.discard(done)
        error = UnavailableError("the mempool") if done.cancelled() else done.exception()
        if error is not None:
            for _, answer in gathered:
                if not answer.done():
                    answer.set_exception(error)
