"""What becomes of rows that somebody waits for: committed, closed with a verdict, or pending at the end.

A block or a shard's word of a dropped row ends a wait at once. Besides, a row that is still waited for is
offered again now and then, which costs no signature check and says where it stands:
  * DUPLICATE, OK: it is pending (again), and is waited for;
  * PARKED twice: a nonce before it is missing, and nothing but another submission can change that; its wait
    ends after `gap_grace_s`, so that it holds no place which somebody else's rows could have;
  * NONCE_REUSED, EXPIRED and what else can never be committed: another row had the nonce, or the height has
    passed. The row itself may have been committed a moment ago, so the gateway first catches up with the
    head;
  * UNAVAILABLE, POOL_FULL: nobody can tell now.

So expiry is told where no block is made any more: a height that was not reached has not expired anything, a
row that could be in the next block makes that block, and what is behind a gap is PARKED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import BusyError, UnavailableError
from actors.gateway.waits import CommitWaits, Ticket, waits_on
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict

ASK_FIRST_S, LAST_ANSWER_S = 2.0, 1.0
_UNKNOWN = (Verdict.UNAVAILABLE, Verdict.POOL_FULL)

Owner = asyncio.Future[None]
Offer = Callable[[Batch], Awaitable[NDArray[np.uint8]]]


class Fates:
    """Waits for what `waits` has registered. `catch_up`: settle every block that Storage has by now; raises
    UnavailableError. clock: seconds."""

    def __init__(
        self,
        waits: CommitWaits[Owner],
        catch_up: Callable[[], Awaitable[None]],
        timeout_s: float,
        gap_grace_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._waits, self._catch_up, self._clock = waits, catch_up, clock
        self.timeout_s, self._gap_grace_s = timeout_s, gap_grace_s

    async def wait(
        self, ticket: Ticket[Owner], batch: Batch, verdicts: NDArray[np.uint8], offer: Offer
    ) -> None:
        """Return when no row of the ticket waits any more, or the time is up. verdicts: of its admission."""
        until_s, pause_s = self._clock() + self.timeout_s, ASK_FIRST_S
        parked = verdicts == Verdict.PARKED
        while ticket.waiting and (left_s := until_s - self._clock()) > 0:
            soon = bool(parked[ticket.pending()].any())
            step_s = min(left_s, self._gap_grace_s if soon else pause_s)
            await asyncio.wait({ticket.owner}, timeout=step_s)
            if not ticket.waiting:
                return
            if ticket.owner.done():
                ticket.owner.result()  # raises StoppingError when this node stops
            last = self._clock() >= until_s
            await self._ask(ticket, batch, offer, parked, last)
            pause_s = pause_s if soon else 2 * pause_s

    async def _ask(
        self, ticket: Ticket[Owner], batch: Batch, offer: Offer, parked: NDArray[np.bool_], last: bool
    ) -> None:
        """Close what can be said of by now. parked: (n,) rows that were the last time; brought up to date."""
        rows = ticket.pending()
        try:
            async with asyncio.timeout(LAST_ANSWER_S if last else None):
                answers = await offer(batch.take(rows))
            over = ~waits_on(answers) & ~np.isin(answers, _UNKNOWN)
            if over.any():
                await self._catch_up()
        except (UnavailableError, BusyError, TimeoutError):
            return
        still = answers == Verdict.PARKED
        over |= still & (parked[rows] | last)
        parked[rows] = still
        closing, verdicts = np.zeros(len(batch), dtype=np.bool_), np.zeros(len(batch), dtype=np.uint8)
        closing[rows], verdicts[rows] = over, answers
        self._waits.close(ticket, closing, verdicts)
