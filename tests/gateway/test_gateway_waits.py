"""The table of commit waits against a plain model, and the races it must win."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from actors.gateway.backend import BusyError
from actors.gateway.waits import CLOSED, COMMITTED, WAITING, CommitWaits, Ticket, waits_on
from actors.ledger.verdict import Verdict

ROWS_MAX = 40


def id_of(number: int) -> bytes:
    """Few prefixes, many ids: every third id shares its first eight bytes with others."""
    return (number % 3).to_bytes(8, "little") + number.to_bytes(24, "little")


def ids(*numbers: int) -> NDArray[np.uint8]:
    joined = b"".join(id_of(number) for number in numbers)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)


def places(of: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Two mempool shards, odd and even numbers."""
    return (of[:, 8] % 2).astype(np.int64)


def register(waits: CommitWaits[Any], of: NDArray[np.uint8], owner: Any) -> Ticket[Any]:
    return waits.register(of, places(of), owner)


def test_a_commit_before_the_admission_reply_is_not_missed() -> None:
    waits: CommitWaits[str] = CommitWaits(100)
    ticket = register(waits, ids(1, 2), "request")
    assert waits.committed(7, ids(2, 1)) == [ticket]
    verdicts = np.array([Verdict.OK, Verdict.NONCE_REUSED], dtype=np.uint8)
    waits.close(ticket, ~waits_on(verdicts), verdicts)
    assert (ticket.waiting, ticket.height, ticket.verdicts.tolist()) == (0, 7, [0, 0])


def test_one_block_answers_every_request_that_waits_for_the_same_transaction() -> None:
    waits: CommitWaits[str] = CommitWaits(100)
    first, second = register(waits, ids(1), "a"), register(waits, ids(1, 4), "b")
    assert waits.committed(1, ids(1)) == [first]
    assert second.waiting == 1
    assert waits.committed(2, ids(9, 4, 8)) == [second]
    assert (second.height, len(waits)) == (2, 0)


def test_the_same_row_twice_in_one_request() -> None:
    waits: CommitWaits[str] = CommitWaits(100)
    ticket = register(waits, ids(5, 5, 5), "a")
    assert waits.committed(3, ids(5)) == [ticket]
    assert ticket.states.tolist() == [COMMITTED] * 3


def test_a_dropped_row_gets_its_own_verdict() -> None:
    waits: CommitWaits[str] = CommitWaits(100)
    ticket = register(waits, ids(1, 2, 3), "a")
    verdicts = np.array([Verdict.EXPIRED, Verdict.POOL_FULL], dtype=np.uint8)
    assert waits.dropped(ids(3, 1), verdicts) == []
    assert waits.committed(1, ids(2)) == [ticket]
    assert ticket.verdicts.tolist() == [Verdict.POOL_FULL, Verdict.OK, Verdict.EXPIRED]


def test_a_dead_shards_rows_are_given_up_and_no_others() -> None:
    waits: CommitWaits[str] = CommitWaits(100)
    odd, mixed = register(waits, ids(1, 3), "odd"), register(waits, ids(5, 6, 7), "mixed")
    before = waits.moment
    later = register(waits, ids(9), "later")
    assert waits.committed(4, ids(5)) == []
    assert waits.abandon(1, before) == [odd]
    assert odd.verdicts.tolist() == [Verdict.UNAVAILABLE] * 2
    assert mixed.states.tolist() == [COMMITTED, WAITING, CLOSED]
    assert waits.committed(5, ids(6, 9)) == [mixed, later]
    assert mixed.verdicts.tolist() == [Verdict.OK, Verdict.OK, Verdict.UNAVAILABLE]


def test_the_bound_refuses_and_registers_nothing() -> None:
    waits: CommitWaits[str] = CommitWaits(3)
    ticket = register(waits, ids(1, 2), "a")
    with pytest.raises(BusyError) as caught:
        register(waits, ids(3, 4), "b")
    assert caught.value.limit == 3
    assert len(waits) == 2
    waits.cancel(ticket)
    waits.cancel(ticket)
    assert len(waits) == 0
    register(waits, ids(3, 4, 5), "b")


