"""What rows are expected to cost: at most what their fee buys, and what calls of late have used."""

from __future__ import annotations

import numpy as np

from actors.execution import costs, interpreted
from actors.execution.costs import TRANSFER_COST, CostMemory, bounds_of, gas_used_of
from actors.execution.job import Job, JobOutcome
from actors.execution.passes import run_in_order
from actors.ledger.accounts import Entries, State
from bench.fuzz_blocks import state_reader
from tests.execution.jobs import CONTRACTS, PEOPLE, PRICES
from tests.execution.test_execution_islands import pay, planned
from tests.ledger.contract_transactions import call, payload_of


def whole(job: Job, state: State, entries: Entries) -> JobOutcome:
    """Of all rows."""
    read = state_reader(state, entries, job.height)
    return run_in_order(job, lambda jobs: [interpreted.run(each) for each in jobs], read)


def test_a_call_is_expected_to_use_what_the_last_ones_did() -> None:
    add = payload_of("counter", "add", 3)
    rows = [call(PEOPLE[0], 0, CONTRACTS["counter"], add, fee=900), pay(1, 2)]
    job, plan, state, entries = planned(rows)
    memory = CostMemory()
    bought = (900 - PRICES.fee_min) * PRICES.gas_per_unit
    assert bounds_of(job).tolist() == [bought, 0]
    assert memory.of(job, plan).tolist() == [bought, TRANSFER_COST]
    outcome = whole(job, state, entries)
    assert gas_used_of(job, outcome).tolist() == [outcome.gas_used, 0]
    memory.learn(job, plan, outcome)
    assert memory.of(job, plan).tolist() == [outcome.gas_used + 1, TRANSFER_COST]


def test_a_row_that_did_not_pass_used_nothing() -> None:
    add = payload_of("counter", "add", 3)
    rows = [call(PEOPLE[0], 7, CONTRACTS["counter"], add), call(PEOPLE[1], 0, CONTRACTS["counter"], add)]
    job, plan, state, entries = planned(rows)
    outcome = whole(job, state, entries)
    assert outcome.verdicts.tolist() != [0, 0]
    assert gas_used_of(job, outcome).tolist() == [0, outcome.gas_used]
    CostMemory().learn(job, plan, outcome)


def test_memory_is_bounded() -> None:
    memory = CostMemory()
    for number in range(costs.CONTRACTS_MAX + 3):
        memory._gas[number.to_bytes(32, "little")] = 1
    job, plan, state, entries = planned(
        [call(PEOPLE[0], 0, CONTRACTS["counter"], payload_of("counter", "add", 3))]
    )
    memory.learn(job, plan, whole(job, state, entries))
    assert len(memory._gas) == costs.CONTRACTS_MAX
    assert int(np.max(memory.of(job, plan))) < bounds_of(job)[0]
