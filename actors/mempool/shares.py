"""What each source may hold of a pool, and how much of it may wait for something. All functions are compiled.

Rules
- A source holds at most `reach` / 1024 times what is free of rows and of payload chunks: the dynamic
  threshold of actors/sharing.py. A part of 1 in LEAST_PARTS is anybody's, or the pool would close when many
  share it.
- A row behind a gap is parked: nothing can be done with it until another one comes. Parked rows have a bound
  of their own (PARKED_MAX), of which a source may hold its reach likewise; beyond it they are refused as
  NONCE_GAP, and the client is told to send the missing nonces first. A row that stops being ready (the one
  before it was dropped) is parked whatever the bound is; it is counted, and no more come in.
- A reach of 0 is no bound.

A row is parked exactly if its floor is 0 (sender_queue.py), so whoever sets a floor does it by `set_floor`.
"""

from __future__ import annotations

import numpy as np

from actors.kernels.numba_options import inlined_kernel, kernel
from actors.ledger.verdict import Verdict
from actors.mempool.arena import (
    CHUNKS_LIVE,
    CHUNKS_MAX,
    PARKED,
    PARKED_MAX,
    ROWS_LIVE,
    ROWS_MAX,
)
from actors.sharing import REACH_UNIT

OK, DUPLICATE, PARKED_VERDICT = int(Verdict.OK), int(Verdict.DUPLICATE), int(Verdict.PARKED)
POOL_FULL, NONCE_GAP = int(Verdict.POOL_FULL), int(Verdict.NONCE_GAP)
LEAST_PARTS = 256
_ZERO = np.uint64(0)


@kernel
def share_of_source(p, source, chunks, parked):  # type: ignore[no-untyped-def]
    """OK, or why a source may not hold one more row with that many chunks of payload, parked or not."""
    reach = p.sources[source].reach
    if reach == 0:
        return OK
    if _beyond(p.sources[source].rows + 1, reach, p.totals[ROWS_MAX], p.totals[ROWS_LIVE] + 1):
        return POOL_FULL
    if chunks > 0 and _beyond(
        p.sources[source].chunks + chunks, reach, p.totals[CHUNKS_MAX], p.totals[CHUNKS_LIVE] + chunks
    ):
        return POOL_FULL
    if parked:
        free = p.totals[PARKED_MAX] - p.totals[PARKED] - 1
        if (p.sources[source].parked + 1) * REACH_UNIT > reach * free:
            return NONCE_GAP
    return OK


@inlined_kernel
def _beyond(mine, reach, bound, live):  # type: ignore[no-untyped-def]
    least = max(bound // LEAST_PARTS, 1)
    return mine > least and mine * REACH_UNIT > reach * max(bound - live, 0)


@inlined_kernel
def set_floor(p, slot, floor):  # type: ignore[no-untyped-def]
    """Give a row of a chain its floor, and count it as parked or not."""
    parked = np.int64(floor == _ZERO) - np.int64(p.links[slot].floor == _ZERO)
    if parked != 0:
        count_parked(p, slot, parked)
    p.links[slot].floor = floor


@inlined_kernel
def count_parked(p, slot, rows):  # type: ignore[no-untyped-def]
    """Count rows of a slot's source as parked; less, if negative."""
    p.totals[PARKED] += rows
    p.sources[p.links[slot].source].parked += rows


@kernel
def tell_parked(p, slots, words, verdicts, nonce_word):  # type: ignore[no-untyped-def]
    """Make the verdict of rows that are held and wait for another nonce PARKED."""
    for i in range(len(words)):
        s = slots[i]
        held = verdicts[i] == OK or verdicts[i] == DUPLICATE
        if held and s >= 0 and words[i, nonce_word] >= p.senders[s].ready_end:
            verdicts[i] = PARKED_VERDICT
