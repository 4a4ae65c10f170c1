"""What a job knows of the state as tables for compiled code, and what has become of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.native.layout import NO_CONTRACT
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.tables import AccountTable, EntryTable, HashTable
from actors.execution.job import Job, StateSlice
from actors.ledger.contract_payloads import DEPOSITS_KEY


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
        rows, values = _written(self.entries, len(known.entry_keys))
        entries, widths = values[:, :ENTRY_BYTES_MAX], values[:, ENTRY_BYTES_MAX]
        differs = (entries != known.entry_values[rows]).any(axis=1) | (widths != known.entry_widths[rows])
        who, values = _written(self.accounts, len(known.account_keys))
        held = values.view(np.uint64)
        moved = (held[:, 0] != known.nonces[who]) | (held[:, 1] != known.balances[who])
        return StateSlice(
            known.entry_keys[rows[differs]],
            entries[differs],
            widths[differs],
            known.account_keys[who[moved]],
            held[moved, 0],
            held[moved, 1],
        )


def _written(table: HashTable, count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Numbers of slots that were written, among the first so many, and their values."""
    rows = table.written()
    rows = rows[rows < count]
    return rows, table.values()[rows]
