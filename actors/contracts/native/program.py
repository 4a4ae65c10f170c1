"""A program as native code: compiled, kept, and run over columns of calls."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.contracts import ir
from actors.contracts.encoding import encode_program, program_hash
from actors.contracts.gas import Weights
from actors.contracts.interpreter import Result
from actors.contracts.limits import ENTRY_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX
from actors.contracts.native import table_code
from actors.contracts.native.calls import CallColumns, OutcomeColumns
from actors.contracts.native.code import Code
from actors.contracts.native.division import emit_division
from actors.contracts.native.hashing import blocks_of, emit_sha256
from actors.contracts.native.layout import ACCOUNTS, CALL, ENTRIES, KEY_BYTES, Stop
from actors.contracts.native.loop import emit_public, events_bytes_max, symbol_of
from actors.contracts.native.lowering import FunctionCode, frames_of
from actors.contracts.native.operations import LOWER, lower
from actors.contracts.native.rows import emit_seeking
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.contracts.verified import Verified
from actors.kernels.compiled import Host, Loaded, compile_object, host
from actors.kernels.sha256 import BLOCK_BYTES

PUBLIC = (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
_ALIGN = 64
_KEY_ROOM = 128
_ROW_MESSAGE_BYTES = KEY_BYTES + 2 + KEY_BYTES_MAX


def why_not(program: Verified) -> str:
    """Why a program cannot be lowered, or empty."""
    for function in program.functions:
        for op in _operations(function.function.body):
            if type(op) not in LOWER and not isinstance(op, ir.If | ir.Loop):
                return f"{function.function.name}: {type(op).__name__} is not lowered"
    return ""


def _operations(operations: Sequence[ir.Op]) -> Iterator[ir.Op]:
    """All of them, those in lists within lists, too."""
    for op in operations:
        yield op
        if isinstance(op, ir.If):
            yield from _operations(op.then)
            yield from _operations(op.otherwise)
        elif isinstance(op, ir.Loop):
            yield from _operations(op.body)


def _message_bytes(program: Verified) -> int:
    """Of the longest message that is hashed, with its padding."""
    longest = _ROW_MESSAGE_BYTES
    for function in program.functions:
        widths = [shape.width_bytes for shape in function.function.registers]
        for op in _operations(function.function.body):
            if isinstance(op, ir.Hash):
                longest = max(longest, sum(widths[src] for src in op.srcs))
    return BLOCK_BYTES * blocks_of(longest)


def lowered(program: Verified, target: Host) -> str:
    """The module of a program that `why_not` says nothing of, as LLVM IR."""
    code = Code()
    for shape in (ENTRIES, ACCOUNTS):
        table_code.emit_find(code, shape)
        table_code.emit_journal(code, shape)
    emit_sha256(code, target)
    emit_division(code)
    emit_seeking(code)
    frames, _ = frames_of(program)
    room = events_bytes_max(program.program)
    for function, frame in zip(program.functions, frames, strict=True):
        FunctionCode(code, program, function.number, frame).write(lower)
        if function.function.kind in PUBLIC:
            emit_public(code, function, room)
    return code.text()


class StoppedRun(NamedTuple):
    """Why the loop ended early. key: what was missing."""

    why: Stop
    key: bytes


class NativeRun:
    """Calls of one function that run, from the first to the last, or until something is missing."""

    def __init__(
        self,
        program: NativeProgram,
        function: int,
        calls: CallColumns,
        tables: tuple[EntryTable, AccountTable],
    ) -> None:
        called = program.verified.functions[function]
        calls.check()
        if called.function.kind not in PUBLIC or calls.arguments.shape[1] != called.params.width_bytes:
            raise ValueError(f"{calls.arguments.shape[1]} bytes of arguments, or no public function")
        self.outcomes = OutcomeColumns.empty(len(calls), called.results.width_bytes)
        self._program = program  # its code must stay where it is
        self._code, self._calls, self._tables = program.function(function), calls, tables
        self._events_of_call = events_bytes_max(program.verified.program)
        self._record = np.zeros(len(CALL), np.uint64)
        self._memory = np.zeros(program.memory_bytes + _ALIGN, np.uint8)
        self._contract = np.frombuffer(calls.contract, np.uint8)
        self._fill(program)

    def _fill(self, program: NativeProgram) -> None:
        calls, outcomes = self._calls, self.outcomes
        columns: dict[str, NDArray[Any]] = {
            "arguments": calls.arguments,
            "senders": calls.senders,
            "origins": calls.origins,
            "amounts": calls.amounts,
            "gas": calls.gas,
            "contract": self._contract,
            "failures": outcomes.failures,
            "messages": outcomes.messages,
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
        base = -(-self._memory.ctypes.data // _ALIGN) * _ALIGN
        self._key_at = base - self._memory.ctypes.data
        for name, offset in program.places.items():
            self._set(name, base + offset)
        self._fit_events(self._events_of_call)

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
        events = b"".join(bytes((number,)) + data for _, number, data in result.events)
        self._fit_events(self._events_of_call)
        used = self._get("events_used") + len(events)
        self.outcomes.events[used - len(events) : used] = np.frombuffer(events, np.uint8)
        self._set("events_used", used)
        self.outcomes.put(row, self._program.verified, result, used)
        self._set("next_row", row + 1)

    def go_on(self) -> StoppedRun | None:
        """Run until all calls have run; or until a key is not known, which the host is to put in.

        Raises ValueError for an entry that is not as long as what is kept there.
        """
        while True:
            self._set("stopped", 0)
            self._code(self._record.ctypes.data)
            stopped = self._get("stopped")
            if not stopped:
                return None
            if stopped == Stop.NO_ROOM:
                self._make_room()
                continue
            if stopped == Stop.MALFORMED_ENTRY:
                raise ValueError(f"call {self.next_row} finds an entry of another width")
            key = self._memory[self._key_at : self._key_at + KEY_BYTES].tobytes()
            return StoppedRun(Stop(stopped), key)

    def _make_room(self) -> None:
        """For more of what there was too little of: events of a call, or slots that one writes."""
        room = self._get("events_max") - self._get("events_used")
        if room < self._events_of_call:
            self._fit_events(max(self._events_of_call, self._get("events_used")))
            return
        for table in self._tables:
            table.grow_journal(4 * table.journal_records)


class NativeProgram:
    """The code of one verified program. Raises ValueError for one that `why_not` tells of."""

    def __init__(self, program: Verified, target: Host | None = None) -> None:
        if reason := why_not(program):
            raise ValueError(f"{program.program.name} is not lowered: {reason}")
        self.verified, target = program, target or host()
        code = compile_object(lowered(program, target), target)
        self.code_bytes = len(code)
        self._loaded = Loaded(code, target)
        _, frame_bytes = frames_of(program)
        key, row = 0, _KEY_ROOM
        message = row + VALUE_BYTES_MAX + ENTRY_BYTES_MAX
        frames = message + _message_bytes(program)
        self.places = {"key": key, "row": row, "message": message, "frames": frames}
        self.memory_bytes = frames + frame_bytes
        self._functions = {
            each.number: self._loaded.function(symbol_of(each.number), ctypes.c_void_p)
            for each in program.functions
            if each.function.kind in PUBLIC
        }

    def function(self, number: int) -> Callable[..., None]:
        """The loop over calls of a public function."""
        return self._functions[number]

    def run(
        self, function: int, calls: CallColumns, entries: EntryTable, accounts: AccountTable
    ) -> NativeRun:
        """Calls of a public function, ready to run. Raises ValueError for columns that are not its."""
        return NativeRun(self, function, calls, (entries, accounts))


class NativeCache:
    """Programs as native code, by their hash and their weights; the least recently used leave first."""

    def __init__(self, programs_max: int) -> None:
        self._kept: OrderedDict[tuple[bytes, Weights], NativeProgram | None] = OrderedDict()
        self._programs_max = programs_max

    def get(self, program: Verified) -> NativeProgram | None:
        """Its code, compiled now if it is not there; None for a program that is not lowered."""
        key = (program_hash(encode_program(program.program)), program.weights)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = self._kept[key] = None if why_not(program) else NativeProgram(program)
        if len(self._kept) > self._programs_max:
            self._kept.popitem(last=False)
        return found
