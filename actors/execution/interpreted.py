"""Runs a job by the rules of the ledger and the interpreter, row by row: the definition, and what a node does
that has no compiled code for a program.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actors.contracts.encoding import decode_program
from actors.contracts.limits import ENTRY_TAG
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.execution.outputs import output_columns
from actors.ledger.accounts import RECEIPT_WORDS, U64_MAX, Account, State, Transaction, account_at, unpack
from actors.ledger.contract_rules import RowApplied, apply_call
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.receipts import Output
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER
from actors.ledger.transfer import apply_transfer
from actors.ledger.verdict import Verdict

_NO_ORIGIN = Origin(0, 0, bytes(KEY_BYTES))


class MissingKeyError(Exception):
    """A row needs what the job does not know."""

    def __init__(self, key: bytes) -> None:
        super().__init__(key.hex())
        self.key = key


class KnownLedger:
    """A LedgerView of what a job knows. What a row writes is put back by `drop`, or kept by `keep`."""

    def __init__(self, known: StateSlice, programs: Mapping[bytes, bytes]) -> None:
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
            raise MissingKeyError(key)
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

    def _account(self, key: bytes) -> Account:
        if key not in self._accounts:
            raise MissingKeyError(key)
        return self._accounts[key]

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
    wanted = {key.tobytes() for key in np.unique(called, axis=0)}
    for program in filter(None, job.programs.values()):
        wanted |= {imported.address for imported in decode_program(program).imports}
    if lacking := wanted - set(job.programs):
        raise ValueError(f"a job without the program of {min(lacking).hex()}")


def run(job: Job) -> JobOutcome:
    """What came of it. Raises ValueError for a row of another kind, and for a program that is not there."""
    check_programs(job)
    ledger = KnownLedger(job.known, job.programs)
    env = Environment(0, job.height, bytes(KEY_BYTES), job.prices, job.time_ms)
    verdicts, receipts, outputs = [], list[tuple[int, int, int, int]](), list[Output]()
    gas_used = fees = 0
    missing = b""
    for tx in unpack(job.batch):
        try:
            applied = _apply(ledger, tx, env, job.gas_left - gas_used, fees)
            after = [ledger.account(key, job.height).balance for key in (tx.sender, tx.recipient)]
        except MissingKeyError as stopped:
            ledger.drop()
            missing = stopped.key
            break
        verdicts.append(applied.verdict)
        if applied.verdict:
            ledger.drop()
            continue
        ledger.keep()
        if tx.kind == KIND_CALL:
            outputs.append(applied.output(len(receipts)))
        receipts.append((applied.status, applied.fee, after[0], after[1]))
        gas_used, fees = gas_used + applied.gas, fees + applied.fee
    outcome = JobOutcome(
        np.array(verdicts, dtype=np.uint8),
        np.array(receipts, dtype=np.uint64).reshape(-1, RECEIPT_WORDS),
        output_columns(outputs),
        ledger.changed(),
        np.frombuffer(missing, dtype=np.uint8).reshape(-1, KEY_BYTES),
        gas_used,
        fees,
    )
    outcome.check(len(job.batch))
    return outcome


def _apply(ledger: KnownLedger, tx: Transaction, env: Environment, gas_left: int, fees: int) -> RowApplied:
    if fees + tx.fee > U64_MAX:
        return RowApplied(Verdict.BALANCE_OVERFLOW)
    if tx.kind == KIND_TRANSFER:
        verdict = ledger.transfer(tx, env)
        return RowApplied(verdict, 0 if verdict else tx.fee)
    if tx.kind == KIND_CALL:
        return apply_call(ledger, tx, env, gas_left)
    raise ValueError(f"a row of kind {tx.kind} in a job")
