"""A sender's pending rows: a chain by ascending nonce, and what keeps every part of the pool agreeing on it.

Rules
- A row is ready if no nonce is missing between the committed one and its own: nonce < ready_end. Ready rows
  are the front of the chain. Only they are drawn, in order of nonce.
- Rank for eviction (`floor`): 0 behind a gap; else 1 + the least fee of the row and all before it, because a
  row cannot be drawn before those. So the last row of a chain is always its lowest; of equal floors the one
  that arrived later goes first. A fee of 2^64-1 ranks as 2^64-2.
- A row that came behind a gap displaces nothing.
- Rows in flight (drawn, fate open) are not evicted. A sender whose last row is in flight offers none.
- Settling leaves floors of later rows too low at worst; `stale` says so, and they are computed when the
  sender comes up for eviction.

All functions are compiled; `p` is arena.Columns, `s` a sender's slot. uint64 meets only uint64 here, since
Numba turns a mixture with int64 into floats.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.rows import ROW_BYTES, ROW_WORDS, WORD_AMOUNT, WORD_FEE, WORD_NONCE
from actors.ledger.verdict import Verdict
from actors.mempool.arena import (
    CHUNK_BYTES,
    CHUNKS_FREE,
    CHUNKS_LIMIT,
    CHUNKS_LIVE,
    CHUNKS_TOUCHED,
    DURABLE_BYTES,
    DURABLE_ROWS,
    EVICT_SIZE,
    INFLIGHT,
    LOST,
    LOST_ROWS_MAX,
    LOST_UNTOLD,
    READY_SIZE,
    ROWS_FREE,
    ROWS_LIMIT,
    ROWS_LIVE,
    ROWS_TOUCHED,
    WINDOW,
)
from actors.mempool.heap import heap_drop, heap_set

OK = int(Verdict.OK)
NONCE_REUSED, NONCE_GAP = int(Verdict.NONCE_REUSED), int(Verdict.NONCE_GAP)
DUPLICATE, POOL_FULL = int(Verdict.DUPLICATE), int(Verdict.POOL_FULL)
SENDER_LIMIT, INSUFFICIENT_BALANCE = int(Verdict.SENDER_LIMIT), int(Verdict.INSUFFICIENT_BALANCE)

U64_MAX = np.uint64(2**64 - 1)
ZERO, ONE = np.uint64(0), np.uint64(1)
PAYLOAD_SHIFT = np.uint64(32)


@njit(cache=True, inline="always")
def rank_of(fee):  # type: ignore[no-untyped-def]
    """1 + fee, without leaving 64 bits."""
    return fee if fee == U64_MAX else fee + ONE


@njit(cache=True, inline="always")
def payload_bytes(words, i):  # type: ignore[no-untyped-def]
    """Payload length of row i."""
    return np.int64(words[i, 0] >> PAYLOAD_SHIFT)


@njit(cache=True)
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


@njit(cache=True)
def set_cursor(p, s, slot):  # type: ignore[no-untyped-def]
    """Make `slot` the sender's next row to draw; -1 for none."""
    p.senders[s].cursor = slot
    if slot < 0:
        heap_drop(p.ready, p.ready_at, p.totals, READY_SIZE, s)
    else:
        key = ~p.words[slot, WORD_FEE]
        heap_set(p.ready, p.ready_at, p.totals, READY_SIZE, s, key, p.links[slot].arrival)


@njit(cache=True)
def set_evictable(p, s):  # type: ignore[no-untyped-def]
    """Offer the sender's last row for eviction, unless there is none or it is in flight."""
    tail = p.senders[s].tail
    if tail < 0 or p.links[tail].draw != 0:
        heap_drop(p.evict, p.evict_at, p.totals, EVICT_SIZE, s)
    else:
        heap_set(p.evict, p.evict_at, p.totals, EVICT_SIZE, s, p.links[tail].floor, -p.links[tail].arrival)


