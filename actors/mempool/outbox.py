"""What a shard has newly admitted, numbered, for whoever passes it on to other nodes.

A preallocated ring of row columns and one of payload bytes: admission copies rows in, readers copy out what
they have not seen, and each reader keeps its own place. Beside each row stands the source it came from, so
that it is never sent back there. A reader that is slower than the ring misses the oldest rows and is told how
many: gossip is an offer, and a row that it misses still is in this node's pool.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import ROW_DTYPE, Batch


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Rows of `batch` came from sources[origins[i]]; `next` is the number to ask with next time.

    origins: (n,) uint16. missed: rows that were overwritten before this reader came for them.
    """

    next: int
    missed: int
    batch: Batch
    sources: list[str]
    origins: NDArray[np.uint16]


class Outbox:
    """The last `rows` (at most 65,536) admitted rows whose payloads are among the last `payload_bytes`."""

    def __init__(self, rows: int, payload_bytes: int) -> None:
        self._rows = np.zeros(rows, dtype=ROW_DTYPE)
        self._starts = np.zeros(rows, dtype=np.int64)  # of payloads, counted from the first byte ever
        self._payloads = np.zeros(payload_bytes, dtype=np.uint8)
        self._payload_total = 0
        self._runs: deque[tuple[int, str]] = deque()  # (number of the first row, source)
        self.total = 0

    def add(self, batch: Batch, source: str) -> None:
        """Append rows that came from `source`; of more than fit, the last ones."""
        count, size = len(batch), len(batch.payloads)
        if not count:
            return
        if not self._runs or self._runs[-1][1] != source:
            self._runs.append((self.total, source))
        kept = slice(max(count - len(self._rows), 0), count)
        at = np.arange(self.total, self.total + count)[kept] % len(self._rows)
        self._rows[at] = batch.rows[kept]
        self._starts[at] = self._payload_total + batch.payload_offsets[:-1][kept]
        self.total += count
        self._payload_total += size
        tail = batch.payloads[max(size - len(self._payloads), 0) :]
        self._payloads[self._payload_places(self._payload_total - len(tail), len(tail))] = tail
        while len(self._runs) > 1 and self._runs[1][0] <= self.total - len(self._rows):
            self._runs.popleft()

    def since(self, number: int, rows_max: int) -> Outgoing:
        """At most `rows_max` rows from `number` on. A number above the total reads from the beginning."""
        asked = number if 0 <= number <= self.total else 0
        start = max(asked, self.total - len(self._rows))
        oldest_byte = self._payload_total - len(self._payloads)
        while start < self.total and self._starts[start % len(self._rows)] < oldest_byte:
            start += 1
        stop = min(start + rows_max, self.total)
        numbers = np.arange(start, stop)
        rows = self._rows[numbers % len(self._rows)]
        first_byte = int(self._starts[start % len(self._rows)]) if len(rows) else 0
        size = int(rows["payload_bytes"].sum(dtype=np.int64))
        batch = Batch(rows, self._payloads[self._payload_places(first_byte, size)])
        firsts = [first for first, _ in self._runs]
        origins = np.searchsorted(firsts, numbers, side="right") - 1
        used, places = np.unique(origins, return_inverse=True)
        sources = [self._runs[run][1] for run in used]
        return Outgoing(stop, start - asked, batch, sources, places.astype(np.uint16))

    def _payload_places(self, start: int, size: int) -> NDArray[np.int64]:
        return np.arange(start, start + size) % len(self._payloads)
