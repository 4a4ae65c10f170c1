"""What the pool does to whole batches, compiled: screen, insert, draw, resolve, settle, release, gather.

`p` is arena.Columns, `slots` are senders' slots from the key index. Every kernel leaves the pool consistent.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.kernels.numba_options import inlined_kernel, kernel
from actors.ledger.rows import ROW_BYTES, ROW_WORDS, WORD_EXPIRY, WORD_FEE, WORD_NONCE
from actors.ledger.verdict import Verdict
from actors.mempool.arena import (
    ARRIVALS,
    COMMITTED,
    DURABLE_BYTES,
    DURABLE_ROWS,
    HEIGHT,
    INFLIGHT,
    LOST,
    LOST_ROWS_MAX,
    OVERDUE,
    QUEUES,
    READY_SIZE,
    ROWS_TOUCHED,
    SWEEP_AT,
)
from actors.mempool.heap import ROOT, WAYS
from actors.mempool.levels import FEE_RANK_BITS, best_queue, queue_of, share_of
from actors.mempool.payloads import copy_payload, payload_bytes
from actors.mempool.sender_queue import (
    DUPLICATE,
    EXPIRED,
    INSUFFICIENT_BALANCE,
    NONCE_GAP,
    NONCE_REUSED,
    OK,
    POOL_FULL,
    ZERO,
    judge,
    link_row,
    lose,
    lose_unaffordable,
    make_room,
    refresh,
    remove,
    replace_row,
    set_cursor,
    set_evictable,
)

UNAVAILABLE, BLOCK_GAS = int(Verdict.UNAVAILABLE), int(Verdict.BLOCK_GAS)
_STALE, _MARKED = 1, 2
LOOKS_MAX, LOOKS_CYCLE = 255, 64
_RANK_SHIFT, _FEE_MAX = np.uint64(FEE_RANK_BITS), np.uint64(2**FEE_RANK_BITS - 1)


@kernel
def screen(p, slots, words, sources, lowered, verdicts):  # type: ignore[no-untyped-def]
    """Fill in verdicts of rows that still have none, each against the pool as it is; inserts nothing."""
    for i in range(len(words)):
        if verdicts[i] == OK:
            verdicts[i] = judge(p, slots[i], words, i, sources[i], np.int64(lowered[i]), True)[0]


@kernel
def insert(  # type: ignore[no-untyped-def]
    p, slots, words, payloads, offsets, sources, lowered, verdicts, durable, own, taken
):
    """Insert rows whose verdict is OK, one after the other; judged anew, as the pool may have changed.

    Fills `taken` with the rows that are new here and returns how many. At the bounds the lowest-ranked rows
    make way for one that ranks higher. With `durable`, rows inserted and rows found pending are marked as
    journalled; with `own`, as handed in here: whoever passed a row on may be gone, and its client has come to
    this node. A row that was DUPLICATE and no longer is pending becomes UNAVAILABLE: its signature was not
    looked at.
    """
    count = 0
    for i in range(len(words)):
        known = verdicts[i] == DUPLICATE and (durable or own)
        if verdicts[i] != OK and not known:
            continue
        s = slots[i]
        source, fall = sources[i], np.int64(lowered[i])
        verdict, before, same, floor = judge(p, s, words, i, source, fall, False)
        if known:
            verdicts[i] = UNAVAILABLE if verdict == OK else verdict
        else:
            verdicts[i] = verdict
        slot = same if verdict == DUPLICATE else np.int64(-1)
        if verdict == OK and not known and same < 0 and not make_room(p, floor, payload_bytes(words, i)):
            verdict = verdicts[i] = POOL_FULL
        if verdict == OK and not known:
            p.totals[ARRIVALS] += 1
            arrival, start = p.totals[ARRIVALS], offsets[i]
            if same >= 0:
                slot = replace_row(p, s, same, words, i, before, source, fall, own, payloads, start, arrival)
            else:
                slot = link_row(p, s, words, i, before, floor, source, fall, own, payloads, start, arrival)
                lose_unaffordable(p, s)
            taken[count] = i
            count += 1
        if slot >= 0 and own and p.links[slot].own == 0:
            p.links[slot].own = 1
        if durable and slot >= 0 and p.links[slot].durable == 0:
            p.links[slot].durable = 1
            p.totals[DURABLE_ROWS] += 1
            size = ROW_BYTES + payload_bytes(p.words, slot)
            p.totals[DURABLE_BYTES] += size
            p.sources[p.links[slot].source].durable_bytes += size
    return count


@kernel
def draw(p, draw_id, height, payload_bytes_max, out, ranks, aside):  # type: ignore[no-untyped-def]
    """Take up to len(out) ready rows as levels.py says, a sender's by nonce; fills `out` and `ranks`.

    Rows in `out` become in flight. A sender whose next payload does not fit sits this draw out (`aside`). A
    row found expired is dropped. Returns the number of rows.
    """
    rows_max = len(out)
    kept = 0
    for queue in range(QUEUES):
        kept += share_of(queue, rows_max)
    count, size, skipped, _ = _take(p, draw_id, height, payload_bytes_max, -1, 0, rows_max - kept, 0, 0,
                                    out, ranks, aside)  # fmt: skip
    for turn in range(QUEUES):
        queue = (OVERDUE + turn) % QUEUES
        stop = min(count + share_of(queue, rows_max), rows_max)
        count, size, skipped, _ = _take(p, draw_id, height, payload_bytes_max, queue, count, stop, size,
                                        skipped, out, ranks, aside)  # fmt: skip
    count, size, skipped, _ = _take(p, draw_id, height, payload_bytes_max, -1, count, rows_max, size,
                                    skipped, out, ranks, aside)  # fmt: skip
    for i in range(skipped):
        set_cursor(p, p.links[aside[i]].owner, aside[i])
    return count


@kernel
def _take(  # type: ignore[no-untyped-def]
    p, draw_id, height, payload_bytes_max, queue, count, stop, size_total, skipped, out, ranks, aside
):
    """Draw from one queue, or from the best at each time (-1), until `stop` rows are in `out`."""
    any_queue = queue < 0
    touched = np.uint64(0)
    while count < stop and skipped < len(aside):
        if any_queue:
            queue = best_queue(p, QUEUES)
        if queue < 0 or p.totals[READY_SIZE + queue] == 0:
            break
        s = np.int64(p.ready[queue, ROOT].who)
        slot = np.int64(p.senders[s].cursor)
        if np.uint64(p.links[slot].expiry) < height and p.words[slot, WORD_EXPIRY] < height:
            if p.totals[LOST] >= LOST_ROWS_MAX:
                break
            lose(p, slot, EXPIRED)
            refresh(p, s)
            continue
        size = np.int64(p.links[slot].size)
        if size_total + size > payload_bytes_max:
            aside[skipped] = slot
            skipped += 1
            set_cursor(p, s, np.int64(-1))
            continue
        out[count] = slot
        fee = p.words[slot, WORD_FEE] if queue == OVERDUE else ~p.ready[queue, ROOT].first
        ranks[count] = (np.uint64(QUEUES - queue) << _RANK_SHIFT) | min(fee, _FEE_MAX)
        if count > 0:
            ranks[count] = min(ranks[count], ranks[count - 1])
        count += 1
        size_total += size
        p.links[slot].draw = draw_id
        p.totals[INFLIGHT] += 1
        set_cursor(p, s, _next_ready(p, slot))
        touched += _touch_next(p.ready, p.senders, p.links, p.words, queue, p.totals[READY_SIZE + queue])
    return count, size_total, skipped, touched


@inlined_kernel
def _touch_next(ready, senders, links, words, queue, size):  # type: ignore[no-untyped-def]
    """Read ahead what the next draws will need: among a million rows, waiting for memory is most of the time.

    The sum is of no use, but keeps the compiler from leaving the reads out.
    """
    total = np.uint64(0)
    for i in range(ROOT + 1, ROOT + min(1 + WAYS, size)):
        after = np.int64(links[senders[ready[queue, i].who].cursor].next)
        if after >= 0:
            total += words[after, WORD_FEE] + np.uint64(links[after].since)
    return total


@kernel
def _next_ready(p, slot):  # type: ignore[no-untyped-def]
    """The first pending ready row at or behind `slot`, or -1. Rows behind a gap have floor 0."""
    while slot >= 0 and p.links[slot].draw != 0:
        slot = np.int64(p.links[slot].next)
    if slot >= 0 and p.links[slot].floor == ZERO:
        return np.int64(-1)
    return slot


@kernel
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
    settling drops the row, or that block is given up, and release brings it back. NONCE_GAP and BLOCK_GAS
    return to pending, anything else is dropped.
    """
    owners = np.full(len(drawn), -1, dtype=np.int64)
    for i in range(len(drawn)):
        slot = drawn[i]
        if p.links[slot].draw != draw_id or verdicts[i] == OK or verdicts[i] == NONCE_REUSED:
            continue
        owners[i] = p.links[slot].owner
        p.senders[owners[i]].stale = _MARKED
        if verdicts[i] == NONCE_GAP or verdicts[i] == BLOCK_GAS:
            p.links[slot].draw = 0
            p.totals[INFLIGHT] -= 1
        else:
            lose(p, slot, verdicts[i])
    for s in owners:
        if s >= 0 and p.senders[s].stale == _MARKED:
            refresh(p, s)
            lose_unaffordable(p, s)