@njit(cache=True)
def refresh(p, s):  # type: ignore[no-untyped-def]
    """Recompute ready_end, floors, cursor and heap entries of one sender from its chain."""
    expected, floor = p.senders[s].nonce, U64_MAX
    cursor = np.int64(-1)
    slot = np.int64(p.senders[s].head)
    while slot >= 0:
        if p.words[slot, WORD_NONCE] == expected:
            expected += ONE
            floor = min(floor, rank_of(p.words[slot, WORD_FEE]))
            p.links[slot].floor = floor
            if cursor < 0 and p.links[slot].draw == 0:
                cursor = slot
        else:
            p.links[slot].floor = ZERO
        slot = np.int64(p.links[slot].next)
    p.senders[s].ready_end = expected
    p.senders[s].stale = 0
    set_cursor(p, s, cursor)
    set_evictable(p, s)


@njit(cache=True)
def _store_payload(p, slot, payloads, start, size):  # type: ignore[no-untyped-def]
    before = np.int64(-1)
    p.links[slot].chunk = -1
    for at in range(start, start + size, CHUNK_BYTES):
        chunk = p.totals[CHUNKS_FREE]
        if chunk >= 0:
            p.totals[CHUNKS_FREE] = p.chunk_next[chunk]
        else:
            chunk = p.totals[CHUNKS_TOUCHED]
            p.totals[CHUNKS_TOUCHED] += 1
        p.totals[CHUNKS_LIVE] += 1
        for k in range(min(CHUNK_BYTES, start + size - at)):
            p.chunks[chunk, k] = payloads[at + k]
        p.chunk_next[chunk] = -1
        if before < 0:
            p.links[slot].chunk = chunk
        else:
            p.chunk_next[before] = chunk
        before = chunk


@njit(cache=True)
def copy_payload(p, slot, out, start):  # type: ignore[no-untyped-def]
    """Write a row's payload to out[start:]; returns where it ends."""
    left = payload_bytes(p.words, slot)
    chunk = np.int64(p.links[slot].chunk)
    while left > 0:
        size = min(left, CHUNK_BYTES)
        for k in range(size):
            out[start + k] = p.chunks[chunk, k]
        start += size
        left -= size
        chunk = np.int64(p.chunk_next[chunk])
    return start


@njit(cache=True)
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
    p.senders[s].count -= 1
    p.senders[s].spend -= p.words[slot, WORD_AMOUNT] + p.words[slot, WORD_FEE]
    if p.links[slot].draw != 0:
        p.totals[INFLIGHT] -= 1
    if p.links[slot].durable != 0:
        p.totals[DURABLE_ROWS] -= 1
        p.totals[DURABLE_BYTES] -= ROW_BYTES + payload_bytes(p.words, slot)
    chunk = np.int64(p.links[slot].chunk)
    while chunk >= 0:
        following = np.int64(p.chunk_next[chunk])
        p.chunk_next[chunk] = p.totals[CHUNKS_FREE]
        p.totals[CHUNKS_FREE] = chunk
        p.totals[CHUNKS_LIVE] -= 1
        chunk = following
    p.links[slot].draw = 0
    p.links[slot].next = p.totals[ROWS_FREE]
    p.totals[ROWS_FREE] = slot
    p.totals[ROWS_LIVE] -= 1


@njit(cache=True)
def lose(p, slot, verdict):  # type: ignore[no-untyped-def]
    """Remember a row that is dropped without being committed, so that its client can be told; remove it."""
    at = p.totals[LOST]
    if at < LOST_ROWS_MAX:
        for k in range(ROW_WORDS):
            p.lost[at, k] = p.words[slot, k]
        p.lost_verdicts[at] = verdict
        p.totals[LOST] += 1
    else:
        p.totals[LOST_UNTOLD] += 1
    remove(p, slot)


@njit(cache=True)
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


