"""What a shard offers to other nodes, once and again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from actors.ledger.prices import FREE
from actors.ledger.verdict import Verdict
from actors.mempool import actor as shell
from actors.mempool.outbox import LEADS_S, Outbox, ReofferScheduler
from actors.mempool.pool import Pool, PoolBounds
from tests.mempool.test_mempool_actor import SIGNERS, Setup, run, transfers


def test_what_clients_hand_in_is_in_the_outbox_and_what_nodes_pass_on_is_not(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        own, passed_on = transfers(0, range(3), payload=b"note"), transfers(1, range(2))
        origins = np.array([1, 0, 1], dtype=np.uint16)
        await shard.admit(own.rows, own.payloads, False, ("known:client", "anonymous:10.0.0.1"), origins)
        await shard.admit(passed_on.rows, passed_on.payloads, False, ("member:ab",), None, True)
        told, rows, payloads = await shard.outbox()
        assert rows.tobytes() == own.rows.tobytes()
        assert payloads.tobytes() == b"note" * 3
        assert (told.next, told.missed, told.kinds.tolist()) == (3, 0, [0, 1, 0])
        again = await shard.outbox(3, 0.0, told.incarnation)
        assert len(again[1]) == 0
        assert len((await shard.outbox(3, 0.0, told.incarnation + 1))[1]) == 3
        waiting = asyncio.create_task(shard.outbox(3, 30.0, told.incarnation))
        await asyncio.sleep(0)
        await shard.admit(passed_on.rows, passed_on.payloads)
        late = transfers(2, [0])
        await shard.admit(late.rows, late.payloads)
        assert (await waiting)[1].tobytes() == late.rows.tobytes()

    run(tmp_path, scenario)


def test_a_waiting_row_is_offered_again_unless_this_node_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "OFFER_AGAIN_S", 0.0)

    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(3))
        await shard.start()

        place: tuple[int, float, int] = (0, 0.0, 0)

        async def offered() -> list[int]:
            nonlocal place
            told, rows, _ = await shard.outbox(*place)
            place = told.next, 0.0, told.incarnation
            return list(rows["nonce"])

        assert await offered() == []
        await shard.admit(batch.rows, batch.payloads)
        assert await offered() == [0, 1, 2]
        assert await offered() == [0, 1, 2]
        await shard.draw(1, 0, 1)
        assert await offered() == []
        assert await offered() == [0, 1, 2]
        await shard.release()
        await shard.settle(setup.storage.commit(SIGNERS[0].public_key, 2, 900))
        looks = [await offered() for _ in range(300)]
        assert {tuple(nonces) for nonces in looks} == {(), (2,)}
        assert [n + 3 for n, nonces in enumerate(looks) if nonces] == [4, 8, 16, 32, 64, 128, 192, 256]

    run(tmp_path, scenario)


def test_what_others_passed_on_is_offered_once_a_client_hands_it_in_here(tmp_path: Path) -> None:
    """Its client came here because the node that had it is gone, and with it whoever offered it."""

    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(3))
        await shard.start()
        await shard.admit(batch.rows, batch.payloads, relayed=True)
        await shard.offer_anew()
        told, rows, _ = await shard.outbox()
        assert len(rows) == 0
        again = batch.take(np.array([0, 2]))
        assert list(await shard.admit(again.rows, again.payloads)) == [Verdict.DUPLICATE] * 2
        await shard.offer_anew()
        _, rows, _ = await shard.outbox(told.next, 0.0, told.incarnation)
        assert list(rows["nonce"]) == [0, 2]

    run(tmp_path, scenario)


def test_a_leader_withholds_its_own_rows_until_it_leads_no_more(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        await shard.start()
        await shard.draw_at_hand(10, 0, 1)  # who draws leads
        batch = transfers(0, range(3))
        await shard.admit(batch.rows, batch.payloads)
        told, rows, _ = await shard.outbox()
        assert len(rows) == 0
        await shard.release()
        _, rows, _ = await shard.outbox(told.next, 60.0, told.incarnation)
        assert list(rows["nonce"]) == [0, 1, 2]

    run(tmp_path, scenario)


def test_who_has_drawn_nothing_for_long_offers_what_was_withheld() -> None:
    pool = Pool(PoolBounds(24, 4, 8, age_blocks=5), 1, seed=1, prices=FREE)
    again = ReofferScheduler(pool, 5.0, 6, 0.25)
    assert not again.withholds(10.0)
    assert again.rest_s(10.0) == float("inf")
    again.drawn(10.0)
    assert again.withholds(10.5)
    assert again.rest_s(10.5) == pytest.approx(LEADS_S - 0.5)
    again.drawn(10.9)
    assert again.rest_s(11.0) == pytest.approx(LEADS_S - 0.1)
    assert not again.withholds(10.9 + LEADS_S)
    again.offer(Outbox(8, 64), 10.9 + LEADS_S)
    assert again.rest_s(10.9 + LEADS_S) == float("inf")
