"""A sender's pending rows: a chain by ascending nonce, and what keeps every part of the pool agreeing on it.

Rules
- A row is ready if no nonce is missing between the committed one and its own: nonce < ready_end. Ready rows
  are the front of the chain. Only they are drawn, in order of nonce.
- Rank for eviction (`floor`): 0 behind a gap; else the least rank (levels.py) of the row and all before it,
  because a row cannot be drawn before those. So the last row of a chain is always its lowest; of equal floors
  the one that arrived later goes first.
- At the bounds of rows and of payload the lowest-ranked rows make way, one after the other, for one that
  ranks higher. A row that came behind a gap displaces nothing.
- A source holds its share of the pool and of the rows behind gaps at most (shares.py).
- A pending row makes way for another one of the same sender and nonce that offers at least 10 % more fee (of
  nothing: anything more), and whose own rank is not lower. The client of the first is told NONCE_REUSED. A
  row in flight is not replaced.
- Rows in flight (drawn, fate open) are not evicted. A sender whose last row is in flight offers none.
- Settling leaves floors of later rows too low at worst; `stale` says so, and they are computed when the
  sender comes up for eviction.
- Rows of a chain cost no more than the balance, except that rows in flight stay until their fate is known:
  whatever brings them back to pending drops the last ones that are not affordable any more. A row that closes
  a gap is paid for before those behind the gap, and they make way: otherwise they would wait for it for ever.

All functions are compiled; `p` is arena.Columns, `s` a sender's slot. uint64 meets only uint64 here, since
Numba turns a mixture with int64 into floats.
"""

from __future__ import annotations

import numpy as np

from actors.kernels.numba_options import inlined_kernel, kernel
from actors.ledger.rows import (
    KIND_TRANSFER,
    ROW_BYTES,
    ROW_WORDS,
    WORD_AMOUNT,
    WORD_EXPIRY,
    WORD_FEE,
    WORD_NONCE,
    WORD_RECIPIENT,
    WORD_SENDER,
)
from actors.ledger.verdict import Verdict
from actors.mempool.arena import (
    BALANCE_MIN,
    CHUNKS_LIMIT,
    CHUNKS_LIVE,
    DURABLE_BYTES,
    DURABLE_ROWS,
    EVICT_SIZE,
    HEIGHT,
    INFLIGHT,
    LOST,
    LOST_ROWS_MAX,
    LOST_UNTOLD,
    OVERDUE,
    READY_SIZE,
    REPLACED,
    ROWS_FREE,
    ROWS_LIMIT,
    ROWS_LIVE,
    ROWS_TOUCHED,
    WINDOW,
)
from actors.mempool.heap import ROOT, heap_drop, heap_set
from actors.mempool.levels import level_of, queue_of, rank_of
from actors.mempool.payloads import chunks_of, free_payload, payload_bytes, store_payload
from actors.mempool.shares import count_parked, set_floor, share_of_source

OK = int(Verdict.OK)
NONCE_REUSED, NONCE_GAP = int(Verdict.NONCE_REUSED), int(Verdict.NONCE_GAP)
DUPLICATE, POOL_FULL = int(Verdict.DUPLICATE), int(Verdict.POOL_FULL)
EXPIRED = int(Verdict.EXPIRED)
SENDER_BELOW_MINIMUM = int(Verdict.SENDER_BELOW_MINIMUM)
RECIPIENT_BELOW_MINIMUM = int(Verdict.RECIPIENT_BELOW_MINIMUM)
SENDER_LIMIT, INSUFFICIENT_BALANCE = int(Verdict.SENDER_LIMIT), int(Verdict.INSUFFICIENT_BALANCE)

U64_MAX = np.uint64(2**64 - 1)
ZERO, ONE = np.uint64(0), np.uint64(1)
ARRIVAL_MAX = np.int64(2**32 - 1)
EXPIRY_MAX = np.uint64(2**32 - 1)
_KIND_MASK, _TRANSFER = np.uint64(0xFF00), np.uint64(KIND_TRANSFER << 8)
_TEN = np.uint64(10)


