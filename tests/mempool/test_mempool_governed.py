"""What a mempool takes of governed functions: rows that governors approve, and no effects."""

from __future__ import annotations

import numpy as np

from actors.ledger.delta import AccountStates
from actors.ledger.governed_payloads import NO_GOVERNORS, Governors
from actors.ledger.prices import FREE
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from actors.mempool.pool import Pool, PoolBounds
from tests.ledger.governed_blocks import (
    GOVERNORS,
    effects_of,
    function_row,
    payload_of,
    statement,
    with_effects,
)
from tests.storage.storage_batches import key

TAG, SENDER, TREASURY = 77, key(0), key(1)
SAID = statement(TAG, SENDER, TREASURY)


def pool_of(governors: Governors) -> Pool:
    pool = Pool(PoolBounds(100, 100, 10), TAG, 5, FREE, governors=governors)
    keys = np.frombuffer(SENDER, dtype=np.uint8).reshape(1, 32)
    pool.settle(AccountStates(1, keys, np.zeros(1, dtype=np.uint64), np.full(1, 1_000, dtype=np.uint64)))
    return pool


def admitted(batch: Batch, governors: Governors = GOVERNORS) -> list[int]:
    pool = pool_of(governors)
    verdicts = pool.static(batch)
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts)
    assert pool.depth == sum(verdicts == Verdict.OK)
    return [int(verdict) for verdict in verdicts]


def test_a_function_is_admitted_whose_governors_have_signed_it() -> None:
    assert admitted(function_row(SAID)) == [Verdict.OK]
    assert admitted(function_row(SAID), NO_GOVERNORS) == [Verdict.NOT_APPROVED]
    assert admitted(function_row(SAID, payload_of(SAID, (1,)))) == [Verdict.NOT_APPROVED]
    assert admitted(function_row(SAID, amount=1)) == [Verdict.BAD_PAYLOAD]
    assert admitted(function_row(SAID, b"\x01")) == [Verdict.BAD_PAYLOAD]


def test_effects_are_nobodys_to_submit() -> None:
    both = with_effects(function_row(SAID), SENDER, effects_of({0: 1}), TAG)
    assert admitted(both) == [Verdict.OK, Verdict.UNKNOWN_KIND]


def test_a_function_is_drawn_and_comes_back_while_it_waits() -> None:
    pool = pool_of(GOVERNORS)
    row = function_row(SAID)
    pool.insert(row, pool.static(row))
    drawn = pool.draw(10, 1 << 20, 2)
    assert drawn.batch.payloads.tobytes() == row.payloads.tobytes()
    assert len(pool.draw(10, 1 << 20, 2).batch) == 0
    pool.resolve(drawn.draw, np.array([Verdict.BLOCK_GAS], dtype=np.uint8))
    again = pool.draw(10, 1 << 20, 2)
    assert len(again.batch) == 1
    pool.resolve(again.draw, np.array([Verdict.FUNCTION_REFUSED], dtype=np.uint8))
    rows, why = pool.take_lost()
    assert (len(rows), why.tolist()) == (1, [Verdict.FUNCTION_REFUSED])
