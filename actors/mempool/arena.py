"""Where pending transactions live: columns of fixed bound that the system backs as they are touched.

A column is reserved once at its bound and never moves, so growing copies nothing and kernels keep plain
indices. What may be used grows ×1.5 (`ROWS_LIMIT`, `CHUNKS_LIMIT`), freed slots go to a free list, and when
the pool is empty the pages above the initial size go back to the system in one call. A payload lies in a
chain of fixed chunks, so that freeing one never leaves a hole that the next does not fit.

Columns by sender grow by copying with the index of keys, since accounts outlive transactions.
"""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import ROW_WORDS
from actors.mempool.heap import ROOT, WAYS

NONE = -1
CHUNK_BYTES = 128
LOST_ROWS_MAX = 32_768
_HUGE_BYTES = 4 << 20  # columns from here on ask for huge pages: draws touch rows all over them
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 3, 2

LINK_DTYPE = np.dtype(
    [
        ("next", "i4"),  # the sender's row with the next higher nonce; in a free slot, the next free one
        ("prev", "i4"),
        ("owner", "i4"),  # the sender's slot
        ("chunk", "i4"),  # first payload chunk
        ("floor", "u8"),  # rank for eviction: see sender_queue.py
        ("arrival", "u4"),  # renumbered before it overflows
        ("draw", "u4"),  # 0 while pending, else the draw that holds the row in flight
        ("since", "u4"),  # height at which it was admitted, modulo 2^32
        ("expiry", "u4"),  # of the row; 2^32-1 if that or more. Here, so that a draw reads one cache line
        ("size", "u4"),  # bytes of payload; here for the same reason
        ("source", "u2"),  # who handed it in: a slot of `sources`
        ("level", "u1"),  # by fee and trust, at admission: see levels.py
        ("durable", "u1"),  # 1 if the journal holds the row
        ("own", "u1"),  # 0, or handed in at this node, which offers it to others: 1 + looks at it so far
        ("spare", "u1", 7),
    ]
)
SENDER_DTYPE = np.dtype(
    [
        ("nonce", "u8"),  # committed: the nonce that the next transaction must carry
        ("balance", "u8"),  # committed
        ("spend", "u8"),  # amount + fee over all pending rows
        ("ready_end", "u8"),  # first nonce from `nonce` on that is missing
        ("head", "i4"),
        ("tail", "i4"),
        ("cursor", "i4"),  # the row to draw next: first pending one below ready_end
        ("stale", "u1"),  # floors of its rows are lower bounds only
        ("queue", "u1"),  # which ready heap the sender is in, if it is in one
        ("spare", "u2"),
    ]
)
HEAP_DTYPE = np.dtype([("first", "u8"), ("second", "u4"), ("who", "i4")])
SOURCE_DTYPE = np.dtype(
    [
        ("score", "f8"),  # see sources.py
        ("rows", "i8"),  # held now; so the next three
        ("chunks", "i8"),
        ("parked", "i8"),
        ("durable_bytes", "i8"),
        ("reach", "i8"),  # its share of the pool: see shares.py
        ("committed", "i8"),  # since the score was last brought up to date; so the next three
        ("expired", "i8"),
        ("replaced", "i8"),
        ("forged", "i8"),
    ]
)
SOURCES_MAX = 4_096
LEVELS = 4
OVERDUE = LEVELS  # the queue of rows that waiting has lifted above every level
QUEUES = LEVELS + 1

ROWS_LIVE, ROWS_TOUCHED, ROWS_LIMIT, ROWS_FREE = 0, 1, 2, 3
CHUNKS_LIVE, CHUNKS_TOUCHED, CHUNKS_LIMIT, CHUNKS_FREE = 4, 5, 6, 7
EVICT_SIZE, ARRIVALS, INFLIGHT, REPLACED = 8, 9, 10, 11
DURABLE_ROWS, DURABLE_BYTES, LOST, LOST_UNTOLD, COMMITTED, WINDOW = 12, 13, 14, 15, 16, 17
HEIGHT, FEE_UNIT, AGE_BLOCKS, SWEEP_AT = 18, 19, 20, 21
BALANCE_MIN, PARKED, PARKED_MAX, ROWS_MAX, CHUNKS_MAX = 22, 23, 24, 25, 26
READY_SIZE = 27  # and the QUEUES - 1 behind it
TOTALS = READY_SIZE + QUEUES


