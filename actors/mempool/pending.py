"""What is pending of one sender, for whoever asks; and the end of rows that wait for a nonce for too long.

A row expires by height alone, so on a network that makes no blocks nothing does; but a row that can be in the
next block makes that block. What is behind a gap could wait for ever: a shard drops it after
mempool.parked_s_max seconds of its own clock, as it would drop it for want of room, and tells its client
NONCE_GAP.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from actors.kernels.numba_options import kernel
from actors.ledger.pending import SenderPending
from actors.ledger.rows import ROW_DTYPE
from actors.ledger.verdict import Verdict
from actors.mempool.arena import LOST, LOST_ROWS_MAX, PoolColumns
from actors.mempool.sender_queue import ZERO, lose_tail

NONCE_GAP = int(Verdict.NONCE_GAP)
READY, IN_BLOCK, IS_PARKED = 0, 1, 2
LOOKS = 16


def pending_of(p: PoolColumns, sender_slot: int, rows_max: int, height: int) -> SenderPending:
    """At most rows_max rows. Their states are READY, IN_BLOCK (its fate is being decided) and IS_PARKED."""
    nonce = next_nonce = 0
    slots = np.empty(rows_max, dtype=np.int64)
    count = 0
    if sender_slot >= 0:
        account = p.senders[sender_slot]
        nonce, next_nonce = int(account["nonce"]), int(account["ready_end"])
        count = _slots_of(p, sender_slot, slots)
    slots = slots[:count]
    links = p.links[slots]
    states = np.where(links["floor"] == 0, IS_PARKED, np.where(links["draw"] != 0, IN_BLOCK, READY))
    rows = p.words[slots].view(ROW_DTYPE).reshape(count)
    return SenderPending(height, nonce, next_nonce, rows, states.astype(np.uint8))


@kernel
def _slots_of(p, s, out):  # type: ignore[no-untyped-def]
    """Slots of a sender's rows by nonce, as far as `out` reaches; returns how many."""
    count, slot = 0, np.int64(p.senders[s].head)
    while slot >= 0 and count < len(out):
        out[count] = slot
        count += 1
        slot = np.int64(p.links[slot].next)
    return count


@kernel
def lose_parked(p, senders_used, arrival_max):  # type: ignore[no-untyped-def]
    """Drop the parked rows at the ends of all chains that arrived up to `arrival_max`, with NONCE_GAP."""
    for s in range(senders_used):
        tail = p.senders[s].tail
        while tail >= 0 and p.links[tail].floor == ZERO and p.links[tail].draw == 0:
            if p.links[tail].arrival > arrival_max or p.totals[LOST] >= LOST_ROWS_MAX:
                break
            lose_tail(p, s, NONCE_GAP)
            tail = p.senders[s].tail


class ArrivalLog:
    """Which arrival was the last one `age_s` ago, at a sixteenth of that. The time comes in."""

    def __init__(self, age_s: float) -> None:
        self._age_s = age_s
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, now_s: float, arrivals: int) -> int:
        """Take note of the number of the last arrival; the number up to which rows are as old as that, or
        0."""
        if self._looks and arrivals < self._looks[-1][1]:
            self._looks.clear()  # arrivals were numbered anew
        if not self._looks or now_s >= self._looks[-1][0] + self._age_s / LOOKS:
            self._looks.append((now_s, arrivals))
        oldest = 0
        while self._looks and self._looks[0][0] <= now_s - self._age_s:
            oldest = self._looks.popleft()[1]
        return oldest
