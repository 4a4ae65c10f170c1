"""One client's submissions, however many, false or unpayable, leave room and turns for everybody else's."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.cli.pending import replacement_fee
from actors.gateway import fates
from actors.gateway.backend import ShareError, Wait
from actors.ledger.accounts import payload_hash
from actors.ledger.genesis import Genesis
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from actors.mempool import actor as mempool_actor
from actors.mempool.admission import SUSPECTS
from tests.mempool.test_mempool_actor import GENESIS
from tests.security.submission_node import ATTACKER, HONEST, SubmissionNode, key_of, rows_of

Scenario = Callable[[SubmissionNode], Coroutine[Any, Any, None]]


def run(
    folder: Path,
    scenario: Scenario,
    accounts: int = 64,
    mempool: Any = None,
    genesis: Genesis = GENESIS,
    **gateway: Any,
) -> None:
    async def main() -> None:
        node = SubmissionNode(folder, accounts, mempool or {}, genesis, **gateway)
        await node.shard.start()
        async with asyncio.timeout(60):
            await scenario(node)

    asyncio.run(main())


def verdict_of(code: int) -> str:
    return Verdict(int(code)).name


async def flood(node: SubmissionNode, batches: list[Any], seen: Counter[str]) -> None:
    """Send batches again and again, each as soon as it is answered, and wait for their commit."""

    async def again(batch: Any) -> None:
        while True:
            try:
                answer = await node.service.submit(batch, Wait.COMMITTED, ATTACKER)
                seen.update(verdict_of(code) for code in answer.verdicts)
            except ShareError:
                seen["429"] += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for batch in batches:
            group.create_task(again(batch))


async def honest_beside(node: SubmissionNode, attack: Coroutine[Any, Any, None], rows: int = 30) -> None:
    """Every honest row is committed while the attack goes on."""
    tasks = [asyncio.create_task(attack), asyncio.create_task(node.make_blocks())]
    try:
        for nonce in range(rows):
            answer = await node.service.submit_single(rows_of([(0, nonce)]), Wait.COMMITTED, HONEST)
            assert (verdict_of(answer.verdicts[0]), answer.pending.tolist()) == ("OK", [])
            assert answer.height is not None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_rows_behind_gaps_sent_again_and_again_close_submission_to_nobody(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        seen: Counter[str] = Counter()
        senders = range(1, 64)
        batches = [rows_of([(who, nonce) for who in senders]) for nonce in range(1, 40)]
        await honest_beside(node, flood(node, batches, seen))
        assert seen["PARKED"]
        assert seen["NONCE_GAP"]
        assert seen["429"]
        health = await node.shard.health()
        assert 0 < health["parked"] <= 125  # type: ignore[operator]  # half of a quarter of the pool
        assert node.service.inflight_rows == 0

    run(tmp_path, scenario, mempool={"capacity_rows": 1_000}, inflight_rows_max=1_000)


def test_a_source_that_fills_its_part_of_the_pool_leaves_the_rest(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        taken = Counter[str]()
        for nonce in range(20):
            batch = rows_of([(who, nonce) for who in range(1, 64)])
            answer = await node.service.submit(batch, Wait.ACCEPTED, ATTACKER)
            taken.update(verdict_of(code) for code in answer.verdicts)
        assert taken == {"OK": 500, "POOL_FULL": 20 * 63 - 500}
        for who in range(8):
            nonce = (await node.service.pending(key_of(who))).next_nonce
            answer = await node.service.submit(rows_of([(who, nonce)]), Wait.ACCEPTED, f"anonymous:{who}")
            assert answer.verdicts.tolist() == [Verdict.OK]

    run(tmp_path, scenario, mempool={"capacity_rows": 1_000})


def test_what_one_source_journals_leaves_room_in_the_journal(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        taken = Counter[str]()
        for nonce in range(200):
            batch = rows_of([(who, nonce) for who in range(1, 64)])
            answer = await node.service.submit(batch, Wait.DURABLE, ATTACKER)
            taken.update(verdict_of(code) for code in answer.verdicts)
        assert taken["POOL_FULL"] > 9_000
        answer = await node.service.submit(rows_of([(0, 0)]), Wait.DURABLE, HONEST)
        assert answer.verdicts.tolist() == [Verdict.OK]

    run(tmp_path, scenario, mempool={"journal_bytes_max": 1 << 20})


def test_rows_that_are_pending_already_hold_a_share_of_the_waits_and_no_more(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        seen: Counter[str] = Counter()
        same = rows_of([(who, 0) for who in range(1, 64)])
        await honest_beside(node, flood(node, [same] * 40, seen))
        assert seen["429"]

    run(tmp_path, scenario, inflight_rows_max=1_000)


def test_forged_rows_sink_their_source_and_wait_behind_each_other(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        seen: Counter[str] = Counter()
        numbers = itertools.count()
        batches = [
            rows_of([(who, next(numbers) % 900) for who in range(1, 64)], forged=True) for _ in range(40)
        ]
        await honest_beside(node, flood(node, batches, seen))
        assert set(seen) <= {"BAD_SIGNATURE", "429", "NONCE_GAP"}
        late = [flow for flow, _ in node.validators.flows[8:] if flow != HONEST]
        assert set(late) == {SUSPECTS}
        assert node.validators.flows.count((HONEST, 1)) == 30

    run(tmp_path, scenario, inflight_rows_max=10_000)


@pytest.fixture(autouse=True)
def _ask_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fates, "ASK_FIRST_S", 0.02)


def test_who_lost_a_race_for_a_nonce_is_told_so(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        mine, other = rows_of([(1, 0)]), rows_of([(1, 0)], amount=7)
        waiting = asyncio.create_task(node.service.submit_single(mine, Wait.COMMITTED, HONEST))
        while not (await node.shard.health())["depth"]:
            await asyncio.sleep(0)
        await node.publish(other.rows)  # another node's leader took the other one
        answer = await waiting
        assert (verdict_of(answer.verdicts[0]), answer.height) == ("NONCE_REUSED", None)

    run(tmp_path, scenario)


def test_a_pending_row_is_cancelled_by_an_empty_transfer_with_the_least_higher_fee(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        for fee, nonce in ((10, 0), (1, 1), (0, 2), (99, 3)):
            mine = rows_of([(1, nonce)], fee=fee)
            waiting = asyncio.create_task(node.service.submit_single(mine, Wait.COMMITTED, HONEST))
            while not (await node.shard.health())["depth"]:
                await asyncio.sleep(0)
            less = rows_of([(1, nonce)], amount=0, fee=replacement_fee(fee) - 1)
            verdict = (await node.service.submit_single(less, Wait.ACCEPTED, HONEST)).verdicts[0]
            assert verdict_of(verdict) == "NONCE_REUSED"
            cancel = rows_of([(1, nonce)], amount=0, fee=replacement_fee(fee))
            assert not (await node.service.submit_single(cancel, Wait.ACCEPTED, HONEST)).verdicts.any()
            await node.block_of_pending()
            assert verdict_of((await waiting).verdicts[0]) == "NONCE_REUSED"

    run(tmp_path, scenario)


def test_a_payload_that_no_block_may_hold_is_refused_at_once(tmp_path: Path) -> None:
    genesis = msgspec.structs.replace(GENESIS, block_payload_bytes_max=100)

    async def scenario(node: SubmissionNode) -> None:
        for size, verdict in ((100, "OK"), (101, "PAYLOAD_LIMIT")):
            row = rows_of([(1, 0)], payload_bytes=size, chain_tag=genesis.chain_tag)
            payload = np.zeros(size, dtype=np.uint8)
            row.rows["payload_hash"] = np.frombuffer(payload_hash(payload.tobytes()), dtype=np.uint8)
            batch = Batch(row.rows, payload)
            answer = await node.service.submit_single(batch, Wait.ACCEPTED, HONEST)
            assert verdict_of(answer.verdicts[0]) == verdict

    run(tmp_path, scenario, genesis=genesis)


def test_rows_that_wait_for_a_nonce_for_too_long_are_dropped_although_no_block_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    clocks = {name: getattr(time, name) for name in ("perf_counter", "time_ns")}
    monkeypatch.setattr(mempool_actor, "time", SimpleNamespace(monotonic=lambda: now_s, **clocks))

    async def scenario(node: SubmissionNode) -> None:
        nonlocal now_s
        shard = node.shard
        await shard.admit(*columns(rows_of([(1, 1), (1, 2), (2, 0), (2, 5)])))
        await shard.dropped()
        now_s = 30.0
        await shard.admit(*columns(rows_of([(3, 3)])))
        await shard.dropped()
        now_s = 61.0
        number, ids, verdicts = await shard.dropped()
        assert [verdict_of(code) for code in verdicts] == ["NONCE_GAP"] * 3
        assert (number, len(ids), (await shard.health())["depth"]) == (3, 3, 2)
        now_s = 120.0
        assert (await shard.dropped(number))[0] == 4
        assert (await node.service.pending(key_of(2))).next_nonce == 1

    run(tmp_path, scenario, mempool={"parked_s_max": 60})


def columns(batch: Batch) -> tuple[Any, Any]:
    return batch.rows, batch.payloads


def test_an_expired_row_is_told_so_although_no_block_comes_any_more(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        short = rows_of([(1, 0)], expiry_height=1)
        waiting = asyncio.create_task(node.service.submit(short, Wait.COMMITTED, HONEST))
        while not (await node.shard.health())["depth"]:
            await asyncio.sleep(0)
        await node.publish(rows_of([(2, 0)]).rows)  # height 1, and nothing after it
        answer = await waiting
        assert (verdict_of(answer.verdicts[0]), answer.pending.tolist()) == ("EXPIRED", [])

    run(tmp_path, scenario)


def test_a_row_behind_a_gap_is_parked_and_commits_when_the_gap_closes(tmp_path: Path) -> None:
    async def scenario(node: SubmissionNode) -> None:
        await node.block_of_pending()
        answer = await node.service.submit(rows_of([(1, 2), (2, 0)]), Wait.ACCEPTED, HONEST)
        assert (answer.verdicts.tolist(), answer.parked.tolist()) == ([0, 0], [0])
        late = await node.service.submit_single(rows_of([(1, 2)]), Wait.COMMITTED, HONEST)
        assert verdict_of(late.verdicts[0]) == "PARKED"
        pending = await node.service.pending(key_of(1))
        assert (pending.nonce, pending.next_nonce, pending.states.tolist()) == (0, 0, [2])
        waiting = asyncio.create_task(
            node.service.submit(rows_of([(1, 1), (1, 0), (1, 2)]), Wait.COMMITTED, HONEST)
        )
        while (await node.shard.health())["depth"] < 4:  # type: ignore[operator]
            await asyncio.sleep(0)
        assert await node.block_of_pending() == 4
        assert (await waiting).height == 2
        assert (await node.service.pending(key_of(1))).next_nonce == 3

    run(tmp_path, scenario)
