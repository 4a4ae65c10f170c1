"""The pool against a plain mempool of dictionaries: equal verdicts, draws and losses, step by step.

The model says what the rules in mempool/sender_queue.py mean, without heaps, links or lazy recomputation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.ledger.accounts import payload_hash
from actors.ledger.delta import AccountStates
from actors.ledger.prices import Prices
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.ledger.verdict import Verdict
from actors.mempool import arena, kernels
from actors.mempool.heap import ROOT
from actors.mempool.pool import Pool, PoolBounds

CAPACITY, WINDOW, TAG = 7, 4, 77
CHUNKS, FEE_UNIT, AGE_BLOCKS = 14, 4, 2
SOURCES = ["", "known:client", "member:node"]
OVERDUE = 4
KEYS = [bytes([who + 1]) * 32 for who in range(4)]
U64_MAX = 2**64 - 1
PRICES = Prices(0, 3)
EXECUTION_VERDICTS = [
    Verdict.OK,
    Verdict.NONCE_GAP,
    Verdict.BLOCK_GAS,
    Verdict.NONCE_REUSED,
    Verdict.INSUFFICIENT_BALANCE,
    Verdict.BALANCE_OVERFLOW,
]


@dataclass(slots=True, eq=False)
class Entry:
    """One transaction of the model."""

    sender: bytes
    nonce: int
    amount: int
    fee: int
    expiry: int
    payload: bytes
    mark: int
    arrival: int = 0
    draw: int = 0
    level: int = 0
    since: int = 0

    @property
    def cost(self) -> int:
        return self.amount + self.fee

    @property
    def chunks(self) -> int:
        return -(-len(self.payload) // arena.CHUNK_BYTES)

    def row(self) -> np.ndarray[Any, Any]:
        row = np.zeros(1, dtype=ROW_DTYPE)
        row["version"], row["kind"], row["chain_tag"] = 1, 1, TAG
        row["nonce"], row["amount"], row["fee"] = self.nonce, self.amount, self.fee
        row["expiry_height"], row["payload_bytes"] = self.expiry, len(self.payload)
        row["sender"] = np.frombuffer(self.sender, dtype=np.uint8)
        row["payload_hash"] = np.frombuffer(payload_hash(self.payload), dtype=np.uint8)
        row["signature"][0, 0] = self.mark
        return row

    def level_from(self, lowered: int) -> int:
        """Level by fee per KiB, moved by the source's standing."""
        per_kib = self.fee * 1024 / (208 + len(self.payload))
        level = sum(per_kib < FEE_UNIT * times for times in (1, 4, 16))
        return min(max(level + lowered, 0), 3)

    def rank(self, lowered: int) -> tuple[int, int]:
        return 3 - self.level_from(lowered), self.fee

    def queue(self, height: int) -> int:
        lifted = self.level - (height - self.since) // AGE_BLOCKS
        return OVERDUE if lifted < 0 else lifted

    def same(self, other: Entry) -> bool:
        return self.row().tobytes() == other.row().tobytes()