@inlined_kernel
def own_rank(p, slot):  # type: ignore[no-untyped-def]
    """Rank of a row by itself, whatever is before it."""
    return rank_of(np.int64(p.links[slot].level), p.words[slot, WORD_FEE])


@kernel
def find_place(p, s, nonce):  # type: ignore[no-untyped-def]
    """(slot of the row before `nonce`, slot of the row with it); -1 for none. Walks from the nearer end."""
    slot = np.int64(p.senders[s].tail)
    if slot < 0:
        return np.int64(-1), np.int64(-1)
    last, first = p.words[slot, WORD_NONCE], p.words[p.senders[s].head, WORD_NONCE]
    if nonce > last:
        return slot, np.int64(-1)
    if nonce < first:
        return np.int64(-1), np.int64(-1)
    if last - nonce <= nonce - first:
        while p.words[slot, WORD_NONCE] > nonce:
            slot = np.int64(p.links[slot].prev)
    else:
        slot = np.int64(p.senders[s].head)
        while True:
            after = np.int64(p.links[slot].next)
            if p.words[after, WORD_NONCE] > nonce:
                break
            slot = after
            if p.words[slot, WORD_NONCE] == nonce:
                break
    if p.words[slot, WORD_NONCE] == nonce:
        return np.int64(p.links[slot].prev), slot
    return slot, np.int64(-1)


@kernel
def set_cursor(p, s, slot):  # type: ignore[no-untyped-def]
    """Make `slot` the sender's next row to draw, -1 for none, and put the sender in that row's queue."""
    p.senders[s].cursor = slot
    old = np.int64(p.senders[s].queue)
    queue = queue_of(p, slot) if slot >= 0 else np.int64(-1)
    if queue != old:
        heap_drop(p.ready[old], p.ready_at, p.totals, READY_SIZE + old, s)
    if slot < 0:
        return
    p.senders[s].queue = queue
    key = ZERO if queue == OVERDUE else ~p.words[slot, WORD_FEE]
    arrival = np.int64(p.links[slot].arrival)
    heap_set(p.ready[queue], p.ready_at, p.totals, READY_SIZE + queue, s, key, arrival)


@kernel
def set_evictable(p, s):  # type: ignore[no-untyped-def]
    """Offer the sender's last row for eviction, unless there is none or it is in flight."""
    tail = p.senders[s].tail
    if tail < 0 or p.links[tail].draw != 0:
        heap_drop(p.evict, p.evict_at, p.totals, EVICT_SIZE, s)
    else:
        later_first = ARRIVAL_MAX - np.int64(p.links[tail].arrival)
        heap_set(p.evict, p.evict_at, p.totals, EVICT_SIZE, s, p.links[tail].floor, later_first)


@kernel
def refresh(p, s):  # type: ignore[no-untyped-def]
    """Recompute ready_end, floors, cursor and heap entries of one sender from its chain."""
    expected, floor = p.senders[s].nonce, U64_MAX
    cursor = np.int64(-1)
    slot = np.int64(p.senders[s].head)
    while slot >= 0:
        if p.words[slot, WORD_NONCE] == expected:
            expected += ONE
            floor = min(floor, own_rank(p, slot))
            set_floor(p, slot, floor)
            if cursor < 0 and p.links[slot].draw == 0:
                cursor = slot
        else:
            set_floor(p, slot, ZERO)
        slot = np.int64(p.links[slot].next)
    p.senders[s].ready_end = expected
    p.senders[s].stale = 0
    set_cursor(p, s, cursor)
    set_evictable(p, s)


