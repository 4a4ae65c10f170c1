"""The pool against a plain mempool of dictionaries: equal verdicts, draws and losses, step by step.

The model says what the rules in actors/mempool/chain.py mean, without heaps, links or lazy recomputation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.ledger.rows import ROW_DTYPE, Batch
from actors.ledger.rules import payload_hash
from actors.ledger.verdict import Verdict
from actors.mempool import arena, kernels
from actors.mempool.pool import PAYLOAD_CHUNKS_PER_ROW, Pool, PoolBounds

CAPACITY, WINDOW, TAG = 7, 4, 77
KEYS = [bytes([who + 1]) * 32 for who in range(4)]
U64_MAX = 2**64 - 1
EXECUTION_VERDICTS = [
    Verdict.OK,
    Verdict.NONCE_GAP,
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

    def same(self, other: Entry) -> bool:
        return self.row().tobytes() == other.row().tobytes()


class Model:
    """The reference mempool."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, tuple[int, int]] = {}
        self.rows: dict[bytes, dict[int, Entry]] = {}
        self.height = self.arrivals = self.committed = 0
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

    def floor(self, sender: bytes, nonce: int, fee: int) -> int:
        """0 behind a gap, else 1 + the least fee of the row and those before it."""
        if nonce > self.ready_end(sender):
            return 0
        before = [entry.fee for entry in self.chain(sender) if entry.nonce < nonce]
        return min([fee, *before]) + 1

    def victim(self) -> Entry | None:
        tails = [self.chain(sender)[-1] for sender in self.rows if self.rows[sender]]
        tails = [tail for tail in tails if not tail.draw]
        return min(tails, key=lambda t: (self.floor(t.sender, t.nonce, t.fee), -t.arrival), default=None)

    def judge(self, entry: Entry, hopeful: bool = False) -> Verdict:
        committed, balance = self.accounts.get(entry.sender, (0, 0))
        if entry.nonce < committed:
            return Verdict.NONCE_REUSED
        if entry.nonce - committed >= WINDOW:
            full = self.ready_end(entry.sender) - committed == WINDOW
            return Verdict.SENDER_LIMIT if full else Verdict.NONCE_GAP
        known = self.rows.get(entry.sender, {}).get(entry.nonce)
        if known is not None:
            return Verdict.DUPLICATE if known.same(entry) else Verdict.NONCE_REUSED
        if sum(e.cost for e in self.chain(entry.sender)) + entry.cost > balance:
            return Verdict.INSUFFICIENT_BALANCE
        if sum(e.chunks for e in self.everything()) + entry.chunks > CAPACITY * PAYLOAD_CHUNKS_PER_ROW:
            return Verdict.POOL_FULL
        if len(self.everything()) < CAPACITY:
            return Verdict.OK
        victim, floor = self.victim(), self.floor(entry.sender, entry.nonce, entry.fee)
        if hopeful and floor == 0:
            floor = entry.fee + 1
        if victim is None or self.floor(victim.sender, victim.nonce, victim.fee) >= floor:
            return Verdict.POOL_FULL
        return Verdict.OK

    def screen(self, entries: list[Entry]) -> list[Verdict]:
        return [Verdict.EXPIRED if e.expiry < self.height + 1 else self.judge(e, True) for e in entries]

    def insert(self, entries: list[Entry], verdicts: list[Verdict]) -> list[Verdict]:
        return [self._insert(e) if v == Verdict.OK else v for e, v in zip(entries, verdicts, strict=True)]

    def _insert(self, entry: Entry) -> Verdict:
        verdict = self.judge(entry)
        if verdict == Verdict.OK:
            if len(self.everything()) == CAPACITY:
                victim = self.victim()
                assert victim is not None
                self.lose(victim, Verdict.POOL_FULL)
            self.arrivals += 1
            entry.arrival, entry.draw = self.arrivals, 0
            self.rows.setdefault(entry.sender, {})[entry.nonce] = entry
        return verdict

    def lose(self, entry: Entry, verdict: int) -> None:
        del self.rows[entry.sender][entry.nonce]
        self.lost.append((entry.row().tobytes(), int(verdict)))

    def draw(self, number: int, rows_max: int, payload_max: int, height: int) -> list[Entry]:
        drawn: list[Entry] = []
        aside: set[bytes] = set()
        while len(drawn) < rows_max:
            heads = [
                next((e for e in self.chain(s) if not e.draw and e.nonce < self.ready_end(s)), None)
                for s in self.rows
                if s not in aside
            ]
            best = min((h for h in heads if h), key=lambda e: (-e.fee, e.arrival), default=None)
            if best is None:
                break
            if best.expiry < height:
                self.lose(best, Verdict.EXPIRED)
            elif sum(len(e.payload) for e in drawn) + len(best.payload) > payload_max:
                aside.add(best.sender)
            else:
                best.draw = number
                drawn.append(best)
        return drawn

    def resolve(self, number: int, drawn: list[Entry], verdicts: list[Verdict]) -> None:
        for entry, verdict in zip(drawn, verdicts, strict=True):
            here = self.rows[entry.sender].get(entry.nonce) is entry and entry.draw == number
            if not here or verdict in (Verdict.OK, Verdict.NONCE_REUSED):
                continue
            if verdict == Verdict.NONCE_GAP:
                entry.draw = 0
            else:
                self.lose(entry, verdict)

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
            while sum(e.cost for e in self.chain(sender)) > balance and not self.chain(sender)[-1].draw:
                self.lose(self.chain(sender)[-1], Verdict.INSUFFICIENT_BALANCE)

    def release(self) -> None:
        for entry in self.everything():
            entry.draw = 0


