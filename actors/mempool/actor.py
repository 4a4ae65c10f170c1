"""The Ray shell of the mempool: one `MempoolShard` a shard, an async actor around `Pool` and its journal.

Between two awaits the pool belongs to one call, so there is no lock; whatever is decided before an await is
decided again after it (see pool.py). Calls may arrive in another order than they were sent: blocks are
numbered, so `settle` sorts them, and fetches the accounts anew when one does not come.

A restart reruns the constructor only. The first call afterwards starts recovery: accounts from Storage, then
the journal through admission. Until that is done draws are empty and admissions wait, at most READY_WAIT_S,
and then say UNAVAILABLE, which asks the client to submit again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.faces import remote
from actors.ledger.delta import Delta
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import sha256_rows
from actors.ledger.pending import DrawSummary, OutboxSummary, SenderPending
from actors.ledger.rows import LEAF_PREFIX, Batch, row_matrix, shard_of
from actors.ledger.source import RowSources
from actors.ledger.verdict import Verdict
from actors.mempool.admission import Admission
from actors.mempool.admission_metrics import AdmissionMetrics
from actors.mempool.contract_learner import ContractLearner
from actors.mempool.deltas import DeltaQueue
from actors.mempool.draw_waiter import DrawWaiter, nothing_drawn
from actors.mempool.eviction_log import EvictionLog
from actors.mempool.journal import JournalHeader
from actors.mempool.journal_file import (
    GroupCommit,
    JournalError,
    JournalFile,
    clear_marks,
    journal_path,
    mark_taken,
    other_layouts,
    read_journal,
)
from actors.mempool.notifier import Notifier
from actors.mempool.outbox import Outbox, ReofferScheduler
from actors.mempool.pending import ArrivalLog
from actors.mempool.pool import Pool, PoolBounds
from actors.mempool.retry import BACKOFF_MAX_S, NoAnswerError, retried
from actors.mempool.verifier import SignatureChecks
from actors.near.server import NearServer
from actors.near.shard import run_on_shard
from actors.settings import MempoolSettings
from actors.shell import ActorContext, Shell, freeze_long_lived
from actors.storage.interface import StorageFace

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000}

READY_WAIT_S = 5.0
GAP_GRACE_S = 0.25
LOST_KEPT = 65_536
OUTBOX_PAYLOAD_BYTES_PER_ROW = 256
OUTBOX_ROWS_MAX, NEWS_WAIT_MAX_S = 4_096, 10.0
OFFER_AGAIN_S, OFFER_AGAIN_PAUSE_S = 5.0, 0.1
_TRANSIENT = (RayError, OSError)


class MempoolShard(Shell):
    """Pending transactions of the senders that `shard_of` gives to this shard."""

    def __init__(
        self,
        context: ActorContext,
        settings: MempoolSettings,
        shard: int,
        shards: int,
        genesis: Genesis,
        storage: Any,
        validators: SignatureChecks,
    ) -> None:
        super().__init__(context)
        self._settings, self._shard, self._shards = settings, shard, shards
        self._storage: StorageFace = remote(storage)
        self._validators = validators
        bounds = PoolBounds(
            settings.capacity_rows,
            settings.initial_rows,
            settings.sender_rows_max,
            settings.payload_bytes_max,
            settings.level_fee_per_kib,
            settings.age_blocks,
            settings.spread_rows,
            settings.source_share,
            settings.member_share,
            max(1, int(settings.capacity_rows * settings.parked_share)),
            genesis.block_payload_bytes_max,
        )
        seed, tag = int.from_bytes(os.urandom(16), "little"), genesis.chain_tag
        # Draws of an earlier incarnation must not match this one's: number them from the clock.
        incarnation = time.time_ns()
        self._pool = Pool(bounds, tag, seed, genesis.prices, incarnation, shard, shards, genesis.governed_by)
        self._header = JournalHeader(tag, shard, shards)
        path = journal_path(Path(context.data_dir) / "journal", shard, shards)
        self._file = JournalFile(path, self._header)
        flush_s = settings.journal_flush_ms / 1000
        self._journal = GroupCommit(self._file, self._pool.journalled, flush_s, settings.journal_bytes_max)
        self._ready = False
        self._recovery: asyncio.Task[None] | None = None
        self._resync: asyncio.Task[None] | None = None
        self._learner = ContractLearner(self._pool.contracts, self._storage, _TRANSIENT, self._failed)
        self._bell = DrawWaiter(lambda: any(self._pool.depth_by_queue()))
        self._near = NearServer(partial(run_on_shard, self))
        self._deltas = DeltaQueue()
        self._arrivals = ArrivalLog(settings.parked_s_max)
        self._tally = AdmissionMetrics()
        self._lost = EvictionLog(LOST_KEPT)
        outbox_bytes = settings.outbox_rows * OUTBOX_PAYLOAD_BYTES_PER_ROW
        self._outbox = Outbox(settings.outbox_rows, outbox_bytes, incarnation)
        self._outgoing, self._dropping = Notifier(), Notifier()
        self._again = ReofferScheduler(self._pool, OFFER_AGAIN_S, OUTBOX_ROWS_MAX, OFFER_AGAIN_PAUSE_S)
        self._admission = Admission(
            settings, self._pool, self._journal, validators, self._outbox, self._outgoing, self._tally,
            lambda: self._again.withholds(time.monotonic()), time.perf_counter, self._bury, self._failed,
            _TRANSIENT,
        )  # fmt: skip

    # Life

    async def start(self) -> dict[str, object]:
        """Load accounts and replay the journal; idempotent. Raises UnavailableError if nobody answers."""
        await asyncio.shield(self._begin_recovery())
        if not self._ready:
            raise NoAnswerError(f"mempool shard {self._shard}: Storage or the Validators do not answer")
        freeze_long_lived()
        return {"shard": self._shard, "height": self._pool.height, "depth": self._pool.depth}

    async def stop(self) -> None:
        """Bring the journal to disk."""
        self._near.close()
        self._learner.stop()
        for task in (self._recovery, self._resync):
            if task is not None:
                task.cancel()
        await self._journal.close()

    async def health(self) -> dict[str, object]:
        """Depth, counters of verdicts and losses, microseconds a row of each stage, memory, journal."""
        pool, memory = self._pool, self._pool.memory()
        held = memory["row_bytes"] + memory["payload_bytes"] + memory["sender_bytes"]
        return {
            **self.process_health(),
            "ready": self._ready,
            "shard": self._shard,
            "height": pool.height,
            "depth": pool.depth,
            "inflight": pool.inflight,
            "capacity": self._settings.capacity_rows,
            "admitting": self._admission.rows,
            "parked": pool.parked,
            "committed": pool.committed,
            "replaced": pool.replaced,
            "senders_by_level": pool.depth_by_queue(),
            "sources": pool.sources.summary(),
            "outbox": self._outbox.total,
            **self._tally.summary(),
            "validators": self._validators.statistics(),
            "memory": {**memory, "bytes_per_pending": round(held / max(pool.depth, 1), 1)},
            "journal": {**self._journal.statistics(), "durable_rows": pool.durable_rows},
        }

    # Calls

    async def admit(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool = False,
        sources: Sequence[str] = ("",),
        origins: NDArray[np.uint16] | None = None,
        relayed: bool = False,
    ) -> NDArray[np.uint8]:
        """(n,) verdicts. With `durable`, OK, DUPLICATE and PARKED mean that the row is in the synced journal.

        Row i is handed in by sources[origins[i]], all by sources[0] without `origins`; they are named
        as ledger/source.py says. `relayed`: by another node, which passes the rows on
        to others itself. Raises FormatError when any of this or the batch is malformed, or the batch holds
        another shard's sender. Rows being admitted are bounded, in all and for each source; above it they are
        POOL_FULL. PARKED rows are held and wait for a nonce before them; relayed ones are just OK.
        """
        batch = Batch(np.array(rows), np.array(payloads))
        self._pool.check_form(batch)
        source = RowSources(sources, origins)
        source.check(len(batch))
        if not await self._usable():
            return self._tally.answered(np.full(len(batch), Verdict.UNAVAILABLE, dtype=np.uint8))
        return self._tally.answered(await self._admission.admit(batch, durable, source, relayed))

    async def near_line(self) -> str:
        """Where callers on this machine find this shard's line."""
        return await self._near.name()

    async def draw_at_hand(
        self, rows_max: int, payload_bytes_max: int, height: int, wait_s: float = 0.0
    ) -> tuple[DrawSummary, NDArray[Any], NDArray[np.uint8], int]:
        """As `draw`, where the shard holds at most rows_max rows, and 0; else nothing, and how many it holds.

        Waits at most `wait_s` for rows, and draws none if there was a `release` meanwhile.
        """
        self._again.drawn(time.monotonic())
        if wait_s > 0 and self._ready and not await self._bell.wait(wait_s):
            return (*nothing_drawn(), 0)
        pending = self._pool.depth - self._pool.inflight
        if self._ready and pending > rows_max:
            return (*nothing_drawn(), pending)
        return (*self._draw(rows_max, payload_bytes_max, height), 0)

    @ray.method(num_returns=3)
    async def draw(
        self, rows_max: int, payload_bytes_max: int, height: int
    ) -> tuple[DrawSummary, NDArray[Any], NDArray[np.uint8]]:
        """(summary, rows, payloads): rows for block `height`, then in flight."""
        return self._draw(rows_max, payload_bytes_max, height)

    def _draw(
        self, rows_max: int, payload_bytes_max: int, height: int
    ) -> tuple[DrawSummary, NDArray[Any], NDArray[np.uint8]]:
        if not self._ready:
            self._begin_recovery()
            return nothing_drawn()
        since = time.perf_counter()
        self._again.drawn(time.monotonic())
        drawn = self._pool.draw(rows_max, payload_bytes_max, height)
        self._took("draw", since, len(drawn.batch))
        self._bury()
        self._learner.wake()
        rows = drawn.batch.rows
        return DrawSummary(drawn.draw, len(rows), drawn.ranks), rows, drawn.batch.payloads

    async def resolve(self, draw: int, verdicts: NDArray[np.uint8]) -> None:
        """What execution said of a draw's rows, in draw order. A draw that is not open is passed over.

        Raises FormatError when the number of verdicts is not that of the rows.
        """
        if not self._pool.resolve(draw, verdicts):
            self._tally.events["resolved_unknown_draw"] += 1
        self._bury()

    async def settle(self, *deltas: Delta) -> None:
        """Deltas of committed blocks. Out of order is fine; a height that does not come leads to a resync."""
        if not any([self._deltas.add(delta, self._pool.height) for delta in deltas]):
            return
        if not self._ready:
            self._begin_recovery()
            return
        self._apply_deltas()
        self._resync_if_behind()

    async def set_validators(self, workers: list[Any]) -> None:
        """Have signatures checked by these Validators from now on."""
        self._validators.set_workers(workers)

    async def release(self) -> None:
        """All rows in flight are pending again; draws that wait for rows are over."""
        self._bell.dismiss()
        self._pool.release()
        self._again.leads_no_more()
        self._outgoing.tell()

    @ray.method(num_returns=3)
    async def dropped(
        self, since: int = 0, wait_s: float = 0.0
    ) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
        """(number to ask with next time, ids (n, 32), verdicts (n,)): accepted rows that were dropped since.

        With none it waits `wait_s` for some, at most NEWS_WAIT_MAX_S. LOST_KEPT are kept; the number of an
        earlier incarnation reads from the beginning.
        """
        self._pool.expire(self._arrivals.look(time.monotonic(), self._pool.arrivals))
        self._bury()
        if since == self._lost.total and wait_s > 0:
            await self._dropping.wait(min(wait_s, NEWS_WAIT_MAX_S))
        return self._lost.since(since)

    @ray.method(num_returns=3)
    async def outbox(
        self, since: int = 0, wait_s: float = 0.0, incarnation: int = 0
    ) -> tuple[OutboxSummary, NDArray[Any], NDArray[np.uint8]]:
        """(summary, rows, payloads): what others should hear of, see outbox.py.

        At most OUTBOX_ROWS_MAX rows; with none the answer waits `wait_s` for some, at most NEWS_WAIT_MAX_S.
        The numbers of another incarnation of this shard read from the beginning.
        """
        since = since if incarnation == self._outbox.incarnation else 0
        self._tally.events["rows_offered_again"] += self._again.offer(self._outbox, time.monotonic())
        if since == self._outbox.total and wait_s > 0:
            rest_s = self._again.rest_s(time.monotonic())
            await self._outgoing.wait(min(wait_s, NEWS_WAIT_MAX_S, rest_s))
        summary, batch = self._outbox.since(since, OUTBOX_ROWS_MAX)
        return summary, batch.rows, batch.payloads

    async def pending(self, sender: bytes) -> SenderPending:
        """What is held of one sender."""
        return self._pool.pending(sender)

    async def offer_anew(self) -> None:
        """Others have lost what they were offered: put all rows of this node's clients into the outbox."""
        self._again.anew()
        self._outgoing.tell()

    # Recovery

    async def _usable(self) -> bool:
        if not self._ready:
            await asyncio.wait({self._begin_recovery()}, timeout=READY_WAIT_S)
        return self._ready

    def _begin_recovery(self) -> asyncio.Task[None]:
        if self._recovery is None or (self._recovery.done() and not self._ready):
            self._recovery = asyncio.create_task(self._recover())
        return self._recovery

    async def _recover(self) -> None:
        try:
            await self._load_accounts()
            await self._replay()
        except (NoAnswerError, JournalError) as error:
            self.log.warning("recovery put off: {}", error)
            return
        self._ready = True
        self._apply_deltas()
        self._resync_if_behind()
        self.log.info("ready at height {} with {} rows", self._pool.height, self._pool.depth)

    async def _load_accounts(self) -> None:
        place = self._shard, self._shards
        accounts = await retried(
            "accounts", lambda: self._storage.shard_accounts(*place), _TRANSIENT, self._failed
        )
        self._pool.settle(accounts)
        self._bury()

    async def _replay(self) -> None:
        """Bring back what journals promised, then write the own one anew without what is done or damaged."""
        own = self._file.path
        others = await asyncio.to_thread(other_layouts, own.parent, self._shards)
        clear_marks(own)
        for path in (own, *others):
            scan = await asyncio.to_thread(read_journal, path, self._header.chain_tag)
            if scan.damaged or scan.torn_bytes:
                what = "{}: {} damaged stretches, {} torn bytes cut"
                self.log.warning(what, path.name, scan.damaged, scan.torn_bytes)
            for batch in scan.batches:
                await self._readmit(Batch(np.array(batch.rows), np.array(batch.payloads)))
        await self._journal.sync()
        for path in others:
            mark_taken(path, self._shard, self._shards)

    async def _readmit(self, batch: Batch) -> None:
        mine = shard_of(batch.rows["sender"], self._shards) == self._shard
        batch = batch.take(mine)
        verdicts = self._pool.static(batch)
        self._pool.screen(batch, verdicts)
        await self._admission.check_signatures(batch, verdicts)
        if (verdicts == Verdict.UNAVAILABLE).any():
            raise NoAnswerError("the journal cannot be replayed without Validators")
        taken = self._pool.insert(batch, verdicts, durable=True)
        self._admission.offer(batch, taken, np.zeros(len(batch), dtype=np.uint8))
        self._tally.events["journal_rows_replayed"] += int((verdicts == Verdict.OK).sum())

    # Settling

    def _apply_deltas(self) -> None:
        while (accounts := self._deltas.take(self._pool.height)) is not None:
            since = time.perf_counter()
            self._pool.settle(accounts)
            self._took("settle", since, len(accounts.keys))
        self._bury()
        self._journal.trim(self._pool.durable_bytes)

    def _resync_if_behind(self) -> None:
        if self._deltas.behind(self._pool.height) and (self._resync is None or self._resync.done()):
            self._resync = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Wait a moment for late deltas, then take all accounts from Storage."""
        await asyncio.sleep(GAP_GRACE_S)
        try:
            while self._deltas.behind(self._pool.height):
                self._tally.events["resyncs"] += 1
                before = self._pool.height
                await self._load_accounts()
                self._apply_deltas()
                if self._pool.height == before:
                    await asyncio.sleep(BACKOFF_MAX_S)
        except NoAnswerError as error:
            self.log.warning("resync put off until the next block: {}", error)

    # Bookkeeping

    def _failed(self, what: str, error: Exception) -> None:
        self._tally.events[f"{what}_failures"] += 1
        self.log.warning("{}: no answer yet: {!r}", what, error)

    def _took(self, stage: str, since: float, rows: int) -> float:
        now = time.perf_counter()
        self._tally.took(stage, now - since, rows)
        return now

    def _bury(self) -> None:
        """The pool has changed: note the rows that it has dropped, with their ids."""
        rows, verdicts = self._pool.take_lost()
        if len(rows):
            self._lost.add(sha256_rows(row_matrix(rows), LEAF_PREFIX), verdicts)
            self._tally.lost(verdicts)
            self._dropping.tell()
        self._bell.ring()
