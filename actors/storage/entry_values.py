"""Values of contract entries: bytes of 1 to ENTRY_BYTES_MAX, each in a row of its own.

Rules
1. A row is written once and read until it is given back. A new value of an entry takes a new row, so that who
   remembers the number of an old row, as undo logs do, still finds the old value there.
2. Whoever drops the last mention of a row gives it back; see `Accounts.release`.
Readers of other threads may hold a row's number across growth: rows move, and numbers and bytes stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX

_AT = np.arange(ENTRY_BYTES_MAX, dtype=np.int64)


class EntryValues:
    """(capacity, ENTRY_BYTES_MAX) uint8 and which rows are free: a stack of their numbers."""

    def __init__(self) -> None:
        self._rows = np.zeros((16, ENTRY_BYTES_MAX), dtype=np.uint8)
        self._free, self._free_count = np.arange(15, -1, -1), 16

    @property
    def used(self) -> int:
        """Rows that hold a value."""
        return len(self._rows) - self._free_count

    def put(self, values: NDArray[np.uint8], widths: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Row numbers of values that lie one after the other: (sum of widths,) uint8. Of a width of 0: 0."""
        kept = np.flatnonzero(widths)
        self._reserve(len(kept))
        self._free_count -= len(kept)
        taken = self._free[self._free_count : self._free_count + len(kept)]
        rows = np.zeros(len(widths), dtype=np.uint64)
        rows[kept] = taken
        width = _width_of_all(widths[kept])
        padded = np.zeros((len(kept), ENTRY_BYTES_MAX), dtype=np.uint8)
        if width:
            padded[:, :width] = values.reshape(-1, width)
        else:
            padded[widths[kept, None] > _AT.astype(np.uint64)] = values
        self._rows[taken] = padded
        return rows

    def gather(self, rows: NDArray[np.uint64], widths: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Inverse of `put`: a copy of the values, one after the other."""
        if width := _width_of_all(widths):
            return self._rows[rows.astype(np.int64), :width].reshape(-1)
        picked = self._rows[rows.astype(np.int64)]
        taken: NDArray[np.uint8] = picked[widths[:, None] > _AT.astype(np.uint64)]
        return taken

    def release(self, rows: NDArray[np.uint64]) -> None:
        """Give rows back."""
        self._free[self._free_count : self._free_count + len(rows)] = rows
        self._free_count += len(rows)

    def _reserve(self, extra: int) -> None:
        if extra <= self._free_count:
            return
        before = len(self._rows)
        capacity = max(before + extra, before + before // 2)
        grown = np.zeros((capacity, ENTRY_BYTES_MAX), dtype=np.uint8)
        grown[:before] = self._rows
        self._rows = grown
        free = np.empty(capacity, dtype=np.int64)
        fresh, left = capacity - before, self._free[: self._free_count]
        free[:fresh] = np.arange(capacity - 1, before - 1, -1)
        free[fresh : fresh + len(left)] = left
        self._free, self._free_count = free, fresh + len(left)


def _width_of_all(widths: NDArray[np.uint64]) -> int:
    """The one width that all have, or 0."""
    return int(widths[0]) if len(widths) and (widths == widths[0]).all() else 0
