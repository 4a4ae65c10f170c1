"""Publishing: in order, together where they have queued up, and a slow or absent follower delays nobody."""

from __future__ import annotations

import asyncio

from actors.consensus.publishing import QUEUE_DELTAS_MAX, Publisher


class Follower:
    """Remembers each call, and answers while its gate is open."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.gate = asyncio.Event()
        self.away = False

    async def follow(self, *deltas: int) -> None:
        self.calls.append(deltas)
        await self.gate.wait()
        if self.away:
            raise ConnectionError("it restarts")


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_queues_up_behind_a_slow_follower_goes_in_one_call() -> None:
    async def scenario() -> None:
        publisher, slow, fast = Publisher((ConnectionError,)), Follower(), Follower()
        fast.gate.set()
        publisher.add("slow", slow.follow)
        publisher.add("fast", fast.follow)
        for height in range(1, 6):
            await publisher.publish(height)
            await turns()
        assert slow.calls == [(1,)]
        assert fast.calls == [(1,), (2,), (3,), (4,), (5,)]
        slow.gate.set()
        await turns()
        assert slow.calls == [(1,), (2, 3, 4, 5)]

    asyncio.run(scenario())


def test_what_a_follower_misses_is_counted() -> None:
    async def scenario() -> None:
        publisher, follower = Publisher((ConnectionError,)), Follower()
        publisher.add("follower", follower.follow)
        await publisher.publish(0)
        await turns()
        for height in range(QUEUE_DELTAS_MAX + 3):
            await publisher.publish(height + 1)
        assert publisher.missed == 3
        follower.away = True
        follower.gate.set()
        await turns()
        assert publisher.missed == 3 + 1 + QUEUE_DELTAS_MAX
        follower.away = False
        await publisher.publish(99)
        await turns()
        assert follower.calls[-1] == (99,)

    asyncio.run(scenario())
