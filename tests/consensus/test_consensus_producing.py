"""Drawing: small draws are at hand, large ones references; idle shards wait; what is final sets the pace."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.consensus import block_builder as producing
from actors.consensus.block_builder import AT_HAND_ROWS_MAX, DRAW_WAIT_S, BlockBuilder, payload_shares
from actors.consensus.pipeline import Work
from actors.consensus.stages import StageTimes
from actors.faces import MempoolFace
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.genesis import GENESIS_VERSION, Genesis
from actors.ledger.pending import DrawSummary
from tests.consensus.consensus_network import small_body
from tests.standing_for import standing_for

GENESIS = Genesis(GENESIS_VERSION, "test", 0, [], 0, 0, "00" * 32, 1000, 1000, 0, 1)


def test_the_longest_payload_fits_some_block_of_every_shard() -> None:
    assert payload_shares(3 * ROW_PAYLOAD_BYTES_MAX, 3, 7) == [ROW_PAYLOAD_BYTES_MAX] * 3
    turns = [payload_shares(ROW_PAYLOAD_BYTES_MAX, 3, height) for height in range(3)]
    assert [sum(shares) for shares in turns] == [ROW_PAYLOAD_BYTES_MAX] * 3
    assert {shares.index(ROW_PAYLOAD_BYTES_MAX) for shares in turns} == {0, 1, 2}


class Shard:
    """Answers each draw with as many rows as a test says, and none afterwards.

    asked: how long each draw waits. rung: how often it was asked whether there are rows, without a draw.
    """

    def __init__(self, *counts: int) -> None:
        self.counts, self.asked, self.rung = list(counts), list[float](), 0

    async def draw_at_hand(self, rows_max: int, _payloads: int, _height: int, wait_s: float) -> Any:
        if not rows_max:
            self.rung += 1
            return (*told_of(0), sum(self.counts))
        self.asked.append(wait_s)
        self._answers()
        count = self.counts[0] if self.counts else 0
        if count > rows_max:
            return (*told_of(0), count)
        return (*told_of(self.counts.pop(0) if self.counts else 0), 0)

    def draw(self, _rows: int, _payloads: int, _height: int) -> tuple[Any, Any, Any]:
        told, rows, payloads = told_of(self.counts.pop(0))
        return Reference(told), Reference(rows), Reference(payloads)

    def _answers(self) -> None:
        """Raises where it does not."""


def told_of(count: int) -> tuple[DrawSummary, Any, Any]:
    return DrawSummary(1, count, np.zeros(count, dtype=np.uint64)), *small_body(1)[:2]


class Reference:
    """Stands for an object reference: awaiting it fetches the value."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self._value


class Pipeline:
    def __init__(self) -> None:
        self.works: list[Work] = []
        self.next_height = 1
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def submit(self, work: Work) -> None:
        self.works.append(work)


async def produce(shards: list[Shard], until: Any) -> list[Work]:
    faces = [standing_for(MempoolFace, shard) for shard in shards]
    producer = BlockBuilder(faces, GENESIS, 1, StageTimes(), (ConnectionError,), lambda _: None, lambda: 0)
    pipeline, leadership = Pipeline(), SimpleNamespace(height=0, may_propose=True, awaits_stragglers=False)
    task = asyncio.create_task(producer.run(leadership, pipeline))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while not until(pipeline):
            await asyncio.sleep(0)
    task.cancel()
    return pipeline.works


class Away(Shard):
    """Does not answer the draws of these numbers."""

    def __init__(self, *missed: int) -> None:
        super().__init__()
        self.missed = set(missed)

    def _answers(self) -> None:
        if len(self.asked) in self.missed:
            raise ConnectionError("it restarts")


async def handed_over(shards: list[Shard], draws: int) -> list[int]:
    """After which draws a leader handed over; each finds the clock 400 ms later."""
    asked = shards[-1].asked
    given: list[int] = []

    def hand_over() -> bool:
        given.append(len(asked))
        return True

    leadership = SimpleNamespace(height=0, may_propose=True, awaits_stragglers=False, hand_over=hand_over)
    told: list[str] = []
    producer = BlockBuilder(
        *(
            [standing_for(MempoolFace, shard) for shard in shards],
            GENESIS,
            1,
            StageTimes(),
            (ConnectionError,),
        ),
        missed=lambda error: told.append(str(error)),
        clock_us=lambda: 400_000 * len(asked),
    )
    task = asyncio.create_task(producer.run(leadership, Pipeline()))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while len(asked) <= draws:
            await asyncio.sleep(0)
    task.cancel()
    assert sum("another member is to lead" in each for each in told) == len(given)
    return given


