"""Calls over a line: the same answers and errors as through Ray, and Ray's way where there is no line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from actors.faces import MempoolFace
from actors.ledger.delta import AccountStates, Delta
from actors.ledger.pending import DrawSummary
from actors.ledger.rows import ROW_DTYPE, FormatError
from actors.near.follower import NEAR_BYTES_MAX, NearFollower
from actors.near.line import NearLine
from actors.near.messages import CommittedCall, DrawCall, NearCallError, NearError, rows_of
from actors.near.server import NearServer
from actors.near.shard import NearShard, run_on_shard
from tests.standing_for import standing_for


class Shard:
    """A shard's own methods; what came, and by which way (`far` counts Ray's)."""

    def __init__(self) -> None:
        self.admitted: list[tuple[Any, ...]] = []
        self.settled: list[int] = []
        self.far = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def admit(
        self,
        rows: Any,
        payloads: Any,
        durable: bool = False,
        sources: Any = ("",),
        origins: Any = None,
        relayed: bool = False,
    ) -> Any:
        await self.hold.wait()
        if len(rows) == 7:
            raise FormatError("rows", 7, "any other number")
        if len(rows) == 8:
            raise KeyError("it is broken")
        self.admitted.append((rows.tobytes(), payloads.tobytes(), durable, tuple(sources), origins, relayed))
        return np.arange(len(rows), dtype=np.uint8)

    async def draw_at_hand(
        self, rows_max: int, payload_bytes_max: int, height: int, wait_s: float = 0.0
    ) -> Any:
        ranks = np.arange(rows_max, dtype=np.uint64)[::-1].copy()
        return (
            DrawSummary(height, rows_max, ranks),
            rows_like(rows_max),
            np.ones(3, np.uint8),
            payload_bytes_max,
        )

    async def settle(self, *deltas: Delta) -> None:
        self.settled += [delta.height for delta in deltas]


class Far(Shard):
    """The same through Ray."""

    def __init__(self, shard: Shard, server: NearServer | None) -> None:
        super().__init__()
        self._shard, self._server = shard, server

    async def near_line(self) -> str:
        return "" if self._server is None else await self._server.name()

    async def admit(self, *arguments: Any) -> Any:
        self.far += 1
        return await self._shard.admit(*arguments)

    async def settle(self, *deltas: Any) -> None:
        self.far += 1
        await self._shard.settle(*deltas)


def rows_like(count: int) -> Any:
    rows = np.zeros(count, dtype=ROW_DTYPE)
    rows["nonce"] = np.arange(count)
    return rows


def delta(height: int, accounts: int = 1) -> Delta:
    keys, numbers = np.zeros((accounts, 32), dtype=np.uint8), np.arange(accounts, dtype=np.uint64)
    states = AccountStates(height, keys, numbers, numbers)
    return Delta.of_accounts(states, 5, b"h" * 32, b"r" * 32, np.zeros((2, 32), dtype=np.uint8))


def run(scenario: Callable[[Shard, Far, NearShard, NearServer], Awaitable[None]]) -> None:
    async def whole() -> None:
        shard = Shard()
        server = NearServer(lambda call: run_on_shard(shard, call))
        far = Far(shard, server)
        near = NearShard(standing_for(MempoolFace, far), (ConnectionError,))
        try:
            async with asyncio.timeout(60):
                await connected(near)
                await scenario(shard, far, near, server)
        finally:
            near._line.close()
            server.close()

    asyncio.run(whole())


async def connected(near: NearShard) -> None:
    """The first call looks for the line, and goes the other way; one that has an answer went by the line."""
    while (answer := near._line.begin(DrawCall(0, 0, 0, 0.0))) is None:
        await asyncio.sleep(0)
    await answer


def test_calls_and_answers_are_those_of_the_actor() -> None:
    async def scenario(shard: Shard, far: Far, near: NearShard, _: NearServer) -> None:
        rows, payloads = rows_like(3), np.frombuffer(b"note", dtype=np.uint8)
        origins = np.array([0, 1, 1], dtype=np.uint16)
        assert (await near.admit(rows, payloads, True, ("a", "b"), origins, True)).tolist() == [0, 1, 2]
        assert (await near.admit(rows, payloads)).tolist() == [0, 1, 2]
        first, second = shard.admitted
        assert first[:4] == (rows.tobytes(), b"note", True, ("a", "b"))
        assert (first[4].tolist(), first[5]) == ([0, 1, 1], True)
        assert second[2:] == (False, ("",), None, False)
        summary, drawn, extra, pending = await near.draw_at_hand(4, 9, 12)
        assert (summary.draw, summary.count, summary.ranks.tolist()) == (12, 4, [3, 2, 1, 0])
        assert (drawn.tobytes(), extra.tolist(), pending) == (rows_like(4).tobytes(), [1, 1, 1], 9)
        await near.settle(delta(3), delta(4))
        assert shard.settled == [3, 4]
        assert far.far == 0

    run(scenario)


def test_errors_are_those_of_the_actor() -> None:
    async def scenario(_shard: Shard, _far: Far, near: NearShard, _: NearServer) -> None:
        with pytest.raises(FormatError, match="any other number"):
            await near.admit(rows_like(7), np.empty(0, np.uint8))
        with pytest.raises(NearCallError, match="KeyError: 'it is broken'"):
            await near.admit(rows_like(8), np.empty(0, np.uint8))
        with pytest.raises(FormatError, match="a multiple of"):
            rows_of(np.zeros(7, dtype=np.uint8))

    run(scenario)


def test_what_is_long_and_what_is_a_reference_goes_through_ray() -> None:
    async def scenario(shard: Shard, far: Far, near: NearShard, _: NearServer) -> None:
        await near.admit(rows_like(1), np.zeros(NEAR_BYTES_MAX, dtype=np.uint8))
        assert far.far == 1
        await near.settle(delta(1, NEAR_BYTES_MAX // 40))
        assert (far.far, shard.settled) == (2, [1])

        async def through_ray(*told: Any) -> None:
            references.extend(told)

        references: list[Any] = []
        follower = NearFollower(far.near_line, through_ray, (ConnectionError,))
        reference: asyncio.Future[Delta] = asyncio.get_running_loop().create_future()
        await follower.committed(reference)
        assert references == [reference]

    run(scenario)


def test_without_a_line_calls_go_through_ray_and_a_new_line_is_found() -> None:
    async def scenario(shard: Shard, far: Far, near: NearShard, server: NearServer) -> None:
        shard.hold.clear()
        under_way = near.admit(rows_like(1), np.empty(0, np.uint8))
        server.close()
        with pytest.raises(NearError, match="the line broke"):
            await under_way
        shard.hold.set()
        assert near._line._line is None
        await near.admit(rows_like(2), np.empty(0, np.uint8))
        assert far.far == 1
        far._server = NearServer(lambda call: run_on_shard(shard, call))
        await connected(near)
        await near.admit(rows_like(2), np.empty(0, np.uint8))
        assert far.far == 1
        far._server.close()

    run(scenario)


def test_an_actor_without_lines_is_called_through_ray() -> None:
    async def whole() -> None:
        shard = Shard()
        far = Far(shard, None)
        near = NearShard(standing_for(MempoolFace, far), (ConnectionError,))
        for _ in range(3):
            await near.admit(rows_like(1), np.empty(0, np.uint8))
        assert far.far == 3

    asyncio.run(whole())


def test_many_callers_are_served_beside_each_other_and_one_that_leaves_disturbs_nobody() -> None:
    async def scenario(shard: Shard, far: Far, near: NearShard, server: NearServer) -> None:
        lines = [NearLine(server.name, (ConnectionError,)) for _ in range(5)]
        for line in lines:
            while line._line is None:
                line.begin(CommittedCall(()))
                await asyncio.sleep(0)
        shard.hold.clear()
        waiting = near.admit(rows_like(1), np.empty(0, np.uint8))
        answers = [line.begin(CommittedCall((delta(number),))) for number, line in enumerate(lines)]
        await asyncio.gather(*(answer for answer in answers if answer is not None))
        assert sorted(shard.settled) == [0, 1, 2, 3, 4]
        for line in lines:
            line.close()
        shard.hold.set()
        assert (await waiting).tolist() == [0]
        assert far.far == 0

    run(scenario)
