"""Calls of one function that run: what compiled code is given, and why it stopped."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.contracts.interpreter import Result
from actors.contracts.limits import ENTRY_BYTES_MAX, VALUE_BYTES_MAX
from actors.contracts.native.calls import CallColumns, OutcomeColumns, event_data
from actors.contracts.native.layout import CALL, KEY_BYTES, PUBLIC_FUNCTION, Stop
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.loop import EVENTS_BYTES_MAX, RUN_CALLS
from actors.contracts.native.program import PUBLIC
from actors.contracts.native.runtime import addresses, runtime
from actors.contracts.native.tables import AccountTable, EntryTable

_ALIGN = 64
_KEY_ROOM = 128


class StoppedRun(NamedTuple):
    """Why the loop ended early. key: what was missing."""

    why: Stop
    key: bytes


class Scratch:
    """Memory in which code works. places: what is where, by the fields of the record of a call."""

    def __init__(self, linked: LinkedContracts) -> None:
        row_bytes = VALUE_BYTES_MAX + ENTRY_BYTES_MAX
        parts = {
            "key": _KEY_ROOM,
            "row": row_bytes,
            "message": linked.message_bytes,
            "frames_begin": linked.frames_bytes,
        }
        self._memory = np.zeros(sum(parts.values()) + _ALIGN, np.uint8)
        at = -(-self._memory.ctypes.data // _ALIGN) * _ALIGN
        self._key_at = at - self._memory.ctypes.data
        self.places = dict[str, int]()
        for name, width in parts.items():
            self.places[name] = at
            at += width

    def key(self) -> bytes:
        """That was looked for last."""
        return self._memory[self._key_at : self._key_at + KEY_BYTES].tobytes()


class NativeRun:
    """Calls of one function that run, from the first to the last, or until something is missing."""

    def __init__(
        self,
        linked: LinkedContracts,
        function: int,
        calls: CallColumns,
        tables: tuple[EntryTable, AccountTable],
    ) -> None:
        program = linked.programs[calls.contract]
        called = program.verified.functions[function]
        calls.check()
        if called.function.kind not in PUBLIC or calls.arguments.shape[1] != called.params.width_bytes:
            raise ValueError(f"{calls.arguments.shape[1]} bytes of arguments, or no public function")
        self.outcomes = OutcomeColumns.empty(len(calls), called.results.width_bytes, linked.message)
        self._linked = linked  # its code must stay where it is
        self._calls, self._tables = calls, tables
        self._run = runtime().function(RUN_CALLS, ctypes.c_void_p)
        self._record = np.zeros(len(CALL), np.uint64)
        self._scratch = Scratch(linked)
        self._set("function", int(program.function_table()[function][PUBLIC_FUNCTION.index("code")]))
        self._fill()

    def _fill(self) -> None:
        calls, outcomes = self._calls, self.outcomes
        columns: dict[str, NDArray[Any]] = {
            "arguments": calls.arguments,
            "senders": calls.senders,
            "origins": calls.origins,
            "amounts": calls.amounts,
            "gas": calls.gas,
            "failures": outcomes.failures,
            "messages": outcomes.messages,
            "failed_in": outcomes.failed_in,
            "gas_used": outcomes.gas_used,
            "results": outcomes.results,
            "created": outcomes.created,
            "removed": outcomes.removed,
            "event_ends": outcomes.event_ends,
        }
        for name, column in columns.items():
            self._set(name, column.ctypes.data)
        self._set("rows", len(calls))
        self._set("arguments_step", calls.arguments.shape[1])
        self._set("results_step", outcomes.results.shape[1])
        self._set("height", calls.height)
        self._set("time_ms", calls.time_ms)
        for name, table in zip(("entries", "accounts"), self._tables, strict=True):
            self._set(name, table.record_address)
        for name, address in {**addresses(), **self._scratch.places}.items():
            self._set(name, address)
        self._set("contract_called", self._linked.record_address(calls.contract))
        self._fit_events(EVENTS_BYTES_MAX)

    def _set(self, field: str, value: int) -> None:
        self._record[CALL.index(field)] = value

    def _get(self, field: str) -> int:
        return int(self._record[CALL.index(field)])

    def _fit_events(self, room: int) -> None:
        events = np.zeros(self._get("events_used") + room, np.uint8)
        used = min(len(self.outcomes.events), len(events))
        events[:used] = self.outcomes.events[:used]
        self.outcomes.events = events
        self._set("events", events.ctypes.data)
        self._set("events_max", len(events))

    @property
    def next_row(self) -> int:
        """The call that runs next; all have run if there is none of that number."""
        return self._get("next_row")

    def put(self, result: Result) -> None:
        """What came of the next call, which somebody else has run."""
        row = self.next_row
        events = b"".join(map(event_data, result.events))
        self._fit_events(EVENTS_BYTES_MAX)
        used = self._get("events_used") + len(events)
        self.outcomes.events[used - len(events) : used] = np.frombuffer(events, np.uint8)
        self._set("events_used", used)
        self.outcomes.put(row, result, used)
        self._set("next_row", row + 1)

    def go_on(self) -> StoppedRun | None:
        """Run until all calls have run; or until a key is not known, which the host is to put in.

        Raises ValueError for an entry that is not as long as what is kept there.
        """
        while True:
            self._set("stopped", 0)
            self._run(self._record.ctypes.data)
            stopped = self._get("stopped")
            if not stopped:
                return None
            if stopped == Stop.NO_ROOM:
                self._make_room()
                continue
            if stopped == Stop.MALFORMED_ENTRY:
                raise ValueError(f"call {self.next_row} finds an entry of another width")
            return StoppedRun(Stop(stopped), self._scratch.key())

    def _make_room(self) -> None:
        """For more of what there was too little of: events of a call, or slots that one writes."""
        room = self._get("events_max") - self._get("events_used")
        if room < EVENTS_BYTES_MAX:
            self._fit_events(max(EVENTS_BYTES_MAX, self._get("events_used")))
            return
        for table in self._tables:
            table.grow_journal(4 * table.journal_records)
