"""Single properties of the pool that deserve a name, beside the model that covers them together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.delta import AccountStates
from actors.ledger.prices import FREE
from actors.ledger.rows import ROW_DTYPE, Batch, FormatError
from actors.ledger.verdict import Verdict
from actors.mempool.arena import CHUNK_BYTES, CHUNKS_TOUCHED, ROWS_LIMIT
from actors.mempool.pool import DRAWS_OPEN_MAX, Pool, PoolBounds

TAG = 9
NO_BYTES = np.empty(0, dtype=np.uint8)


def key(who: int) -> np.ndarray[Any, Any]:
    return np.frombuffer(who.to_bytes(32, "little"), dtype=np.uint8)


def made(rows: list[tuple[int, int, int]], amount: int = 0) -> Batch:
    """A batch of (sender, nonce, fee)."""
    table = np.zeros(len(rows), dtype=ROW_DTYPE)
    table["version"] = table["kind"] = 1
    table["chain_tag"], table["expiry_height"], table["amount"] = TAG, 2**64 - 1, amount
    for i, (who, nonce, fee) in enumerate(rows):
        table[i]["sender"], table[i]["nonce"], table[i]["fee"] = key(who), nonce, fee
    return Batch(table, NO_BYTES)


def pool_of(
    capacity: int, window: int = 16, accounts: int = 8, balance: int = 2**64 - 1, age_blocks: int = 10**6
) -> Pool:
    pool = Pool(PoolBounds(capacity, 4, window, age_blocks=age_blocks), TAG, seed=1, prices=FREE)
    settle(pool, 1, {who: (0, balance) for who in range(accounts)})
    return pool


def settle(pool: Pool, height: int, accounts: dict[int, tuple[int, int]]) -> None:
    keys = np.stack([key(who) for who in accounts])
    nonces, balances = (np.array([a[i] for a in accounts.values()], dtype=np.uint64) for i in (0, 1))
    pool.settle(AccountStates(height, keys, nonces, balances))


def submit(pool: Pool, batch: Batch) -> list[str]:
    verdicts = pool.static(batch)
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts)
    return [Verdict(int(verdict)).name for verdict in verdicts]


def drawn(pool: Pool, rows_max: int = 100) -> list[tuple[int, int]]:
    rows = pool.draw(rows_max, 0, 1).batch.rows
    return [(int(row["sender"][0]), int(row["nonce"])) for row in rows]


def test_a_rich_row_behind_a_poor_one_does_not_protect_it_from_eviction() -> None:
    pool = pool_of(3)
    assert submit(pool, made([(0, 0, 1), (0, 1, 99), (1, 0, 5)])) == ["OK"] * 3
    assert submit(pool, made([(2, 0, 3)])) == ["OK"]
    assert drawn(pool) == [(1, 0), (2, 0), (0, 0)]


def test_a_row_ranks_higher_once_the_poor_ones_before_it_are_committed() -> None:
    pool = pool_of(3)
    submit(pool, made([(0, 0, 1), (0, 1, 9), (1, 0, 5)]))
    settle(pool, 2, {0: (1, 100)})
    assert submit(pool, made([(2, 0, 7), (3, 0, 8)])) == ["OK", "OK"]
    assert drawn(pool) == [(0, 1), (3, 0), (2, 0)]


def test_a_run_of_one_sender_displaces_lower_rows_of_a_full_pool() -> None:
    pool = pool_of(4)
    submit(pool, made([(0, nonce, 1) for nonce in range(4)]))
    assert submit(pool, made([(1, nonce, 2) for nonce in range(5)])) == ["OK"] * 4 + ["POOL_FULL"]
    rows, verdicts = pool.take_lost()
    assert rows["nonce"].tolist() == [3, 2, 1, 0]
    assert set(verdicts.tolist()) == {Verdict.POOL_FULL}


def test_a_row_behind_a_gap_displaces_nothing() -> None:
    pool = pool_of(2)
    submit(pool, made([(0, 0, 1), (1, 0, 1)]))
    assert submit(pool, made([(2, 1, 1000)])) == ["POOL_FULL"]


def test_fees_of_the_whole_64_bits_keep_their_order() -> None:
    pool = pool_of(8)
    fees = [2**63, 2**63 - 1, 2**64 - 1, 0, 2**53 + 1, 2**53]
    assert set(submit(pool, made([(who, 0, fee) for who, fee in enumerate(fees)]))) == {"OK"}
    assert [who for who, _ in drawn(pool)] == [2, 0, 1, 4, 5, 3]


def test_window_and_sender_limit() -> None:
    pool = pool_of(64, window=3)
    assert submit(pool, made([(0, 3, 1)])) == ["NONCE_GAP"]
    assert submit(pool, made([(0, 0, 1), (0, 2, 1)])) == ["OK", "OK"]
    assert drawn(pool) == [(0, 0)]
    assert submit(pool, made([(0, 1, 1)])) == ["OK"]
    assert submit(pool, made([(0, 3, 1)])) == ["SENDER_LIMIT"]
    assert drawn(pool) == [(0, 1), (0, 2)]


def test_spending_is_bounded_over_the_whole_chain_without_overflow() -> None:
    pool = pool_of(64, balance=2**64 - 1)
    big = made([(0, 0, 0), (0, 1, 0)], amount=2**63)
    assert submit(pool, big) == ["OK", "INSUFFICIENT_BALANCE"]
    assert submit(pool, made([(0, 1, 0)], amount=2**63 - 1)) == ["OK"]
    assert submit(pool, made([(0, 2, 1)])) == ["INSUFFICIENT_BALANCE"]


def test_strangers_without_rows_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.mempool.pool._PHANTOM_SENDERS_MIN", 8)
    pool = pool_of(3)
    submit(pool, made([(0, 0, 3), (1, 0, 2)]))
    for nonce in range(300):
        assert submit(pool, made([(3, nonce, 9)])) == ["OK"]
        settle(pool, nonce + 2, {3: (nonce + 1, 2**63), 1000 + nonce: (1, 0)})
    assert submit(pool, made([(1000, 0, 0)])) == ["INSUFFICIENT_BALANCE"]
    assert len(pool.arena.columns.senders) < 100
    assert submit(pool, made([(2, 0, 9)])) == ["OK"]
    assert drawn(pool) == [(2, 0), (0, 0), (1, 0)]


def test_memory_grows_by_half_and_goes_back_when_idle() -> None:
    pool = pool_of(1000, window=1000)
    limits = set()
    for nonce in range(0, 600, 3):
        submit(pool, made([(0, nonce + i, 1) for i in range(3)]))
        limits.add(int(pool.arena.columns.totals[ROWS_LIMIT]))
    steps = sorted(limits)
    assert all(after <= max(before * 3 // 2, before + 3) for before, after in pairwise(steps))
    settle(pool, 2, {0: (600, 100)})
    assert pool.depth == 0
    assert pool.memory()["rows_touched"] == 0
    assert pool.memory()["rows_peak"] == 600
    assert submit(pool, made([(0, 600, 1)])) == ["OK"]
    assert drawn(pool) == [(0, 600)]


@pytest.mark.parametrize("size", [3 * CHUNK_BYTES + 1, ROW_PAYLOAD_BYTES_MAX])
def test_payload_chunks_are_reused(size: int) -> None:
    pool = pool_of(8)
    payload = np.arange(size, dtype=np.int64).astype(np.uint8)
    for nonce in range(20):
        batch = made([(0, nonce, 1)])
        batch.rows["payload_bytes"] = len(payload)
        verdicts = np.zeros(1, dtype=np.uint8)
        pool.insert(Batch(batch.rows, payload), verdicts)
        assert verdicts[0] == Verdict.OK
        assert not len(pool.draw(1, size - 1, 1).batch)
        assert pool.draw(1, size, 1).batch.payloads.tobytes() == payload.tobytes()
        settle(pool, nonce + 2, {0: (nonce + 1, 100)})
    assert pool.arena.columns.totals[CHUNKS_TOUCHED] == -(-size // CHUNK_BYTES)


def test_rows_for_which_a_block_has_too_little_gas_left_are_drawn_again() -> None:
    pool = pool_of(8)
    submit(pool, made([(0, 0, 9), (1, 0, 8), (1, 1, 8), (2, 0, 7)]))
    number = pool.draw(4, 0, 1).draw
    said = [Verdict.OK, Verdict.BLOCK_GAS, Verdict.NONCE_GAP, Verdict.OK]
    assert pool.resolve(number, np.array(said, dtype=np.uint8))
    assert (pool.depth, pool.inflight) == (4, 2)
    assert drawn(pool) == [(1, 0), (1, 1)]


def test_verdicts_of_another_length_and_unknown_draws() -> None:
    pool = pool_of(8)
    submit(pool, made([(0, 0, 1)]))
    number = pool.draw(1, 0, 1).draw
    with pytest.raises(FormatError, match="verdicts"):
        pool.resolve(number, np.zeros(2, dtype=np.uint8))
    assert pool.resolve(number, np.zeros(1, dtype=np.uint8))
    assert not pool.resolve(number, np.zeros(1, dtype=np.uint8))


def test_open_draws_are_bounded() -> None:
    pool = pool_of(1000, window=1000)
    submit(pool, made([(0, nonce, 1) for nonce in range(DRAWS_OPEN_MAX + 1)]))
    numbers = [pool.draw(1, 0, 1).draw for _ in range(DRAWS_OPEN_MAX + 1)]
    assert not pool.resolve(numbers[0], np.zeros(1, dtype=np.uint8))
    assert pool.resolve(numbers[1], np.zeros(1, dtype=np.uint8))
    pool.release()
    assert pool.inflight == 0


def test_a_row_that_closes_a_gap_is_paid_for_before_those_behind_it() -> None:
    pool = pool_of(16, balance=10)
    assert submit(pool, made([(0, 2, 4), (0, 3, 5)])) == ["OK"] * 2
    assert submit(pool, made([(0, 1, 2)])) == ["INSUFFICIENT_BALANCE"]
    assert submit(pool, made([(0, 0, 11)])) == ["INSUFFICIENT_BALANCE"]
    assert submit(pool, made([(0, 0, 6)])) == ["OK"]
    rows, verdicts = pool.take_lost()
    assert (rows["nonce"].tolist(), verdicts.tolist()) == ([3], [Verdict.INSUFFICIENT_BALANCE])
    assert drawn(pool) == [(0, 0)]
