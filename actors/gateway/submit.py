"""From requests to mempool shards: batches are split by sender, single transactions gathered to batches.

An `Admit` takes rows, payloads, whether to journal them first, and who handed in which row, and answers (n,)
uint8 verdicts. A shard that does not answer costs its own rows the verdict UNAVAILABLE and no others. Order
within a batch is kept within each shard, so a sender's nonces stay in order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import NoMempoolError, UnavailableError
from actors.ledger.rows import Batch, concatenate, shard_of
from actors.ledger.verdict import Verdict

GATHERED_ROWS_MAX = 1024
LANE_CALLS_MAX = 2
LANE_ROWS_MAX = 8_192


class Admit(Protocol):
    """One mempool shard's admission. Raises UnavailableError when the shard does not answer."""

    async def __call__(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool,
        sources: tuple[str, ...],
        origins: NDArray[np.uint16],
    ) -> NDArray[np.uint8]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Row i of a batch was handed in by sources[of_row[i]]; of_row: (n,) uint16."""

    sources: tuple[str, ...]
    of_row: NDArray[np.uint16]

    @classmethod
    def same(cls, source: str, rows: int) -> Origins:
        """All rows by one source."""
        return cls((source,), np.zeros(rows, dtype=np.uint16))

    @classmethod
    def joined(cls, parts: Sequence[Origins]) -> Origins:
        """Of batches behind each other; a source stands in `sources` once."""
        if len(parts) == 1:
            return parts[0]
        places: dict[str, int] = {}
        rows = []
        for part in parts:
            mine = [places.setdefault(source, len(places)) for source in part.sources]
            rows.append(np.array(mine, dtype=np.uint16)[part.of_row])
        return cls(tuple(places), np.concatenate(rows))


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    batch: Batch
    durable: bool
    origins: Origins
    verdicts: asyncio.Future[NDArray[np.uint8]]


class Lane:
    """Admissions of one shard. Batches that arrive while `LANE_CALLS_MAX` calls are under way leave together.

    A call costs about a millisecond on either side whatever it carries, so under load many requests share
    one, and a lone request never waits. The caller counts and bounds all rows in flight, those that wait too.
    """

    def __init__(self, admit: Admit, timeout_s: float) -> None:
        self._admit_rows, self._timeout_s = admit, timeout_s
        self._waiting: deque[_Waiting] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def admit(self, batch: Batch, durable: bool, origins: Origins) -> NDArray[np.uint8]:
        """(n,) uint8 verdicts; all UNAVAILABLE when the shard does not answer in time."""
        answer: asyncio.Future[NDArray[np.uint8]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(batch, durable, origins, answer))
        self._leave()
        return await answer

    def _leave(self) -> None:
        while self._waiting and len(self._calls) < LANE_CALLS_MAX:
            together = [self._waiting.popleft()]
            rows = len(together[0].batch)
            while self._waiting and self._waiting[0].durable == together[0].durable:
                rows += len(self._waiting[0].batch)
                if rows > LANE_ROWS_MAX:
                    break
                together.append(self._waiting.popleft())
            call = asyncio.get_running_loop().create_task(self._call(together))
            self._calls.add(call)
            call.add_done_callback(partial(self._returned, together))

    async def _call(self, together: list[_Waiting]) -> None:
        batch = concatenate([entry.batch for entry in together])
        origins = Origins.joined([entry.origins for entry in together])
        named = (origins.sources, origins.of_row)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._admit_rows(batch.rows, batch.payloads, together[0].durable, *named)
            verdicts = np.asarray(answer, dtype=np.uint8)
        except (UnavailableError, TimeoutError):
            verdicts = np.full(len(batch), Verdict.UNAVAILABLE, dtype=np.uint8)
        ends = np.cumsum([len(entry.batch) for entry in together])
        for entry, part in zip(together, np.split(verdicts, ends[:-1]), strict=True):
            if not entry.verdicts.done():
                entry.verdicts.set_result(part)

    def _returned(self, together: list[_Waiting], call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        error = UnavailableError("the mempool") if call.cancelled() else call.exception()
        if error is not None:
            for entry in together:
                if not entry.verdicts.done():
                    entry.verdicts.set_exception(error)
        self._leave()


class Splitter:
    """Offers batches to the shards of their senders and merges the verdicts back in order."""

    def __init__(self, shards: Sequence[Admit], timeout_s: float) -> None:
        self._lanes = [Lane(shard, timeout_s) for shard in shards]

    async def admit(self, batch: Batch, durable: bool, origins: Origins | None = None) -> NDArray[np.uint8]:
        """(n,) uint8 verdicts of the batch's rows. Raises NoMempoolError at a node without one."""
        origins = origins or Origins.same("", len(batch))
        if len(batch) == 0:
            return np.empty(0, dtype=np.uint8)
        if not self._lanes:
            raise NoMempoolError
        if len(self._lanes) == 1:
            return await self._lanes[0].admit(batch, durable, origins)
        shard_of_row = shard_of(batch.rows["sender"], len(self._lanes))
        verdicts = np.empty(len(batch), dtype=np.uint8)
        masks = [(int(shard), shard_of_row == shard) for shard in np.unique(shard_of_row)]
        answers = await asyncio.gather(
            *(
                self._lanes[shard].admit(
                    batch.take(mask), durable, Origins(origins.sources, origins.of_row[mask])
                )
                for shard, mask in masks
            )
        )
        for (_, mask), answer in zip(masks, answers, strict=True):
            verdicts[mask] = answer
        return verdicts


_Single = tuple[Batch, asyncio.Future[int], str]


class Gatherer:
    """Turns single submissions that arrive within `wait_s` of each other into one batch.

    A batch leaves when its first transaction has waited `wait_s`, or at `rows_max` rows. How many may wait
    in all is bounded by the caller, who counts every row in flight.
    """

    def __init__(self, splitter: Splitter, durable: bool, wait_s: float) -> None:
        self._splitter, self._durable, self._wait_s = splitter, durable, wait_s
        self._gathered: list[_Single] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def admit(self, batch: Batch, source: str = "") -> int:
        """Verdict of a batch of one row, submitted together with its neighbours in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._gathered.append((batch, answer, source))
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

    async def _admit(self, gathered: list[_Single]) -> None:
        batch = concatenate([single for single, _, _ in gathered])
        origins = Origins.joined([Origins.same(source, 1) for _, _, source in gathered])
        verdicts = (await self._splitter.admit(batch, self._durable, origins)).tolist()
        for (_, answer, _), verdict in zip(gathered, verdicts, strict=True):
            if not answer.done():
                answer.set_result(verdict)

    def _left(self, gathered: list[_Single], done: asyncio.Task[None]) -> None:
        self._leaving.discard(done)
        error = UnavailableError("the mempool") if done.cancelled() else done.exception()
        if error is not None:
            for _, answer, _ in gathered:
                if not answer.done():
                    answer.set_exception(error)
