"""The pool of one shard: pending rows of its senders, in columns; no object a transaction anywhere.

Admission has two halves with the signature check between them, during which other batches come and go:
`screen` judges against the pool and takes nothing in, so forged rows can neither hold a victim's nonce nor
evict anybody; `insert` judges again and takes in what was verified. Whatever a batch costs is linear in it.
A transaction that was committed is refused by its nonce, however long ago that was. How rows are ranked:
levels.py; who is trusted how far: sources.py.

Bounds: `capacity_rows` rows, `payload_bytes_max` of payload in chunks; then the lowest-ranked
row makes way for a better one, else POOL_FULL; a journalled row too, since durable means that it outlives a
crash, not that it outbids others. A sender has `sender_rows_max` nonces from its committed one.
Senders that have no account and no row are forgotten once they are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.checks import static_verdicts
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.delta import AccountStates
from actors.ledger.governed_payloads import NO_GOVERNORS, Governors
from actors.ledger.index import KEY_WORDS, KeyIndex, key_words
from actors.ledger.kinds import KINDS
from actors.ledger.pending import SenderPending
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    ROW_DTYPE,
    ROW_WORDS,
    WORD_NONCE,
    Batch,
    FormatError,
    shard_of,
)
from actors.ledger.verdict import Verdict
from actors.mempool import kernels
from actors.mempool.arena import (
    AGE_BLOCKS,
    ARRIVALS,
    BALANCE_MIN,
    CHUNK_BYTES,
    COMMITTED,
    DURABLE_BYTES,
    DURABLE_ROWS,
    EVICT_SIZE,
    FEE_UNIT,
    HEIGHT,
    INFLIGHT,
    LOST,
    PARKED,
    PARKED_MAX,
    QUEUES,
    READY_SIZE,
    REPLACED,
    ROWS_LIVE,
    ROWS_TOUCHED,
    SWEEP_AT,
    WINDOW,
    Arena,
    PoolColumns,
)
from actors.mempool.contract_keys import ContractKeys
from actors.mempool.heap import ROOT
from actors.mempool.pending import lose_parked, pending_of
from actors.mempool.shares import tell_parked
from actors.mempool.sources import Sources

BATCH_ROWS_MAX = 100_000
ARRIVAL_MAX = 2**32 - 1
SWEEP_BLOCKS = 32
DRAWS_OPEN_MAX = 256
_PHANTOM_SENDERS_MIN = 65_536
_DRAW_ASIDE_MAX = 4_096
Source = int | NDArray[np.uint16]  # a slot of `sources`, of all rows of a batch or of each


@dataclass(frozen=True, slots=True)
class PoolBounds:
    """capacity_rows: rows in all. initial_rows: allocated at first. sender_rows_max: nonces of one sender.

    payload_bytes_max: payloads of all rows, each rounded up to chunks of CHUNK_BYTES. fee_unit: fee per KiB
    that lifts a row out of the lowest level. age_blocks: waiting that lifts a row by one level.
    spread_rows: places that a row may be moved so that neighbours touch different accounts
    (conflict_spacing.py).
    source_share, member_share: see sources.py. parked_rows_max: rows behind gaps; 0: as many as all rows.
    block_payload_bytes_max: of the genesis: a row with more can be in no block, and is refused.
    """

    capacity_rows: int
    initial_rows: int
    sender_rows_max: int
    payload_bytes_max: int = 1 << 26
    fee_unit: int = 4
    age_blocks: int = 100
    spread_rows: int = 1
    source_share: float = 0.0
    member_share: float = 0.0
    parked_rows_max: int = 0
    block_payload_bytes_max: int = ROW_PAYLOAD_BYTES_MAX


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A ranked draw: its number, the rows with their payloads, and (n,) uint64 ranks that never rise."""

    draw: int
    batch: Batch
    ranks: NDArray[np.uint64]