@kernel
def remove(p, slot):  # type: ignore[no-untyped-def]
    """Unlink and free a row. The caller then sees to cursor, floors and heaps of its sender."""
    s = p.links[slot].owner
    before, after = p.links[slot].prev, p.links[slot].next
    if before >= 0:
        p.links[before].next = after
    else:
        p.senders[s].head = after
    if after >= 0:
        p.links[after].prev = before
    else:
        p.senders[s].tail = before
    source, size = p.links[slot].source, payload_bytes(p.words, slot)
    p.sources[source].rows -= 1
    p.sources[source].chunks -= chunks_of(size)
    if p.links[slot].floor == ZERO:
        count_parked(p, slot, -1)
    p.senders[s].spend -= p.words[slot, WORD_AMOUNT] + p.words[slot, WORD_FEE]
    if p.links[slot].draw != 0:
        p.totals[INFLIGHT] -= 1
    if p.links[slot].durable != 0:
        p.totals[DURABLE_ROWS] -= 1
        p.totals[DURABLE_BYTES] -= ROW_BYTES + size
        p.sources[source].durable_bytes -= ROW_BYTES + size
    free_payload(p, slot)
    p.links[slot].draw = 0
    p.links[slot].next = p.totals[ROWS_FREE]
    p.totals[ROWS_FREE] = slot
    p.totals[ROWS_LIVE] -= 1


@kernel
def lose(p, slot, verdict):  # type: ignore[no-untyped-def]
    """Remember a row that is dropped without being committed, so that its client can be told; remove it."""
    if verdict in (EXPIRED, SENDER_BELOW_MINIMUM, RECIPIENT_BELOW_MINIMUM):
        p.sources[p.links[slot].source].expired += 1  # it took a place in vain, and paid nothing
    at = p.totals[LOST]
    if at < LOST_ROWS_MAX:
        for k in range(ROW_WORDS):
            p.lost[at, k] = p.words[slot, k]
        p.lost_verdicts[at] = verdict
        p.totals[LOST] += 1
    else:
        p.totals[LOST_UNTOLD] += 1
    remove(p, slot)


@kernel
def lose_tail(p, s, verdict):  # type: ignore[no-untyped-def]
    """Drop the last row of a sender; it is not in flight."""
    slot = np.int64(p.senders[s].tail)
    nonce = p.words[slot, WORD_NONCE]
    was_cursor = p.senders[s].cursor == slot
    lose(p, slot, verdict)
    p.senders[s].ready_end = min(p.senders[s].ready_end, nonce)
    if was_cursor:
        set_cursor(p, s, np.int64(-1))
    set_evictable(p, s)


@kernel
def lose_unaffordable(p, s):  # type: ignore[no-untyped-def]
    """Drop the last rows of a sender as long as the balance does not cover all of them."""
    while p.senders[s].spend > p.senders[s].balance:
        tail = p.senders[s].tail
        if tail < 0 or p.links[tail].draw != 0:
            break
        lose_tail(p, s, INSUFFICIENT_BALANCE)


@kernel
def lowest_sender(p):  # type: ignore[no-untyped-def]
    """The sender whose last row is the lowest ranked that may be evicted, or -1."""
    while p.totals[EVICT_SIZE] > 0:
        s = np.int64(p.evict[ROOT].who)
        tail = p.senders[s].tail
        if tail < 0 or p.links[tail].draw != 0:
            heap_drop(p.evict, p.evict_at, p.totals, EVICT_SIZE, s)
        elif p.senders[s].stale != 0:
            refresh(p, s)
        else:
            return s
    return np.int64(-1)


