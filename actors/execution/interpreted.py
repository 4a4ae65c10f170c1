"""Runs a job by the rules of the ledger and the interpreter, row by row: the definition, and what a node does
that has no compiled code for a program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from actors.contracts.encoding import decode_program
from actors.contracts.limits import ENTRY_TAG
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.ledger.accounts import RECEIPT_WORDS, U64_MAX, Account, State, Transaction, account_at, unpack
from actors.ledger.contract_rules import RowApplied, apply_call
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.index import distinct_keys
from actors.ledger.output_columns import output_columns
from actors.ledger.receipts import Output
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER
from actors.ledger.transfer import apply_transfer
from actors.ledger.verdict import Verdict

MISSING_MAX = 1 << 16
ReadState = Callable[[NDArray[np.uint8]], StateSlice]
_NO_ORIGIN = Origin(0, 0, bytes(KEY_BYTES))


class MissingKeyError(Exception):
    """A row needs what the job does not know."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key.hex())
        self.key = key


class KnownLedger:
    """A LedgerView of what a job knows. What a row writes is put back by `drop`, or kept by `keep`."""

    def __init__(
        self, known: StateSlice, programs: Mapping[bytes, bytes], read: ReadState | None = None
    ) -> None:
        self._read = read
        self._missed: list[bytes] | None = None
        self._entries = known.entries()
        self._accounts: State = {key: Account(*held) for key, held in known.accounts().items()}
        self._programs = _entries_of(programs)
        self._before: dict[bytes, bytes | Account] = {}
        self._first: dict[bytes, bytes | Account] = {}

    def account(self, key: bytes, height: int) -> Account:
        """See LedgerView. Raises MissingKeyError."""
        self._account(key)
        return account_at(self._accounts, key, height)

    def set_account(self, key: bytes, account: Account) -> None:
        """See LedgerView."""
        self._before.setdefault(key, self._account(key))
        self._accounts[key] = account

    def entry(self, key: bytes) -> bytes:
        """See LedgerView. Raises MissingKeyError."""
        if key in self._programs:
            return self._programs[key]
        if key not in self._entries:
            self._fetch(key)
        return self._entries[key]

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See LedgerView."""
        self._before.setdefault(key, self.entry(key))
        self._entries[key] = value

    def transfer(self, tx: Transaction, env: Environment) -> Verdict:
        """By its rule, which works on the accounts themselves."""
        for key in (tx.sender, tx.recipient):
            self._before.setdefault(key, self._account(key))
        return apply_transfer(self._accounts, tx, env)

    def keep(self) -> None:
        """What was written since the last time stays."""
        for key, before in self._before.items():
            self._first.setdefault(key, before)
        self._before.clear()

    def drop(self) -> None:
        """What was written since the last time never was."""
        for key, before in self._before.items():
            self._set(key, before)
        self._before.clear()

    def changed(self) -> StateSlice:
        """All that is not as it was at first."""
        entries, accounts = dict[bytes, bytes](), dict[bytes, tuple[int, int]]()
        for key, first in self._first.items():
            if key.startswith(ENTRY_TAG):
                if self._entries[key] != first:
                    entries[key] = self._entries[key]
            elif self._accounts[key] != first:
                accounts[key] = self._accounts[key].nonce, self._accounts[key].balance
        return StateSlice.of(entries, accounts)

    def suppose_missing(self, found: list[bytes]) -> None:
        """From now on there is nothing at these keys, nor at those that are missed, which are added."""
        self._missed = found
        for key in found:
            self._suppose(key)

    def _suppose(self, key: bytes) -> None:
        self._set(key, b"" if key.startswith(ENTRY_TAG) else Account())

    def _account(self, key: bytes) -> Account:
        if key not in self._accounts:
            self._fetch(key)
        return self._accounts[key]

    def _fetch(self, key: bytes) -> None:
        if self._missed is not None:
            self._missed.append(key)
            self._suppose(key)
            return
        if self._read is None:
            raise MissingKeyError(key)
        more = self._read(np.frombuffer(key, dtype=np.uint8).reshape(1, KEY_BYTES))
        self._entries |= more.entries()
        self._accounts |= {key: Account(*held) for key, held in more.accounts().items()}

    def _set(self, key: bytes, value: bytes | Account) -> None:
        if isinstance(value, Account):
            self._accounts[key] = value
        else:
            self._entries[key] = value


def _entries_of(programs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The entries by which the state has these programs, and a head that is absent where there is none."""
    entries = dict[bytes, bytes]()
    for address, program in programs.items():
        kept = program_entries(address, program, b"", _NO_ORIGIN)
        entries |= kept if program else dict.fromkeys(kept, b"")
    return entries