class Pool:
    """Pending rows of one shard. seed: 128 bits that key its hash tables; draws count from `first_draw`."""

    def __init__(
        self,
        bounds: PoolBounds,
        chain_tag: int,
        seed: int,
        prices: Prices,
        first_draw: int = 1,
        shard: int = 0,
        shards: int = 1,
        governors: Governors = NO_GOVERNORS,
    ) -> None:
        self.bounds, self._chain_tag, self._seed, self._prices = bounds, chain_tag, seed, prices
        self._governors = governors
        self.shard, self._shards = shard, shards
        self.height = 0
        self._index = KeyIndex(1024, seed)
        chunks_max = bounds.payload_bytes_max // CHUNK_BYTES
        self.arena = Arena(bounds.initial_rows, bounds.capacity_rows, chunks_max, self._index.capacity)
        self._p.totals[WINDOW], self._p.totals[FEE_UNIT] = bounds.sender_rows_max, bounds.fee_unit
        self._p.totals[AGE_BLOCKS], self._p.totals[BALANCE_MIN] = bounds.age_blocks, prices.balance_min
        self._p.totals[PARKED_MAX] = bounds.parked_rows_max or bounds.capacity_rows
        self.sources = Sources(self._p.sources, bounds.source_share, bounds.member_share)
        self.contracts = ContractKeys()
        self._next_draw = max(first_draw, 1)
        self._open: dict[int, NDArray[np.int64]] = {}
        self._senders_checked = 0
        self._own_next = 0

    @property
    def _p(self) -> PoolColumns:
        return self.arena.columns

    @property
    def depth(self) -> int:
        """Rows held, in flight or not."""
        return int(self._p.totals[ROWS_LIVE])

    @property
    def parked(self) -> int:
        """Rows behind a gap in the nonces of their sender."""
        return int(self._p.totals[PARKED])

    @property
    def inflight(self) -> int:
        """Rows that are drawn and neither settled nor returned."""
        return int(self._p.totals[INFLIGHT])

    @property
    def arrivals(self) -> int:
        """The number of the last row that arrived; it starts again from the rows held before 2^32."""
        return int(self._p.totals[ARRIVALS])

    @property
    def committed(self) -> int:
        """Rows that settling has found used up, in all."""
        return int(self._p.totals[COMMITTED])

    @property
    def replaced(self) -> int:
        """Rows that made way for one of the same nonce with a higher fee, in all."""
        return int(self._p.totals[REPLACED])

    def depth_by_queue(self) -> list[int]:
        """Senders with a row to draw: at each level, and overdue."""
        return [int(n) for n in self._p.totals[READY_SIZE : READY_SIZE + QUEUES]]

    @property
    def durable_rows(self) -> int:
        """Rows held that the journal holds too."""
        return int(self._p.totals[DURABLE_ROWS])

    @property
    def durable_bytes(self) -> int:
        """Row and payload bytes of those."""
        return int(self._p.totals[DURABLE_BYTES])

    # Admission

    def check_form(self, batch: Batch) -> None:
        """Raise FormatError unless the batch is well formed and all its senders belong to this shard."""
        rows = batch.rows
        if rows.dtype != ROW_DTYPE or rows.ndim != 1:
            raise FormatError("rows", f"{rows.dtype} of {rows.ndim} dimensions", "one dimension of ROW_DTYPE")
        if len(rows) > BATCH_ROWS_MAX:
            raise FormatError("rows", f"{len(rows)} rows", f"at most {BATCH_ROWS_MAX}")
        claimed = int(rows["payload_bytes"].sum(dtype=np.uint64))
        if batch.payloads.dtype != np.uint8 or batch.payloads.shape != (claimed,):
            got = f"{batch.payloads.dtype} {batch.payloads.shape}"
            raise FormatError("payloads", got, f"({claimed},) uint8 as the rows say")
        foreign = np.flatnonzero(shard_of(rows["sender"], self._shards) != self.shard)
        if len(foreign):
            raise FormatError(
                f"rows[{foreign[0]}].sender", "a sender of another shard", f"shard {self.shard}"
            )

    def static(self, batch: Batch) -> NDArray[np.uint8]:
        """(n,) verdicts without the state, for inclusion in the block after `height`."""
        verdicts = static_verdicts(
            batch, self._chain_tag, self.height + 1, self._prices, governors=self._governors
        )
        for kind in KINDS.values():
            if not kind.submitted:
                verdicts[batch.rows["kind"] == kind.number] = Verdict.UNKNOWN_KIND
        if self.bounds.block_payload_bytes_max < ROW_PAYLOAD_BYTES_MAX:
            long = batch.rows["payload_bytes"] > self.bounds.block_payload_bytes_max
            verdicts[long & (verdicts == Verdict.OK)] = Verdict.PAYLOAD_LIMIT
        return verdicts

    def screen(self, batch: Batch, verdicts: NDArray[np.uint8], source: Source = 0) -> None:
        """Complete static verdicts by those of state and pool, each row against the pool as it is."""
        self._reserve(batch)
        slots = self._index.find(key_words(batch.rows["sender"]))
        slot_of_row, lowered = self._standing(source, len(batch))
        kernels.screen(self._p, slots, batch.words, slot_of_row, lowered, verdicts)

    def insert(
        self,
        batch: Batch,
        verdicts: NDArray[np.uint8],
        durable: bool = False,
        source: Source = 0,
        own: bool = True,
    ) -> NDArray[np.int64]:
        """Take in the rows whose verdict is OK, in order; verdicts say what became of them.

        With `durable`, those and the DUPLICATE rows that are still pending are marked as journalled; so with
        `own`, as handed in here (see `own_rows`) and not only passed on by another node. DUPLICATE rows that
        pend no more become UNAVAILABLE. Forged rows are held against their source. Returns the places of
        rows that are new here.
        """
        self._reserve(batch)
        slot_of_row, lowered = self._standing(source, len(batch))
        forged = slot_of_row[verdicts == Verdict.BAD_SIGNATURE]
        for slot, rows in zip(*np.unique(forged, return_counts=True), strict=True):
            self.sources.forged(int(slot), int(rows))
        wanted = key_words(batch.rows["sender"])
        chosen = (verdicts == Verdict.OK) | ((verdicts == Verdict.DUPLICATE) & (durable or own))
        slots = np.full(len(batch), -1, dtype=np.int64)
        slots[chosen] = self._slots(wanted[chosen])
        taken = np.empty(len(batch), dtype=np.int64)
        count = kernels.insert(
            self._p, slots, batch.words, batch.payloads, batch.payload_offsets, slot_of_row, lowered,
            verdicts, durable, own, taken,
        )  # fmt: skip
        self.arena.note_peak()
        return taken[:count]

    def tell_parked(self, batch: Batch, verdicts: NDArray[np.uint8]) -> None:
        """Make the verdict of rows that are held, and wait for a nonce before them, PARKED."""
        if self.parked:
            slots = self._index.find(key_words(batch.rows["sender"]))
            tell_parked(self._p, slots, batch.words, verdicts, WORD_NONCE)

    def _standing(self, source: Source, rows: int) -> tuple[NDArray[np.uint16], NDArray[np.int8]]:
        """(n,) slots of the rows' sources, and (n,) levels that each row loses for it."""
        if isinstance(source, int):
            lowered = self.sources.lowered(source)
            return np.full(rows, source, dtype=np.uint16), np.full(rows, lowered, dtype=np.int8)
        used, places = np.unique(source, return_inverse=True)
        return source, np.array([self.sources.lowered(int(slot)) for slot in used], dtype=np.int8)[places]

    def _reserve(self, batch: Batch) -> None:
        chunks = int((-(-batch.rows["payload_bytes"].astype(np.int64) // CHUNK_BYTES)).sum())
        self.arena.reserve(len(batch), chunks)
        if int(self._p.totals[ARRIVALS]) + len(batch) > ARRIVAL_MAX:
            slots = self._live_slots()
            by_arrival = slots[np.argsort(self._p.links["arrival"][slots])]
            kernels.renumber(self._p, by_arrival, self.arena.senders_used)

    def _slots(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        if self._index.count + len(wanted) > 2 * self._senders_checked + _PHANTOM_SENDERS_MIN:
            self._forget_phantoms()
        slots = self._index.insert(wanted)
        self.arena.use_senders(self._index.count, self._index.capacity)
        return slots

    def _forget_phantoms(self) -> None:
        """Drop senders that are no accounts and have no rows."""
        count, p = self._index.count, self._p
        senders = p.senders[:count]
        keep = (senders["balance"] != 0) | (senders["head"] >= 0)
        index = KeyIndex(int(keep.sum()), self._seed)
        index.insert(self._index.keys[:count][keep])
        kept = np.flatnonzero(keep)
        new_slot = np.cumsum(keep) - 1
        touched = int(p.totals[ROWS_TOUCHED])
        p.links["owner"][:touched] = new_slot[p.links["owner"][:touched]]
        sizes = (*self.depth_by_queue(), int(p.totals[EVICT_SIZE]))
        for heap, size in zip((*p.ready, p.evict), sizes, strict=True):
            entries = heap["who"][ROOT : ROOT + size]
            entries[:] = new_slot[entries]
        self._index = index
        self.arena.replace_senders(index.capacity, kept)
        p.totals[SWEEP_AT] = 0
        self._senders_checked = index.count

    # Drawing and what becomes of it

    def draw(self, rows_max: int, payload_bytes_max: int, height: int) -> Drawn:
        """The best rows for the block at `height`, ranked; they become in flight, expired ones are dropped.

        When more than DRAWS_OPEN_MAX draws are unresolved, the oldest can be resolved no more: its rows stay
        in flight until they settle or are released.
        """
        out = np.empty(min(rows_max, self.depth), dtype=np.int64)
        ranks = np.empty(len(out), dtype=np.uint64)
        number, self._next_draw = self._next_draw, self._next_draw + 1
        aside = np.empty(_DRAW_ASIDE_MAX, dtype=np.int64)
        count = kernels.draw(self._p, _mark(number), np.uint64(height), payload_bytes_max, out, ranks, aside)
        out, ranks = out[:count], ranks[:count]
        if self.bounds.spread_rows > 1 and count > 1:
            order = self.contracts.order(
                self._p.words, out, self.bounds.spread_rows, self._index.hash_key, self._gather
            )
            out, ranks = out[order], np.minimum.accumulate(ranks[order])
        if count:
            self._open[number] = out
            if len(self._open) > DRAWS_OPEN_MAX:
                self._open.pop(next(iter(self._open)))
        return Drawn(number, self._gather(out), ranks)

    def _gather(self, slots: NDArray[np.int64]) -> Batch:
        payload_bytes = int((self._p.words[slots, 0] >> np.uint64(32)).sum()) if len(slots) else 0
        rows = np.empty(len(slots), dtype=ROW_DTYPE)
        payloads = np.empty(payload_bytes, dtype=np.uint8)
        kernels.gather(self._p, slots, rows.view(np.uint64).reshape(len(rows), ROW_WORDS), payloads)
        return Batch(rows, payloads)

    def resolve(self, draw: int, verdicts: NDArray[np.uint8]) -> bool:
        """What execution said of a draw's rows, in draw order. False if the draw is unknown or resolved.

        Raises FormatError if the number of verdicts is not that of the rows.
        """
        drawn = self._open.get(draw)
        if drawn is None:
            return False
        if verdicts.shape != drawn.shape:
            raise FormatError("verdicts", verdicts.shape, f"{drawn.shape} as drawn")
        del self._open[draw]
        kernels.resolve(self._p, _mark(draw), drawn, np.array(verdicts, dtype=np.uint8))
        return True

    def release(self) -> None:
        """All rows in flight are pending again, or dropped if unaffordable by now; no draw is open."""
        self._open.clear()
        kernels.release(self._p, self.arena.senders_used)

    def settle(self, accounts: AccountStates) -> None:
        """Accounts as committed: those that changed, or all. Other shards' are passed over.

        One of balance 0 is gone, and what its sender has here goes too.
        """
        own = shard_of(accounts.keys, self._shards) == self.shard
        slots = self._slots(key_words(accounts.keys[own]))
        kernels.settle(self._p, slots, accounts.nonces[own], accounts.balances[own])
        self.height = max(self.height, accounts.height)
        self._p.totals[HEIGHT] = self.height
        self.sources.settle()
        used = self.arena.senders_used
        kernels.sweep(self._p, used, -(-used // SWEEP_BLOCKS))
        self.arena.release_idle()

    # What others want to know

    def journalled(self) -> Batch:
        """All rows that are marked as journalled, with payloads, each sender's by nonce."""
        return self._gather(self._live_slots(durable_only=True))

    def pending(self, sender: bytes) -> SenderPending:
        """What is held of one sender."""
        key = np.frombuffer(sender, dtype=np.uint8).reshape(1, 32)
        slot = int(self._index.find(key_words(key))[0])
        return pending_of(self._p, slot, self.bounds.sender_rows_max, self.height)

    def expire(self, parked_arrival_max: int = 0) -> None:
        """Drop what waits in vain, though no block comes: rows that have expired, and parked ones that
        arrived up to that number."""
        used = self.arena.senders_used
        if self.depth:
            kernels.sweep(self._p, used, used)
        if self.parked and parked_arrival_max:
            lose_parked(self._p, used, parked_arrival_max)

    def own_rows(
        self, rows_max: int, arrival_max: int, senders_left: int
    ) -> tuple[Batch, NDArray[np.uint8], int]:
        """(rows, kinds, senders left): what was handed in here and arrived up to number `arrival_max`.

        Of `senders_left` senders, from where the last call ended, at most `rows_max` rows. kinds: (n,) uint8
        indices into source.KINDS.
        """
        out = np.empty(min(rows_max, self.depth + 1), dtype=np.int64)  # one more: with all, it is not full
        senders_left = min(senders_left, self.arena.senders_used)
        count, self._own_next, left = kernels.own_slots(
            self._p, self.arena.senders_used, self._own_next, senders_left, arrival_max, out
        )
        slots = out[:count]
        return self._gather(slots), self.sources.kinds[self._p.links["source"][slots]], left

    def forget_looks(self) -> None:
        """Have `own_rows` take each row as one that it has not looked at yet."""
        own = self._p.links["own"][: int(self._p.totals[ROWS_TOUCHED])]
        own[own > 0] = 1

    def _live_slots(self, durable_only: bool = False) -> NDArray[np.int64]:
        out = np.empty(self.depth, dtype=np.int64)
        return out[: kernels.live_slots(self._p, self.arena.senders_used, durable_only, out)]

    def take_lost(self) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Rows that were dropped uncommitted since the last call, and why."""
        count = int(self._p.totals[LOST])
        self._p.totals[LOST] = 0
        rows = self._p.lost[:count].copy().view(ROW_DTYPE).reshape(count)
        return rows, self._p.lost_verdicts[:count].copy()

    def memory(self) -> dict[str, int]:
        """Bytes by use; see Arena.memory."""
        memory = self.arena.memory()
        memory["sender_bytes"] += self._index.count * 8 * KEY_WORDS + self._index.table.nbytes
        return memory


def _mark(draw: int) -> int:
    """What a row in flight remembers of its draw: never 0, and the same again only after 2^32-1 draws."""
    return draw % ARRIVAL_MAX + 1
