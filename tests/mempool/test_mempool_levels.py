"""Levels, ageing, trust, replacement and the outbox: one property a test, each with a plain expectation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.accounts import payload_hash
from actors.ledger.prices import FREE
from actors.ledger.rows import Batch, FormatError
from actors.ledger.source import SOURCE_CHARS_MAX
from actors.ledger.verdict import Verdict
from actors.mempool import pool as pool_module
from actors.mempool.arena import ARRIVALS
from actors.mempool.outbox import Outbox
from actors.mempool.pool import ARRIVAL_MAX, SWEEP_BLOCKS
from actors.mempool.sources import PRICES, Sources
from tests.mempool.test_mempool_pool import TAG, drawn, made, pool_of, settle, submit


def offer(pool: pool_module.Pool, batch: Batch, source: str, forged: bool = False) -> list[str]:
    verdicts = pool.static(batch)
    slot = pool.sources.slot(source)
    pool.screen(batch, verdicts, slot)
    if forged:
        verdicts[verdicts == Verdict.OK] = Verdict.BAD_SIGNATURE
    pool.insert(batch, verdicts, source=slot)
    return [Verdict(int(verdict)).name for verdict in verdicts]


def test_a_row_of_a_member_goes_before_a_dearer_one_of_a_stranger() -> None:
    pool = pool_of(16)
    offer(pool, made([(0, 0, 6)]), "anonymous:10.0.0.1")
    offer(pool, made([(1, 0, 4)]), "member:ab")
    offer(pool, made([(2, 0, 5)]), "known:client")
    assert [who for who, _ in drawn(pool)] == [1, 2, 0]


def test_false_signatures_sink_a_source_at_once_and_time_forgives() -> None:
    pool = pool_of(16)
    slot = pool.sources.slot("known:client")
    assert offer(pool, made([(n, 0, 9) for n in range(6)]), "known:client", forged=True)[0] == "BAD_SIGNATURE"
    assert pool.sources.lowered(slot) == 1
    assert pool.sources.lowered(pool.sources.slot("known:other")) == 0
    offer(pool, made([(0, 0, 9)]), "known:client")
    offer(pool, made([(1, 0, 5)]), "known:other")
    assert [who for who, _ in drawn(pool)] == [1, 0]
    for height in range(2, 202):
        settle(pool, height, {7: (0, 1)})
    assert pool.sources.lowered(slot) == 0


def test_a_source_has_its_share_of_rows_payload_and_rows_behind_gaps_and_a_member_more() -> None:
    bounds = pool_module.PoolBounds(
        1_024, 4, 64, payload_bytes_max=64 * 128, source_share=0.5, member_share=0.75, parked_rows_max=64
    )
    pool = pool_module.Pool(bounds, TAG, seed=1, prices=FREE)
    settle(pool, 1, {who: (0, 2**62) for who in range(64)})

    def taken(source: str, rows: list[tuple[int, int, int]], payload: bytes = b"") -> int:
        count = 0
        for row in rows:
            batch = made([row])
            if payload:
                batch.rows["payload_bytes"] = len(payload)
                batch.rows["payload_hash"] = np.frombuffer(payload_hash(payload), dtype=np.uint8)
                batch = Batch(batch.rows, np.frombuffer(payload, dtype=np.uint8))
            count += offer(pool, batch, source) == ["OK"]
        return count

    assert taken("anonymous:a", [(who, 9, 1) for who in range(64)]) == 32
    assert offer(pool, made([(63, 9, 1)]), "anonymous:a") == ["NONCE_GAP"]
    assert taken("anonymous:member-b", [(who, 9, 1) for who in range(32, 64)]) == 24
    assert taken("anonymous:a", [(0, nonce, 1) for nonce in range(64)], b"x") == 32
    assert taken("anonymous:c", [(1, nonce, 1) for nonce in range(64)], b"x") == 16
    assert taken("anonymous:a", [(who, nonce, 1) for who in range(2, 30) for nonce in range(20)]) == 428
    assert taken("anonymous:d", [(63, 0, 1)]) == 1
    settle(pool, 2, {who: (64, 2**62) for who in range(64)})
    assert (pool.depth, pool.parked) == (0, 0)
    assert not pool.arena.columns.sources["chunks"].any()
    assert taken("anonymous:a", [(who, 64, 1) for who in range(64)]) == 64


def test_committed_rows_earn_trust_and_expired_ones_cost_it() -> None:
    pool = pool_of(16, window=16)
    slot = pool.sources.slot("anonymous:10.0.0.1")
    batch = made([(0, nonce, 1) for nonce in range(3)])
    batch.rows["expiry_height"][2] = 5
    assert offer(pool, batch, "anonymous:10.0.0.1") == ["OK"] * 3
    settle(pool, 2, {0: (2, 2**62)})
    earned = float(pool.arena.columns.sources["score"][slot])
    assert earned == 2 * PRICES["committed"]
    assert pool.draw(10, 0, 6).batch.rows.size == 0
    settle(pool, 7, {7: (0, 1)})
    assert float(pool.arena.columns.sources["score"][slot]) == pytest.approx(
        earned + PRICES["expired"], abs=0.01
    )


def test_sources_are_named_and_bounded() -> None:
    table = pool_of(4).arena.columns.sources.copy()
    sources = Sources(table)
    for bad in ("stranger", "friend:x", "member:" + "x" * SOURCE_CHARS_MAX):
        with pytest.raises(FormatError, match="source"):
            sources.slot(bad)
    slots = [sources.slot(f"anonymous:{n}") for n in range(len(table) - 3)]
    assert sorted(slots) == list(range(3, len(table)))
    table["rows"][3:] = 1
    assert sources.slot("member:late") == 2
    table["rows"][5] = 0
    assert sources.slot("member:late") == 5
    assert sources.name(5) == "member:late"
    table["rows"][5] = 1
    assert sources.slot("anonymous:2") == 0


@settings(max_examples=15, deadline=None)
@given(fee=st.integers(0, 3), age_blocks=st.integers(1, 4), rows_max=st.sampled_from([2, 8, 24]))
def test_a_cheap_row_is_drawn_within_the_stated_bound_while_dear_ones_never_end(
    fee: int, age_blocks: int, rows_max: int
) -> None:
    senders = 3 * rows_max
    pool = pool_of(40 * rows_max, window=64, accounts=senders + 1, age_blocks=age_blocks)
    submit(pool, made([(senders, 0, fee)]))
    level, nonces, height = 3, [0] * senders, 1
    blocks_max = (level + 1) * age_blocks + SWEEP_BLOCKS + 1 + -(-40 * rows_max // max(rows_max // 8, 1))
    for _ in range(blocks_max):
        batch = [(who, nonces[who], 1_000) for who in range(senders)]
        submit(pool, made(batch))
        taken = [
            (int.from_bytes(row["sender"].tobytes(), "little"), int(row["nonce"]))
            for row in pool.draw(rows_max, 0, height).batch.rows
        ]
        if (senders, 0) in taken:
            return
        assert len(taken) == rows_max
        for who, nonce in taken:
            nonces[who] = nonce + 1
        height += 1
        settle(pool, height, {who: (nonces[who], 2**62) for who, _ in taken})
    pytest.fail(f"not drawn within {blocks_max} blocks")


def test_replacement_asks_for_a_tenth_more() -> None:
    pool = pool_of(16)
    submit(pool, made([(0, 0, 100), (0, 1, 100), (0, 2, 100)]))
    assert submit(pool, made([(0, 1, 109)])) == ["NONCE_REUSED"]
    assert submit(pool, made([(0, 1, 110)])) == ["OK"]
    rows, verdicts = pool.take_lost()
    assert (rows["fee"].tolist(), verdicts.tolist()) == ([100], [Verdict.NONCE_REUSED])
    assert pool.replaced == 1
    table = pool.draw(10, 0, 1).batch.rows
    assert (table["nonce"].tolist(), table["fee"].tolist()) == ([0, 1, 2], [100, 110, 100])
    assert submit(pool, made([(0, 1, 1_000)])) == ["NONCE_REUSED"]


def test_a_committed_row_is_refused_however_it_comes_back() -> None:
    pool, batch = pool_of(16), made([(0, 0, 5)])
    assert submit(pool, batch) == ["OK"]
    settle(pool, 2, {0: (1, 2**62)})
    assert submit(pool, batch) == ["NONCE_REUSED"]


def test_arrivals_are_renumbered_before_they_overflow() -> None:
    pool = pool_of(16)
    pool.arena.columns.totals[ARRIVALS] = ARRIVAL_MAX - 3
    assert submit(pool, made([(0, 0, 5), (1, 0, 5), (2, 0, 5)])) == ["OK"] * 3
    assert submit(pool, made([(3, 0, 5), (4, 0, 5)])) == ["OK"] * 2
    assert int(pool.arena.columns.totals[ARRIVALS]) == 5
    assert [who for who, _ in drawn(pool)] == [0, 1, 2, 3, 4]


def test_payload_bytes_are_bounded_by_a_setting() -> None:
    bounds = pool_module.PoolBounds(16, 4, 16, payload_bytes_max=256)
    pool = pool_module.Pool(bounds, TAG, seed=1, prices=FREE)
    settle(pool, 1, {0: (0, 100)})
    batch = made([(0, nonce, 1) for nonce in range(3)])
    batch.rows["payload_bytes"] = 128
    verdicts = np.zeros(3, dtype=np.uint8)
    pool.insert(Batch(batch.rows, np.zeros(384, dtype=np.uint8)), verdicts)
    assert verdicts.tolist() == [Verdict.OK, Verdict.OK, Verdict.POOL_FULL]


def test_payloads_of_rows_that_cannot_be_drawn_make_way() -> None:
    bounds = pool_module.PoolBounds(16, 4, 16, payload_bytes_max=512)
    pool = pool_module.Pool(bounds, TAG, seed=1, prices=FREE)
    settle(pool, 1, {0: (0, 2**40), 1: (0, 2**40)})

    def offered(rows: list[tuple[int, int, int]], size: int) -> list[str]:
        batch = made(rows)
        batch.rows["payload_bytes"] = size
        verdicts = np.zeros(len(rows), dtype=np.uint8)
        pool.insert(Batch(batch.rows, np.zeros(size * len(rows), dtype=np.uint8)), verdicts)
        return [Verdict(int(verdict)).name for verdict in verdicts]

    assert offered([(0, nonce, 10**6) for nonce in range(1, 6)], 128) == ["OK"] * 4 + ["POOL_FULL"]
    assert offered([(1, 0, 1)], 256) == ["OK"]
    rows, verdicts = pool.take_lost()
    assert (rows["nonce"].tolist(), verdicts.tolist()) == ([4, 3], [Verdict.POOL_FULL] * 2)
    assert [who for who, _ in drawn(pool)] == []
    assert pool.draw(10, 512, 1).batch.rows["sender"][:, 0].tolist() == [1]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=8),
    rows=st.sampled_from([4, 7]),
    read_max=st.integers(1, 9),
)
def test_an_outbox_hands_out_everything_it_still_holds_once_with_its_kind(
    sizes: list[list[int]], rows: int, read_max: int
) -> None:
    outbox = Outbox(rows, 40)
    everything: list[tuple[bytes, bytes, int]] = []
    for number, lengths in enumerate(sizes):
        batch = made([(number, nonce, len(lengths)) for nonce in range(len(lengths))])
        batch.rows["payload_bytes"] = lengths
        payloads = np.arange(sum(lengths), dtype=np.uint8) + np.uint8(number)
        whole, kinds = Batch(batch.rows, payloads), (np.arange(len(lengths)) % 3).astype(np.uint8)
        outbox.add(whole, kinds)
        ends = whole.payload_offsets
        everything += [
            (row.tobytes(), payloads[ends[i] : ends[i + 1]].tobytes(), int(kinds[i]))
            for i, row in enumerate(batch.rows)
        ]
    first, _ = outbox.since(0, read_max)
    seen, number = [], 0
    while (out := outbox.since(number, read_max))[0].next != number or out[0].missed:
        summary, read = out
        ends = read.payload_offsets
        seen += [
            (row.tobytes(), read.payloads[ends[i] : ends[i + 1]].tobytes(), int(summary.kinds[i]))
            for i, row in enumerate(read.rows)
        ]
        number = summary.next
    assert seen == everything[first.missed :]
    held = [len(payload) for _, payload, _ in everything[-rows:]]
    assert len(seen) == len(held) or sum(held) > 40
    assert outbox.since(outbox.total + 5, rows)[0].missed == first.missed
