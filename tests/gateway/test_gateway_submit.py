"""Splitting by shard, gathering singles, bounds of rows in flight, lost deltas."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.gateway import service
from actors.gateway.backend import BusyError, ShareError, UnavailableError, Wait
from actors.gateway.problem import of_error
from actors.gateway.submit import Gatherer, Splitter
from actors.ledger.rows import ROW_DTYPE, Batch, concatenate, shard_of
from actors.ledger.source import RowSources
from actors.ledger.verdict import Verdict
from tests.gateway.gateway_fake_node import FakeNode, until


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def numbered_batch(rows: int, seed: int) -> Batch:
    """Rows whose nonce is their number, of random senders, each with its number as payload."""
    rng = np.random.default_rng(seed)
    table = np.zeros(rows, dtype=ROW_DTYPE)
    table["nonce"] = np.arange(rows)
    table["sender"] = rng.integers(0, 256, size=(rows, 32), dtype=np.uint8)
    table["payload_bytes"] = np.arange(rows) % 3
    payloads = np.repeat((np.arange(rows) % 251).astype(np.uint8), np.arange(rows) % 3)
    return Batch(table, payloads)


class EchoShard:
    """Answers each row with its number modulo 251, after checking that its payload came with it."""

    def __init__(self, number: int, shards: int, away: bool = False) -> None:
        self.number, self.shards, self.away = number, shards, away
        self.sizes: list[int] = []

    async def __call__(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool,
        sources: Sequence[str],
        origins: NDArray[np.uint16] | None,
    ) -> NDArray[np.uint8]:
        if self.away:
            raise UnavailableError("shard")
        places = np.zeros(len(rows), np.uint16) if origins is None else origins
        named = [sources[int(place)] for place in places]
        assert sources == ("",) or named == [f"known:{nonce % 3}" for nonce in rows["nonce"]]
        assert (shard_of(rows["sender"], self.shards) == self.number).all()
        assert (np.diff(rows["nonce"].astype(np.int64)) > 0).all()
        numbers = (rows["nonce"] % np.uint64(251)).astype(np.uint8)
        assert np.array_equal(payloads, np.repeat(numbers, rows["payload_bytes"]))
        self.sizes.append(len(rows))
        return numbers


@given(st.integers(0, 60), st.integers(1, 5), st.sets(st.integers(0, 4)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_verdicts_come_back_in_order_and_only_absent_shards_are_unavailable(
    rows: int, shards: int, away: set[int], seed: int
) -> None:
    async def scenario() -> None:
        parts = [EchoShard(number, shards, number in away) for number in range(shards)]
        batch = numbered_batch(rows, seed)
        names = tuple(f"known:{n}" for n in range(3))
        origins = RowSources(names, (batch.rows["nonce"] % 3).astype(np.uint16))
        verdicts = await Splitter(parts, 5.0).admit(batch, False, origins)
        lost = np.isin(shard_of(batch.rows["sender"], shards), sorted(away))
        expected = np.where(lost, Verdict.UNAVAILABLE, np.arange(rows) % 251)
        assert verdicts.dtype == np.uint8
        assert np.array_equal(verdicts, expected)

    run(scenario())


def test_a_silent_shard_is_unavailable_after_the_timeout() -> None:
    async def silent(*_: Any, **__: Any) -> NDArray[np.uint8]:
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    async def scenario() -> None:
        verdicts = await Splitter([silent], 0.01).admit(numbered_batch(3, 0), False)
        assert verdicts.tolist() == [Verdict.UNAVAILABLE] * 3

    run(scenario())


def test_batches_that_arrive_while_the_shard_is_busy_leave_together() -> None:
    async def scenario() -> None:
        sizes: list[int] = []
        gate = asyncio.Event()

        async def admit(rows: NDArray[Any], *_: Any, **__: Any) -> NDArray[np.uint8]:
            sizes.append(len(rows))
            await gate.wait()
            return (rows["nonce"] % 7).astype(np.uint8)

        splitter = Splitter([admit], 60)
        batches = [numbered_batch(rows, seed=rows) for rows in (3, 4, 5, 6, 7)]
        answers = [asyncio.create_task(splitter.admit(batch, False)) for batch in batches]
        await until(lambda: len(sizes) == 2)
        gate.set()
        for batch, answer in zip(batches, answers, strict=True):
            assert list(await answer) == list(batch.rows["nonce"] % 7)
        assert sizes == [3, 4, 18]

    run(scenario())


def test_joined_batches_keep_who_handed_in_which_row() -> None:
    async def scenario() -> None:
        told: list[list[str]] = []
        gate = asyncio.Event()

        async def admit(
            rows: NDArray[Any],
            payloads: NDArray[np.uint8],
            durable: bool,
            sources: Sequence[str],
            origins: NDArray[np.uint16] | None,
        ) -> NDArray[np.uint8]:
            places = np.zeros(len(rows), np.uint16) if origins is None else origins
            told.append([sources[int(place)] for place in places])
            assert len(set(sources)) == len(sources)
            await gate.wait()
            return np.zeros(len(rows), dtype=np.uint8)

        splitter = Splitter([admit], 60)
        gatherer = Gatherer(splitter, False, 0.0)
        names = ["a", "b", "a", "c"]
        first = [
            asyncio.create_task(splitter.admit(numbered_batch(1, seed=n), False, RowSources(("x",))))
            for n in range(2)
        ]
        await until(lambda: len(told) == 2)
        waiting = [asyncio.create_task(gatherer.admit(numbered_batch(1, seed=9), name)) for name in names]
        waiting.append(asyncio.create_task(gatherer.admit(numbered_batch(1, seed=9), "x")))
        await until(lambda: len(told) == 3)
        gate.set()
        await asyncio.gather(*first, *waiting)
        assert told == [["x"], ["x"], [*names, "x"]]

    run(scenario())


class SlowShard:
    """Answers a call when it is told to; rows of senders that begin with an odd byte are forged."""

    def __init__(self) -> None:
        self.calls: list[tuple[set[str], int, asyncio.Event]] = []

    async def __call__(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool,
        sources: Sequence[str],
        origins: NDArray[np.uint16] | None,
    ) -> NDArray[np.uint8]:
        done = asyncio.Event()
        self.calls.append((set(sources), len(rows), done))
        await done.wait()
        return np.where(rows["sender"][:, 0] % 2, Verdict.BAD_SIGNATURE, Verdict.OK).astype(np.uint8)

    def under_way(self, source: str) -> int:
        return sum(source in sources and not done.is_set() for sources, _, done in self.calls)


def rows_of(rows: int, forged: bool) -> Batch:
    batch = numbered_batch(rows, 1)
    batch.rows["sender"][:, 0] = forged
    return batch


def test_a_row_waits_behind_those_of_its_own_source_and_not_behind_everybodys() -> None:
    async def scenario() -> None:
        shard = SlowShard()
        splitter = Splitter([shard], 60)

        def offer(source: str, rows: int) -> asyncio.Task[NDArray[np.uint8]]:
            return asyncio.create_task(splitter.admit(rows_of(rows, False), False, RowSources((source,))))

        flood = [offer("flood", 5_000) for _ in range(40)]
        await until(lambda: len(shard.calls) == 2)
        honest = [offer("honest", 1) for _ in range(3)]
        await until(lambda: shard.under_way("honest") == 2)
        assert [(sources, rows) for sources, rows, _ in shard.calls[2:]] == [({"honest"}, 1)] * 2
        shard.calls[2][2].set()
        await until(lambda: len(shard.calls) == 5)
        for _, _, done in shard.calls[2:]:
            done.set()
        await asyncio.gather(*honest)
        assert not any(each.done() for each in flood)
        while not all(each.done() for each in flood):
            for _, _, done in shard.calls:
                done.set()
            await asyncio.sleep(0)

    run(scenario())


def test_whose_rows_are_forged_has_one_small_call_at_a_time_with_others_like_him() -> None:
    async def scenario() -> None:
        shard = SlowShard()
        splitter = Splitter([shard], 60)

        def offer(source: str, rows: int, forged: bool) -> asyncio.Task[NDArray[np.uint8]]:
            return asyncio.create_task(splitter.admit(rows_of(rows, forged), False, RowSources((source,))))

        first = [offer(f"forger {n}", 400, True) for n in range(4)]
        first.append(offer("nearly honest", 2_000, False))
        first.append(offer("nearly honest", 50, True))
        await until(lambda: sum(rows for _, rows, _ in shard.calls) == 3_650)
        for _, _, done in shard.calls:
            done.set()
        await asyncio.gather(*first)
        shard.calls.clear()
        again = [offer(f"forger {n}", 400, True) for n in range(4)]
        honest = [offer("nearly honest", 400, False) for _ in range(2)]
        await until(lambda: len(shard.calls) == 3)
        assert sorted(rows for _, rows, _ in shard.calls) == [400, 400, 400]
        assert sum(shard.under_way(f"forger {n}") for n in range(4)) == 1
        while not all(each.done() for each in (*again, *honest)):
            running = [
                rows for sources, rows, done in shard.calls if "forger" in str(sources) and not done.is_set()
            ]
            assert len(running) <= 1
            assert sum(running) <= 1_024
            for _, _, done in shard.calls:
                done.set()
            await asyncio.sleep(0)
        for _ in range(4):
            assert (await offer_and_answer(shard, offer("forger 0", 3_000, False))).sum() == 0
        assert not splitter.suspicion.suspects("forger 0")
        assert splitter.suspicion.suspects("forger 1")

    run(scenario())


async def offer_and_answer(shard: SlowShard, offered: asyncio.Task[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    while not offered.done():
        for _, _, done in shard.calls:
            done.set()
        await asyncio.sleep(0)
    return await offered


def test_a_node_without_a_mempool_says_where_to_submit() -> None:
    with pytest.raises(UnavailableError, match="submit to a member"):
        run(Splitter([], 60).admit(numbered_batch(2, seed=1), False))  # type: ignore[arg-type]


def test_an_unexpected_failure_of_a_shared_call_reaches_every_caller() -> None:
    async def scenario() -> None:
        async def admit(rows: NDArray[Any], *_: Any, **__: Any) -> NDArray[np.uint8]:
            raise ValueError("broken shard")

        splitter = Splitter([admit], 60)
        calls = (splitter.admit(numbered_batch(n, seed=n), False) for n in range(1, 5))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["broken shard"] * 4

    run(scenario())


def test_singles_leave_as_one_batch_and_each_gets_its_own_verdict() -> None:
    async def scenario() -> None:
        shard = EchoShard(0, 1)
        gatherer = Gatherer(Splitter([shard], 5.0), False, 0.01)
        batch = numbered_batch(50, 0)
        singles = [batch.take(np.array([i])) for i in range(50)]
        answers = await asyncio.gather(*(gatherer.admit(single) for single in singles))
        assert answers == list(range(50))
        assert shard.sizes == [50]

    run(scenario())


def test_a_failure_of_a_gathered_batch_reaches_every_caller() -> None:
    async def broken(*_: Any, **__: Any) -> NDArray[np.uint8]:
        raise KeyError("a fault")

    async def scenario() -> None:
        gatherer = Gatherer(Splitter([broken], 5.0), False, 0)
        calls = (gatherer.admit(numbered_batch(1, i)) for i in range(3))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyError] * 3

    run(scenario())


def test_a_caller_that_left_withdraws_its_row_and_harms_no_other() -> None:
    async def scenario() -> None:
        shard = EchoShard(0, 1)
        gatherer = Gatherer(Splitter([shard], 5.0), False, 0.01)
        batch = numbered_batch(2, 0)
        leaving = asyncio.ensure_future(gatherer.admit(batch.take(np.array([0]))))
        staying = asyncio.ensure_future(gatherer.admit(batch.take(np.array([1]))))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == 1
        assert shard.sizes == [1]

    run(scenario())


def test_rows_in_flight_are_bounded_and_released() -> None:
    async def scenario() -> None:
        node = FakeNode(inflight_rows_max=2)
        batch = concatenate([node.transfer(0, 0), node.transfer(1, 0)])
        waiting = asyncio.ensure_future(node.service.submit(batch, Wait.COMMITTED))
        await until(lambda: sum(len(shard.pending) for shard in node.shards) == 2)
        with pytest.raises(BusyError) as caught:
            await node.service.submit_single(node.transfer(2, 0), Wait.ACCEPTED)
        assert caught.value.limit == 2
        node.commit()
        assert (await waiting).height == 1
        assert node.service.inflight_rows == 0
        answer = await node.service.submit_single(node.transfer(2, 0), Wait.ACCEPTED)
        assert answer.verdicts.tolist() == [Verdict.OK]

    run(scenario())


def test_one_client_leaves_room_for_the_rows_of_others() -> None:
    async def scenario() -> None:
        node = FakeNode(inflight_rows_max=8)
        greedy = [
            asyncio.ensure_future(
                node.service.submit(node.transfer(n, 0), Wait.COMMITTED, "anonymous:greedy")
            )
            for n in range(4)
        ]
        await until(lambda: sum(len(shard.pending) for shard in node.shards) == 4)
        with pytest.raises(ShareError, match="your rows in flight") as caught:
            await node.service.submit(node.transfer(4, 0), Wait.COMMITTED, "anonymous:greedy")
        assert caught.value.limit == 4
        assert of_error(caught.value).status == 429
        other = asyncio.ensure_future(node.service.submit(node.transfer(5, 0), Wait.COMMITTED, "anonymous:b"))
        await until(lambda: sum(len(shard.pending) for shard in node.shards) == 5)
        node.commit()
        assert {(await each).height for each in (*greedy, other)} == {1}

    run(scenario())


@pytest.mark.parametrize(("grace_s", "timeout_s"), [(0.001, 60), (60, 0.05)])
def test_a_delta_that_never_came_is_made_up_from_storage(
    grace_s: float, timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SKIPPED_GRACE_S", grace_s)

    async def scenario() -> None:
        node = FakeNode()
        node.commit()
        node.service._fates.timeout_s = timeout_s
        submitted = asyncio.ensure_future(node.service.submit(node.transfer(0, 0), Wait.COMMITTED))
        await until(lambda: any(shard.pending for shard in node.shards))
        node.commit(publish=False)
        node.commit()
        answer = await submitted
        assert (answer.height, answer.pending.tolist(), answer.verdicts.tolist()) == (2, [], [0])

    run(scenario())


def test_skipped_heights_are_kept_while_storage_is_away_and_forgotten_when_nobody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "SKIPPED_GRACE_S", 0.001)

    async def scenario() -> None:
        node = FakeNode()
        node.commit()
        submitted = asyncio.ensure_future(node.service.submit(node.transfer(0, 0), Wait.COMMITTED))
        await until(lambda: any(shard.pending for shard in node.shards))
        node.commit(publish=False)
        node.away = True
        node.commit()
        reads = node.reads
        await until(lambda: node.reads > reads + 3)
        assert node.service.figures()["skipped_heights"] == 1
        node.away = False
        assert (await submitted).height == 2
        node.commit(publish=False)
        node.commit()
        reads = node.reads
        await until(lambda: node.service.figures()["skipped_heights"] == 0)
        assert node.reads == reads

    run(scenario())


def test_deltas_out_of_order_and_twice() -> None:
    async def scenario() -> None:
        node = FakeNode()
        for _ in range(4):
            node.commit(publish=False)
        for height in (1, 4, 2, 2, 3, 1):
            node.publish(height)
        assert (await node.service.head()).height == 4
        assert node.service.figures()["skipped_heights"] == 0

    run(scenario())


def test_a_dropped_transaction_ends_its_wait_with_its_verdict() -> None:
    async def scenario() -> None:
        node = FakeNode()
        batch = node.transfer(0, 0)
        waiting = asyncio.ensure_future(node.service.submit_single(batch, Wait.COMMITTED))
        await until(lambda: any(shard.pending for shard in node.shards))
        node.service.dropped(batch.ids(), np.array([Verdict.EXPIRED], dtype=np.uint8))
        answer = await waiting
        assert (answer.verdicts.tolist(), answer.height) == ([Verdict.EXPIRED], None)

    run(scenario())


def test_who_waits_for_rows_of_a_dead_shard_is_asked_to_submit_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "ABANDON_AFTER_S", 0.01)

    async def scenario() -> None:
        node = FakeNode()
        batches = [node.transfer(account, 0) for account in range(4)]
        shards = [int(shard_of(batch.rows["sender"], len(node.shards))[0]) for batch in batches]
        waiting = [asyncio.ensure_future(node.service.submit(b, Wait.COMMITTED)) for b in batches]
        await until(lambda: sum(len(shard.pending) for shard in node.shards) == len(batches))
        await node.service.shard_died(shards[0])
        for shard, wait in zip(shards, waiting, strict=True):
            if shard == shards[0]:
                assert (await wait).verdicts.tolist() == [Verdict.UNAVAILABLE]
        node.commit()
        for shard, wait in zip(shards, waiting, strict=True):
            if shard != shards[0]:
                assert (await wait).height == 1

    run(scenario())


def test_a_duplicate_waits_for_the_commit_of_the_first() -> None:
    async def scenario() -> None:
        node = FakeNode()
        batch = node.transfer(0, 0)
        await node.service.submit(batch, Wait.ACCEPTED)
        again = asyncio.ensure_future(node.service.submit(batch, Wait.COMMITTED))
        await until(lambda: sum(len(shard.calls) for shard in node.shards) == 2)
        node.commit()
        assert (await again).height == 1

    run(scenario())