@kernel
def judge(p, s, words, i, source, lowered, hopeful):  # type: ignore[no-untyped-def]
    """Verdict of row i by the state and the pool: (verdict, slot before it, slot with its nonce, floor).

    A sender without a slot (-1) or without a balance has no account, and what it sends can never be paid: an
    account that is made later begins with a nonce that no such row has. `hopeful`: rank a row behind a gap as
    if rows that come before it in its batch closed the gap. OK with a slot of the same nonce means that the
    row replaces that one.
    """
    nonce = words[i, WORD_NONCE]
    committed, balance, spend, ready_end = ZERO, ZERO, ZERO, ZERO
    before = same = np.int64(-1)
    if s >= 0:
        sender = p.senders[s]
        committed, balance, spend, ready_end = sender.nonce, sender.balance, sender.spend, sender.ready_end
    if nonce < committed or balance == ZERO:
        return (NONCE_REUSED if nonce < committed else INSUFFICIENT_BALANCE), before, same, ZERO
    window = np.uint64(p.totals[WINDOW])
    if nonce - committed >= window:
        full = ready_end - committed == window
        return (SENDER_LIMIT if full else NONCE_GAP), before, same, ZERO
    if s >= 0:
        before, same = find_place(p, s, nonce)
    size = payload_bytes(words, i)
    rank = rank_of(level_of(p, words, i, lowered), words[i, WORD_FEE])
    if same >= 0:
        return _compare(p, same, words, i, rank, balance, spend), before, same, ZERO
    cost = words[i, WORD_AMOUNT] + words[i, WORD_FEE]
    if spend > balance or cost > balance - spend:
        spend -= _cost_behind(p, s, before)
        if nonce != ready_end or spend > balance or cost > balance - spend:
            return INSUFFICIENT_BALANCE, before, same, ZERO
    if nonce == ready_end and _leaves_too_little(p, words, i, balance - spend - cost):
        return SENDER_BELOW_MINIMUM, before, same, ZERO
    floor = ZERO
    if nonce == ready_end:
        floor = rank
        if before >= 0:
            if p.senders[s].stale != 0:
                refresh(p, s)
            floor = min(floor, p.links[before].floor)
    elif hopeful:
        floor = rank
    share = share_of_source(p, source, chunks_of(size), floor == ZERO)
    return (_room(p, floor, size) if share == OK else share), before, same, floor


@inlined_kernel
def _leaves_too_little(p, words, i, left):  # type: ignore[no-untyped-def]
    """Whether a transfer to another one leaves a balance that may not stand, if earlier rows pass.

    Other kinds may take less than amount and fee, so that what they leave is known only when they run.
    """
    if words[i, 0] & _KIND_MASK != _TRANSFER:
        return False
    to_self = True
    for w in range(4):
        to_self &= words[i, WORD_SENDER + w] == words[i, WORD_RECIPIENT + w]
    return not to_self and left != ZERO and left < np.uint64(p.totals[BALANCE_MIN])


@kernel
def _cost_behind(p, s, before):  # type: ignore[no-untyped-def]
    """Amounts and fees of a sender's rows behind `before`."""
    cost = ZERO
    slot = np.int64(p.senders[s].tail) if s >= 0 else before
    while slot != before:
        cost += p.words[slot, WORD_AMOUNT] + p.words[slot, WORD_FEE]
        slot = np.int64(p.links[slot].prev)
    return cost


@kernel
def _compare(p, same, words, i, rank, balance, spend):  # type: ignore[no-untyped-def]
    """What becomes of row i when `same` holds its nonce: the very same, or may it replace that one?"""
    equal = True
    for k in range(ROW_WORDS):
        equal = equal and p.words[same, k] == words[i, k]
    if equal:
        return DUPLICATE
    old, fee = p.words[same, WORD_FEE], words[i, WORD_FEE]
    dear = fee > old and fee - old >= old // _TEN + np.uint64(old % _TEN != ZERO)
    if p.links[same].draw != 0 or not dear or rank < own_rank(p, same):
        return NONCE_REUSED
    spend -= p.words[same, WORD_AMOUNT] + old
    if spend > balance or words[i, WORD_AMOUNT] + fee > balance - spend:
        return INSUFFICIENT_BALANCE
    chunks = chunks_of(payload_bytes(words, i)) - chunks_of(payload_bytes(p.words, same))
    return POOL_FULL if p.totals[CHUNKS_LIVE] + chunks > p.totals[CHUNKS_LIMIT] else OK


@inlined_kernel
def _fits(p, size):  # type: ignore[no-untyped-def]
    payload_fits = p.totals[CHUNKS_LIVE] + chunks_of(size) <= p.totals[CHUNKS_LIMIT]
    return payload_fits and p.totals[ROWS_LIVE] < p.totals[ROWS_LIMIT]


