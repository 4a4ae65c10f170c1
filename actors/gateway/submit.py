"""From requests to mempool shards: batches are split by sender, single transactions gathered to batches.

An `Admit` takes rows, payloads, whether to journal them first, and who handed in which row, and answers (n,)
uint8 verdicts. A shard that does not answer costs its own rows the verdict UNAVAILABLE and no others. Order
within a batch is kept within each shard, so a sender's nonces stay in order.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import NoMempoolError, UnavailableError
from actors.ledger.rows import Batch, concatenate, shard_of
from actors.ledger.source import RowSources
from actors.ledger.verdict import Verdict
from actors.sharing import FairQueue

GATHERED_ROWS_MAX = 1024
LANE_CALLS_MAX, SOURCE_CALLS_MAX = 8, 2
LANE_ROWS_MAX, TOGETHER_ROWS_MAX = 8_192, 1_024
SUSPECTS, SUSPECT_ROWS_MAX = "\0suspects", 1_024
SOURCES_JUDGED_MAX, FORGED_ROWS_MIN, FORGED_SHARE = 4_096, 64, 0.1


class Admit(Protocol):
    """One mempool shard's admission. Raises UnavailableError when the shard does not answer."""

    def __call__(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool,
        sources: Sequence[str],
        origins: NDArray[np.uint16] | None,
    ) -> Awaitable[NDArray[np.uint8]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    batch: Batch
    durable: bool
    origins: RowSources
    verdicts: asyncio.Future[NDArray[np.uint8]]


class Suspicion:
    """Sources whose rows were false signatures too often: at least FORGED_ROWS_MIN, and FORGED_SHARE of all.

    Counts are halved as they grow, so that a source is judged by what it sent last. The SOURCES_JUDGED_MAX
    sources that were judged last are remembered.
    """

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def judge(self, origins: RowSources, verdicts: NDArray[np.uint8]) -> None:
        """Count the false signatures of a batch against those who handed them in."""
        false = verdicts == Verdict.BAD_SIGNATURE
        if not self._counts and not false.any():
            return
        rows, forged = origins.counts(np.ones_like(false)), origins.counts(false)
        for source, sent, bad in zip(origins.names, rows, forged, strict=True):
            if not bad and source not in self._counts:
                continue
            all_bad, all_sent = self._counts.pop(source, (0, 0))
            all_bad, all_sent = all_bad + bad, all_sent + sent
            while all_sent > 64 * FORGED_ROWS_MIN:
                all_bad, all_sent = all_bad // 2, all_sent // 2
            if all_bad:
                self._counts[source] = all_bad, all_sent
            if len(self._counts) > SOURCES_JUDGED_MAX:
                self._counts.popitem(last=False)

    def suspects(self, source: str) -> bool:
        """Whether a source's rows wait with those of others like it."""
        forged, sent = self._counts.get(source, (0, 1))
        return forged >= FORGED_ROWS_MIN and forged >= FORGED_SHARE * sent


class Lane:
    """Admissions of one shard: many requests share a call, and each source waits behind its own rows.

    A call costs about a millisecond on either side whatever it carries, so batches that arrive while calls
    are under way leave together, up to `LANE_ROWS_MAX` rows; a lone request never waits. Turns are given as
    `FairQueue` says. A source has at most `SOURCE_CALLS_MAX` calls under way, and all of them
    `LANE_CALLS_MAX`; a batch above `TOGETHER_ROWS_MAX` rows shares its call with no other source, since all
    of a call are answered when the last row is checked.

    Sources that are suspected (see `Suspicion`) stand in one queue together, which has the turns of one
    source, one call at a time of about SUSPECT_ROWS_MAX rows. The caller bounds all rows in flight, those
    that wait too.
    """

    def __init__(self, admit: Admit, timeout_s: float, suspicion: Suspicion | None = None) -> None:
        self._admit_rows, self._timeout_s = admit, timeout_s
        self._suspicion = suspicion or Suspicion()
        self._waiting: FairQueue[_Waiting] = FairQueue()
        self._calls: set[asyncio.Task[None]] = set()
        self._calls_of: Counter[str] = Counter()

    async def admit(self, batch: Batch, durable: bool, origins: RowSources) -> NDArray[np.uint8]:
        """(n,) uint8 verdicts; all UNAVAILABLE when the shard does not answer in time."""
        answer: asyncio.Future[NDArray[np.uint8]] = asyncio.get_running_loop().create_future()
        # What several sources sent within a moment of each other are single rows, gathered to one batch.
        flow = origins.names[0] if len(origins.names) == 1 else ""
        if self._suspicion.suspects(flow):
            flow = SUSPECTS
        self._waiting.put(flow, _Waiting(batch, durable, origins, answer), len(batch))
        self._leave()
        return await answer

    def _leave(self) -> None:
        while len(self._calls) < LANE_CALLS_MAX and (turn := self._waiting.take()) is not None:
            together, flows = self._gather(*turn)
            for flow in flows:
                self._calls_of[flow] += 1
                if self._calls_of[flow] >= (1 if flow == SUSPECTS else SOURCE_CALLS_MAX):
                    self._waiting.pause(flow)
            call = asyncio.get_running_loop().create_task(self._call(together))
            self._calls.add(call)
            call.add_done_callback(partial(self._returned, together, flows))

    def _gather(self, flow: str, first: _Waiting) -> tuple[list[_Waiting], set[str]]:
        """What leaves in one call with `first`, and whose it is."""
        together, rows = [first], len(first.batch)
        if flow == SUSPECTS or rows > TOGETHER_ROWS_MAX:
            rows_max = SUSPECT_ROWS_MAX if flow == SUSPECTS else LANE_ROWS_MAX
            while (entry := self._waiting.next_of(flow)) is not None:
                rows += len(entry.batch)
                if rows > rows_max or entry.durable != first.durable:
                    break
                together.append(entry)
                self._waiting.take_next_of(flow)
            return together, {flow}
        flows = {flow}
        while (turn := self._waiting.peek()) is not None:
            flow, entry = turn
            rows += len(entry.batch)
            alone = flow == SUSPECTS or len(entry.batch) > TOGETHER_ROWS_MAX
            if alone or rows > LANE_ROWS_MAX or entry.durable != first.durable:
                break
            self._waiting.take()
            together.append(entry)
            flows.add(flow)
        return together, flows

    async def _call(self, together: list[_Waiting]) -> None:
        batch = concatenate([entry.batch for entry in together])
        origins = RowSources.joined([(entry.origins, len(entry.batch)) for entry in together])
        named = (origins.names, origins.of_row)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._admit_rows(batch.rows, batch.payloads, together[0].durable, *named)
            verdicts = np.asarray(answer, dtype=np.uint8)
        except (UnavailableError, TimeoutError):
            verdicts = np.full(len(batch), Verdict.UNAVAILABLE, dtype=np.uint8)
        self._suspicion.judge(origins, verdicts)
        ends = np.cumsum([len(entry.batch) for entry in together])
        for entry, part in zip(together, np.split(verdicts, ends[:-1]), strict=True):
            if not entry.verdicts.done():
                entry.verdicts.set_result(part)

    def _returned(self, together: list[_Waiting], flows: set[str], call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        for flow in flows:
            self._calls_of[flow] -= 1
            self._waiting.resume(flow)
        self._calls_of = +self._calls_of
        error = UnavailableError("the mempool") if call.cancelled() else call.exception()
        if error is not None:
            for entry in together:
                if not entry.verdicts.done():
                    entry.verdicts.set_exception(error)
        self._leave()


class Splitter:
    """Offers batches to the shards of their senders and merges the verdicts back in order."""

    def __init__(self, shards: Sequence[Admit], timeout_s: float) -> None:
        self.suspicion = Suspicion()
        self._lanes = [Lane(shard, timeout_s, self.suspicion) for shard in shards]

    async def admit(
        self, batch: Batch, durable: bool, origins: RowSources = RowSources(("",))
    ) -> NDArray[np.uint8]:
        """(n,) uint8 verdicts of the batch's rows. Raises NoMempoolError at a node without one."""
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
                self._lanes[shard].admit(batch.take(mask), durable, origins.take(mask))
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
        if self._splitter.suspicion.suspects(source):
            verdicts = await self._splitter.admit(batch, self._durable, RowSources((source,)))
            return int(verdicts[0])
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
        origins = RowSources.joined([(RowSources((source,)), 1) for _, _, source in gathered])
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
