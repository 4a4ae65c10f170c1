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

NONE = -1
CHUNK_BYTES = 128
LOST_ROWS_MAX = 32_768
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 3, 2

LINK_DTYPE = np.dtype(
    [
        ("next", "i4"),  # the sender's row with the next higher nonce; in a free slot, the next free one
        ("prev", "i4"),
        ("owner", "i4"),  # the sender's slot
        ("chunk", "i4"),  # first payload chunk
        ("arrival", "i8"),
        ("floor", "u8"),  # rank for eviction: see chain.py
        ("draw", "i8"),  # 0 while pending, else the draw that holds the row in flight
        ("durable", "i8"),  # 1 if the journal holds the row
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
        ("count", "i4"),
        ("stale", "i8"),  # floors of its rows are lower bounds only
    ]
)
HEAP_DTYPE = np.dtype([("first", "u8"), ("second", "i8"), ("who", "i8")])

ROWS_LIVE, ROWS_TOUCHED, ROWS_LIMIT, ROWS_FREE = 0, 1, 2, 3
CHUNKS_LIVE, CHUNKS_TOUCHED, CHUNKS_LIMIT, CHUNKS_FREE = 4, 5, 6, 7
READY_SIZE, EVICT_SIZE, ARRIVALS, INFLIGHT = 8, 9, 10, 11
DURABLE_ROWS, DURABLE_BYTES, LOST, LOST_UNTOLD, COMMITTED, WINDOW = 12, 13, 14, 15, 16, 17
TOTALS = 18


class Columns(NamedTuple):
    """All of a pool's memory, as kernels take it. `totals` holds the counters named above, int64."""

    words: NDArray[np.uint64]  # (capacity, 26) rows
    links: NDArray[Any]  # (capacity,) LINK_DTYPE
    senders: NDArray[Any]  # (accounts,) SENDER_DTYPE
    ready: NDArray[Any]  # heap of senders by their next row: fee down, arrival up
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


def empty_senders(count: int) -> NDArray[Any]:
    """(count,) senders without rows."""
    senders = np.zeros(count, dtype=SENDER_DTYPE)
    for field in ("head", "tail", "cursor"):
        senders[field] = NONE
    return senders


class Arena:
    """Owns the memory behind `columns` and decides how much of it may be used."""

    def __init__(self, rows_initial: int, rows_max: int, chunks_max: int, senders: int) -> None:
        self.rows_initial, self.rows_max = min(rows_initial, rows_max), rows_max
        self.chunks_initial, self.chunks_max = min(rows_initial, chunks_max), chunks_max
        self.rows_peak = 0
        by_row = (((rows_max, ROW_WORDS), np.uint64), ((rows_max,), LINK_DTYPE))
        heaps = (((rows_max,), HEAP_DTYPE), ((rows_max,), HEAP_DTYPE))
        by_chunk = (((chunks_max, CHUNK_BYTES), np.uint8), ((chunks_max,), np.int32))
        self._by_row = [Reserved(*spec) for spec in (*by_row, *heaps)]
        self._by_chunk = [Reserved(*spec) for spec in by_chunk]
        words, links, ready, evict = (reserved.array for reserved in self._by_row)
        chunks, chunk_next = (reserved.array for reserved in self._by_chunk)
        lost = Reserved((LOST_ROWS_MAX, ROW_WORDS), np.uint64).array
        totals = np.zeros(TOTALS, dtype=np.int64)
        totals[ROWS_LIMIT], totals[CHUNKS_LIMIT] = self.rows_initial, self.chunks_initial
        totals[ROWS_FREE] = totals[CHUNKS_FREE] = NONE
        places = [np.full(senders, NONE, dtype=np.int32) for _ in range(2)]
        self.columns = Columns(
            words, links, empty_senders(senders), ready, places[0], evict, places[1],
            chunks, chunk_next, lost, np.zeros(LOST_ROWS_MAX, dtype=np.uint8), totals,
        )  # fmt: skip

    def reserve(self, rows: int, chunks: int) -> None:
        """Let that many more rows and chunks be used, as far as the bounds allow."""
        totals = self.columns.totals
        totals[ROWS_LIMIT] = grown(int(totals[ROWS_LIMIT]), int(totals[ROWS_LIVE]) + rows, self.rows_max)
        totals[CHUNKS_LIMIT] = grown(
            int(totals[CHUNKS_LIMIT]), int(totals[CHUNKS_LIVE]) + chunks, self.chunks_max
        )

    def grow_senders(self, count: int) -> None:
        """Make the columns by sender `count` long."""
        old = self.columns
        self.replace_senders(count, old.senders, old.ready_at, old.evict_at)

    def replace_senders(
        self, count: int, senders: NDArray[Any], ready_at: NDArray[np.int32], evict_at: NDArray[np.int32]
    ) -> None:
        """New columns by sender, `count` long, that begin with the given ones."""
        column = empty_senders(count)
        column[: len(senders)] = senders
        places = [np.full(count, NONE, dtype=np.int32) for _ in range(2)]
        places[0][: len(ready_at)], places[1][: len(evict_at)] = ready_at, evict_at
        self.columns = self.columns._replace(senders=column, ready_at=places[0], evict_at=places[1])

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
        for column in self._by_chunk:
            column.release(self.chunks_initial)
        return True

    def memory(self) -> dict[str, int]:
        """Bytes in use by touched rows, chunks and senders, and how many touched row slots are free."""
        columns, totals = self.columns, self.columns.totals
        senders = columns.senders.nbytes + columns.ready_at.nbytes + columns.evict_at.nbytes
        heaps = int(totals[READY_SIZE] + totals[EVICT_SIZE]) * HEAP_DTYPE.itemsize
        rows = int(totals[ROWS_TOUCHED]) * (ROW_WORDS * 8 + LINK_DTYPE.itemsize)
        return {
            "row_bytes": rows + heaps,
            "payload_bytes": int(totals[CHUNKS_TOUCHED]) * (CHUNK_BYTES + 4),
            "sender_bytes": senders,
            "rows_touched": int(totals[ROWS_TOUCHED]),
            "rows_free": int(totals[ROWS_TOUCHED] - totals[ROWS_LIVE]),
            "rows_peak": self.rows_peak,
        }