class Model:
    """The reference mempool."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, tuple[int, int]] = {}
        self.rows: dict[bytes, dict[int, Entry]] = {}
        self.height = self.arrivals = self.committed = self.replaced = 0
        self.lost: list[tuple[bytes, int]] = []

    def chain(self, sender: bytes) -> list[Entry]:
        return [self.rows[sender][nonce] for nonce in sorted(self.rows.get(sender, {}))]

    def everything(self) -> list[Entry]:
        return [entry for sender in sorted(self.rows) for entry in self.chain(sender)]

    def ready_end(self, sender: bytes) -> int:
        nonce = self.accounts.get(sender, (0, 0))[0]
        while nonce in self.rows.get(sender, {}):
            nonce += 1
        return nonce

    def floor(self, sender: bytes, nonce: int, rank: tuple[int, int]) -> tuple[int, int]:
        """Below all ranks behind a gap, else the least rank of the row and those before it."""
        if nonce > self.ready_end(sender):
            return (-1, 0)
        before = [(3 - e.level, e.fee) for e in self.chain(sender) if e.nonce < nonce]
        return min([rank, *before])

    def floor_of(self, entry: Entry) -> tuple[int, int]:
        return self.floor(entry.sender, entry.nonce, (3 - entry.level, entry.fee))

    def victim(self) -> Entry | None:
        tails = [self.chain(sender)[-1] for sender in self.rows if self.rows[sender]]
        tails = [tail for tail in tails if not tail.draw]
        return min(tails, key=lambda t: (self.floor_of(t), -t.arrival), default=None)

    def judge(self, entry: Entry, lowered: int, hopeful: bool = False) -> Verdict:
        committed, balance = self.accounts.get(entry.sender, (0, 0))
        if entry.nonce < committed:
            return Verdict.NONCE_REUSED
        if not balance:
            return Verdict.INSUFFICIENT_BALANCE
        if entry.nonce - committed >= WINDOW:
            full = self.ready_end(entry.sender) - committed == WINDOW
            return Verdict.SENDER_LIMIT if full else Verdict.NONCE_GAP
        known = self.rows.get(entry.sender, {}).get(entry.nonce)
        if known is not None:
            return self.compare(known, entry, lowered, balance)
        spend, ready = sum(e.cost for e in self.chain(entry.sender)), self.ready_end(entry.sender)
        if spend + entry.cost > balance:
            spend = sum(e.cost for e in self.chain(entry.sender) if e.nonce < entry.nonce)
            if entry.nonce != ready or spend + entry.cost > balance:
                return Verdict.INSUFFICIENT_BALANCE
        if entry.nonce == ready and 0 < balance - spend - entry.cost < PRICES.balance_min:
            return Verdict.SENDER_BELOW_MINIMUM
        if self.fits(entry):
            return Verdict.OK
        victim, rank = self.victim(), entry.rank(lowered)
        floor = self.floor(entry.sender, entry.nonce, rank)
        if hopeful and floor < (0, 0):
            floor = rank
        if victim is None or self.floor_of(victim) >= floor:
            return Verdict.POOL_FULL
        return Verdict.OK

    def fits(self, entry: Entry) -> bool:
        return len(self.everything()) < CAPACITY and self.chunks() + entry.chunks <= CHUNKS

    def make_room(self, entry: Entry, lowered: int) -> bool:
        floor = self.floor(entry.sender, entry.nonce, entry.rank(lowered))
        while not self.fits(entry):
            victim = self.victim()
            if victim is None or self.floor_of(victim) >= floor:
                return False
            self.lose(victim, Verdict.POOL_FULL)
        return True

    def compare(self, known: Entry, entry: Entry, lowered: int, balance: int) -> Verdict:
        if known.same(entry):
            return Verdict.DUPLICATE
        dearer = entry.fee > known.fee and 10 * entry.fee >= 11 * known.fee
        if known.draw or not dearer or entry.rank(lowered) < (3 - known.level, known.fee):
            return Verdict.NONCE_REUSED
        if sum(e.cost for e in self.chain(entry.sender)) - known.cost + entry.cost > balance:
            return Verdict.INSUFFICIENT_BALANCE
        return Verdict.POOL_FULL if self.chunks() - known.chunks + entry.chunks > CHUNKS else Verdict.OK

    def chunks(self) -> int:
        return sum(e.chunks for e in self.everything())

    def screen(self, entries: list[Entry], lowered: int) -> list[Verdict]:
        return [
            Verdict.EXPIRED if e.expiry < self.height + 1 else self.judge(e, lowered, True) for e in entries
        ]

    def insert(self, entries: list[Entry], verdicts: list[Verdict], lowered: int) -> list[Verdict]:
        pairs = zip(entries, verdicts, strict=True)
        return [self._inserted(e, v, lowered) for e, v in pairs]

    def _inserted(self, entry: Entry, verdict: Verdict, lowered: int) -> Verdict:
        if verdict == Verdict.OK:
            return self._insert(entry, lowered)
        if verdict == Verdict.DUPLICATE:
            verdict = self.judge(entry, lowered)
        return Verdict.UNAVAILABLE if verdict == Verdict.OK else verdict

    def _insert(self, entry: Entry, lowered: int) -> Verdict:
        verdict = self.judge(entry, lowered)
        if verdict == Verdict.OK:
            known = self.rows.get(entry.sender, {}).get(entry.nonce)
            if known is not None:
                self.replaced += 1
                self.lose(known, Verdict.NONCE_REUSED)
            elif not self.make_room(entry, lowered):
                return Verdict.POOL_FULL
            self.arrivals += 1
            entry.arrival, entry.draw = self.arrivals, 0
            entry.level, entry.since = entry.level_from(lowered), self.height
            self.rows.setdefault(entry.sender, {})[entry.nonce] = entry
            if known is None:
                self.lose_unaffordable(entry.sender)
        return verdict

    def lose(self, entry: Entry, verdict: int) -> None:
        del self.rows[entry.sender][entry.nonce]
        self.lost.append((entry.row().tobytes(), int(verdict)))

    def draw(self, number: int, rows_max: int, payload_max: int, height: int) -> list[Entry]:
        drawn: list[Entry] = []
        aside: set[bytes] = set()
        rows_max = min(rows_max, len(self.everything()))
        shares = {OVERDUE: max(rows_max // 8, min(rows_max, 1))} | {n: rows_max // 16 for n in (1, 2, 3)}
        every, stop = (0, 1, 2, 3, OVERDUE), rows_max - sum(shares.values())
        self._take(drawn, aside, every, stop, number, payload_max, height)
        for queue, share in shares.items():
            stop = min(len(drawn) + share, rows_max)
            self._take(drawn, aside, (queue,), stop, number, payload_max, height)
        self._take(drawn, aside, every, rows_max, number, payload_max, height)
        return drawn

    def _take(
        self,
        drawn: list[Entry],
        aside: set[bytes],
        queues: tuple[int, ...],
        stop: int,
        number: int,
        payload_max: int,
        height: int,
    ) -> None:
        def order(entry: Entry) -> tuple[int, int, int]:
            queue = entry.queue(self.height)
            return queue, 0 if queue == OVERDUE else -entry.fee, entry.arrival

        while len(drawn) < stop:
            heads = [
                next((e for e in self.chain(s) if not e.draw and e.nonce < self.ready_end(s)), None)
                for s in self.rows
                if s not in aside
            ]
            best = min((h for h in heads if h and h.queue(self.height) in queues), key=order, default=None)
            if best is None:
                return
            if best.expiry < height:
                self.lose(best, Verdict.EXPIRED)
            elif sum(len(e.payload) for e in drawn) + len(best.payload) > payload_max:
                aside.add(best.sender)
            else:
                best.draw = number % (2**32 - 1) + 1
                drawn.append(best)

    def resolve(self, number: int, drawn: list[Entry], verdicts: list[Verdict]) -> None:
        for entry, verdict in zip(drawn, verdicts, strict=True):
            here = (
                self.rows[entry.sender].get(entry.nonce) is entry and entry.draw == number % (2**32 - 1) + 1
            )
            if not here or verdict in (Verdict.OK, Verdict.NONCE_REUSED):
                continue
            if verdict in (Verdict.NONCE_GAP, Verdict.BLOCK_GAS):
                entry.draw = 0
            else:
                self.lose(entry, verdict)
        for sender in {entry.sender for entry in drawn}:
            self.lose_unaffordable(sender)

    def settle(self, height: int, accounts: dict[bytes, tuple[int, int]]) -> None:
        self.height = height
        for sender, (nonce, balance) in accounts.items():
            if nonce < self.accounts.get(sender, (0, 0))[0]:
                continue
            self.accounts[sender] = (nonce, balance)
            for entry in self.chain(sender):
                if entry.nonce < nonce:
                    del self.rows[sender][entry.nonce]
                    self.committed += 1
            if not balance:
                for entry in self.chain(sender):
                    self.lose(entry, Verdict.INSUFFICIENT_BALANCE)
            self.lose_unaffordable(sender)
        for sender in self.rows:
            while self.chain(sender) and self.expired(self.chain(sender)[0]):
                self.lose(self.chain(sender)[0], Verdict.EXPIRED)

    def expired(self, entry: Entry) -> bool:
        return not entry.draw and entry.expiry < self.height + 1

    def lose_unaffordable(self, sender: bytes) -> None:
        balance = self.accounts.get(sender, (0, 0))[1]
        while sum(e.cost for e in self.chain(sender)) > balance and not self.chain(sender)[-1].draw:
            self.lose(self.chain(sender)[-1], Verdict.INSUFFICIENT_BALANCE)

    def release(self) -> None:
        for entry in self.everything():
            entry.draw = 0
        for sender in self.rows:
            self.lose_unaffordable(sender)


def to_batch(entries: list[Entry]) -> Batch:
    rows = np.concatenate([entry.row() for entry in entries])
    return Batch(rows, np.frombuffer(b"".join(entry.payload for entry in entries), dtype=np.uint8).copy())


entry_strategy = st.builds(
    Entry,
    st.sampled_from(KEYS),
    st.integers(0, 8),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([0, 1, 2, 3, 9, 10, 20]),
    st.sampled_from([1, 3, 6, U64_MAX]),
    st.sampled_from([b"", b"", b"", b"x", b"y" * 128, b"z" * 300]),
    st.integers(1, 2),
)
batches = st.lists(entry_strategy, min_size=1, max_size=6)
runs = st.tuples(
    st.sampled_from(KEYS), st.integers(0, 4), st.lists(st.integers(0, 9), min_size=1, max_size=4)
)


class PoolMachine(RuleBasedStateMachine):
    """Drives pool and model alike. At most one batch waits for its signatures."""

    def __init__(self) -> None:
        super().__init__()
        chunks = CHUNKS * arena.CHUNK_BYTES
        self.pool = Pool(
            PoolBounds(CAPACITY, 2, WINDOW, chunks, FEE_UNIT, AGE_BLOCKS), TAG, seed=3, prices=PRICES
        )
        self.model = Model()
        self.waiting: tuple[list[Entry], Batch, np.ndarray[Any, Any], list[Verdict], int] | None = None
        self.drawn: dict[int, list[Entry]] = {}
        self.settle(dict.fromkeys(KEYS[:3], (0, 40)))

    @precondition(lambda self: self.waiting is None)
    @rule(entries=batches, source=st.sampled_from(SOURCES))
    def begin(self, entries: list[Entry], source: str) -> None:
        slot = self.pool.sources.slot(source)
        batch = to_batch(entries)
        self.pool.check_form(batch)
        verdicts = self.pool.static(batch)
        self.pool.screen(batch, verdicts, slot)
        expected = self.model.screen(entries, self.pool.sources.lowered(slot))
        assert verdicts.tolist() == expected
        self.waiting = entries, batch, verdicts, expected, slot

    @precondition(lambda self: self.waiting is not None)
    @rule(forged=st.integers(0, 63))
    def finish(self, forged: int) -> None:
        assert self.waiting is not None
        entries, batch, verdicts, expected, slot = self.waiting
        self.waiting = None
        for i, verdict in enumerate(expected):
            if verdict == Verdict.OK and forged >> i & 1 and forged & 1:
                verdicts[i] = expected[i] = Verdict.BAD_SIGNATURE
        before = self.model.arrivals
        taken = self.pool.insert(batch, verdicts, source=slot)
        assert verdicts.tolist() == self.model.insert(entries, expected, self.pool.sources.lowered(slot))
        assert len(taken) == self.model.arrivals - before
        assert set(verdicts[taken].tolist()) <= {Verdict.OK}

    @precondition(lambda self: self.waiting is None)
    @rule(run=runs)
    def submit_run(self, run: tuple[bytes, int, list[int]]) -> None:
        sender, first, fees = run
        self.begin(
            [Entry(sender, first + i, 1, fee, U64_MAX, b"", 1) for i, fee in enumerate(fees)], "known:client"
        )
        self.finish(0)

    @rule(rows=st.integers(0, 5), payload=st.sampled_from([0, 1, 200, 9999]), ahead=st.integers(1, 3))
    def draw(self, rows: int, payload: int, ahead: int) -> None:
        height = self.model.height + ahead
        drawn = self.pool.draw(rows, payload, height)
        expected = self.model.draw(drawn.draw, rows, payload, height)
        assert [row.tobytes() for row in drawn.batch.rows] == [e.row().tobytes() for e in expected]
        assert drawn.batch.payloads.tobytes() == b"".join(e.payload for e in expected)
        assert (np.diff(drawn.ranks.astype(object)) <= 0).all()
        if expected:
            self.drawn[drawn.draw] = expected

    @precondition(lambda self: self.drawn)
    @rule(data=st.data())
    def resolve(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.drawn)))
        drawn = self.drawn.pop(number)
        codes = st.sampled_from(EXECUTION_VERDICTS)
        verdicts = [data.draw(codes) for _ in drawn]
        assert self.pool.resolve(number, np.array(verdicts, dtype=np.uint8))
        self.model.resolve(number, drawn, verdicts)

    @rule(steps=st.dictionaries(st.sampled_from(KEYS), st.tuples(st.integers(0, 3), st.integers(0, 60))))
    def commit(self, steps: dict[bytes, tuple[int, int]]) -> None:
        accounts = self.model.accounts
        self.settle({k: (accounts.get(k, (0, 0))[0] + n, b) for k, (n, b) in steps.items()})

    def settle(self, accounts: dict[bytes, tuple[int, int]]) -> None:
        keys = np.frombuffer(b"".join(accounts), dtype=np.uint8).reshape(-1, 32)
        nonces, balances = (np.array([a[i] for a in accounts.values()], dtype=np.uint64) for i in (0, 1))
        height = self.model.height + 1
        self.pool.settle(AccountStates(height, keys, nonces, balances))
        self.model.settle(height, accounts)

    @rule()
    def release(self) -> None:
        self.pool.release()
        self.model.release()
        self.drawn.clear()
        assert self.pool.inflight == 0

    @invariant()
    def same_rows(self) -> None:
        out = np.empty(self.pool.depth, dtype=np.int64)
        p = self.pool.arena.columns
        slots = out[: kernels.live_slots(p, self.pool.arena.senders_used, False, out)]
        held = {p.words[s].tobytes(): int(p.links[s]["draw"]) for s in slots}
        assert held == {e.row().tobytes(): e.draw for e in self.model.everything()}
        assert len(slots) == self.pool.depth <= CAPACITY
        assert self.pool.inflight == sum(1 for e in self.model.everything() if e.draw)
        assert self.pool.committed == self.model.committed
        assert self.pool.replaced == self.model.replaced

    @invariant()
    def same_losses(self) -> None:
        rows, verdicts = self.pool.take_lost()
        lost = [(row.tobytes(), int(v)) for row, v in zip(rows, verdicts, strict=True)]
        assert sorted(lost) == sorted(self.model.lost)
        self.model.lost.clear()

    @invariant()
    def columns_agree(self) -> None:
        p = self.pool.arena.columns
        totals = p.totals
        used = p.senders[: self.pool.arena.senders_used]
        spends = {int(s["spend"]) for s in used if s["head"] >= 0}
        assert spends == {sum(e.cost for e in self.model.chain(k)) for k, c in self.model.rows.items() if c}
        assert totals[arena.CHUNKS_LIVE] == sum(e.chunks for e in self.model.everything())
        ready_at, evict_at = p.ready_at[: len(used)], p.evict_at[: len(used)]
        heaps = [(p.ready[n], ready_at, arena.READY_SIZE + n) for n in range(arena.QUEUES)]
        for heap, at, size in (*heaps, (p.evict, evict_at, arena.EVICT_SIZE)):
            places = [int(at[heap[ROOT + i]["who"]]) for i in range(totals[size])]
            assert places == list(range(totals[size]))
        assert int((ready_at >= 0).sum()) == sum(self.pool.depth_by_queue())
        assert int((evict_at >= 0).sum()) == totals[arena.EVICT_SIZE]
        assert int(p.sources["rows"].sum()) == self.pool.depth
        assert int(p.sources["chunks"].sum()) == totals[arena.CHUNKS_LIVE]
        parked = [e for e in self.model.everything() if e.nonce > self.model.ready_end(e.sender)]
        assert int(p.sources["parked"].sum()) == self.pool.parked == len(parked)
        free, slot = 0, totals[arena.ROWS_FREE]
        while slot >= 0:
            free, slot = free + 1, p.links[slot]["next"]
        assert free == totals[arena.ROWS_TOUCHED] - totals[arena.ROWS_LIVE]


@pytest.fixture(autouse=True, scope="module")
def _look_at_every_sender_each_block() -> Iterator[None]:
    """So that the queue of a row follows from its height alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.mempool.pool.SWEEP_BLOCKS", 1)
        yield


PoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase
