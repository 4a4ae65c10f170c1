"""Compiles what the mempool needs before its first row comes."""

from __future__ import annotations

import numpy as np

from actors.ledger.delta import AccountStates
from actors.ledger.prices import FREE
from actors.ledger.rows import ROW_DTYPE, WORD_NONCE, Batch, row_matrix
from actors.mempool import kernels
from actors.mempool.contract_keys import fold
from actors.mempool.pending import lose_parked
from actors.mempool.pool import ARRIVAL_MAX, Pool, PoolBounds
from actors.mempool.shares import tell_parked


def warm() -> None:
    """Compile every kernel of the mempool on a tiny pool."""
    pool = Pool(PoolBounds(16, 16, 4, spread_rows=2), chain_tag=1, seed=0, prices=FREE)
    rows = np.zeros(2, dtype=ROW_DTYPE)
    rows["version"] = rows["kind"] = rows["chain_tag"] = 1
    row_matrix(rows)[1, 48] = 1
    batch = Batch(rows, np.empty(0, dtype=np.uint8))
    verdicts, ones = np.zeros(2, dtype=np.uint8), np.ones(2, dtype=np.uint64)
    pool.settle(AccountStates(0, rows["sender"], ones - ones, ones))
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts, durable=True)
    tell_parked(pool.arena.columns, np.zeros(2, dtype=np.int64), batch.words, verdicts, WORD_NONCE)
    drawn = pool.draw(2, 0, 0)
    fold(np.zeros((1, 4), dtype=np.uint64), np.zeros(2, dtype=np.uint64), np.zeros(1, dtype=np.uint64))
    pool.resolve(drawn.draw, np.zeros(len(drawn.batch), dtype=np.uint8))
    pool.release()
    pool.journalled()
    pool.own_rows(2, ARRIVAL_MAX, 1)
    pool.pending(bytes(32))
    lose_parked(pool.arena.columns, 0, 0)
    kernels.renumber(pool.arena.columns, np.empty(0, dtype=np.int64), 0)
    pool.settle(AccountStates(1, rows["sender"], ones, ones))
