"""The state transition over columns, compiled: the fast twin of `rules.apply_batch`.

Rules: static checks first, then each span of rows of one kind by the compiled twin of that kind
(ledger/kinds.py), or by its rule itself, row by row, where it has none (column_ledger.py). Rows apply in
block order, a row that does not pass changes nothing, and the fees go to the proposer after the last row. An
account exists while its balance is not zero (ledger/prices.py); the slot of one that was emptied stays, with
its last nonce, and is taken up again when the account is made anew.

Theory of operation: one pass over the rows. The first time a row writes an account, the account's slot and
old values go to the undo log, so the log holds each touched account once. Slots for new accounts are taken
only by rows that pass. Undo writes the old values back and gives the new slots back, which restores the
columns and the index exactly.

Conflicts. A row reads and writes the accounts that it touches; whatever two rows share of these orders
them. The wave of a row is one more than the latest wave of an earlier row that
touched one of its accounts: the longest chain of conflicts that ends in it. Rows of one wave are independent
of each other. `Conflicts` counts them; fees, which all go to one account, are summed aside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.execution import islands
from actors.ledger import receipt_columns
from actors.ledger.accounts import RECEIPT_WORDS, U64_MAX, unpack
from actors.ledger.checks import static_verdicts
from actors.ledger.columns import (
    COUNT,
    FEES,
    LOGGED,
    PASSED,
    TOTALS,
    Columns,
    find,
    find_homes,
    make,
    touch,
)
from actors.ledger.environment import Environment
from actors.ledger.governed_rules import is_governed
from actors.ledger.hashing import Hasher, sha256_rows
from actors.ledger.index import KEY_WORDS, home_of
from actors.ledger.kinds import KINDS, CompiledRule, Kind, PairedRule, SerialRule
from actors.ledger.output_columns import OutputColumns, in_turn, output_columns
from actors.ledger.prices import first_nonce
from actors.ledger.receipts import Output
from actors.ledger.rows import KIND_TRANSFER, ROW_DTYPE, ROW_VERSION, Batch
from actors.ledger.verdict import Verdict
from actors.storage.accounts import Accounts, of_accounts
from actors.storage.column_ledger import ColumnLedger
from actors.storage.contract_jobs import JobEngine, run_span, with_jobs
from actors.storage.governed_transition import run_governed

_ZERO = np.uint64(0)


@njit(cache=True, nogil=True)
def _pay(c, proposer, first_nonce):  # type: ignore[no-untyped-def]
    """Give the fees of the block to the proposer, and forget its waves. Returns whether they do not fit."""
    count, logged, fees = np.int64(c.totals[COUNT]), np.int64(c.totals[LOGGED]), c.totals[FEES]
    home = home_of(c.table, c.hash_key, proposer[0, 0], proposer[0, 1], proposer[0, 2], proposer[0, 3])
    earner = find(c, proposer, 0, 0, home)
    overflows = earner >= 0 and c.balances[earner] + fees < fees
    if fees != _ZERO and not overflows:
        if earner < 0:
            earner = make(c, proposer, 0, 0, home, count)
            count += 1
        logged = touch(c, earner, 1, logged)
        if c.balances[earner] == _ZERO:
            c.nonces[earner] = max(c.nonces[earner], first_nonce)
        c.balances[earner] += fees
    for k in range(logged):
        c.waves[c.log_slots[k]] = 0
    c.totals[COUNT], c.totals[LOGGED] = count, logged
    return overflows


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Rows of a block that passed, by what they share with others.

    parallel: rows that can run beside another one, serial: rows alone in their wave, waves: the longest chain
    of rows each of which needs the one before.
    """

    parallel: int = 0
    serial: int = 0
    waves: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AccountUndo:
    """What a block changed: (m,) int64 slots in ascending order, (m, 2) uint64 old nonces and balances.

    Of an entry these are row and width of the old value; a block that changes an entry gives it a new row.
    count: accounts before the block. Slots from `count` on are accounts that the block made.
    """

    count: int
    slots: NDArray[np.int64]
    values: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """verdicts: (n,) uint8. receipts: (passed, 4) uint64. fees: total of the rows that passed.

    outputs: of rows of serial kinds, by their place among those that passed.
    """

    verdicts: NDArray[np.uint8]
    receipts: NDArray[np.uint64]
    outputs: OutputColumns
    fees: int
    undo: AccountUndo
    conflicts: Conflicts


