"""The multilevel feedback queue: which level a row is in, and what each level gets of a block.

Rules
- A row enters at level 0 (best) to 3: by its fee per KiB of row and payload (16, 4 or 1 times `fee_unit`;
  less is level 3), moved by the standing of its source (sources.py) and kept within 0 to 3.
- Each `age_blocks` that it waits lift it by one level; above level 0 it is overdue. A sender stands in the
  queue of its next row, and is looked at again at the latest SWEEP_BLOCKS blocks after that is due.
- A block takes from the best level that has anything, by fee, then arrival; but a share of it is kept for
  each lower level (1/16, at least one row of 16) and for overdue rows (1/8, at least one), which go by
  arrival alone. Shares that find nothing to take are given back to the best levels.
- Rank for eviction is the level at admission, then the fee; neither waiting nor later behaviour changes it.

Bound: a sender's next row that stays in the pool is drawn at the latest
    (level + 1) x age_blocks + SWEEP_BLOCKS (pool.py)  blocks after it was admitted (then it is overdue), and
    ceil(overdue rows that arrived before it / (rows_max / 8))  draws after that,
as long as draws are not cut short by payload bytes.
"""

from __future__ import annotations

import numpy as np

from actors.kernels.numba_options import inlined_kernel, kernel
from actors.ledger.rows import ROW_BYTES, WORD_FEE
from actors.mempool.arena import AGE_BLOCKS, FEE_UNIT, HEIGHT, LEVELS, OVERDUE, READY_SIZE

LOWEST = LEVELS - 1
OVERDUE_SHARE, LEVEL_SHARE = 8, 16
FEE_RANK_BITS = 60
_FEE_RANK_MAX = np.uint64((1 << FEE_RANK_BITS) - 2)
_U32_MASK = np.int64(0xFFFFFFFF)
_PAYLOAD_SHIFT = np.uint64(32)


@kernel
def level_of(p, words, i, lowered):  # type: ignore[no-untyped-def]
    """Level of row i at admission; `lowered` levels are taken away for its source (below 0: given)."""
    kib_1024 = np.uint64(ROW_BYTES) + (words[i, 0] >> _PAYLOAD_SHIFT)
    unit = np.uint64(p.totals[FEE_UNIT]) * kib_1024
    level = LOWEST
    fee = words[i, WORD_FEE]
    for k in range(LOWEST):  # fee per KiB >= unit * 4^k, in whole numbers: fee >= ceil(unit * 4^k / 1024)
        if fee >= (unit * np.uint64(1 << (2 * k)) + np.uint64(1023)) >> np.uint64(10):
            level = LOWEST - 1 - k
    return min(max(level + lowered, 0), LOWEST)


@inlined_kernel
def rank_of(level, fee):  # type: ignore[no-untyped-def]
    """Rank for eviction: level, then fee; above 0. Fees from 2^60-2 on rank alike."""
    return (np.uint64(LOWEST - level) << np.uint64(FEE_RANK_BITS)) + min(fee, _FEE_RANK_MAX) + np.uint64(1)


@inlined_kernel
def queue_of(p, slot):  # type: ignore[no-untyped-def]
    """The queue that a row belongs in at the present height: a level, or OVERDUE."""
    waited = (p.totals[HEIGHT] - np.int64(p.links[slot].since)) & _U32_MASK
    lifted = np.int64(p.links[slot].level) - waited // p.totals[AGE_BLOCKS]
    return np.int64(OVERDUE) if lifted < 0 else lifted


@kernel
def best_queue(p, queues):  # type: ignore[no-untyped-def]
    """The first of that many queues that has anything, or -1."""
    for queue in range(queues):
        if p.totals[READY_SIZE + queue] > 0:
            return np.int64(queue)
    return np.int64(-1)


@kernel
def share_of(queue, rows_max):  # type: ignore[no-untyped-def]
    """Rows of a draw that are kept for a queue."""
    if queue == OVERDUE:
        return max(rows_max // OVERDUE_SHARE, min(rows_max, 1))
    return rows_max // LEVEL_SHARE if queue > 0 else 0
