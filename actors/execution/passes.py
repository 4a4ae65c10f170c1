"""Runs a job to its end: fetches what is missing, and divides what can be divided.

Theory of operation. What rows touch is planned (planning.py) and read at once. Where that is asked for, they
are divided into islands, packed into parts, and the parts run beside each other (`run_all`). A part that
misses keys which no other part has gets them, and runs again, ROUNDS_MAX times at most. If a part misses what
another one has, or what several miss, or a rule of the whole block matters (gas, fees), the parts' outcomes
are dropped and all rows run in one pass. A pass that stops goes on with the rest of its rows, and
with what they were found to need; after ROUNDS_MAX times the interpreter runs the rest and reads what it
needs. So the result is that of all rows one after the other, for any number of parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_TAG
from actors.execution import interpreted
from actors.execution.costs import bounds_of, gas_used_of
from actors.execution.islands import islands_of, pack
from actors.execution.job import Job, JobOutcome, StateSlice
from actors.execution.outcomes import in_order, interleaved, later_wins
from actors.execution.planning import TouchPlan
from actors.ledger.accounts import U64_MAX
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.genesis import exact_sum
from actors.ledger.index import key_words, numbered_keys
from actors.ledger.rows import KIND_CALL, Batch

ROUNDS_MAX = 16
RunAll = Callable[[list[Job]], list[JobOutcome]]
Read = Callable[[NDArray[np.uint8]], StateSlice]
"""What the state has of (m, 32) keys as the job begins."""


@dataclass(frozen=True, slots=True)
class Division:
    """How a job was run. islands: of its rows. parts: that ran beside each other, 1 for one pass. largest:
    rows of the largest island.
    """

    islands: int
    parts: int
    largest: int


def run_in_order(job: Job, run_all: RunAll, read: Read) -> JobOutcome:
    """All rows in one pass after the other."""
    outcomes = list[JobOutcome]()
    for _ in range(ROUNDS_MAX):
        (outcome,) = run_all([job])
        outcomes.append(outcome)
        if not len(outcome.missing):
            return in_order(outcomes)
        job = _rest(job, outcome, read(outcome.missing))
    outcomes.append(interpreted.run(job, read))
    return in_order(outcomes)


def _rest(job: Job, outcome: JobOutcome, more: StateSlice) -> Job:
    """The rows that an outcome has not, with what they miss."""
    done = len(outcome.verdicts)
    offsets = job.batch.payload_offsets
    return replace(
        job,
        batch=Batch(job.batch.rows[done:], job.batch.payloads[offsets[done] :]),
        gas_left=job.gas_left - outcome.gas_used,
        fees_before=job.fees_before + outcome.fees,
        known=later_wins([job.known, outcome.changed, more]),
    )


def run_divided(
    job: Job, plan: TouchPlan, costs: NDArray[np.int64], parts_max: int, run_all: RunAll, read: Read
) -> tuple[JobOutcome, Division]:
    """All rows, in parts if that is possible. job: `known` are the plan's keys, in order, and what else it
    knows behind them. costs: (n,) of rows, about, in gas."""
    islands = islands_of(plan, _existing(job, plan))
    sizes = np.bincount(islands)
    division = Division(int(np.count_nonzero(sizes)), 1, int(sizes.max(initial=0)))
    parts = pack(islands, costs, parts_max) if parts_max > 1 and _may_divide(job, plan) else []
    if len(parts) > 1:
        outcome = _Parts(job, plan, parts, run_all, read).run()
        if outcome is not None:
            return outcome, replace(division, parts=len(parts))
    return run_in_order(job, run_all, read), division


def _existing(job: Job, plan: TouchPlan) -> NDArray[np.bool_]:
    """(k,) whether a slot is of an entry that exists."""
    existing = np.zeros(len(plan.keys), dtype=np.bool_)
    entries = np.flatnonzero(_are_entries(plan.keys))
    existing[entries] = job.known.entry_widths[: len(entries)] > 0
    return existing


def _are_entries(keys: NDArray[np.uint8]) -> NDArray[np.bool_]:
    tag = np.uint64(int.from_bytes(ENTRY_TAG, "little"))
    return np.asarray(key_words(keys)[:, 0] == tag)


def _may_divide(job: Job, plan: TouchPlan) -> bool:
    """Whether fees cannot become too many, and nobody looks at the account of deposits."""
    fees = job.fees_before + exact_sum(job.batch.rows["fee"])
    return fees <= U64_MAX and not len(_places(plan.keys, DEPOSITS_KEY))


def _gas_lasts(job: Job, outcome: JobOutcome) -> bool:
    """Whether the block had gas for what each call might have used, behind what those before it did use."""
    most, used = bounds_of(job), gas_used_of(job, outcome)
    before = np.cumsum(used) - used
    return not (before > job.gas_left - most)[job.batch.rows["kind"] == KIND_CALL].any()


class _Parts:
    """Parts of a job while they run."""

    def __init__(
        self, job: Job, plan: TouchPlan, parts: list[NDArray[np.int64]], run_all: RunAll, read: Read
    ) -> None:
        self._job, self._plan, self._parts = job, plan, parts
        self._run_all, self._read = run_all, read
        self._are_entries = _are_entries(plan.keys)

    def run(self) -> JobOutcome | None:
        """The outcome, or None if the parts are found to share something."""
        jobs = [self._part(rows) for rows in self._parts]
        outcomes: dict[int, JobOutcome] = {}
        left = list(range(len(jobs)))
        owned = set[bytes]()
        for _ in range(ROUNDS_MAX):
            outcomes |= zip(left, self._run_all([jobs[part] for part in left]), strict=True)
            left = [part for part in left if len(outcomes[part].missing)]
            if not left:
                return self._together([outcomes[part] for part in range(len(jobs))])
            owned = owned or {key.tobytes() for key in self._plan.keys}
            for part in left:
                missing = {key.tobytes() for key in outcomes[part].missing}
                if missing & owned:
                    return None
                owned |= missing
                more = self._read(outcomes[part].missing)
                jobs[part] = replace(jobs[part], known=later_wins([jobs[part].known, more]))
        return None

    def _part(self, rows: NDArray[np.int64]) -> Job:
        job, plan = self._job, self._plan
        mine = np.zeros(len(job.batch), dtype=np.bool_)
        mine[rows] = True
        wanted = np.zeros(len(plan.keys), dtype=np.bool_)
        wanted[plan.slots[mine[plan.rows]]] = True
        return replace(job, batch=job.batch.take(mine), known=_taken(job.known, wanted, self._are_entries))

    def _together(self, outcomes: list[JobOutcome]) -> JobOutcome | None:
        changed = merge_changes(self._job.known, [outcome.changed for outcome in outcomes])
        if changed is None:
            return None
        outcome = interleaved(self._parts, outcomes, changed)
        return outcome if _gas_lasts(self._job, outcome) else None


def _taken(known: StateSlice, wanted: NDArray[np.bool_], are_entries: NDArray[np.bool_]) -> StateSlice:
    """Of what is known of a plan's keys, those that are wanted; and all that is known besides."""
    entries = np.ones(len(known.entry_keys), dtype=np.bool_)
    entries[: int(are_entries.sum())] = wanted[are_entries]
    accounts = np.ones(len(known.account_keys), dtype=np.bool_)
    accounts[: int((~are_entries).sum())] = wanted[~are_entries]
    return StateSlice(
        known.entry_keys[entries],
        known.entry_values[entries],
        known.entry_widths[entries],
        known.account_keys[accounts],
        known.nonces[accounts],
        known.balances[accounts],
    )


