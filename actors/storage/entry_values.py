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
    """(capacity, ENTRY_BYTES_MAX) uint8 and which rows are free."""

    def __init__(self) -> None:
        self._rows = np.zeros((16, ENTRY_BYTES_MAX), dtype=np.uint8)
        self._free = list(range(15, -1, -1))

    @property
    def used(self) -> int:
        """Rows that hold a value."""
        return len(self._rows) - len(self._free)

    def put(self, values: NDArray[np.uint8], widths: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Row numbers of values that lie one after the other: (sum of widths,) uint8. Of a width of 0: 0."""
        kept = np.flatnonzero(widths)
        self._reserve(len(kept))
        taken = [self._free.pop() for _ in range(len(kept))]
        padded = np.zeros((len(kept), ENTRY_BYTES_MAX), dtype=np.uint8)
        padded[widths[kept, None] > _AT.astype(np.uint64)] = values
        rows = np.zeros(len(widths), dtype=np.uint64)
        self._rows[taken], rows[kept] = padded, taken
        return rows

    def gather(self, rows: NDArray[np.uint64], widths: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Inverse of `put`: a copy of the values, one after the other."""
        picked = self._rows[rows.astype(np.int64)]
        taken: NDArray[np.uint8] = picked[widths[:, None] > _AT.astype(np.uint64)]
        return taken

    def release(self, rows: NDArray[np.uint64]) -> None:
        """Give rows back."""
        self._free.extend(rows.tolist())

    def _reserve(self, extra: int) -> None:
        if extra <= len(self._free):
            return
        before = len(self._rows)
        capacity = max(before + extra, before + before // 2)
        grown = np.zeros((capacity, ENTRY_BYTES_MAX), dtype=np.uint8)
        grown[:before] = self._rows
        self._rows = grown
        self._free[:0] = range(capacity - 1, before - 1, -1)