def to_batch(entries: list[Entry]) -> Batch:
    rows = np.concatenate([entry.row() for entry in entries])
    return Batch(rows, np.frombuffer(b"".join(entry.payload for entry in entries), dtype=np.uint8).copy())


entry_strategy = st.builds(
    Entry,
    st.sampled_from(KEYS),
    st.integers(0, 8),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([0, 1, 2, 3, 9]),
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
        self.pool = Pool(PoolBounds(CAPACITY, 2, WINDOW), TAG, seed=3)
        self.model = Model()
        self.waiting: tuple[list[Entry], Batch, np.ndarray[Any, Any], list[Verdict]] | None = None
        self.drawn: dict[int, list[Entry]] = {}
        self.settle(dict.fromkeys(KEYS[:3], (0, 40)))

    @precondition(lambda self: self.waiting is None)
    @rule(entries=batches)
    def begin(self, entries: list[Entry]) -> None:
        batch = to_batch(entries)
        self.pool.check_form(batch)
        verdicts = self.pool.static(batch)
        self.pool.screen(batch, verdicts)
        expected = self.model.screen(entries)
        assert verdicts.tolist() == expected
        self.waiting = entries, batch, verdicts, expected

    @precondition(lambda self: self.waiting is not None)
    @rule(forged=st.integers(0, 63))
    def finish(self, forged: int) -> None:
        assert self.waiting is not None
        entries, batch, verdicts, expected = self.waiting
        self.waiting = None
        for i, verdict in enumerate(expected):
            if verdict == Verdict.OK and forged >> i & 1 and forged & 1:
                verdicts[i] = expected[i] = Verdict.BAD_SIGNATURE
        self.pool.insert(batch, verdicts)
        assert verdicts.tolist() == self.model.insert(entries, expected)

    @precondition(lambda self: self.waiting is None)
    @rule(run=runs)
    def submit_run(self, run: tuple[bytes, int, list[int]]) -> None:
        sender, first, fees = run
        self.begin([Entry(sender, first + i, 1, fee, U64_MAX, b"", 1) for i, fee in enumerate(fees)])
        self.finish(0)

    @rule(rows=st.integers(0, 5), payload=st.sampled_from([0, 1, 200, 9999]), ahead=st.integers(1, 3))
    def draw(self, rows: int, payload: int, ahead: int) -> None:
        height = self.model.height + ahead
        drawn = self.pool.draw(rows, payload, height)
        expected = self.model.draw(drawn.draw, rows, payload, height)
        assert [row.tobytes() for row in drawn.batch.rows] == [e.row().tobytes() for e in expected]
        assert drawn.batch.payloads.tobytes() == b"".join(e.payload for e in expected)
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
        self.pool.settle(height, keys, nonces, balances)
        self.model.settle(height, accounts)

    @rule()
    def release(self) -> None:
        before = self.pool.depth
        self.pool.release()
        self.model.release()
        self.drawn.clear()
        assert self.pool.depth == before

    @invariant()
    def same_rows(self) -> None:
        out = np.empty(self.pool.depth, dtype=np.int64)
        p = self.pool.arena.columns
        slots = out[: kernels.live_slots(p, False, out)]
        held = {p.words[s].tobytes(): int(p.links[s]["draw"]) for s in slots}
        assert held == {e.row().tobytes(): e.draw for e in self.model.everything()}
        assert len(slots) == self.pool.depth <= CAPACITY
        assert self.pool.inflight == sum(1 for e in self.model.everything() if e.draw)
        assert self.pool.committed == self.model.committed

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
        spends = {int(s["spend"]) for s in p.senders if s["count"]}
        assert spends == {sum(e.cost for e in self.model.chain(k)) for k, c in self.model.rows.items() if c}
        assert totals[arena.CHUNKS_LIVE] == sum(e.chunks for e in self.model.everything())
        for heap, at, size in (
            (p.ready, p.ready_at, arena.READY_SIZE),
            (p.evict, p.evict_at, arena.EVICT_SIZE),
        ):
            places = [int(at[heap[i]["who"]]) for i in range(totals[size])]
            assert places == list(range(totals[size]))
            assert int((at >= 0).sum()) == totals[size]
        free, slot = 0, totals[arena.ROWS_FREE]
        while slot >= 0:
            free, slot = free + 1, p.links[slot]["next"]
        assert free == totals[arena.ROWS_TOUCHED] - totals[arena.ROWS_LIVE]


PoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase
