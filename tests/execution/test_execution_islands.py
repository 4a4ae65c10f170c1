"""Islands and passes: however rows are divided, the outcome is that of one row after the other."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts.encoding import decode_program
from actors.contracts.touches import Mode, touches_of
from actors.execution import interpreted, passes
from actors.execution.costs import CostMemory
from actors.execution.islands import islands_of, pack
from actors.execution.job import Job, JobOutcome, StateSlice
from actors.execution.passes import Division, run_divided, run_in_order
from actors.execution.planning import TouchPlan, plan_touches
from actors.ledger import rules
from actors.ledger.accounts import Entries, State, unpack
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import KIND_TRANSFER
from bench.fuzz_blocks import state_reader
from tests.execution.jobs import (
    CONTRACTS,
    PEOPLE,
    STEPS,
    Step,
    applied_of,
    environment,
    job_of,
    rows_of,
    start,
)
from tests.ledger.contract_transactions import Fields, batch_of_fields, call, payload_of

SEED = 7


@cache
def begun() -> tuple[State, Entries]:
    return start()


def planned(fields: list[Fields]) -> tuple[Job, TouchPlan, State, Entries]:
    """A job that knows what is planned, and the account of deposits."""
    state, entries = copy.deepcopy(begun())
    job = job_of(state, entries, fields, known=set())
    plans = {
        address: touches_of(decode_program(program)) for address, program in job.programs.items() if program
    }
    plan = plan_touches(job.batch, plans, sha256_rows, SEED)
    deposits = np.frombuffer(DEPOSITS_KEY, dtype=np.uint8).reshape(1, 32)
    known = state_reader(state, entries, job.height)(np.concatenate([plan.keys, deposits]))
    return replace(job, known=known), plan, state, entries


def run_all(jobs: list[Job]) -> list[JobOutcome]:
    return [interpreted.run(job) for job in jobs]


def valid(rows: list[Fields]) -> list[Fields]:
    env = environment(2)
    transactions = unpack(batch_of_fields(rows, 77))
    return [row for row, tx in zip(rows, transactions, strict=True) if not rules.static_verdict(tx, env)]


def same(one: JobOutcome, other: JobOutcome) -> None:
    assert one.verdicts.tolist() == other.verdicts.tolist()
    assert one.receipts.tolist() == other.receipts.tolist()
    assert applied_of(one) == applied_of(other)
    assert one.changed.entries() == other.changed.entries()
    assert one.changed.accounts() == other.changed.accounts()
    assert (one.gas_used, one.fees) == (other.gas_used, other.fees)


def all_ways(rows: list[Fields]) -> list[Division]:
    """Run them in one pass and in parts, and compare."""
    job, plan, state, entries = planned(valid(rows))
    read = state_reader(state, entries, job.height)
    plain = rules.apply_batch(copy.deepcopy(state), job.batch, environment(2), copy.deepcopy(entries))
    whole = run_in_order(job, run_all, read)
    assert applied_of(whole) == plain.applied
    assert whole.verdicts.tolist() == plain.verdicts
    divisions = []
    for parts in (1, 2, 4):
        outcome, division = run_divided(job, plan, CostMemory().of(job, plan), parts, run_all, read)
        same(outcome, whole)
        divisions.append(division)
    return divisions


@settings(max_examples=30)
@given(STEPS)
def test_any_number_of_parts_makes_the_same_outcome(steps: list[Step]) -> None:
    all_ways(rows_of(steps, {who: 0 for who in PEOPLE}))


def pay(one: int, other: int, nonce: int = 0) -> Fields:
    return {
        "kind": KIND_TRANSFER, "sender": PEOPLE[one], "recipient": PEOPLE[other], "nonce": nonce,
        "amount": 10, "fee": 2,
    }  # fmt: skip


def test_rows_that_share_nothing_are_islands() -> None:
    rows = [pay(0, 1), pay(2, 3), pay(1, 0), pay(4, 4), pay(3, 2)]
    _, plan, _, _ = planned(rows)
    existing = np.zeros(len(plan.keys), dtype=np.bool_)
    assert islands_of(plan, existing).tolist() == [0, 1, 0, 3, 1]
    assert [division.parts for division in all_ways(rows)] == [1, 2, 3]


def test_additions_to_what_exists_join_nobody() -> None:
    add = payload_of("counter", "add", 3)
    first = [call(who, 0, CONTRACTS["counter"], add) for who in PEOPLE]
    assert [division.islands for division in all_ways(first)] == [1, 1, 1]
    state, entries = begun()
    with pytest.MonkeyPatch.context() as patch:
        after = copy.deepcopy((state, entries))
        rules.apply_batch(after[0], batch_of_fields(first, 77), environment(2), after[1])
        patch.setattr(f"{__name__}.begun", lambda: after)
        again = [call(who, after[0][who].nonce, CONTRACTS["counter"], add) for who in PEOPLE]
        assert [division.parts for division in all_ways(again)] == [1, 2, 4]


def test_what_all_rows_share_is_run_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [pay(0, 1), pay(2, 3)]
    assert all_ways(rows)[1].parts == 2
    assert all_ways([*rows, {**pay(4, 4), "recipient": DEPOSITS_KEY}])[1].parts == 1
    much = [call(who, 0, CONTRACTS["registry"], b"\0", fee=9_000) for who in PEOPLE[:2]]
    assert all_ways(much)[1].parts == 1


def test_a_pass_that_stops_ever_again_is_left_to_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "ROUNDS_MAX", 2)
    give = payload_of("token", "transfer", PEOPLE[1], 1)
    rows = [call(who, 0, CONTRACTS["token"], give) for who in PEOPLE]
    job, _, state, entries = planned(rows)
    runs = list[int]()

    def run_a_row(jobs: list[Job]) -> list[JobOutcome]:
        """As an engine that knows of no more than one missing key."""
        runs.append(len(jobs[0].batch))
        (outcome,) = run_all(jobs)
        return [replace(outcome, missing=outcome.missing[:1])]

    bare = replace(job, known=StateSlice.of({}, job.known.accounts()))
    same(
        run_in_order(bare, run_a_row, state_reader(state, entries, job.height)),
        run_in_order(job, run_all, state_reader(state, entries, job.height)),
    )
    assert runs == [5, 5]


def test_parts_that_miss_the_same_are_run_in_one_pass() -> None:
    rows = [pay(0, 1), pay(2, 3)]
    job, plan, state, entries = planned(rows)
    read = state_reader(state, entries, job.height)
    thing = np.frombuffer(b"entry\0\0\0" + bytes(24), dtype=np.uint8).reshape(1, 32)

    def misses(jobs: list[Job]) -> list[JobOutcome]:
        outcomes = run_all(jobs)
        if len(jobs) == 1:
            return outcomes
        return [replace(each, missing=thing) for each in outcomes]

    outcome, division = run_divided(job, plan, CostMemory().of(job, plan), 2, misses, read)
    same(outcome, run_in_order(job, run_all, read))
    assert division.parts == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), min_size=1, max_size=40), st.integers(1, 5))
def test_parts_have_all_rows_once_and_whole_islands(rows: list[tuple[int, int]], parts_max: int) -> None:
    islands = np.array([island for island, _ in rows])
    parts = pack(islands, np.array([cost for _, cost in rows]), parts_max)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(rows)))
    assert 1 <= len(parts) <= parts_max
    owners = [set(islands[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set(islands.tolist()))
    assert all((np.diff(part) > 0).all() for part in parts)


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 5), st.sampled_from(list(Mode))), min_size=1, max_size=30
    )
)
def test_rows_of_two_islands_disturb_each_other_nowhere(touches: list[tuple[int, int, Mode]]) -> None:
    rows, slots, modes = (np.array(column) for column in zip(*touches, strict=True))
    plan = TouchPlan(rows, slots, modes.astype(np.uint8), np.zeros((6, 32), np.uint8), np.zeros(7, np.bool_))
    existing = np.array([True, False] * 3)
    islands = islands_of(plan, existing)
    for one, slot, mode in touches:
        for other, there, otherwise in touches:
            if slot == there and islands[one] != islands[other]:
                assert mode == otherwise != Mode.WRITE
                assert mode == Mode.READ or existing[slot]