def check_programs(job: Job) -> None:
    """Raise ValueError unless the job has the programs of all contracts that its rows may run."""
    called = job.batch.rows["recipient"][job.batch.rows["kind"] == KIND_CALL]
    wanted = set(distinct_keys(called))
    for program in filter(None, job.programs.values()):
        wanted |= {imported.address for imported in decode_program(program).imports}
    if lacking := wanted - set(job.programs):
        raise ValueError(f"a job without the program of {min(lacking).hex()}")


def run(job: Job, read: ReadState | None = None) -> JobOutcome:
    """What came of it. read: tells what the state has of (m, 32) keys; without it a run stops where a key is
    missing. Raises ValueError for a row of another kind, and for a program that is not there."""
    check_programs(job)
    ledger = KnownLedger(job.known, job.programs, read)
    running = _Running(job, ledger)
    transactions = unpack(job.batch)
    for done, tx in enumerate(transactions):
        try:
            running.row(tx)
        except MissingKeyError as stopped:
            outcome = running.outcome()
            missing = _all_missing(running, ledger, transactions[done:], stopped.key)
            return dataclasses.replace(outcome, missing=missing)
    return running.outcome()


class _Running:
    """Rows until now."""

    def __init__(self, job: Job, ledger: KnownLedger) -> None:
        self._job, self._ledger = job, ledger
        self._env = Environment(0, job.height, bytes(KEY_BYTES), job.prices, job.time_ms)
        self._verdicts, self._outputs = list[Verdict](), list[Output]()
        self._receipts = list[tuple[int, int, int, int]]()
        self._gas_used = self._fees = 0

    def row(self, tx: Transaction) -> None:
        """The next one. Raises MissingKeyError, and then it has left nothing."""
        ledger = self._ledger
        try:
            fees = self._job.fees_before + self._fees
            applied = _apply(ledger, tx, self._env, self._job.gas_left - self._gas_used, fees)
            after = [ledger.account(key, self._env.height).balance for key in (tx.sender, tx.recipient)]
        except MissingKeyError:
            ledger.drop()
            raise
        self._verdicts.append(applied.verdict)
        if applied.verdict:
            ledger.drop()
            return
        ledger.keep()
        if tx.kind == KIND_CALL:
            self._outputs.append(applied.output(len(self._receipts)))
        self._receipts.append((applied.status, applied.fee, after[0], after[1]))
        self._gas_used, self._fees = self._gas_used + applied.gas, self._fees + applied.fee

    def outcome(self) -> JobOutcome:
        """Of the rows until now; nothing is missing."""
        return JobOutcome(
            np.array(self._verdicts, dtype=np.uint8),
            np.array(self._receipts, dtype=np.uint64).reshape(-1, RECEIPT_WORDS),
            output_columns(self._outputs),
            self._ledger.changed(),
            np.empty((0, KEY_BYTES), dtype=np.uint8),
            self._gas_used,
            self._fees,
        )


def _all_missing(
    running: _Running, ledger: KnownLedger, transactions: list[Transaction], key: bytes
) -> NDArray[np.uint8]:
    """Keys that these rows may need, about MISSING_MAX: each is supposed to be absent when it is missed.

    A row goes on from there and is not begun anew, so that many keys cost a row no more than its gas.
    """
    found = [key]
    ledger.suppose_missing(found)
    for tx in transactions:
        if len(found) >= MISSING_MAX:
            break
        running.row(tx)
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, KEY_BYTES)


def _apply(ledger: KnownLedger, tx: Transaction, env: Environment, gas_left: int, fees: int) -> RowApplied:
    if fees + tx.fee > U64_MAX:
        return RowApplied(Verdict.BALANCE_OVERFLOW)
    if tx.kind == KIND_TRANSFER:
        verdict = ledger.transfer(tx, env)
        return RowApplied(verdict, 0 if verdict else tx.fee)
    if tx.kind == KIND_CALL:
        return apply_call(ledger, tx, env, gas_left)
    raise ValueError(f"a row of kind {tx.kind} in a job")
