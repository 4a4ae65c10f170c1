"""One job in compiled code: the records that it is given, room for what it tells, and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from actors.contracts.native.layout import CALL, CONTRACT, Stop
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.loop import EVENTS_BYTES_MAX
from actors.contracts.native.runs import Scratch
from actors.contracts.native.runtime import addresses
from actors.execution.interpreted import MISSING_MAX
from actors.execution.job import KEY_BYTES, Job, JobOutcome
from actors.execution.native_layout import BLOCK, MESSAGE_BITS, NO_MESSAGE, WINDOW_ROW
from actors.execution.native_state import StateTables
from actors.execution.native_window import HINTS_BYTES, WINDOW_ROWS
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.output_columns import OutputColumns
from actors.ledger.prices import first_nonce
from actors.ledger.rows import KIND_CALL

_ROW_EVENTS_BYTES, _ROW_RESULTS_BYTES = 128, 16
"""Of a call, for the room at first."""
_EMPTY = np.zeros(0, np.uint8)
_I64_MAX = (1 << 63) - 1
_SUPPOSED_FIRST = 1 << 10
"""Keys that are supposed before there is more room."""


class FieldWords:
    """Fields of 64 bits for compiled code."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._places = {name: place for place, name in enumerate(fields)}
        self._words = np.zeros(len(fields), np.uint64)

    @property
    def address(self) -> int:
        """Where it lies."""
        return int(self._words.ctypes.data)

    def set(self, **values: int | NDArray[np.generic]) -> None:
        """Numbers, and where arrays lie."""
        for name, value in values.items():
            self._words[self._places[name]] = value if isinstance(value, int) else value.ctypes.data

    def get(self, name: str) -> int:
        """A number."""
        return int(self._words[self._places[name]])


