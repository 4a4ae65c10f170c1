"""What is to be run of a block, and what came of it: columns, so that both cross a boundary as few long
buffers.

Rules
1. A job is rows of a block in their order: transfers and calls, all statically valid. What they may touch of
   the state is known to it, or not: a run stops before the first row that needs a key that is not. It never
   reads a state of its own.
2. When it has stopped, it goes on as if what is missing were absent, to find what else is: its outcome has
   nothing of that but the keys, of which some may not be needed. So few runs find all keys of a block.
3. An outcome is what the rules of the ledger make of these rows one after the other, whatever runs them: the
   interpreter (interpreted.py) is the definition.
4. The fees of a block go to its proposer after its last row: a job leaves that to who has the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.output_columns import OutputColumns
from actors.ledger.prices import Prices
from actors.ledger.rows import Batch

KEY_BYTES = 32


class EngineError(Exception):
    """What runs jobs is lost, or has answered what cannot be: the message says what. Others can run it."""


class EngineNotReadyError(EngineError):
    """There is no code for a program yet, or there will be none: nobody is at fault; others run the job."""


@dataclass(frozen=True, slots=True, eq=False)
class StateSlice:
    """Entries and accounts, each key once.

    entry_keys: (m, 32) uint8. entry_values: (m, ENTRY_BYTES_MAX) uint8, zeros behind the bytes of an entry.
    entry_widths: (m,) uint8 bytes of it, 0 where there is none. account_keys: (k, 32) uint8. nonces,
    balances: (k,) uint64; the nonce of an account without a balance is that with which it would begin.
    """

    entry_keys: NDArray[np.uint8]
    entry_values: NDArray[np.uint8]
    entry_widths: NDArray[np.uint8]
    account_keys: NDArray[np.uint8]
    nonces: NDArray[np.uint64]
    balances: NDArray[np.uint64]

    @staticmethod
    def of(entries: Mapping[bytes, bytes], accounts: Mapping[bytes, tuple[int, int]]) -> StateSlice:
        """Of single ones. accounts: nonce and balance by key."""
        values = b"".join(value.ljust(ENTRY_BYTES_MAX, b"\0") for value in entries.values())
        held = np.array(list(accounts.values()), dtype=np.uint64).reshape(-1, 2)
        return StateSlice(
            _bytes(b"".join(entries), KEY_BYTES),
            _bytes(values, ENTRY_BYTES_MAX),
            np.array([len(value) for value in entries.values()], dtype=np.uint8),
            _bytes(b"".join(accounts), KEY_BYTES),
            held[:, 0].copy(),
            held[:, 1].copy(),
        )

    def entries(self) -> dict[bytes, bytes]:
        """As a dictionary; empty bytes where there is none."""
        return {
            key.tobytes(): value[:width].tobytes()
            for key, value, width in zip(self.entry_keys, self.entry_values, self.entry_widths, strict=True)
        }

    def accounts(self) -> dict[bytes, tuple[int, int]]:
        """Nonce and balance by key."""
        held = zip(self.nonces.tolist(), self.balances.tolist(), strict=True)
        return {key.tobytes(): both for key, both in zip(self.account_keys, held, strict=True)}


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """batch: the rows. programs: the encoded program of each contract that a row calls, or that one of these
    programs imports, by address; empty bytes where there is no contract. gas_left: of the block. fees_before:
    paid by the rows of the block before these.
    """

    batch: Batch
    height: int
    time_ms: int
    prices: Prices
    gas_left: int
    programs: Mapping[bytes, bytes]
    known: StateSlice
    fees_before: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class JobOutcome:
    """What came of the first rows of a job: of all, or of those before the first that needs `missing`.

    verdicts: (done,) uint8. receipts: (passed, 4) uint64: status, fee paid, balances of sender and recipient
    after it. changed: entries and accounts as they are after the rows, if they are not as they were known.
    missing: (r, 32) uint8, keys, each once; empty when all rows are done. gas_used, fees: of the rows that
    passed.
    """

    verdicts: NDArray[np.uint8]
    receipts: NDArray[np.uint64]
    outputs: OutputColumns
    changed: StateSlice
    missing: NDArray[np.uint8]
    gas_used: int
    fees: int

    def check(self, rows: int) -> None:
        """Raise ValueError where columns do not belong together, for a job of so many rows."""
        done, passed, calls = len(self.verdicts), len(self.receipts), len(self.outputs.places)
        whole = done == rows or (done < rows and len(self.missing) > 0)
        shapes = self.receipts.shape == (passed, RECEIPT_WORDS) and passed == int((self.verdicts == 0).sum())
        columns = (self.outputs.gas, self.outputs.result_ends, self.outputs.event_ends, self.outputs.messages)
        if not whole or not shapes or any(len(column) != calls for column in columns) or calls > passed:
            raise ValueError(f"an outcome of {done} of {rows} rows, {passed} passed, {calls} calls")


def _bytes(data: bytes, width: int) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width).copy()