@pytest.mark.parametrize("awaits", [False, True])
def test_blocks_are_rarer_while_a_member_comes_after(monkeypatch: pytest.MonkeyPatch, awaits: bool) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def remembered(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def whole() -> None:
        pipeline = Pipeline()
        leadership = SimpleNamespace(height=0, may_propose=True, awaits_stragglers=awaits)
        faces = [standing_for(MempoolFace, Shard(1))]
        clocks = StageTimes(), (ConnectionError,), lambda _: None, lambda: 0
        task = asyncio.create_task(
            BlockBuilder(faces, GENESIS, 1, *clocks).run(leadership, pipeline)  # type: ignore[arg-type]
        )
        while not pipeline.works:
            await sleep(0)
        for _ in range(50):
            await sleep(0)
        task.cancel()

    monkeypatch.setattr(asyncio, "sleep", remembered)
    asyncio.run(whole())
    assert (producing.STRAGGLERS_INTERVAL_US / 1e6 in pauses) == awaits


def test_a_leader_whose_shards_are_all_away_hands_over(monkeypatch: Any) -> None:
    monkeypatch.setattr(producing, "IDLE_PAUSE_US_MIN", 1)
    monkeypatch.setattr(producing, "IDLE_PAUSE_US_MAX", 2)

    def after(*shards: Shard) -> list[int]:
        return asyncio.run(handed_over(list(shards), 12))

    assert after(Away(3, 4, 5)) == []  # 800 ms between the first and the last
    assert after(Away(3, 4, 5, 6)) == [6]
    assert after(Away(3, 4, 5, 7, 8, 9)) == []
    assert after(Away(*range(3, 12))) == [6, 9]
    assert after(Away(*range(3, 12)), Away()) == []
    assert after(Away(*range(3, 12)), Away(*range(3, 12))) == [6, 9]
    assert after(Away()) == []


def test_small_draws_are_at_hand_and_large_ones_stay_references() -> None:
    small, large = asyncio.run(
        produce([Shard(AT_HAND_ROWS_MAX, AT_HAND_ROWS_MAX + 1)], lambda pipeline: len(pipeline.works) == 2)
    )
    assert all(isinstance(part, np.ndarray) for part in small.parts)
    assert all(isinstance(part, Reference) for part in large.parts)


def test_idle_shards_wait_for_rows_one_with_its_draw_several_before(monkeypatch: Any) -> None:
    monkeypatch.setattr(producing, "IDLE_PAUSE_US_MIN", 1)
    monkeypatch.setattr(producing, "IDLE_PAUSE_US_MAX", 2)
    alone = Shard(1, 0, 1)
    asyncio.run(produce([alone], lambda _: len(alone.asked) >= 4))
    assert alone.asked[:4] == [0, DRAW_WAIT_S, DRAW_WAIT_S, DRAW_WAIT_S]
    assert alone.rung == 0
    several = [Shard(1), Shard()]
    asyncio.run(produce(several, lambda _: len(several[1].asked) >= 4))
    assert set(several[0].asked + several[1].asked) == {0}
    assert min(shard.rung for shard in several) >= 3


def test_a_block_does_not_wait_for_the_interval_once_all_before_it_are_final() -> None:
    """One after the other: each is final when the next is asked for. The clock does not move."""
    shard = Shard(*[1] * 5)
    works = asyncio.run(produce([shard], lambda pipeline: len(pipeline.works) == 5))
    assert len(works) == 5
    assert shard.asked[:5] == [0, *[DRAW_WAIT_S] * 4]


def test_blocks_that_are_not_final_are_an_interval_apart() -> None:
    async def whole() -> tuple[list[float], list[int]]:
        now_us, shard, pipeline = 0, Shard(*[1] * 4), Pipeline()
        pipeline.next_height = 2
        leadership = SimpleNamespace(
            height=0, may_propose=True, awaits_stragglers=False, advanced=asyncio.Event()
        )
        times, faces = list[int](), [standing_for(MempoolFace, shard)]

        def clock_us() -> int:
            return now_us

        submit = pipeline.submit

        async def submitted(work: Work) -> None:
            times.append(now_us)
            await submit(work)

        pipeline.submit = submitted  # type: ignore[method-assign]
        producer = BlockBuilder(
            faces, GENESIS, 10, StageTimes(), (ConnectionError,), lambda _: None, clock_us
        )
        task = asyncio.create_task(producer.run(leadership, pipeline))  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            while len(times) < 4:
                for _ in range(20):
                    await asyncio.sleep(0)
                now_us += 1_000
                leadership.height = int(now_us >= 25_000)  # the last two follow each other at once
                leadership.advanced.set()
        task.cancel()
        return shard.asked, times

    asked, times = asyncio.run(whole())
    assert [later - sooner for sooner, later in pairwise(times)][:2] == [10_000, 10_000]
    assert times[3] - times[2] <= 5_000
    assert asked[:3] == [0, 0, 0]
    assert asked[3] == DRAW_WAIT_S
