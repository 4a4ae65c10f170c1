"""Handing out chunks: in order, and again when a worker stays away. The time is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from actors.validator.chunks import FIRST_LIMIT_S, Chunk, ChunkQueue, RetransmissionTimer

FLOOR_S = 0.01
YES = np.ones(1, dtype=np.bool_)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def inside(scenario: Callable[[ChunkQueue, Clock], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = Clock()
        queue = ChunkQueue(FLOOR_S, clock)
        async with asyncio.timeout(30):
            await scenario(queue, clock)

    asyncio.run(run())


def chunk(number: int) -> Chunk:
    return Chunk(None, number, number + 1, asyncio.get_running_loop().create_future())


async def learn(queue: ChunkQueue, clock: Clock, wait_s: float = 0.001) -> None:
    """Many answers after `wait_s` each, so that `limit_s` is known."""
    for _ in range(100):
        known = chunk(0)
        queue.put(known)
        assert await queue.take("teacher") is known
        clock.now_s += wait_s
        queue.answer(known, YES, wait_s)


def test_a_chunk_waits_behind_those_of_its_own_flow() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        def of(flow: str, rows: int) -> Chunk:
            return Chunk(None, 0, rows, asyncio.get_running_loop().create_future(), flow)

        flood = [of("flood", 1_000) for _ in range(50)]
        for each in flood:
            queue.put(each)
        assert await queue.take("a") is flood[0]
        small = of("small", 10)
        queue.put(small)
        assert await queue.take("b") is small
        assert await queue.take("c") is flood[1]
        queue.fail(flood[0], "a")
        assert await queue.take("d") is flood[0]  # what failed comes before all others

    inside(scenario)


def test_what_is_at_hand_goes_together_while_it_is_worth_no_more_than_a_call() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        def at_hand(rows: int) -> Chunk:
            return Chunk(np.zeros(rows), 0, rows, asyncio.get_running_loop().create_future())

        first, second, answered, third, referred, last = map(at_hand, (10, 20, 5, 30, 1, 1))
        referred.rows = None
        for each in (first, second, answered, third, referred, last):
            queue.put(each)
        answered.result.set_result(YES)
        assert await queue.take("a") is first
        assert queue.take_along(first, 59) == [second], "the third would be too much"
        assert await queue.take("b") is third
        assert queue.take_along(third, 1_000) == [], "behind it is a reference"
        assert await queue.take("c") is referred
        assert queue.take_along(referred, 1_000) == []
        assert {each.holder for each in (first, second)} == {"a"}
        assert queue.held == 4
        assert len(queue) == 1

    inside(scenario)


def test_patience_is_the_timer_of_rfc_6298() -> None:
    patience = RetransmissionTimer(FLOOR_S)
    assert patience.limit_s == FIRST_LIMIT_S
    patience.observe(0.2)
    assert patience.limit_s == pytest.approx(0.2 + 4 * 0.1)
    patience.observe(0.4)
    assert patience.limit_s == pytest.approx(0.225 + 4 * (0.1 + 0.1 / 4))
    for _ in range(200):
        patience.observe(0.0001)
    assert patience.limit_s == FLOOR_S


def test_chunks_are_taken_in_order_and_waited_for() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        waiting = asyncio.create_task(queue.take("a"))
        first, second = chunk(0), chunk(1)
        queue.put(first)
        queue.put(second)
        assert await waiting is first
        assert await queue.take("b") is second
        assert (len(queue), queue.held) == (0, 2)
        queue.answer(second, YES, 0.001)
        queue.answer(first, YES, 0.001)
        assert (await first.result).all()
        assert queue.held == 0

    inside(scenario)


def test_an_overdue_chunk_waits_again_before_fresh_ones_and_its_holder_is_named() -> None:
    async def scenario(queue: ChunkQueue, clock: Clock) -> None:
        await learn(queue, clock)
        stalled, fresh = chunk(0), chunk(1)
        queue.put(stalled)
        assert await queue.take("dead") is stalled
        queue.put(fresh)
        clock.now_s += queue.limit_s / 2
        assert queue.take_overdue() == set()
        clock.now_s += queue.limit_s
        assert queue.take_overdue() == {"dead"}
        assert queue.take_overdue() == set()
        assert await queue.take("alive") is stalled
        assert await queue.take("alive") is fresh
        assert queue.overdue == 1
        queue.answer(stalled, YES, 0.001)
        queue.answer(stalled, ~YES, 0.001)
        assert (await stalled.result).all()

    inside(scenario)


def test_who_watches_is_told_when_a_chunk_is_held() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        watching = asyncio.create_task(queue.until_held())
        queue.put(chunk(0))
        await asyncio.sleep(0)
        assert not watching.done()
        await queue.take("a")
        await watching
        await queue.until_held()

    inside(scenario)


def test_a_chunk_that_fails_twice_is_given_up_by_the_workers() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        bad = chunk(0)
        queue.put(bad)
        assert await queue.take("a") is bad
        assert queue.fail(bad, "a")
        assert await queue.take("b") is bad
        assert not queue.fail(bad, "b")
        queue.refuse(bad, RuntimeError("nobody"))
        with pytest.raises(RuntimeError, match="nobody"):
            await bad.result
        assert queue.fail(bad, "b"), "what is decided is nobody's to do"
        assert queue.held == 0

    inside(scenario)


def test_a_failure_of_an_earlier_holder_does_not_count() -> None:
    async def scenario(queue: ChunkQueue, clock: Clock) -> None:
        await learn(queue, clock)
        moved = chunk(0)
        queue.put(moved)
        await queue.take("dead")
        clock.now_s += 2 * queue.limit_s
        queue.take_overdue()
        assert queue.fail(moved, "dead")
        assert await queue.take("alive") is moved
        assert queue.fail(moved, "dead")
        assert (moved.attempts, queue.held, len(queue)) == (0, 1, 0)

    inside(scenario)


def test_a_chunk_whose_caller_left_is_dropped() -> None:
    async def scenario(queue: ChunkQueue, _clock: Clock) -> None:
        left, wanted = chunk(0), chunk(1)
        queue.put(left)
        queue.put(wanted)
        left.result.cancel()
        assert await queue.take("a") is wanted

    inside(scenario)
