"""What the pool does to whole batches, compiled: screen, insert, draw, resolve, settle, release, gather.

`p` is arena.Columns, `slots` are senders' slots from the key index. Every kernel leaves the pool consistent.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.rows import ROW_BYTES, ROW_WORDS, WORD_EXPIRY, WORD_NONCE
from actors.ledger.verdict import Verdict
from actors.mempool.arena import (
    ARRIVALS,
    COMMITTED,
    DURABLE_BYTES,
    DURABLE_ROWS,
    INFLIGHT,
    LOST,
    LOST_ROWS_MAX,
    READY_SIZE,
    ROWS_LIMIT,
    ROWS_LIVE,
    ROWS_TOUCHED,
)
from actors.mempool.chain import (
    DUPLICATE,
    INSUFFICIENT_BALANCE,
    NONCE_GAP,
    NONCE_REUSED,
    OK,
    POOL_FULL,
    copy_payload,
    judge,
    link_row,
    lose,
    lose_tail,
    lowest_sender,
    payload_bytes,
    refresh,
    remove,
    set_cursor,
    set_evictable,
)

EXPIRED, UNAVAILABLE = int(Verdict.EXPIRED), int(Verdict.UNAVAILABLE)
_STALE, _MARKED = 1, 2


@njit(cache=True)
def screen(p, slots, words, verdicts):  # type: ignore[no-untyped-def]
    """Fill in verdicts of rows that still have none, each against the pool as it is; inserts nothing."""
    for i in range(len(words)):
        if verdicts[i] == OK:
            verdicts[i] = judge(p, slots[i], words, i, True)[0]


@njit(cache=True)
def insert(p, slots, words, payloads, offsets, verdicts, durable):  # type: ignore[no-untyped-def]
    """Insert rows whose verdict is OK, one after the other; judged anew, as the pool may have changed.

    At the bound the lowest-ranked row makes way for one that ranks higher. With `durable`, rows inserted and
    rows found pending are marked as journalled. A row that was DUPLICATE and no longer is pending becomes
    UNAVAILABLE: its signature was not looked at.
    """
    for i in range(len(words)):
        known = verdicts[i] == DUPLICATE and durable
        if verdicts[i] != OK and not known:
            continue
        s = slots[i]
        verdict, before, same, floor = judge(p, s, words, i, False)
        if known:
            verdicts[i] = UNAVAILABLE if verdict == OK else verdict
        else:
            verdicts[i] = verdict
        slot = same if verdict == DUPLICATE else np.int64(-1)
        if verdict == OK and not known:
            if p.totals[ROWS_LIVE] >= p.totals[ROWS_LIMIT]:
                lose_tail(p, lowest_sender(p), POOL_FULL)
            p.totals[ARRIVALS] += 1
            slot = link_row(p, s, words, i, before, floor, payloads, offsets[i], p.totals[ARRIVALS])
        if durable and slot >= 0 and p.links[slot].durable == 0:
            p.links[slot].durable = 1
            p.totals[DURABLE_ROWS] += 1
            p.totals[DURABLE_BYTES] += ROW_BYTES + payload_bytes(p.words, slot)


@njit(cache=True)
def draw(p, draw_id, height, payload_bytes_max, out, aside):  # type: ignore[no-untyped-def]
    """Take up to len(out) ready rows, highest fee first, then by arrival, a sender's by nonce; fills `out`.

    Rows in `out` become in flight. A sender whose next payload does not fit sits this draw out (`aside`). A
    row found expired is dropped. Returns (rows, payload bytes).
    """
    count = size_total = skipped = 0
    while count < len(out) and p.totals[READY_SIZE] > 0 and skipped < len(aside):
        s = p.ready[0].who
        slot = np.int64(p.senders[s].cursor)
        if p.words[slot, WORD_EXPIRY] < height:
            if p.totals[LOST] >= LOST_ROWS_MAX:
                break
            lose(p, slot, EXPIRED)
            refresh(p, s)
            continue
        size = payload_bytes(p.words, slot)
        if size_total + size > payload_bytes_max:
            aside[skipped] = slot
            skipped += 1
            set_cursor(p, s, np.int64(-1))
            continue
        out[count] = slot
        count += 1
        size_total += size
        p.links[slot].draw = draw_id
        p.totals[INFLIGHT] += 1
        set_cursor(p, s, _next_ready(p, s, slot))
    for i in range(skipped):
        set_cursor(p, p.links[aside[i]].owner, aside[i])
    return count, size_total


@njit(cache=True)
def _next_ready(p, s, slot):  # type: ignore[no-untyped-def]
    """The first pending ready row at or behind `slot`, or -1."""
    while slot >= 0 and p.links[slot].draw != 0:
        slot = np.int64(p.links[slot].next)
    if slot >= 0 and p.words[slot, WORD_NONCE] >= p.senders[s].ready_end:
        return np.int64(-1)
    return slot


@njit(cache=True)
def gather(p, slots, words_out, payloads_out):  # type: ignore[no-untyped-def]
    """Copy rows and their payloads out, in the order of `slots`."""
    end = 0
    for i in range(len(slots)):
        slot = slots[i]
        for k in range(ROW_WORDS):
            words_out[i, k] = p.words[slot, k]
        if p.links[slot].chunk >= 0:
            end = copy_payload(p, slot, payloads_out, end)


@njit(cache=True)
def resolve(p, draw_id, drawn, verdicts):  # type: ignore[no-untyped-def]
    """Apply what execution said of a draw's rows; rows that have left the draw meanwhile are passed over.

    OK and NONCE_REUSED stay in flight: either a block that is being committed has used the nonce, and then
    settling drops the row, or that block is given up, and release brings it back. NONCE_GAP returns to
    pending, anything else is dropped.
    """
    owners = np.full(len(drawn), -1, dtype=np.int64)
    for i in range(len(drawn)):
        slot = drawn[i]
        if p.links[slot].draw != draw_id or verdicts[i] == OK or verdicts[i] == NONCE_REUSED:
            continue
        owners[i] = p.links[slot].owner
        p.senders[owners[i]].stale = _MARKED
        if verdicts[i] == NONCE_GAP:
            p.links[slot].draw = 0
            p.totals[INFLIGHT] -= 1
        else:
            lose(p, slot, verdicts[i])
    for s in owners:
        if s >= 0 and p.senders[s].stale == _MARKED:
            refresh(p, s)


@njit(cache=True)
def release(p):  # type: ignore[no-untyped-def]
    """Every row in flight is pending again."""
    for slot in range(p.totals[ROWS_TOUCHED]):
        if p.links[slot].draw != 0:
            p.links[slot].draw = 0
            p.senders[p.links[slot].owner].stale = _MARKED
    p.totals[INFLIGHT] = 0
    for s in range(len(p.senders)):
        if p.senders[s].stale == _MARKED:
            refresh(p, s)


@njit(cache=True)
def settle(p, slots, nonces, balances):  # type: ignore[no-untyped-def]
    """Take over committed nonces and balances; drop the rows they used up, and what became unaffordable."""
    for i in range(len(slots)):
        s = slots[i]
        if nonces[i] < p.senders[s].nonce:
            continue
        p.senders[s].balance = balances[i]
        if nonces[i] > p.senders[s].nonce:
            _advance(p, s, nonces[i])
        while p.senders[s].spend > p.senders[s].balance:
            tail = p.senders[s].tail
            if tail < 0 or p.links[tail].draw != 0:
                break
            lose_tail(p, s, INSUFFICIENT_BALANCE)


@njit(cache=True)
def _advance(p, s, nonce):  # type: ignore[no-untyped-def]
    p.senders[s].nonce = nonce
    cursor_gone = False
    slot = np.int64(p.senders[s].head)
    while slot >= 0 and p.words[slot, WORD_NONCE] < nonce:
        cursor_gone = cursor_gone or p.senders[s].cursor == slot
        after = np.int64(p.links[slot].next)
        remove(p, slot)
        p.totals[COMMITTED] += 1
        slot = after
    if nonce > p.senders[s].ready_end:
        refresh(p, s)
        return
    p.senders[s].stale = _STALE
    if cursor_gone:
        set_cursor(p, s, _next_ready(p, s, slot))
    if slot < 0:
        set_evictable(p, s)


@njit(cache=True)
def live_slots(p, durable_only, out):  # type: ignore[no-untyped-def]
    """Slots of pending rows by sender and nonce, all or the journalled ones; returns how many."""
    count = 0
    for s in range(len(p.senders)):
        slot = np.int64(p.senders[s].head)
        while slot >= 0:
            if not durable_only or p.links[slot].durable != 0:
                out[count] = slot
                count += 1
            slot = np.int64(p.links[slot].next)
    return count