def test_an_empty_request_and_an_empty_block() -> None:
    waits: CommitWaits[str] = CommitWaits(3)
    assert register(waits, ids(), "a").waiting == 0
    assert waits.committed(1, ids()) == []
    assert waits.committed(2, ids(1)) == []


class WaitsAgainstModel(RuleBasedStateMachine):
    """The model keeps one dictionary a ticket: row -> id, for rows whose fate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: CommitWaits[int] = CommitWaits(ROWS_MAX)
        self.model: dict[int, dict[int, int]] = {}
        self.tickets: dict[int, Ticket[int]] = {}
        self.height = 0
        self.next = 0

    @rule(numbers=st.lists(st.integers(0, 30), max_size=12))
    def register(self, numbers: list[int]) -> None:
        waiting = sum(len(rows) for rows in self.model.values())
        if waiting + len(numbers) > ROWS_MAX:
            with pytest.raises(BusyError):
                register(self.waits, ids(*numbers), -1)
            return
        self.tickets[self.next] = register(self.waits, ids(*numbers), self.next)
        self.model[self.next] = dict(enumerate(numbers))
        self.next += 1

    @rule(numbers=st.lists(st.integers(0, 30), max_size=20, unique=True))
    def committed(self, numbers: list[int]) -> None:
        self.height += 1
        finished = self.waits.committed(self.height, ids(*numbers))
        self._leave(finished, set(numbers), self.height)

    @rule(numbers=st.lists(st.integers(0, 30), max_size=20, unique=True), code=st.integers(1, 17))
    def dropped(self, numbers: list[int], code: int) -> None:
        verdicts = np.full(len(numbers), code, dtype=np.uint8)
        finished = self.waits.dropped(ids(*numbers), verdicts)
        self._leave(finished, set(numbers), None)

    @rule(shard=st.integers(0, 1))
    def abandon(self, shard: int) -> None:
        finished = self.waits.abandon(shard, self.waits.moment)
        self._leave(finished, {number for number in range(31) if number % 2 == shard}, None)

    def _leave(self, finished: list[Ticket[int]], numbers: set[int], height: int | None) -> None:
        expected = set()
        for key, rows in self.model.items():
            gone = [row for row, number in rows.items() if number in numbers]
            for row in gone:
                del rows[row]
                assert self.tickets[key].states[row] == (CLOSED if height is None else COMMITTED)
            if gone and height is not None:
                assert self.tickets[key].height == height
            if gone and not rows:
                expected.add(key)
        assert {ticket.owner for ticket in finished} == expected

    @rule(data=st.data())
    def close_some(self, data: st.DataObject) -> None:
        if not self.model:
            return
        key = data.draw(st.sampled_from(sorted(self.model)))
        ticket = self.tickets[key]
        rows = len(ticket.states)
        refused = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), dtype=np.bool_)
        self.waits.close(ticket, refused, np.full(rows, Verdict.NONCE_GAP, dtype=np.uint8))
        for row in np.flatnonzero(refused).tolist():
            self.model[key].pop(row, None)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.model:
            key = data.draw(st.sampled_from(sorted(self.model)))
            self.waits.cancel(self.tickets.pop(key))
            del self.model[key]

    @invariant()
    def agree(self) -> None:
        assert len(self.waits) == sum(len(rows) for rows in self.model.values())
        for key, rows in self.model.items():
            assert self.tickets[key].waiting == len(rows)
            assert self.tickets[key].pending().tolist() == sorted(rows)


TestWaitsAgainstModel = WaitsAgainstModel.TestCase
TestWaitsAgainstModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.integers(1, 3000), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_large_random_tables(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    waits: CommitWaits[int] = CommitWaits(10_000)
    table = rng.integers(0, 256, size=(rows, 32), dtype=np.uint8)
    tickets = [register(waits, part, i) for i, part in enumerate(np.array_split(table, 7))]
    in_block = rng.random(rows) < 0.5
    others = rng.integers(0, 256, size=(500, 32), dtype=np.uint8)
    waits.committed(1, rng.permutation(np.concatenate((table[in_block], others))))
    states = np.concatenate([ticket.states for ticket in tickets])
    assert np.array_equal(states == COMMITTED, in_block)
    assert np.array_equal(states == WAITING, ~in_block)
