"""A leader's blocks: ranked rows drawn from all shards by reference, merged, and put into the pipeline.

Where a draw is small, its rows themselves are taken: they cost less than what goes by reference.

A row of a governed function has a block of its own (functions.py): it stays with its draw until everything
before it is committed, and nothing else is drawn meanwhile.

At most `UNCOMMITTED_BLOCKS_MAX` blocks of this leader wait for a majority; then it draws no more until one is
committed, so rows stay in the shards, where they are still ranked. A leader none of whose shards has answered
for AWAY_US_MAX hands over to another member: its shards hold the same rows, and these take long to restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.consensus.agreement import Leadership
from actors.consensus.functions import FunctionTrials
from actors.consensus.ordering import merge_by_rank, split_by_draw
from actors.consensus.pipeline import Pipeline, PipelineBrokenError, Work
from actors.consensus.stages import StageTimes
from actors.faces import MempoolFace
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.genesis import Genesis
from actors.ledger.verdict import Verdict

UNCOMMITTED_BLOCKS_MAX = 16
DRAW_TIMEOUT_S = 5.0
RELEASE_TIMEOUT_S = 60.0
AT_HAND_ROWS_MAX = 64
DRAW_WAIT_S = 0.5
FOUNDING_LOOK_S = 0.01
IDLE_PAUSE_US_MIN, IDLE_PAUSE_US_MAX = 25_000, 100_000
AWAY_US_MAX = 1_000_000
FUNCTION_LOOK_S, FUNCTION_PAUSE_S = 0.05, 0.5
# Between blocks while a member that is behind comes after.
STRAGGLERS_INTERVAL_US = 500_000


def payload_shares(bytes_max: int, shards: int, height: int) -> list[int]:
    """Payload bytes that each shard may give to a block. Shares that would be smaller than the longest
    payload take turns: one shard has the whole block, or its row with such a payload would never be drawn."""
    if bytes_max // shards >= ROW_PAYLOAD_BYTES_MAX:
        return [bytes_max // shards] * shards
    return [bytes_max if shard == height % shards else 0 for shard in range(shards)]


class BlockBuilder:
    """Draws from `shards`. `missed` is told of a shard that does not answer; `unreachable` are its errors."""

    def __init__(
        self,
        shards: Sequence[MempoolFace],
        genesis: Genesis,
        block_interval_ms: int,
        times: StageTimes,
        unreachable: tuple[type[Exception], ...],
        missed: Callable[[BaseException], None],
        clock_us: Callable[[], int],
        functions: FunctionTrials | None = None,
    ) -> None:
        self._functions = functions
        self._waiting: deque[tuple[bytes, Callable[[Verdict], None]]] = deque()
        self._shards, self._times = list(shards), times
        self._interval_us, self._clock_us = block_interval_ms * 1000, clock_us
        self._unreachable, self._missed = unreachable, missed
        self._no_draw: tuple[type[Exception], ...] = (*unreachable, TimeoutError)
        count = max(len(self._shards), 1)
        self._rows_share = -(-genesis.block_transactions_max // count)
        self._payload_bytes_max = genesis.block_payload_bytes_max
        self.paused = self._answered = False
        self._away_since_us: int | None = None

    async def run(self, leadership: Leadership, pipeline: Pipeline) -> None:
        """Propose whenever there is something to propose, until cancelled: at once while all blocks of this
        leader are final, else a block interval after the last one.

        While there is nothing, shards are asked to wait for rows: the only one with its draw, several before
        their draws, since none of these may wait for another. Those that do not answer, or have rows and draw
        none, are asked less and less often, down to every IDLE_PAUSE_US_MAX.

        Raises PipelineBrokenError when the pipeline has stopped.
        """
        idle_us, all_final = IDLE_PAUSE_US_MIN, False
        self._away_since_us = None
        while True:
            began_us = self._clock_us()
            if pipeline.broken.done():
                raise PipelineBrokenError(str(pipeline.broken.exception()))
            while not leadership.may_propose:
                await asyncio.sleep(FOUNDING_LOOK_S)
            while pipeline.next_height - leadership.height > UNCOMMITTED_BLOCKS_MAX:
                leadership.advanced.clear()
                await leadership.advanced.wait()
            while self._waiting:
                await self._propose_function(leadership, pipeline)
            waits = all_final or idle_us > IDLE_PAUSE_US_MIN
            proposed = not self.paused and await self._propose_once(pipeline, DRAW_WAIT_S if waits else 0.0)
            now_us = self._clock_us()
            self._look_after_shards(leadership, now_us)
            all_final = False
            if proposed:
                idle_us = IDLE_PAUSE_US_MIN
                all_final = await self._pace(leadership, pipeline, now_us if waits else began_us)
                continue
            if waits and now_us >= began_us + DRAW_WAIT_S * 1e6:
                pause_us = 0
            else:
                idle_us = min(2 * idle_us, IDLE_PAUSE_US_MAX)
                pause_us = max(self._interval_us, idle_us) if waits else self._interval_us
            await asyncio.sleep(max(0, began_us + pause_us - now_us) / 1e6)

    async def _pace(self, leadership: Leadership, pipeline: Pipeline, since_us: int) -> bool:
        """Wait until the next block is due: True once all that this leader has proposed is final, False if a
        block interval is over sooner. While a member comes after, blocks are rare whatever is final."""
        if leadership.awaits_stragglers:
            pause_us = max(self._interval_us, STRAGGLERS_INTERVAL_US)
            await asyncio.sleep(max(0, since_us + pause_us - self._clock_us()) / 1e6)
            return False
        until_us = since_us + self._interval_us
        while leadership.height < pipeline.next_height - 1:
            left_us = until_us - self._clock_us()
            if left_us <= 0:
                return False
            leadership.advanced.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_us / 1e6):
                    await leadership.advanced.wait()
        return True

    def _look_after_shards(self, leadership: Leadership, now_us: int) -> None:
        """Hand the office over when no shard answers; again after as long a time, should nobody take it."""
        if self._answered or self.paused or not self._shards:
            self._away_since_us = None
        elif self._away_since_us is None:
            self._away_since_us = now_us
        elif now_us >= self._away_since_us + AWAY_US_MAX:
            self._away_since_us = now_us
            if leadership.hand_over():
                self._missed(TimeoutError("none answers, so another member is to lead"))
        self._answered = False

    async def release(self) -> None:
        """Give all drawn rows back to their shards. Raises TimeoutError when one does not answer."""
        self._waiting.clear()
        async with asyncio.timeout(RELEASE_TIMEOUT_S):
            for shard in self._shards:
                await self._patiently(shard.release)

    async def _patiently(self, method: Any) -> Any:
        while True:
            try:
                return await method()
            except self._unreachable:
                await asyncio.sleep(0.1)

    async def _propose_once(self, pipeline: Pipeline, wait_s: float = 0.0) -> bool:
        """Draw and submit one block; False when no shard had anything."""
        if not self._shards:
            return False
        began_us = self._clock_us()
        height = pipeline.next_height
        payloads = payload_shares(self._payload_bytes_max, len(self._shards), height)
        waited = wait_s > 0
        if waited and len(self._shards) > 1:
            await self._until_rows(height, wait_s)
            wait_s = 0.0
        draws = await asyncio.gather(
            *(
                self._draw(shard, size, height, wait_s)
                for shard, size in zip(self._shards, payloads, strict=True)
            )
        )
        filled = [(shard, draw) for shard, draw in zip(self._shards, draws, strict=True) if draw is not None]
        if not filled:
            return False
        order = merge_by_rank([draw[0].ranks for _, draw in filled])
        if not waited:
            self._times.add("draw", self._clock_us() - began_us, len(order))
        parts = [part for _, draw in filled for part in draw[1:]]
        waiting = list[bytes]()

        def resolve(verdicts: NDArray[np.uint8]) -> None:
            counts = [draw[0].count for _, draw in filled]
            for (shard, draw), of_draw in zip(filled, split_by_draw(verdicts, order, counts), strict=True):
                if of_draw.any():
                    shard.resolve(draw[0].draw, of_draw)

        def on_executed(verdicts: NDArray[np.uint8]) -> None:
            functions = np.flatnonzero(verdicts == Verdict.NEEDS_EFFECTS)
            if not len(functions):
                resolve(verdicts)
                return

            def settle(of_first: Verdict) -> None:
                told = np.array(verdicts)
                told[functions] = Verdict.BLOCK_GAS  # those behind the first are drawn again
                told[functions[0]] = of_first
                resolve(told)

            if waiting and self._functions is not None:
                self._waiting.append((waiting[0], settle))
            else:
                settle(Verdict.BLOCK_GAS)

        work = Work(parts, len(order), order=order, on_waiting=waiting.append, on_executed=on_executed)
        await pipeline.submit(work)
        return True

    async def _propose_function(self, leadership: Leadership, pipeline: Pipeline) -> None:
        """The function that has waited longest, once everything before it is committed."""
        while not (pipeline.is_clean and leadership.height >= pipeline.tip.height):
            if pipeline.broken.done():
                raise PipelineBrokenError(str(pipeline.broken.exception()))
            leadership.advanced.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(FUNCTION_LOOK_S):
                    await leadership.advanced.wait()
        function, settle = self._waiting.popleft()
        if self._functions is None:
            return
        try:
            verdict = await self._functions.propose(function, pipeline)
        except self._unreachable as error:
            self._missed(error)
            verdict = Verdict.BLOCK_GAS
        settle(verdict)
        if verdict is Verdict.BLOCK_GAS:
            await asyncio.sleep(FUNCTION_PAUSE_S)

    async def _draw(
        self, shard: MempoolFace, payload_bytes_max: int, height: int, wait_s: float
    ) -> tuple[Any, Any, Any] | None:
        """Ranked rows of one shard, many of them by reference; None if it has none or is restarting."""
        try:
            async with asyncio.timeout(DRAW_TIMEOUT_S):
                rows_max = min(AT_HAND_ROWS_MAX, self._rows_share)
                told, rows, payloads, pending = await shard.draw_at_hand(
                    rows_max, payload_bytes_max, height, wait_s
                )
                drawn: tuple[Any, Any, Any] = told, rows, payloads
                if pending:
                    summary, *columns = shard.draw(self._rows_share, payload_bytes_max, height)
                    told = await summary
                    drawn = told, columns[0], columns[1]
        except self._no_draw as error:
            self._missed(error)
            return None
        self._answered = True
        return drawn if told.count else None

    async def _until_rows(self, height: int, wait_s: float) -> None:
        """Until a shard has rows, or none has had any for so long."""

        async def pending(shard: MempoolFace) -> int:
            try:
                async with asyncio.timeout(DRAW_TIMEOUT_S):
                    return (await shard.draw_at_hand(0, 0, height, wait_s))[3]
            except self._no_draw:
                return 0  # its draw tells what is wrong

        asked = [asyncio.ensure_future(pending(shard)) for shard in self._shards]
        try:
            for each in asyncio.as_completed(asked):
                if await each:
                    return
        finally:
            for each in asked:
                each.cancel()
