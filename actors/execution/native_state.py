"""What a job knows of the state as tables for compiled code, and what has become of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.execution.job import StateSlice
from actors.ledger.contract_payloads import DEPOSITS_KEY


class StateTables:
    """Slots lie in the order of the job's own columns. seed: see HashTable."""

    def __init__(self, known: StateSlice, linked: LinkedContracts, seed: int) -> None:
        self.entries, self.accounts = EntryTable(seed), AccountTable(seed)
        self.entries.fill(known.entry_keys, known.entry_values, known.entry_widths.astype(np.uint64))
        self.accounts.fill(known.account_keys, known.nonces, known.balances)
        self._known, self._linked = known, linked
        for address in linked.addresses:
            self._mark(address)

    def _mark(self, address: bytes) -> None:
        slot, number = self.accounts.slot_of(address), self._linked.numbers.get(address)
        if slot is not None and number is not None:
            self.accounts.set_contract(slot, number + 1)

    @property
    def deposits_address(self) -> int:
        """Where the account of deposits is, or 0."""
        slot = self.accounts.slot_of(DEPOSITS_KEY)
        return 0 if slot is None else self.accounts.slot_address(slot)

    def suppose_entry(self, key: bytes) -> None:
        """That there is none."""
        self.entries.put_entries({key: b""})

    def suppose_account(self, key: bytes, nonce: int, balance: int) -> None:
        """That it is so."""
        held = np.array([[nonce, balance]], np.uint64)
        self.accounts.put(np.frombuffer(key, np.uint8).reshape(1, -1), held.view(np.uint8))
        self._mark(key)

    def changed(self) -> StateSlice:
        """All that is not as it was known."""
        known, count = self._known, len(self._known.entry_keys)
        values = self.entries.values()[:count]
        rows = np.flatnonzero(self.entries.changed()[:count])
        before = known.entry_values[rows]
        differs = (values[rows, :ENTRY_BYTES_MAX] != before).any(axis=1)
        differs |= values[rows, ENTRY_BYTES_MAX] != known.entry_widths[rows]
        rows = rows[differs]
        entries = np.ascontiguousarray(values[rows])
        held, accounts = self._accounts()
        return StateSlice(
            known.entry_keys[rows],
            entries[:, :ENTRY_BYTES_MAX].copy(),
            entries[:, ENTRY_BYTES_MAX].copy(),
            known.account_keys[accounts],
            held[accounts, 0],
            held[accounts, 1],
        )

    def _accounts(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Nonces and balances, and which of them are not as they were known."""
        known, count = self._known, len(self._known.account_keys)
        held = np.ascontiguousarray(self.accounts.values()[:count]).view(np.uint64)
        differs = (held[:, 0] != known.nonces) | (held[:, 1] != known.balances)
        return held, np.flatnonzero(differs & self.accounts.changed()[:count])