@kernel
def release(p, senders_used):  # type: ignore[no-untyped-def]
    """Every row in flight is pending again, if its sender can still pay for it."""
    for slot in range(p.totals[ROWS_TOUCHED]):
        if p.links[slot].draw != 0:
            p.links[slot].draw = 0
            p.senders[p.links[slot].owner].stale = _MARKED
    p.totals[INFLIGHT] = 0
    for s in range(senders_used):
        if p.senders[s].stale == _MARKED:
            refresh(p, s)
            lose_unaffordable(p, s)


@kernel
def settle(p, slots, nonces, balances):  # type: ignore[no-untyped-def]
    """Take over committed nonces and balances; drop the rows they used up, and what became unaffordable."""
    for i in range(len(slots)):
        s = slots[i]
        if nonces[i] < p.senders[s].nonce:
            continue
        p.senders[s].balance = balances[i]
        if nonces[i] > p.senders[s].nonce:
            _advance(p, s, nonces[i])
        if balances[i] == ZERO:
            _lose_all(p, s)
        else:
            lose_unaffordable(p, s)


@kernel
def _lose_all(p, s):  # type: ignore[no-untyped-def]
    """Drop what is left of a sender whose account is gone, in flight or not: its nonces come no more."""
    if p.senders[s].head < 0:
        return
    while p.senders[s].head >= 0:
        lose(p, np.int64(p.senders[s].head), INSUFFICIENT_BALANCE)
    refresh(p, s)


