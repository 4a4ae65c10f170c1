"""What clients handed in at this node and a shard took in, numbered, for whoever passes it on to other nodes.

A preallocated ring of row columns and one of payload bytes: admission copies rows in, readers copy out what
they have not seen, and each reader keeps its own place. Beside each row stands the kind of its source, which
another node takes over. Rows that other nodes passed on are not here: they travel as the gossip they came in.
A reader that is slower than the ring misses the oldest rows and is told how many: gossip is an offer, and a
row that it misses still is in this node's pool, which offers it again (Pool.own_rows).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.ledger.pending import OutboxSummary
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.mempool.pool import Pool


class Outbox:
    """The last `rows` rows, of one incarnation, whose payloads are among the last `payload_bytes`."""

    def __init__(self, rows: int, payload_bytes: int, incarnation: int = 0) -> None:
        self.incarnation = incarnation
        self._rows = np.zeros(rows, dtype=ROW_DTYPE)
        self._starts = np.zeros(rows, dtype=np.int64)  # of payloads, counted from the first byte ever
        self._payloads = np.zeros(payload_bytes, dtype=np.uint8)
        self._payload_total = 0
        self._kinds = np.zeros(rows, dtype=np.uint8)
        self.total = 0

    def add(self, batch: Batch, kinds: NDArray[np.uint8]) -> None:
        """Append rows and the kinds of their sources; of more than fit, the last ones."""
        count, size = len(batch), len(batch.payloads)
        kept = slice(max(count - len(self._rows), 0), count)
        at = np.arange(self.total, self.total + count)[kept] % len(self._rows)
        self._rows[at], self._kinds[at] = batch.rows[kept], kinds[kept]
        self._starts[at] = self._payload_total + batch.payload_offsets[:-1][kept]
        self.total += count
        self._payload_total += size
        tail = batch.payloads[max(size - len(self._payloads), 0) :]
        self._payloads[self._payload_places(self._payload_total - len(tail), len(tail))] = tail

    def since(self, number: int, rows_max: int) -> tuple[OutboxSummary, Batch]:
        """At most `rows_max` rows from `number` on. A number above the total reads from the beginning."""
        asked = number if 0 <= number <= self.total else 0
        start = max(asked, self.total - len(self._rows))
        oldest_byte = self._payload_total - len(self._payloads)
        while start < self.total and self._starts[start % len(self._rows)] < oldest_byte:
            start += 1
        stop = min(start + rows_max, self.total)
        at = np.arange(start, stop) % len(self._rows)
        rows = self._rows[at]
        first_byte = int(self._starts[start % len(self._rows)]) if len(rows) else 0
        size = int(rows["payload_bytes"].sum(dtype=np.int64))
        batch = Batch(rows, self._payloads[self._payload_places(first_byte, size)])
        return OutboxSummary(stop, start - asked, self._kinds[at], self.incarnation), batch

    def _payload_places(self, start: int, size: int) -> NDArray[np.int64]:
        return np.arange(start, start + size) % len(self._payloads)


LEADS_S = 1.0
"""More than the longest wait of a leader's draw."""


class ReofferScheduler:
    """Which rows of a pool are offered once more: those that others may have lost, or never heard of.

    Every `period_s` a round begins: the rows that clients handed in here at least a period ago and that still
    wait are looked at. They go into the outbox again, less and less often (kernels.own_slots), at most
    `rows_max` of them at once and the next ones `pause_s` later, until the round is over. A node that has
    drawn a block from its own pool since the last round offers none: its rows are where they are wanted.

    A leader's own rows are in its next blocks, so they are not offered at all when they come (`withholds`):
    they would cross the wire twice. Who has drawn nothing for LEADS_S leads no more, or cannot get blocks
    through; then all that was withheld is offered at once.

    `anew` begins a round of all rows at once: somebody has lost what it was offered.
    """

    def __init__(self, pool: Pool, period_s: float, rows_max: int, pause_s: float) -> None:
        self._pool, self._period_s, self._rows_max, self._pause_s = pool, period_s, rows_max, pause_s
        self._due_s = -np.inf
        self._arrivals = self._arrival_max = self._senders_left = 0
        self._drawn = self._withheld = False
        self._led_s = -np.inf

    def drawn(self, now_s: float) -> None:
        """A block was drawn here, or would have been had there been rows."""
        self._drawn, self._led_s = True, now_s

    def leads_no_more(self) -> None:
        """What was drawn has been given back."""
        self._led_s = -np.inf

    def withholds(self, now_s: float) -> bool:
        """Whether rows that come now are not offered; if so, they will be later."""
        leads = now_s < self._led_s + LEADS_S
        self._withheld |= leads
        return leads

    def anew(self) -> None:
        """Offer every row that clients handed in here, as if for the first time."""
        self._pool.forget_looks()
        self._begin(self._pool.arrivals)
        self._due_s, self._drawn = -np.inf, False

    def rest_s(self, now_s: float) -> float:
        """Seconds until there may be something to offer; infinity when nothing is due."""
        due_s = self._due_s if self._senders_left else np.inf
        lapses_s = self._led_s + LEADS_S if self._withheld else np.inf
        return max(min(due_s, lapses_s) - now_s, 0.0)

    def offer(self, outbox: Outbox, now_s: float) -> int:
        """Put what is due into the outbox; how many rows."""
        if self._withheld and now_s >= self._led_s + LEADS_S:
            self._withheld = False
            self.anew()
        if now_s < self._due_s:
            return 0
        if not self._senders_left:
            self._begin(self._arrivals)
        if self._drawn:
            self._senders_left = 0
        batch, kinds, self._senders_left = self._pool.own_rows(
            self._rows_max, self._arrival_max, self._senders_left
        )
        outbox.add(batch, kinds)
        self._due_s = now_s + (self._pause_s if self._senders_left else self._period_s)
        if not self._senders_left:
            self._drawn = False
        return len(batch)

    def _begin(self, arrival_max: int) -> None:
        self._arrival_max, self._arrivals = arrival_max, self._pool.arrivals
        self._senders_left = self._pool.arena.senders_used