def apply_batch(
    accounts: Accounts,
    batch: Batch,
    env: Environment,
    engine: JobEngine | None = None,
    hash_rows: Hasher = sha256_rows,
) -> Applied:
    """Apply a batch to `accounts` exactly as `rules.apply_batch` does to a dictionary.

    engine: runs spans with more than a few calls; without one, or if it is lost, they are run here.

    Raises OverflowError, with `accounts` as before, when the fees do not fit the proposer's balance.
    """
    height, prices = env.height, env.prices
    verdicts = static_verdicts(batch, env.chain_tag, height, prices, hash_rows, env.governors)
    spans = list(_spans(batch))
    writes = sum((last - first) * len(kind.touches) for kind, first, last in spans) + 1
    accounts.reserve(writes)
    before, columns = accounts.count, _columns(accounts, len(batch), writes)
    first_free, balance_min = np.uint64(first_nonce(height)), np.uint64(prices.balance_min)
    outputs, ledger = list[OutputColumns](), None
    if is_governed(batch):
        ledger, spans = ColumnLedger(accounts, columns), []
        run_governed(ledger, accounts, batch, verdicts, env, outputs)
        columns = ledger.with_room(writes)
    for kind, first, last in with_jobs(spans, engine):
        of_part = verdicts[first:last]
        if isinstance(kind, Kind) and isinstance(kind.rule, CompiledRule):
            words = batch.words[first:last]
            homes = np.empty((last - first, len(kind.touches)), dtype=np.uint64)
            find_homes(words, kind.touches, columns, homes)
            kind.rule.run(columns, words, of_part, homes, first_free, balance_min)
            continue
        if isinstance(kind, Kind) and isinstance(kind.rule, PairedRule):
            of_part[of_part == Verdict.OK] = kind.rule.elsewhere
            continue
        if ledger is None:
            ledger, offsets = ColumnLedger(accounts, columns), batch.payload_offsets
        ledger.resume()
        part = Batch(batch.rows[first:last], batch.payloads[offsets[first] : offsets[last]])
        if isinstance(kind, JobEngine):
            run_span(kind, ledger, accounts, part, of_part, env, outputs)
        elif isinstance(kind.rule, SerialRule):
            _run_serially(ledger, kind.rule, part, of_part, env, outputs)
        columns = ledger.with_room(writes)  # compiled kinds rely on it
    earner = np.frombuffer(env.proposer, dtype=np.uint64).reshape(1, KEY_WORDS)
    overflows = _pay(columns, earner, first_free)
    accounts.index.count = int(columns.totals[COUNT])
    logged, passed = int(columns.totals[LOGGED]), int(columns.totals[PASSED])
    order = np.argsort(columns.log_slots[:logged])
    undo = AccountUndo(before, columns.log_slots[:logged][order], columns.log_values[:logged][order])
    if overflows:
        undo_batch(accounts, undo)
        raise OverflowError("the proposer's balance would exceed 2^64-1: the genesis supply is not conserved")
    alone = int(np.count_nonzero(columns.widths == 1))
    conflicts = Conflicts(passed - alone, alone, int(np.count_nonzero(columns.widths)))
    fees, told = int(columns.totals[FEES]), in_turn(outputs)
    return Applied(verdicts, columns.receipts[:passed], told, fees, undo, conflicts)


def _run_serially(
    ledger: ColumnLedger,
    rule: SerialRule,
    batch: Batch,
    verdicts: NDArray[np.uint8],
    env: Environment,
    parts: list[OutputColumns],
) -> None:
    """Apply rows of a kind that has no compiled twin."""
    outputs = list[Output]()
    for row, tx in enumerate(unpack(batch)):
        if verdicts[row]:
            continue
        if ledger.fees + tx.fee > U64_MAX:
            verdicts[row] = Verdict.BALANCE_OVERFLOW
            continue
        applied = rule.apply(ledger, tx, env, env.prices.block_gas_max - ledger.gas_used)
        verdicts[row] = applied.verdict
        if applied.verdict == Verdict.OK:
            outputs.append(applied.output(int(ledger.columns.totals[PASSED])))
            after = [ledger.account(key, env.height).balance for key in (tx.sender, tx.recipient)]
            ledger.passed(applied, (after[0], after[1]))
    if outputs:
        parts.append(output_columns(outputs))


def _spans(batch: Batch) -> Iterator[tuple[Kind, int, int]]:
    """(kind, first, last) of the longest spans of rows of one known kind, in order."""
    kinds = batch.rows["kind"]
    bounds = [0, *(np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist(), len(kinds)]
    for first, last in pairwise(bounds):
        kind = KINDS.get(int(kinds[first])) if first < last else None
        if kind is not None:
            yield kind, first, last


def _columns(accounts: Accounts, rows: int, writes: int) -> Columns:
    """The columns of `accounts`, and room for what a block leaves that writes `writes` accounts at most."""
    index = accounts.index
    totals = np.zeros(TOTALS, dtype=np.uint64)
    totals[COUNT] = accounts.count
    return Columns(
        index.table,
        index.keys,
        index.hash_key,
        accounts.nonces,
        accounts.balances,
        accounts.waves,
        log_slots=np.empty(writes, dtype=np.int64),
        log_values=np.empty((writes, 2), dtype=np.uint64),
        receipts=np.empty((rows, RECEIPT_WORDS), dtype=np.uint64),
        widths=np.zeros(rows + 2, dtype=np.int32),
        totals=totals,
    )


def undo_batch(accounts: Accounts, undo: AccountUndo) -> None:
    """Put `accounts` back to what they were before the block. Blocks are undone last first."""
    accounts.release(undo.slots, accounts.nonces[undo.slots], accounts.balances[undo.slots])
    accounts.nonces[undo.slots] = undo.values[:, 0]
    accounts.balances[undo.slots] = undo.values[:, 1]
    accounts.truncate(undo.count)


def warm() -> None:
    """Compile the kernels for the two layouts of rows they meet: writable, and read-only out of Ray."""
    for writeable in (True, False):
        rows = np.zeros(1, dtype=ROW_DTYPE)
        rows["version"], rows["kind"] = ROW_VERSION, KIND_TRANSFER
        rows.flags.writeable = writeable
        accounts = Accounts(16, 0)
        applied = apply_batch(accounts, Batch(rows, np.empty(0, np.uint8)), Environment(0, 0, bytes(32)))
        undo_batch(accounts, applied.undo)
        keys, column = rows["sender"].copy(), np.ones(1, dtype=np.uint64)
        keys.flags.writeable = writeable
        accounts.put(of_accounts(keys, column, column))
        accounts.find(bytes(32))
        accounts.columns_at(np.zeros(1, dtype=np.int64))
        accounts.index.rebuild()
    islands.warm()
    receipt_columns.warm(sha256_rows)
