"""Jobs by the interpreter: what the plain rules say of these rows; a row needs what is known, or it waits."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
from hypothesis import given

from actors.execution.interpreted import run
from actors.execution.job import Job
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, remove_empty, unpack
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.output_columns import output_columns, outputs_of
from actors.ledger.receipts import Output
from actors.ledger.rows import Batch
from tests.execution.jobs import (
    CONTRACTS,
    PEOPLE,
    PROPOSER,
    STEPS,
    Step,
    applied_of,
    environment,
    job_of,
    rows_of,
    run_to_the_end,
    start,
)
from tests.ledger.contract_transactions import batch_of_fields, call, payload_of


@cache
def begun() -> tuple[State, Entries]:
    return start()


def random_job(steps: list[Step]) -> tuple[Job, State, Entries]:
    """Rows that are statically valid, on the state at the beginning; the token is among all people."""
    state, entries = copy.deepcopy(begun())
    rows = rows_of(steps, {who: 0 for who in PEOPLE})
    batch, env = batch_of_fields(rows, 77), environment(2)
    valid = [row for row, tx in zip(rows, unpack(batch), strict=True) if not rules.static_verdict(tx, env)]
    return job_of(state, entries, valid), state, entries


@given(STEPS)
def test_an_outcome_is_what_the_plain_rules_say(steps: list[Step]) -> None:
    job, state, entries = random_job(steps)
    outcome = run_to_the_end(run, job, entries)
    plain = rules.apply_batch(state, job.batch, environment(2), entries)
    assert outcome.verdicts.tolist() == plain.verdicts
    assert applied_of(outcome) == plain.applied
    assert outcome.fees == plain.fees
    assert [row.tobytes() for row in outcome.receipts] == [receipt[:32] for receipt in plain.receipts]
    accounts, held = copy.deepcopy(begun())
    for key, value in outcome.changed.entries().items():
        assert value != held.pop(key, b"")
        held |= {key: value} if value else {}
    assert held == entries
    for key, (nonce, balance) in outcome.changed.accounts().items():
        assert accounts.get(key) != Account(nonce, balance)
        accounts[key] = Account(nonce, balance)
    for each in (accounts, state):
        each.pop(PROPOSER, None)
    remove_empty(accounts)
    assert accounts == state


def test_a_row_stops_before_what_is_not_known_and_leaves_nothing() -> None:
    state, entries = begun()
    give = payload_of("token", "transfer", PEOPLE[1], 1)
    rows = [
        {"kind": 1, "sender": PEOPLE[0], "recipient": PEOPLE[1], "nonce": 0, "amount": 50, "fee": 1},
        call(PEOPLE[0], 1, CONTRACTS["token"], give),
        {"kind": 1, "sender": PEOPLE[0], "recipient": PEOPLE[1], "nonce": 2, "amount": 50, "fee": 1},
    ]
    outcome = run(job_of(state, entries, rows, known=set()))
    assert outcome.verdicts.tolist() == [0]
    assert len(outcome.missing) == 1
    assert outcome.changed.accounts()[PEOPLE[0]] == (1, state[PEOPLE[0]].balance - 51)
    assert set(outcome.changed.accounts()) == {PEOPLE[0], PEOPLE[1]}
    assert DEPOSITS_KEY not in outcome.changed.accounts()


def test_a_job_has_the_programs_of_its_rows() -> None:
    state, entries = begun()
    job = job_of(state, entries, [call(PEOPLE[0], 0, CONTRACTS["token"], b"\0")])
    with pytest.raises(ValueError, match="without the program"):
        run(Job(job.batch, 2, 2, job.prices, job.gas_left, {}, job.known))
    rows = job.batch.rows.copy()
    rows["kind"] = 2
    with pytest.raises(ValueError, match="kind 2"):
        run(Job(Batch(rows, job.batch.payloads), 2, 2, job.prices, job.gas_left, job.programs, job.known))


def test_outputs_are_the_same_as_columns() -> None:
    outputs = [
        Output(0, 5, b"ab", ((bytes(32), 3, b"xyz"), (bytes(32), 0, b""))),
        Output(2, 7, message="no"),
        Output(9, 2**40, b"", (), "yes"),
    ]
    assert outputs_of(output_columns(outputs)) == outputs
    assert outputs_of(output_columns([])) == []
    assert output_columns(outputs).event_ends.dtype == np.int64