@kernel
def _advance(p, s, nonce):  # type: ignore[no-untyped-def]
    p.senders[s].nonce = nonce
    cursor_gone = False
    slot = np.int64(p.senders[s].head)
    while slot >= 0 and p.words[slot, WORD_NONCE] < nonce:
        cursor_gone = cursor_gone or p.senders[s].cursor == slot
        p.sources[p.links[slot].source].committed += 1
        after = np.int64(p.links[slot].next)
        remove(p, slot)
        p.totals[COMMITTED] += 1
        slot = after
    if nonce > p.senders[s].ready_end:
        refresh(p, s)
        return
    p.senders[s].stale = _STALE
    if cursor_gone:
        set_cursor(p, s, _next_ready(p, slot))
    if slot < 0:
        set_evictable(p, s)


@kernel
def sweep(p, senders_used, stretch):  # type: ignore[no-untyped-def]
    """Look at the next `stretch` senders: expired rows at the front of their chains go, since a node that
    does not draw would keep them for ever; the rest goes into the queue where waiting has lifted it.
    """
    at = p.totals[SWEEP_AT]
    for _ in range(stretch):
        at = at + 1 if at + 1 < senders_used else 0
        _lose_expired_front(p, at)
        cursor = np.int64(p.senders[at].cursor)
        if cursor >= 0 and queue_of(p, cursor) != p.senders[at].queue:
            set_cursor(p, at, cursor)
    p.totals[SWEEP_AT] = at


