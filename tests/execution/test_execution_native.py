"""Jobs by compiled code: what the interpreter says of these rows, bit for bit."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts.limits import ENTRY_TAG
from actors.execution import interpreted
from actors.execution.job import JobOutcome, StateSlice
from actors.execution.native_engine import NativeEngine
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State
from actors.ledger.contract_state import read_program
from actors.ledger.output_columns import outputs_of
from actors.ledger.rows import Batch
from bench.contract_examples import Catalog
from tests.execution.jobs import DEPLOYER, PRICES, STEPS, TAG, Step, environment, job_of, run_to_the_end
from tests.execution.test_execution_interpreted import random_job
from tests.ledger.contract_transactions import Fields, batch_of_fields, call


@cache
def engine() -> NativeEngine:
    return NativeEngine(0x5EED_0123_4567_89AB_CDEF)


def assert_same(one: JobOutcome, other: JobOutcome) -> None:
    """Two outcomes of all rows."""
    assert one.verdicts.tolist() == other.verdicts.tolist()
    assert one.receipts.tolist() == other.receipts.tolist()
    assert outputs_of(one.outputs) == outputs_of(other.outputs)
    assert one.outputs.texts == other.outputs.texts
    assert one.changed.entries() == other.changed.entries()
    assert one.changed.accounts() == other.changed.accounts()
    assert (one.gas_used, one.fees) == (other.gas_used, other.fees)


@settings(max_examples=60)
@given(STEPS)
def test_an_outcome_is_what_the_interpreter_says(steps: list[Step]) -> None:
    job, _, entries = random_job(steps)
    plain = run_to_the_end(interpreted.run, job, entries)
    native = run_to_the_end(engine().run, job, entries)
    native.check(len(job.batch))
    assert_same(native, plain)


def test_what_is_missing_is_told_for_all_rows_and_few_runs_find_it() -> None:
    job, _, entries = random_job([("give", 1, 2, 3, 100), ("add", 1, 1, 3, 100), ("pay", 2, 3, 50, 5)])
    accounts, known, held, runs = (
        job.known.accounts(),
        dict[bytes, bytes](),
        dict[bytes, tuple[int, int]](),
        0,
    )
    while len((outcome := engine().run(dataclasses.replace(job, known=StateSlice.of(known, held)))).missing):
        outcome.check(len(job.batch))
        told = [row.tobytes() for row in outcome.missing]
        assert len(set(told)) == len(told)
        assert not set(told) & (known.keys() | held.keys())
        known |= {key: entries.get(key, b"") for key in told if key.startswith(ENTRY_TAG)}
        held |= {key: accounts[key] for key in told if not key.startswith(ENTRY_TAG)}
        runs += 1
        if runs == 1:
            assert (len(outcome.verdicts), outcome.gas_used, outcome.fees) == (0, 0, 0)
            assert not outcome.changed.entries()
            assert not outcome.changed.accounts()
    assert runs < 4
    assert_same(outcome, run_to_the_end(interpreted.run, job, entries))


def test_a_program_that_the_job_has_not_and_a_row_of_another_kind() -> None:
    job, _, _ = random_job([("give", 1, 2, 3, 100)])
    with pytest.raises(ValueError, match="without the program"):
        engine().run(dataclasses.replace(job, programs={}))
    rows = job.batch.rows.copy()
    rows["kind"] = 2
    with pytest.raises(ValueError, match="kinds"):
        engine().run(dataclasses.replace(job, batch=Batch(rows, job.batch.payloads)))


def test_fees_of_rows_before_and_a_block_without_gas() -> None:
    job, _, entries = random_job([("pay", 0, 1, 50, 5), ("add", 1, 1, 3, 100)])
    for other in (
        dataclasses.replace(job, fees_before=2**64 - 3),
        dataclasses.replace(job, gas_left=10),
    ):
        plain = run_to_the_end(interpreted.run, other, entries)
        assert np.count_nonzero(plain.verdicts) > 0
        assert_same(run_to_the_end(engine().run, other, entries), plain)


BUYER = bytes([7]) * 32
TRADES = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "provide", "withdraw", "allow"]),
        st.integers(0, 1),
        st.integers(0, 9_000),
    ),
    max_size=8,
)


@cache
def market() -> tuple[State, Entries, Catalog]:
    catalog = Catalog(DEPLOYER, PRICES)
    state: State = {DEPLOYER: Account(0, 1 << 40), BUYER: Account(0, 1 << 40)}
    entries = Entries()
    rows = [
        {
            "kind": step.kind,
            "sender": DEPLOYER,
            "recipient": step.recipient,
            "nonce": step.nonce,
            "amount": step.amount,
            "fee": step.fee,
            "payload": step.payload,
        }
        for step in catalog.opening()
    ]
    env = dataclasses.replace(environment(1), prices=dataclasses.replace(PRICES, block_gas_max=1 << 30))
    outcome = rules.apply_batch(state, batch_of_fields(rows, TAG), env, entries)
    assert [applied.status for applied in outcome.applied] == [0] * len(rows)
    return state, entries, catalog


@settings(max_examples=30)
@given(TRADES)
def test_contracts_that_call_each_other(trades: list[tuple[str, int, int]]) -> None:
    state, entries, catalog = market()
    exchange, rows, nonces = catalog.program("exchange"), list[Fields](), dict[bytes, int]()
    for what, who, amount in trades:
        sender = (DEPLOYER, BUYER)[who]
        nonce = nonces.setdefault(sender, state[sender].nonce)
        nonces[sender] += 1
        coins, to = 0, catalog.addresses["exchange"]
        match what:
            case "buy":
                coins, payload = amount, exchange.payload("buy", 0)
            case "sell":
                payload = exchange.payload("sell", amount, 0)
            case "provide":
                coins, payload = amount, exchange.payload("provide", 2 * amount + 1, 0)
            case "withdraw":
                payload = exchange.payload("withdraw", amount, 0, 0)
            case _:
                payload = catalog.program("token").payload("approve", to, amount)
                to = catalog.addresses["token"]
        rows.append(call(sender, nonce, to, payload, amount=coins, fee=(40, 15)[amount % 7 == 0]))
    job = job_of(state, entries, rows)
    programs = dict(job.programs)
    token = catalog.addresses["token"]
    programs[token] = read_program(token, lambda key: entries.get(key, b"")) or b""
    job = dataclasses.replace(job, programs=programs)
    plain = run_to_the_end(interpreted.run, job, entries)
    assert_same(run_to_the_end(engine().run, job, entries), plain)