@njit(cache=True)
def lowest_sender(p):  # type: ignore[no-untyped-def]
    """The sender whose last row is the lowest ranked that may be evicted, or -1."""
    while p.totals[EVICT_SIZE] > 0:
        s = p.evict[0].who
        tail = p.senders[s].tail
        if tail < 0 or p.links[tail].draw != 0:
            heap_drop(p.evict, p.evict_at, p.totals, EVICT_SIZE, s)
        elif p.senders[s].stale != 0:
            refresh(p, s)
        else:
            return s
    return np.int64(-1)


@njit(cache=True)
def judge(p, s, words, i, hopeful):  # type: ignore[no-untyped-def]
    """Verdict of row i by the state and the pool: (verdict, slot before it, slot with its nonce, floor).

    A sender without a slot (-1) is an account that holds nothing and has sent nothing. `hopeful`: rank a row
    behind a gap as if rows that come before it in its batch closed the gap.
    """
    nonce = words[i, WORD_NONCE]
    committed, balance, spend, ready_end = ZERO, ZERO, ZERO, ZERO
    before = same = np.int64(-1)
    if s >= 0:
        sender = p.senders[s]
        committed, balance, spend, ready_end = sender.nonce, sender.balance, sender.spend, sender.ready_end
    if nonce < committed:
        return NONCE_REUSED, before, same, ZERO
    window = np.uint64(p.totals[WINDOW])
    if nonce - committed >= window:
        full = ready_end - committed == window
        return (SENDER_LIMIT if full else NONCE_GAP), before, same, ZERO
    if s >= 0:
        before, same = find_place(p, s, nonce)
    if same >= 0:
        for k in range(ROW_WORDS):
            if p.words[same, k] != words[i, k]:
                return NONCE_REUSED, before, same, ZERO
        return DUPLICATE, before, same, ZERO
    if spend > balance or words[i, WORD_AMOUNT] + words[i, WORD_FEE] > balance - spend:
        return INSUFFICIENT_BALANCE, before, same, ZERO
    floor = ZERO
    if nonce == ready_end:
        floor = rank_of(words[i, WORD_FEE])
        if before >= 0:
            if p.senders[s].stale != 0:
                refresh(p, s)
            floor = min(floor, p.links[before].floor)
    elif hopeful:
        floor = rank_of(words[i, WORD_FEE])
    return _room(p, floor, payload_bytes(words, i)), before, same, floor


@njit(cache=True)
def _room(p, floor, size):  # type: ignore[no-untyped-def]
    needed = (size + CHUNK_BYTES - 1) // CHUNK_BYTES
    if p.totals[CHUNKS_LIVE] + needed > p.totals[CHUNKS_LIMIT]:
        return POOL_FULL
    if p.totals[ROWS_LIVE] < p.totals[ROWS_LIMIT]:
        return OK
    victim = lowest_sender(p)
    if victim < 0 or p.links[p.senders[victim].tail].floor >= floor:
        return POOL_FULL
    return OK


@njit(cache=True)
def link_row(p, s, words, i, before, floor, payloads, start, arrival):  # type: ignore[no-untyped-def]
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
    _store_payload(p, slot, payloads, start, payload_bytes(words, i))
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
    p.links[slot].floor = floor
    p.senders[s].count += 1
    p.senders[s].spend += words[i, WORD_AMOUNT] + words[i, WORD_FEE]
    if floor != ZERO:
        _extend_ready(p, s, slot)
    set_evictable(p, s)
    return slot


@njit(cache=True)
def _extend_ready(p, s, slot):  # type: ignore[no-untyped-def]
    """A row came at ready_end: it and the run behind it are ready now."""
    cursor, floor = np.int64(p.senders[s].cursor), p.links[slot].floor
    expected = p.senders[s].ready_end
    while slot >= 0 and p.words[slot, WORD_NONCE] == expected:
        expected += ONE
        floor = min(floor, rank_of(p.words[slot, WORD_FEE]))
        p.links[slot].floor = floor
        if cursor < 0 and p.links[slot].draw == 0:
            cursor = np.int64(slot)
            set_cursor(p, s, cursor)
        slot = np.int64(p.links[slot].next)
    p.senders[s].ready_end = expected