@kernel
def _lose_expired_front(p, s):  # type: ignore[no-untyped-def]
    lost = False
    height = np.uint64(p.totals[HEIGHT] + 1)
    slot = np.int64(p.senders[s].head)
    while slot >= 0 and p.links[slot].draw == 0 and p.totals[LOST] < LOST_ROWS_MAX:
        if np.uint64(p.links[slot].expiry) >= height or p.words[slot, WORD_EXPIRY] >= height:
            break
        lose(p, slot, EXPIRED)
        lost = True
        slot = np.int64(p.senders[s].head)
    if lost:
        refresh(p, s)


@kernel
def renumber(p, slots, senders_used):  # type: ignore[no-untyped-def]
    """Number arrivals anew from 1; `slots` are all rows, by arrival."""
    for i in range(len(slots)):
        p.links[slots[i]].arrival = i + 1
    p.totals[ARRIVALS] = len(slots)
    for s in range(senders_used):
        if p.senders[s].head >= 0:
            set_cursor(p, s, np.int64(p.senders[s].cursor))
            set_evictable(p, s)


@kernel
def live_slots(p, senders_used, durable_only, out):  # type: ignore[no-untyped-def]
    """Slots of pending rows by sender and nonce, all or the journalled ones; returns how many."""
    count = 0
    for s in range(senders_used):
        slot = np.int64(p.senders[s].head)
        while slot >= 0:
            if not durable_only or p.links[slot].durable != 0:
                out[count] = slot
                count += 1
            slot = np.int64(p.links[slot].next)
    return count


@kernel
def own_slots(p, senders_used, first_sender, senders_left, arrival_max, out):  # type: ignore[no-untyped-def]
    """Rows that were handed in here, not later than `arrival_max`, in flight or not, of `senders_left`
    senders from one on, round.

    A row is taken at the 1st, 2nd, 4th ... look at it and then at every LOOKS_CYCLE-th, so that one that
    others refuse again and again costs them less and less.

    Fills `out` with chains by nonce, whole ones unless the first is longer than `out`; returns (rows, the
    sender to go on with, how many senders are left).
    """
    count, s = 0, first_sender if first_sender < senders_used else 0
    while senders_left > 0:
        if count > 0 and count + max(_own_due(p, s, arrival_max), 1) > len(out):
            break
        slot = np.int64(p.senders[s].head)
        while slot >= 0 and count < len(out):
            looks = np.int64(p.links[slot].own)
            if looks != 0 and p.links[slot].arrival <= arrival_max:
                p.links[slot].own = looks + 1 if looks < LOOKS_MAX else LOOKS_MAX + 1 - LOOKS_CYCLE
                if _taken_at(looks):
                    out[count] = slot
                    count += 1
            slot = np.int64(p.links[slot].next)
        s = s + 1 if s + 1 < senders_used else 0
        senders_left -= 1
    return count, s, senders_left


@kernel
def _own_due(p, s, arrival_max):  # type: ignore[no-untyped-def]
    """Rows of a sender that a look would take."""
    count, slot = 0, np.int64(p.senders[s].head)
    while slot >= 0:
        if p.links[slot].arrival <= arrival_max and _taken_at(np.int64(p.links[slot].own)):
            count += 1
        slot = np.int64(p.links[slot].next)
    return count


@kernel
def _taken_at(looks):  # type: ignore[no-untyped-def]
    return looks != 0 and (looks & (looks - 1) == 0 or looks % LOOKS_CYCLE == 0)