class PoolColumns(NamedTuple):
    """All of a pool's memory, as kernels take it. `totals` holds the counters named above, int64."""

    words: NDArray[np.uint64]  # (capacity, 26) rows
    links: NDArray[Any]  # (capacity,) LINK_DTYPE
    senders: NDArray[Any]  # (accounts,) SENDER_DTYPE
    sources: NDArray[Any]  # (SOURCES_MAX,) SOURCE_DTYPE
    ready: NDArray[Any]  # (QUEUES, capacity) heaps of senders by their next row: fee down, arrival up
    ready_at: NDArray[np.int32]  # (accounts,) place in `ready`, -1 if not in it
    evict: NDArray[Any]  # heap of senders by their last row: lowest rank first
    evict_at: NDArray[np.int32]
    chunks: NDArray[np.uint8]  # (chunk capacity, 128) payload bytes
    chunk_next: NDArray[np.int32]
    lost: NDArray[np.uint64]  # (LOST_ROWS_MAX, 26) rows dropped since the last look
    lost_verdicts: NDArray[np.uint8]
    totals: NDArray[np.int64]


class Reserved:
    """Zeroed memory whose address stays, backed by the system page by page as it is touched."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any] | type) -> None:
        kind = np.dtype(dtype)
        self.row_bytes = kind.itemsize * int(np.prod(shape[1:], dtype=np.int64))
        self._map = mmap.mmap(-1, max(self.row_bytes * shape[0], mmap.PAGESIZE))
        if hasattr(mmap, "MADV_HUGEPAGE") and len(self._map) >= _HUGE_BYTES:
            self._map.madvise(mmap.MADV_HUGEPAGE)
        count = int(np.prod(shape, dtype=np.int64))
        self.array: NDArray[Any] = np.frombuffer(self._map, dtype=kind, count=count).reshape(shape)

    def release(self, first_row: int) -> None:
        """Give the pages behind `first_row` back; they read as zeros afterwards."""
        start = -(-first_row * self.row_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if start < len(self._map) and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, start, len(self._map) - start)


def grown(limit: int, needed: int, bound: int) -> int:
    """The next limit: ×1.5 or what is needed, never above the bound."""
    if needed <= limit:
        return limit
    return min(bound, max(needed, limit * GROWTH_NUMERATOR // GROWTH_DENOMINATOR))


class Arena:
    """Owns the memory behind `columns` and decides how much of it may be used."""

    def __init__(self, rows_initial: int, rows_max: int, chunks_max: int, senders: int) -> None:
        self.rows_initial, self.rows_max = min(rows_initial, rows_max), rows_max
        self.chunks_initial, self.chunks_max = min(rows_initial, chunks_max), chunks_max
        self.rows_peak = 0
        by_row = (((rows_max, ROW_WORDS), np.uint64), ((rows_max,), LINK_DTYPE))
        entries = -(-(rows_max + ROOT) // WAYS) * WAYS
        heaps = (((QUEUES, entries), HEAP_DTYPE), ((entries,), HEAP_DTYPE))
        by_chunk = (((chunks_max, CHUNK_BYTES), np.uint8), ((chunks_max,), np.int32))
        self._by_row = [Reserved(*spec) for spec in by_row]
        self._heaps = [Reserved(*spec) for spec in heaps]
        self._by_chunk = [Reserved(*spec) for spec in by_chunk]
        words, links, ready, evict = (reserved.array for reserved in (*self._by_row, *self._heaps))
        chunks, chunk_next = (reserved.array for reserved in self._by_chunk)
        lost = Reserved((LOST_ROWS_MAX, ROW_WORDS), np.uint64).array
        totals = np.zeros(TOTALS, dtype=np.int64)
        totals[ROWS_LIMIT], totals[CHUNKS_LIMIT] = self.rows_initial, self.chunks_initial
        totals[ROWS_FREE] = totals[CHUNKS_FREE] = NONE
        totals[ROWS_MAX], totals[CHUNKS_MAX] = rows_max, chunks_max
        places = [np.zeros(senders, dtype=np.int32) for _ in range(2)]
        self.senders_used = 0
        self.columns = PoolColumns(
            words, links, np.zeros(senders, dtype=SENDER_DTYPE), np.zeros(SOURCES_MAX, dtype=SOURCE_DTYPE),
            ready, places[0], evict, places[1],
            chunks, chunk_next, lost, np.zeros(LOST_ROWS_MAX, dtype=np.uint8), totals,
        )  # fmt: skip

    def reserve(self, rows: int, chunks: int) -> None:
        """Let that many more rows and chunks be used, as far as the bounds allow."""
        totals = self.columns.totals
        totals[ROWS_LIMIT] = grown(int(totals[ROWS_LIMIT]), int(totals[ROWS_LIVE]) + rows, self.rows_max)
        totals[CHUNKS_LIMIT] = grown(
            int(totals[CHUNKS_LIMIT]), int(totals[CHUNKS_LIVE]) + chunks, self.chunks_max
        )

    def use_senders(self, used: int, capacity: int) -> None:
        """Make slots up to `used` senders without rows. What lies behind them is never touched."""
        if capacity > len(self.columns.senders):
            self.replace_senders(capacity, self.senders_used)
        new, columns = slice(self.senders_used, used), self.columns
        for field in ("head", "tail", "cursor"):
            columns.senders[field][new] = NONE
        columns.ready_at[new] = columns.evict_at[new] = NONE
        self.senders_used = max(used, self.senders_used)

    def replace_senders(self, capacity: int, kept: int | NDArray[np.int64]) -> None:
        """New columns by sender, beginning with the first `kept` ones, or those at the places `kept`."""
        chosen = slice(kept) if isinstance(kept, int) else kept
        columns = {}
        for name in ("senders", "ready_at", "evict_at"):
            old = getattr(self.columns, name)[chosen]
            columns[name] = np.zeros(capacity, dtype=old.dtype)
            columns[name][: len(old)] = old
            self.senders_used = len(old)
        self.columns = self.columns._replace(**columns)

    def note_peak(self) -> None:
        """Remember the most rows that were ever touched."""
        self.rows_peak = max(self.rows_peak, int(self.columns.totals[ROWS_TOUCHED]))

    def release_idle(self) -> bool:
        """With no row left: forget the free lists and give all but the initial memory back."""
        totals = self.columns.totals
        if totals[ROWS_LIVE] or totals[ROWS_TOUCHED] <= self.rows_initial:
            return False
        totals[ROWS_TOUCHED] = totals[CHUNKS_TOUCHED] = 0
        totals[ROWS_FREE] = totals[CHUNKS_FREE] = NONE
        totals[ROWS_LIMIT], totals[CHUNKS_LIMIT] = self.rows_initial, self.chunks_initial
        for column in self._by_row:
            column.release(self.rows_initial)
        for heap in self._heaps:
            heap.release(0)
        for column in self._by_chunk:
            column.release(self.chunks_initial)
        return True

    def memory(self) -> dict[str, int]:
        """Bytes in use by touched rows, chunks and senders, and how many touched row slots are free."""
        totals = self.columns.totals
        senders = self.senders_used * (SENDER_DTYPE.itemsize + 8)
        queued = int(totals[READY_SIZE : READY_SIZE + QUEUES].sum() + totals[EVICT_SIZE])
        heaps = queued * HEAP_DTYPE.itemsize
        rows = int(totals[ROWS_TOUCHED]) * (ROW_WORDS * 8 + LINK_DTYPE.itemsize)
        return {
            "row_bytes": rows + heaps,
            "payload_bytes": int(totals[CHUNKS_TOUCHED]) * (CHUNK_BYTES + 4),
            "sender_bytes": senders,
            "rows_touched": int(totals[ROWS_TOUCHED]),
            "rows_free": int(totals[ROWS_TOUCHED] - totals[ROWS_LIVE]),
            "rows_peak": self.rows_peak,
        }
