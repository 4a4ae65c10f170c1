"""What rows will cost, before they run: estimates, by which work is divided. No result depends on them.

A call costs at most what its fee buys, which is what careful senders offer and several times what it uses. So
what calls of a contract have used of late is remembered, and is the estimate where it is less.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from actors.execution.job import Job, JobOutcome
from actors.execution.planning import TouchPlan
from actors.ledger.rows import KIND_CALL

TRANSFER_COST = 100
"""Of a transfer, in gas."""
CONTRACTS_MAX = 1024
LEARNED_MAX = 64
"""Contracts of a job of which something is learned: those that used most."""


def bounds_of(job: Job) -> NDArray[np.int64]:
    """(n,) gas of each row at most: what its fee buys; 0 of a transfer."""
    rows, prices = job.batch.rows, job.prices
    units = rows["fee"] - np.uint64(prices.fee_min)
    bought = np.minimum(units, np.uint64(prices.block_gas_max // prices.gas_per_unit + 1)).astype(np.int64)
    gas = np.minimum(bought * prices.gas_per_unit, prices.block_gas_max)
    return np.where(rows["kind"] == KIND_CALL, gas, 0)


def gas_used_of(job: Job, outcome: JobOutcome) -> NDArray[np.int64]:
    """(n,) gas that each row has used. outcome: of all rows."""
    used = np.zeros(len(job.batch), dtype=np.int64)
    passed = np.flatnonzero(outcome.verdicts == 0)
    used[passed[outcome.outputs.places]] = outcome.outputs.gas
    return used


class CostMemory:
    """Gas that a call of each contract has used in its last job, of the CONTRACTS_MAX that were used last."""

    def __init__(self) -> None:
        self._gas: OrderedDict[bytes, int] = OrderedDict()

    def of(self, job: Job, plan: TouchPlan) -> NDArray[np.int64]:
        """(n,) gas that each row will use, about."""
        most = bounds_of(job)
        calls = job.batch.rows["kind"] == KIND_CALL
        called = plan.recipient_slots()
        of_slots = np.full(len(plan.keys), np.iinfo(np.int64).max)
        for slot in np.unique(called[calls]).tolist():
            of_slots[slot] = self._gas.get(plan.keys[slot].tobytes(), of_slots[slot])
        return np.where(calls, np.minimum(most, of_slots[called]), TRANSFER_COST)

    def learn(self, job: Job, plan: TouchPlan, outcome: JobOutcome) -> None:
        """outcome: of all rows."""
        calls = job.batch.rows["kind"] == KIND_CALL
        called = plan.recipient_slots()[calls]
        totals = np.bincount(called, weights=gas_used_of(job, outcome)[calls])
        counts = np.bincount(called)
        for slot in np.argsort(-totals, kind="stable")[:LEARNED_MAX].tolist():
            if totals[slot] > 0:
                key = plan.keys[slot].tobytes()
                self._gas[key] = int(totals[slot] // counts[slot]) + 1
                self._gas.move_to_end(key)
        while len(self._gas) > CONTRACTS_MAX:
            self._gas.popitem(last=False)
