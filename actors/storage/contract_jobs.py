"""Spans of transfers and calls as jobs: what they need of the columns, and what has become of it.

Storage runs no contract: it reads keys that rows are planned to touch, hands the job to an engine
(execution/passes.py), checks what comes back, and writes it into the columns and the block's undo log. The
result is that of the rules, row by row, whatever the engine divides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.execution import interpreted
from actors.execution.cells.outcome_checks import check_changed
from actors.execution.costs import CostMemory
from actors.execution.job import KEY_BYTES, EngineError, EngineNotReadyError, Job, JobOutcome, StateSlice
from actors.execution.passes import Division, RunAll, run_divided
from actors.execution.planning import plan_touches
from actors.ledger.checks import ENTRY_WORD
from actors.ledger.columns import FEES, PASSED
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.environment import Environment
from actors.ledger.hashing import Hasher
from actors.ledger.index import distinct_keys, key_words
from actors.ledger.kinds import Kind
from actors.ledger.output_columns import OutputColumns
from actors.ledger.prices import first_nonce
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER, Batch
from actors.storage.accounts import Accounts
from actors.storage.column_ledger import ColumnLedger
from actors.storage.contract_programs import ProgramShelf

CALLS_MIN = 8
"""Calls of a block that are worth a job; fewer are run where they are."""
_DEPOSITS = np.frombuffer(DEPOSITS_KEY, dtype=np.uint8).reshape(1, KEY_BYTES)


@dataclass(frozen=True, slots=True)
class JobEngine:
    """run_all: outcomes of jobs, which may run beside each other. parts: how many at most, of a job of so
    many rows and so much gas. seed: 128 bits that strangers do not know. lost: is told why an outcome had to
    be found by the interpreter. costs: what calls are expected to use.
    """

    run_all: RunAll
    parts: Callable[[int, int], int]
    hash_rows: Hasher
    seed: int
    shelf: ProgramShelf
    lost: Callable[[str], None]
    costs: CostMemory = field(default_factory=CostMemory)


def with_jobs(
    spans: Iterable[tuple[Kind, int, int]], engine: JobEngine | None
) -> Iterator[tuple[Kind | JobEngine, int, int]]:
    """The same spans, but those of transfers and calls that stand together as one, for the engine, if there
    are CALLS_MIN calls among them."""
    if engine is None:
        yield from spans
        return
    for together, group in groupby(spans, lambda span: span[0].number in (KIND_TRANSFER, KIND_CALL)):
        some = list(group)
        calls = sum(last - first for kind, first, last in some if kind.number == KIND_CALL)
        if together and calls >= CALLS_MIN:
            yield engine, some[0][1], some[-1][2]
        else:
            yield from some


def run_span(
    engine: JobEngine,
    ledger: ColumnLedger,
    accounts: Accounts,
    batch: Batch,
    verdicts: NDArray[np.uint8],
    env: Environment,
    outputs: list[OutputColumns],
) -> Division:
    """Apply the rows whose verdict is 0, transfers and calls. Their verdicts, receipts and outputs are told
    as the rules tell them."""
    kept = verdicts == 0
    rows = batch.take(kept)
    called = distinct_keys(rows.rows["recipient"][rows.rows["kind"] == KIND_CALL])
    programs = engine.shelf.with_imports(called, ledger.entry)
    plans = {address: program.touches for address, program in programs.items() if program.encoded}
    plan = plan_touches(rows, plans, engine.hash_rows, engine.seed)

    def read(keys: NDArray[np.uint8]) -> StateSlice:
        return _read(accounts, keys, first_nonce(env.height))

    job = Job(
        rows,
        env.height,
        env.time_ms,
        env.prices,
        env.prices.block_gas_max - ledger.gas_used,
        {address: program.encoded for address, program in programs.items()},
        read(np.concatenate([plan.keys, _DEPOSITS])),
        ledger.fees,
    )
    try:
        costs = engine.costs.of(job, plan)
        parts = engine.parts(len(rows), int(costs.sum()))
        outcome, division = run_divided(job, plan, costs, parts, engine.run_all, read)
        _check(job, outcome)
    except EngineError as lost:
        if not isinstance(lost, EngineNotReadyError):
            engine.lost(str(lost))
        outcome, division = interpreted.run(job, read), Division(1, 1, len(rows))
    engine.costs.learn(job, plan, outcome)
    verdicts[kept] = outcome.verdicts
    _write(ledger, outcome, outputs, division)
    return division


def _read(accounts: Accounts, keys: NDArray[np.uint8], first_free: int) -> StateSlice:
    """What the columns have of these keys."""
    words = key_words(keys)
    slots = accounts.index.find(words)
    there = slots >= 0
    held = np.zeros((2, len(keys)), dtype=np.uint64)
    held[0, there], held[1, there] = accounts.nonces[slots[there]], accounts.balances[slots[there]]
    mine = words[:, 0] == ENTRY_WORD
    widths = held[1, mine]
    values = np.zeros((len(widths), ENTRY_BYTES_MAX), dtype=np.uint8)
    at = np.arange(ENTRY_BYTES_MAX, dtype=np.uint64)
    if widths.any():
        values[widths[:, None] > at] = accounts.entries.gather(held[0, mine], widths)
    nonces, balances = held[0, ~mine], held[1, ~mine]
    begins = np.maximum(nonces, np.uint64(first_free))
    return StateSlice(
        keys[mine], values, widths.astype(np.uint8), keys[~mine], np.where(balances, nonces, begins), balances
    )


def _check(job: Job, outcome: JobOutcome) -> None:
    """Raise EngineError for an outcome that cannot be one: the columns would break."""
    try:
        outcome.check(len(job.batch))
        check_changed(outcome.changed)
    except ValueError as error:
        raise EngineError(str(error)) from error
    if len(outcome.missing):
        raise EngineError("an outcome without all rows")


def _write(
    ledger: ColumnLedger, outcome: JobOutcome, outputs: list[OutputColumns], division: Division
) -> None:
    columns, changed = ledger.columns, outcome.changed
    at, passed = int(columns.totals[PASSED]), len(outcome.receipts)
    values = changed.entry_values[changed.entry_widths[:, None] > np.arange(ENTRY_BYTES_MAX)]
    ledger.write_entries(changed.entry_keys, values, changed.entry_widths.astype(np.uint64))
    ledger.write_accounts(changed.account_keys, changed.nonces, changed.balances)
    columns = ledger.columns
    columns.receipts[at : at + passed] = outcome.receipts
    columns.totals[PASSED] = at + passed
    columns.totals[FEES] = ledger.fees + outcome.fees
    ledger.gas_used += outcome.gas_used
    ledger.count_islands(passed, division.largest)
    outputs.append(replace(outcome.outputs, places=outcome.outputs.places + np.uint32(at)))