class BlockRun:
    """A job, row by row, until it ends or stops. Raises ValueError for prices and gas out of their range."""

    def __init__(
        self, run: Callable[..., None], job: Job, linked: LinkedContracts, tables: StateTables
    ) -> None:
        self._run, self._job, self._linked, self._tables = run, job, linked, tables
        rows = len(job.batch)
        calls = int((job.batch.rows["kind"] == KIND_CALL).sum())
        self._rows = np.ascontiguousarray(job.batch.rows)
        self._payloads = np.ascontiguousarray(job.batch.payloads)
        self._verdicts = np.zeros(rows, np.uint8)
        self._receipts = np.empty((rows, RECEIPT_WORDS), np.uint64)
        self._places, self._gas = np.empty(calls, np.uint32), np.empty(calls, np.uint64)
        self._result_ends, self._event_ends = np.empty(calls, np.int64), np.empty(calls, np.int64)
        self._messages = np.empty(calls, np.uint32)
        self._events, self._results = _EMPTY, _EMPTY
        self._nobody = np.zeros(len(CONTRACT), np.uint64)
        self._deposits_key = np.frombuffer(DEPOSITS_KEY, np.uint8)
        self._scratch = Scratch(linked)
        self._window = np.zeros((WINDOW_ROWS, len(WINDOW_ROW)), np.uint64)
        self._hints = np.zeros(HINTS_BYTES, np.uint8)
        self._call, self._block = FieldWords(CALL), FieldWords(BLOCK)
        self._fill_call()
        self._fill_block()
        self._fit_events(EVENTS_BYTES_MAX + calls * _ROW_EVENTS_BYTES)
        self._fit_results(calls * _ROW_RESULTS_BYTES)

    def _fill_call(self) -> None:
        job, tables = self._job, self._tables
        self._call.set(
            entries=tables.entries.record_address,
            accounts=tables.accounts.record_address,
            contract=self._nobody,
            height=job.height,
            time_ms=job.time_ms,
            first_nonce=first_nonce(job.height),
            **addresses(),
            **self._scratch.places,
        )

    def _fill_block(self) -> None:
        job, prices = self._job, self._job.prices
        if not (
            prices.gas_per_unit > 0 and prices.block_gas_max <= _I64_MAX and 0 <= job.gas_left <= _I64_MAX
        ):
            raise ValueError(
                f"{prices.gas_per_unit} gas a unit, {job.gas_left} left of {prices.block_gas_max}"
            )
        self._block.set(
            rows=self._rows,
            payloads=self._payloads,
            rows_count=len(self._rows),
            fee_min=prices.fee_min,
            balance_min=prices.balance_min,
            gas_per_unit=prices.gas_per_unit,
            entry_deposit=prices.entry_deposit,
            gas_max=prices.block_gas_max,
            gas_left=job.gas_left,
            fees=job.fees_before,
            contracts=self._linked.records_address,
            deposits=self._tables.deposits_address,
            deposits_key=self._deposits_key,
            verdicts=self._verdicts,
            receipts=self._receipts,
            places=self._places,
            gas=self._gas,
            result_ends=self._result_ends,
            event_ends=self._event_ends,
            messages=self._messages,
            window=self._window,
            hints=self._hints,
        )

    def _fit_events(self, size: int) -> None:
        self._events = _grown(self._events, size)
        self._call.set(events=self._events, events_max=len(self._events))

    def _fit_results(self, size: int) -> None:
        self._results = _grown(self._results, size)
        self._block.set(results=self._results, results_max=len(self._results))

    def go_on(self) -> Stop | None:
        """Run what is left, or until a key is missing. Raises ValueError for an entry that is not as long as
        what is kept there."""
        while True:
            self._call.set(stopped=0)
            self._run(self._call.address, self._block.address)
            stopped = self._call.get("stopped")
            if stopped == Stop.MALFORMED_ENTRY:
                raise ValueError(f"row {self._block.get('next_row')} finds an entry of another width")
            if stopped == Stop.UNKNOWN_PROGRAM:
                called = self._rows[self._block.get("next_row")]["recipient"].tobytes()
                raise ValueError(f"a job without the program of {called.hex()}")
            if stopped != Stop.NO_ROOM:
                return Stop(stopped) if stopped else None
            self._make_room()

    def _make_room(self) -> None:
        """For more of what there was too little of: twice as much, and of journals one after the other."""
        if self._call.get("events_max") - self._call.get("events_used") < EVENTS_BYTES_MAX:
            self._fit_events(2 * len(self._events) + EVENTS_BYTES_MAX)
            return
        self._fit_results(2 * len(self._results) + self._results_bytes_max())
        for table in (self._tables.entries, self._tables.accounts):
            table.grow_journal(4 * table.journal_records)

    def _results_bytes_max(self) -> int:
        programs = self._linked.programs.values()
        return max(
            (int(each.function_table()[:, 2].max()) for each in programs if each.verified.functions),
            default=0,
        )

    def missing(self) -> NDArray[np.uint8]:
        """After it has stopped: keys that all rows left may need, MISSING_MAX at most. What is missing
        is supposed to be absent, a sender apart, which is supposed to have coins."""
        entries, accounts = self._tables.entries, self._tables.accounts
        known = len(entries), len(accounts)
        self._call.set(is_supposing=1)
        self._tables.suppose_contracts()
        stopped: Stop | None = Stop.MISSING_ENTRY
        while stopped is not None and len(entries) + len(accounts) - sum(known) < MISSING_MAX:
            for table in (entries, accounts):
                table.reserve(max(_SUPPOSED_FIRST, len(table)))
            self._block.set(deposits=self._tables.deposits_address)
            stopped = self.go_on()
        found = [table.keys()[count:] for table, count in zip((entries, accounts), known, strict=True)]
        return np.concatenate(found)[:MISSING_MAX]

    def outcome(self) -> JobOutcome:
        """Of the rows until now; nothing is missing."""
        block = self._block
        done, passed = block.get("next_row"), block.get("passed")
        return JobOutcome(
            self._verdicts[:done],
            self._receipts[:passed].copy(),
            self._outputs(block.get("calls")),
            self._tables.changed(),
            _EMPTY.reshape(0, KEY_BYTES),
            block.get("gas_used"),
            block.get("fees") - self._job.fees_before,
        )

    def _outputs(self, calls: int) -> OutputColumns:
        said, which = np.unique(self._messages[:calls], return_inverse=True)
        words = [self._words(int(each)) for each in said]
        texts = ("", *sorted(set(words) - {""}))
        numbers = np.array([texts.index(each) for each in words], np.uint16)
        return OutputColumns(
            self._places[:calls],
            self._gas[:calls],
            self._results[: self._block.get("results_used")],
            self._result_ends[:calls],
            self._events[: self._call.get("events_used")],
            self._event_ends[:calls],
            numbers[which.reshape(-1)] if calls else np.zeros(0, np.uint16),
            texts,
        )

    def _words(self, message: int) -> str:
        if message == NO_MESSAGE:
            return ""
        return self._linked.message(message >> MESSAGE_BITS, message & ((1 << MESSAGE_BITS) - 1))


def _grown(blob: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    more = np.empty(max(size, len(blob)), np.uint8)
    more[: len(blob)] = blob
    return more
