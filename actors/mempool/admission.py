"""From a batch that was handed in to verdicts: checks, signatures, pool, journal, and what others hear.

Rows that are being admitted are bounded in all (mempool.capacity_rows) and by a share for each source; what
exceeds either is POOL_FULL at once. The signature checks of one source wait behind its own: each call to the
Validators says whose rows it has, and sources whose rows were found forged lately stand in one queue
together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import ROW_BYTES, Batch
from actors.ledger.source import RowSources, speaks_for_many
from actors.ledger.verdict import Verdict
from actors.mempool.admission_metrics import AdmissionMetrics, kept
from actors.mempool.journal_file import GroupCommit, JournalError
from actors.mempool.notifier import Notifier
from actors.mempool.outbox import Outbox
from actors.mempool.pool import Pool
from actors.mempool.retry import NoAnswerError, retried
from actors.mempool.verifier import SignatureChecks
from actors.settings import MempoolSettings
from actors.sharing import Shares, reach_of

SUSPECTS = "\0suspects"
# The pool of Validators tries for long by itself, and says with a RuntimeError that nobody answered.
_VERIFY_ATTEMPTS = 2


class Admission:
    """Admits batches to one pool. `changed` is called when it has; `failed` hears of every failed call;
    `withholds` says whether others shall not hear of new rows yet."""

    def __init__(
        self,
        settings: MempoolSettings,
        pool: Pool,
        journal: GroupCommit,
        validators: SignatureChecks,
        outbox: Outbox,
        outgoing: Notifier,
        tally: AdmissionMetrics,
        withholds: Callable[[], bool],
        clock: Callable[[], float],
        changed: Callable[[], None],
        failed: Callable[[str, Exception], None],
        transient: tuple[type[Exception], ...],
    ) -> None:
        self._pool, self._journal, self._validators = pool, journal, validators
        self._outbox, self._outgoing, self._tally = outbox, outgoing, tally
        self._withholds = withholds
        self._clock, self._changed, self._failed = clock, changed, failed
        self._transient = (*transient, RuntimeError)
        self._journal_bytes_max = settings.journal_bytes_max
        self._under_way = Shares(settings.capacity_rows, settings.source_share)
        self._member_reach = reach_of(settings.member_share)

    @property
    def rows(self) -> int:
        """Rows being admitted."""
        return self._under_way.held

    async def admit(
        self, batch: Batch, durable: bool, origins: RowSources, relayed: bool
    ) -> NDArray[np.uint8]:
        """(n,) verdicts; rows that are held and wait for a missing nonce are PARKED, unless another node
        passed them on."""
        entered, verdicts = self._enter(batch, origins)
        try:
            await self._admit(batch, verdicts, durable, origins, relayed)
        finally:
            for source, rows in entered:
                self._under_way.give(source, rows)
        if not relayed:
            self._pool.tell_parked(batch, verdicts)
        return verdicts

    def _enter(self, batch: Batch, origins: RowSources) -> tuple[list[tuple[str, int]], NDArray[np.uint8]]:
        """Count rows in: whose how many, and (n,) verdicts that are POOL_FULL where there is no room."""
        verdicts = np.zeros(len(batch), dtype=np.uint8)
        of_row, entered = origins.of_row, []
        counts = origins.counts(np.ones(len(batch), dtype=np.bool_))
        for place, (source, rows) in enumerate(zip(origins.names, counts, strict=True)):
            reach = self._member_reach if speaks_for_many(source) else None
            if self._under_way.take(source, rows, reach):
                entered.append((source, rows))
            else:
                verdicts[slice(None) if of_row is None else of_row == place] = Verdict.POOL_FULL
        return entered, verdicts

    async def _admit(
        self, batch: Batch, verdicts: NDArray[np.uint8], durable: bool, origins: RowSources, relayed: bool
    ) -> None:
        since = self._clock()
        np.copyto(verdicts, self._pool.static(batch), where=verdicts == Verdict.OK)
        since = self._took("static", since, len(batch))
        self._pool.screen(batch, verdicts, self._pool.sources.slots(origins))
        self._took("screen", since, len(batch))
        if durable:
            self._refuse_beyond_journal(batch, verdicts, origins)
        await self.check_signatures(batch, verdicts, self._flow(origins))
        if durable:
            self._refuse_beyond_journal(batch, verdicts, origins)
        since = self._clock()
        slots = self._pool.sources.slots(origins)
        taken = self._pool.insert(batch, verdicts, durable, slots, own=not relayed)
        self._took("insert", since, len(batch))
        if not relayed:
            self.offer(batch, taken, origins.kinds(len(batch)))
        self._changed()
        if durable and kept(verdicts).any():
            await self._journal_rows(batch.take(kept(verdicts)), verdicts)

    def _flow(self, origins: RowSources) -> str:
        """Whose turn at the Validators this is."""
        suspects, slot = self._pool.sources.suspects, self._pool.sources.slot
        if all(suspects(slot(name)) for name in origins.names):
            return SUSPECTS
        return origins.names[0] if len(origins.names) == 1 else ""

    async def check_signatures(self, batch: Batch, verdicts: NDArray[np.uint8], flow: str = "") -> None:
        """Make rows that are OK so far BAD_SIGNATURE, or UNAVAILABLE if nobody could tell."""
        chosen = np.flatnonzero(verdicts == Verdict.OK)
        if not len(chosen):
            return
        rows = batch.rows if len(chosen) == len(batch) else np.ascontiguousarray(batch.rows[chosen])
        since = self._clock()
        try:
            verify = self._validators.verify
            genuine = await retried(
                "signatures", lambda: verify(rows, flow=flow), self._transient, self._failed, _VERIFY_ATTEMPTS
            )
        except NoAnswerError:
            verdicts[chosen] = Verdict.UNAVAILABLE
            return
        self._took("signatures", since, len(chosen))
        verdicts[chosen[~np.asarray(genuine, dtype=np.bool_)]] = Verdict.BAD_SIGNATURE

    def offer(self, batch: Batch, taken: NDArray[np.int64], kinds: NDArray[np.uint8]) -> None:
        """Put newly admitted rows into the outbox, unless they are to be withheld."""
        if len(taken) and not self._withholds():
            self._outbox.add(batch if len(taken) == len(batch) else batch.take(taken), kinds[taken])
            self._outgoing.tell()

    def _refuse_beyond_journal(self, batch: Batch, verdicts: NDArray[np.uint8], origins: RowSources) -> None:
        """POOL_FULL where the journal has no room, or none for one source."""
        pool, held = self._pool, kept(verdicts)
        if not self._journal.fits(len(batch), len(batch.payloads), pool.durable_rows, pool.durable_bytes):
            verdicts[held] = Verdict.POOL_FULL
            return
        slots = pool.sources.slots(origins)
        of_row = np.full(len(batch), slots, dtype=np.uint16) if isinstance(slots, int) else slots
        sizes = ROW_BYTES + batch.rows["payload_bytes"].astype(np.int64)
        beyond = pool.sources.beyond_journal(of_row, sizes, pool.durable_bytes, self._journal_bytes_max)
        verdicts[held & beyond] = Verdict.POOL_FULL

    async def _journal_rows(self, batch: Batch, verdicts: NDArray[np.uint8]) -> None:
        since = self._clock()
        self._journal.append(batch)
        try:
            await self._journal.sync()
        except JournalError as error:
            self._failed("journal", error)
            verdicts[kept(verdicts)] = Verdict.UNAVAILABLE
        self._took("journal", since, len(batch))

    def _took(self, stage: str, since: float, rows: int) -> float:
        now = self._clock()
        self._tally.took(stage, now - since, rows)
        return now
