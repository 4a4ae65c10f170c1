"""What a job knows of the state as tables for compiled code, and what has become of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.contracts.native.layout import BALANCE_AT, NO_CONTRACT, NONCE_AT, VALUE_AT, WIDTH_AT
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.tables import AccountTable, EntryTable, HashTable
from actors.execution.job import Job, StateSlice
from actors.ledger.contract_payloads import DEPOSITS_KEY

_WORD_BYTES = 8
_VALUE = slice(VALUE_AT // _WORD_BYTES, WIDTH_AT // _WORD_BYTES)
_WIDTH, _NONCE, _BALANCE = (at // _WORD_BYTES for at in (WIDTH_AT, NONCE_AT, BALANCE_AT))


class StateTables:
    """Slots lie in the order of the job's own columns. seed: see HashTable."""

    def __init__(self, job: Job, linked: LinkedContracts, seed: int) -> None:
        self._known, self._linked = job.known, linked
        self.entries, self.accounts = EntryTable(seed), AccountTable(seed)
        self.entries.fill(job.known.entry_keys, job.known.entry_values, job.known.entry_widths)
        self.accounts.fill(job.known.account_keys, job.known.nonces, job.known.balances)
        for address in job.programs:
            self._mark(address)

    def _mark(self, address: bytes) -> None:
        """Whether it is a contract, and which one."""
        slot, number = self.accounts.slot_of(address), self._linked.numbers.get(address)
        if slot is not None:
            self.accounts.set_contract(slot, NO_CONTRACT if number is None else number + 1)

    @property
    def deposits_address(self) -> int:
        """Where the account of deposits is, or 0."""
        slot = self.accounts.slot_of(DEPOSITS_KEY)
        return 0 if slot is None else self.accounts.slot_address(slot)

    def suppose_contracts(self) -> None:
        """That contracts whose account is not known have no coins: they may be called."""
        for address in self._linked.addresses:
            if self.accounts.slot_of(address) is None:
                self.accounts.put_balances({address: 0})
                self._mark(address)

    def changed(self) -> StateSlice:
        """All that is not as it was known."""
        known = self._known
        rows, slots = _written(self.entries, len(known.entry_keys))
        values, widths = slots[:, _VALUE], slots[:, _WIDTH]
        before = _words(known.entry_values).take(rows, axis=0)
        differs = np.bitwise_or.reduce(values ^ before, axis=1) != 0
        differs |= widths != known.entry_widths.take(rows)
        who, slots = _written(self.accounts, len(known.account_keys))
        nonces, balances = slots[:, _NONCE], slots[:, _BALANCE]
        moved = (nonces != known.nonces.take(who)) | (balances != known.balances.take(who))
        return StateSlice(
            known.entry_keys.take(rows[differs], axis=0),
            np.ascontiguousarray(values[differs]).view(np.uint8),
            widths[differs].astype(np.uint8),
            known.account_keys.take(who[moved], axis=0),
            nonces[moved],
            balances[moved],
        )


def _words(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The same bytes, eight at a time."""
    return np.ascontiguousarray(rows).view(np.uint64)


def _written(table: HashTable, count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Numbers of slots that were written, among the first so many, and these slots."""
    rows = table.written()
    rows = rows[rows < count]
    return rows, table.words().take(rows, axis=0)
