"""The state's columns as the rules of contracts see them, while a block is executed.

What is written goes to the block's undo log the first time, as compiled kinds do it (ledger/columns.py), and
rows count for the waves of conflicts by all that they write. Unlike those, a row may write any number of
accounts and entries: columns and log grow as they must, so `columns` is to be taken anew after the last row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import Account
from actors.ledger.columns import COUNT, FEES, LOGGED, PASSED, Columns
from actors.ledger.contract_rules import RowApplied
from actors.ledger.index import key_words
from actors.ledger.prices import first_nonce
from actors.storage.accounts import Accounts


class ColumnLedger:
    """A LedgerView for rows of one block; `resume` before those that follow rows of other kinds.

    gas_used: by the rows of the block that have passed.
    """

    def __init__(self, accounts: Accounts, columns: Columns) -> None:
        self._accounts, self.columns = accounts, columns
        self._row: dict[int, None] = {}
        self.gas_used = 0
        self._new_values: set[int] = set()

    def resume(self) -> None:
        """Rows of other kinds may have made accounts meanwhile."""
        self._accounts.index.count = int(self.columns.totals[COUNT])

    @property
    def fees(self) -> int:
        """Of the rows of the block that have passed."""
        return int(self.columns.totals[FEES])

    def account(self, key: bytes, height: int) -> Account:
        """See LedgerView."""
        slot, columns = self._accounts.find(key), self.columns
        nonce, balance = (int(columns.nonces[slot]), int(columns.balances[slot])) if slot >= 0 else (0, 0)
        return Account(nonce if balance else max(nonce, first_nonce(height)), balance)

    def set_account(self, key: bytes, account: Account) -> None:
        """See LedgerView."""
        slot = self._touched(key)
        self.columns.nonces[slot], self.columns.balances[slot] = account.nonce, account.balance

    def entry(self, key: bytes) -> bytes:
        """See LedgerView."""
        slot = self._accounts.find(key)
        if slot < 0 or not self.columns.balances[slot]:
            return b""
        return self._accounts.entries.gather(*self._row_of(slot)).tobytes()

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See LedgerView."""
        slot = self._touched(key)
        if slot in self._new_values:  # no undo log has it
            self._accounts.release(np.array([slot]), *self._row_of(slot))
        self._new_values.add(slot)
        width = np.array([len(value)], dtype=np.uint64)
        (row,) = self._accounts.entries.put(np.frombuffer(value, dtype=np.uint8), width)
        self.columns.nonces[slot], self.columns.balances[slot] = row, len(value)

    def write_entries(
        self, keys: NDArray[np.uint8], values: NDArray[np.uint8], widths: NDArray[np.uint64]
    ) -> None:
        """Set (m, 32) entries, each once. values: (sum of widths,) uint8, one after the other."""
        slots, again = self._written(keys)
        self._accounts.release(again, self.columns.nonces[again], self.columns.balances[again])
        self._new_values.update(slots.tolist())
        self.columns.nonces[slots] = self._accounts.entries.put(values, widths)
        self.columns.balances[slots] = widths

    def write_accounts(
        self, keys: NDArray[np.uint8], nonces: NDArray[np.uint64], balances: NDArray[np.uint64]
    ) -> None:
        """Set (m, 32) accounts, each once."""
        slots, _ = self._written(keys)
        self.columns.nonces[slots], self.columns.balances[slots] = nonces, balances

    def _written(self, keys: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots of keys that are about to be written, made and logged as `_touched` does it, of the wave that
        comes next; and which of them this block has written before."""
        columns, index = self.with_room(len(keys)), self._accounts.index
        slots = index.insert(key_words(keys))
        columns.totals[COUNT] = index.count
        fresh = slots[columns.waves[slots] == 0]
        logged = int(columns.totals[LOGGED])
        part = slice(logged, logged + len(fresh))
        columns.log_slots[part] = fresh
        columns.log_values[part, 0], columns.log_values[part, 1] = (
            columns.nonces[fresh],
            columns.balances[fresh],
        )
        columns.totals[LOGGED] = part.stop
        again = slots[columns.waves[slots] != 0]
        columns.waves[slots] = self._next_wave()
        return slots, again

    def _next_wave(self) -> int:
        return int(np.count_nonzero(self.columns.widths[1:])) + 1

    def count_islands(self, passed: int, largest: int) -> None:
        """Rows that ran as islands: as many waves as the largest has rows; the others have theirs in them."""
        waves, first = min(largest, passed), self._next_wave()
        for wave in range(waves):
            self.columns.widths[first + wave] = passed // waves + (wave < passed % waves)

    def passed(self, applied: RowApplied, balances: tuple[int, int]) -> None:
        """A row is in the block: count it. balances: of sender and recipient after it."""
        columns, slots = self.columns, list(self._row)
        wave = int(columns.waves[slots].max()) + 1
        columns.widths[wave] += 1
        columns.waves[slots] = wave
        self._row.clear()
        at = int(columns.totals[PASSED])
        columns.receipts[at] = applied.status, applied.fee, *balances
        columns.totals[PASSED] = at + 1
        columns.totals[FEES] = self.fees + applied.fee
        self.gas_used += applied.gas

    def _row_of(self, slot: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return self.columns.nonces[[slot]], self.columns.balances[[slot]]

    def _touched(self, key: bytes) -> int:
        """The slot of a key, which is about to be written: made if there is none, and logged once a block."""
        accounts = self._accounts
        slot = accounts.find(key)
        if slot < 0:
            slot = self._made(key)
        columns = self.columns
        if not columns.waves[slot] and slot not in self._row:
            logged = int(columns.totals[LOGGED])
            if logged == len(columns.log_slots):
                columns = self._with_more_log(len(columns.log_slots) // 2 + 16)
            columns.log_slots[logged] = slot
            columns.log_values[logged] = columns.nonces[slot], columns.balances[slot]
            columns.totals[LOGGED] = logged + 1
        self._row[slot] = None
        return slot

    def with_room(self, writes: int) -> Columns:
        """The columns, in which so many more accounts can be made and logged."""
        self._reserve(writes)
        missing = int(self.columns.totals[LOGGED]) + writes - len(self.columns.log_slots)
        return self._with_more_log(missing) if missing > 0 else self.columns

    def _made(self, key: bytes) -> int:
        index = self._accounts.index
        self._reserve(1)
        (slot,) = index.insert(key_words(np.frombuffer(key, dtype=np.uint8)))
        self.columns.totals[COUNT] = index.count
        return int(slot)

    def _reserve(self, extra: int) -> None:
        accounts, index = self._accounts, self._accounts.index
        accounts.reserve(extra)
        self.columns = self.columns._replace(
            table=index.table,
            keys=index.keys,
            nonces=accounts.nonces,
            balances=accounts.balances,
            waves=accounts.waves,
        )

    def _with_more_log(self, room: int) -> Columns:
        columns = self.columns
        slots, values = columns.log_slots, columns.log_values
        self.columns = columns._replace(
            log_slots=np.concatenate((slots, np.empty(room, dtype=slots.dtype))),
            log_values=np.concatenate((values, np.empty((room, 2), dtype=values.dtype))),
        )
        return self.columns