def merge_changes(before: StateSlice, changes: list[StateSlice]) -> StateSlice | None:
    """What parts have changed together. A key that several have changed is a sum to which they have added, or
    the account of deposits; None if a sum does not fit its entry any more."""
    together = later_wins(changes)
    several = _several(changes)
    if not several:
        return together
    at_first, of_parts = before.entries(), [part.entries() for part in changes]
    for key in several:
        if key == DEPOSITS_KEY:
            _add_deposits(together, before.accounts()[key][1], changes)
            continue
        first = at_first[key]
        base = int.from_bytes(first, "little")
        total = base + sum(int.from_bytes(part[key], "little") - base for part in of_parts if key in part)
        if total >= 1 << 8 * len(first):
            return None
        _set_entry(together, key, total.to_bytes(len(first), "little"))
    return together


def _several(changes: list[StateSlice]) -> list[bytes]:
    """Keys that more than one part has changed."""
    keys = np.concatenate([part for each in changes for part in (each.entry_keys, each.account_keys)])
    first, which = numbered_keys(keys)
    return [keys[row].tobytes() for row in first[np.bincount(which, minlength=len(first)) > 1]]


def _add_deposits(together: StateSlice, balance: int, changes: list[StateSlice]) -> None:
    made = [part.accounts() for part in changes]
    held = [accounts[DEPOSITS_KEY] for accounts in made if DEPOSITS_KEY in accounts]
    at = _places(together.account_keys, DEPOSITS_KEY)[0]
    together.nonces[at] = max(nonce for nonce, _ in held)
    together.balances[at] = balance + sum(each - balance for _, each in held)


def _set_entry(changed: StateSlice, key: bytes, value: bytes) -> None:
    at = _places(changed.entry_keys, key)[0]
    changed.entry_values[at, : len(value)] = np.frombuffer(value, dtype=np.uint8)


def _places(keys: NDArray[np.uint8], key: bytes) -> NDArray[np.int64]:
    wanted = np.frombuffer(key, dtype=np.uint64)
    return np.flatnonzero((key_words(keys) == wanted).all(axis=1))