@kernel
def _room(p, floor, size):  # type: ignore[no-untyped-def]
    if _fits(p, size):
        return OK
    victim = lowest_sender(p)
    if victim < 0 or p.links[p.senders[victim].tail].floor >= floor:
        return POOL_FULL
    return OK


@kernel
def make_room(p, floor, size):  # type: ignore[no-untyped-def]
    """Drop lowest-ranked rows until a row of this floor and payload fits; False if those left rank higher."""
    while not _fits(p, size):
        if _room(p, floor, size) != OK:
            return False
        lose_tail(p, lowest_sender(p), POOL_FULL)
    return True


@kernel
def replace_row(p, s, same, words, i, before, source, lowered, own, payloads, start, arrival):  # type: ignore[no-untyped-def]
    """Drop `same`, tell its client, and put the judged row i in its place; returns the new slot."""
    p.sources[p.links[same].source].replaced += 1
    p.totals[REPLACED] += 1
    lose(p, same, NONCE_REUSED)
    set_cursor(p, s, np.int64(-1))
    slot = link_row(p, s, words, i, before, ZERO, source, lowered, own, payloads, start, arrival)
    refresh(p, s)
    return slot


@kernel
def link_row(p, s, words, i, before, floor, source, lowered, own, payloads, start, arrival):  # type: ignore[no-untyped-def]
    """Put a judged row into the chain behind `before`; returns its slot. There is room."""
    slot = p.totals[ROWS_FREE]
    if slot >= 0:
        p.totals[ROWS_FREE] = p.links[slot].next
    else:
        slot = p.totals[ROWS_TOUCHED]
        p.totals[ROWS_TOUCHED] += 1
    p.totals[ROWS_LIVE] += 1
    for k in range(ROW_WORDS):
        p.words[slot, k] = words[i, k]
    store_payload(p, slot, payloads, start, payload_bytes(words, i))
    after = p.senders[s].head if before < 0 else p.links[before].next
    if before < 0:
        p.senders[s].head = slot
    else:
        p.links[before].next = slot
    if after < 0:
        p.senders[s].tail = slot
    else:
        p.links[after].prev = slot
    p.links[slot].prev, p.links[slot].next, p.links[slot].owner = before, after, s
    p.links[slot].arrival, p.links[slot].draw, p.links[slot].durable = arrival, 0, 0
    p.links[slot].floor, p.links[slot].own = floor, own
    p.links[slot].since = p.totals[HEIGHT] & ARRIVAL_MAX
    p.links[slot].expiry = min(words[i, WORD_EXPIRY], EXPIRY_MAX)
    p.links[slot].size = payload_bytes(words, i)
    p.links[slot].source, p.links[slot].level = source, level_of(p, words, i, lowered)
    p.sources[source].rows += 1
    p.sources[source].chunks += chunks_of(payload_bytes(words, i))
    if floor == ZERO:
        count_parked(p, slot, 1)
    p.senders[s].spend += words[i, WORD_AMOUNT] + words[i, WORD_FEE]
    if floor != ZERO:
        _extend_ready(p, s, slot)
    set_evictable(p, s)
    return slot


@kernel
def _extend_ready(p, s, slot):  # type: ignore[no-untyped-def]
    """A row came at ready_end: it and the run behind it are ready now."""
    cursor, floor = np.int64(p.senders[s].cursor), p.links[slot].floor
    expected = p.senders[s].ready_end
    while slot >= 0 and p.words[slot, WORD_NONCE] == expected:
        expected += ONE
        floor = min(floor, own_rank(p, slot))
        set_floor(p, slot, floor)
        if cursor < 0 and p.links[slot].draw == 0:
            cursor = np.int64(slot)
            set_cursor(p, s, cursor)
        slot = np.int64(p.links[slot].next)
    p.senders[s].ready_end = expected
