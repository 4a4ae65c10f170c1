"""Calls of one function as columns, and what came of them, as columns, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result
from actors.contracts.native.layout import EVENT_HEAD_BYTES, KEY_BYTES
from actors.contracts.running import CallContext, EmittedEvent

EVENT_HEAD = Struct("<32sBH")


def event_data(event: EmittedEvent) -> bytes:
    """An event as compiled code writes it: its contract, its number, how long its fields are, and they."""
    contract, number, data = event
    return EVENT_HEAD.pack(contract, number, len(data)) + data


@dataclass(frozen=True)
class CallColumns:
    """Calls of one function of one contract in one block, in their order; what differs is a column.

    arguments: (n, bytes) uint8; senders, origins: (n, 32) uint8; amounts: (n,) uint64, coins that the loop
    takes from senders; gas: (n,) int64, the limits.
    """

    contract: bytes
    height: int
    time_ms: int
    arguments: NDArray[np.uint8]
    senders: NDArray[np.uint8]
    origins: NDArray[np.uint8]
    amounts: NDArray[np.uint64]
    gas: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.gas)

    def check(self) -> None:
        """Raise ValueError for columns that do not belong together, and for a limit below zero."""
        rows = len(self)
        shapes = (self.senders.shape, self.origins.shape, self.amounts.shape, self.arguments.shape[:1])
        if shapes != ((rows, KEY_BYTES), (rows, KEY_BYTES), (rows,), (rows,)) or self.arguments.ndim != 2:
            raise ValueError(f"columns of {rows} calls: shapes {shapes}")
        columns: tuple[NDArray[Any], ...] = (
            self.arguments,
            self.senders,
            self.origins,
            self.amounts,
            self.gas,
        )
        kinds = (np.uint8, np.uint8, np.uint8, np.uint64, np.int64)
        if any(column.dtype != kind for column, kind in zip(columns, kinds, strict=True)):
            raise ValueError(f"columns of types {[str(column.dtype) for column in columns]}")
        if not all(column.flags.c_contiguous for column in columns):
            raise ValueError("columns whose rows do not lie one behind the other")
        if rows and self.gas.min() < 0:
            raise ValueError(f"a limit of gas below zero: {self.gas.min()}")
        if len(self.contract) != KEY_BYTES:
            raise ValueError(f"an address of {len(self.contract)} bytes")

    @staticmethod
    def of(arguments: Sequence[bytes], contexts: Sequence[CallContext], gas: Sequence[int]) -> CallColumns:
        """Of single calls: one at least, whose arguments are equally long, all in the block of the first."""

        def column(parts: Sequence[bytes]) -> NDArray[np.uint8]:
            return np.frombuffer(b"".join(parts), np.uint8).reshape(len(parts), len(parts[0])).copy()

        return CallColumns(
            contract=contexts[0].contract,
            height=contexts[0].height,
            time_ms=contexts[0].time_ms,
            arguments=column(arguments),
            senders=column([each.sender for each in contexts]),
            origins=column([each.origin for each in contexts]),
            amounts=np.array([each.amount for each in contexts], np.uint64),
            gas=np.array(gas, np.int64),
        )

    def context(self, row: int) -> CallContext:
        """What the interpreter takes."""
        return CallContext(
            sender=self.senders[row].tobytes(),
            contract=self.contract,
            origin=self.origins[row].tobytes(),
            amount=int(self.amounts[row]),
            height=self.height,
            time_ms=self.time_ms,
        )


@dataclass
class OutcomeColumns:
    """What came of calls, one a row. failures: numbers of them, 0 for none; messages: numbers of messages of
    the contract that failed; failed_in: its number among those that are linked.

    events: of all calls, one behind the other (`event_data`); event_ends: where those of a call end. message:
    the words for such a pair of numbers. interpreted: messages of calls that were interpreted, by their rows.
    """

    failures: NDArray[np.uint8]
    messages: NDArray[np.uint16]
    failed_in: NDArray[np.uint32]
    gas_used: NDArray[np.int64]
    results: NDArray[np.uint8]
    created: NDArray[np.uint32]
    removed: NDArray[np.uint32]
    event_ends: NDArray[np.int64]
    events: NDArray[np.uint8]
    message: Callable[[int, int], str]
    interpreted: dict[int, str]

    @staticmethod
    def empty(rows: int, result_bytes: int, message: Callable[[int, int], str]) -> OutcomeColumns:
        """Of calls that did not run yet."""
        return OutcomeColumns(
            failures=np.zeros(rows, np.uint8),
            messages=np.zeros(rows, np.uint16),
            failed_in=np.zeros(rows, np.uint32),
            gas_used=np.zeros(rows, np.int64),
            results=np.zeros((rows, result_bytes), np.uint8),
            created=np.zeros(rows, np.uint32),
            removed=np.zeros(rows, np.uint32),
            event_ends=np.zeros(rows, np.int64),
            events=np.zeros(0, np.uint8),
            message=message,
            interpreted={},
        )

    def result(self, row: int) -> Result:
        """As the interpreter tells it."""
        failure = Failure(self.failures[row]) if self.failures[row] else None
        return Result(
            failure=failure,
            message=self._message(row) if failure is Failure.REQUIREMENT else "",
            gas_used=int(self.gas_used[row]),
            results=b"" if failure else self.results[row].tobytes(),
            events=tuple(self._events(row)),
            entries_created=int(self.created[row]),
            entries_removed=int(self.removed[row]),
        )

    def put(self, row: int, result: Result, events_end: int) -> None:
        """What the interpreter told; its events are there already."""
        self.failures[row] = result.failure or 0
        self.interpreted[row] = result.message
        self.gas_used[row] = result.gas_used
        if result.failure is None:
            self.results[row] = np.frombuffer(result.results, np.uint8)
        self.created[row], self.removed[row] = result.entries_created, result.entries_removed
        self.event_ends[row] = events_end

    def _message(self, row: int) -> str:
        told = self.interpreted.get(row)
        return self.message(int(self.failed_in[row]), int(self.messages[row])) if told is None else told

    def _events(self, row: int) -> Iterator[EmittedEvent]:
        at, end = int(self.event_ends[row - 1]) if row else 0, int(self.event_ends[row])
        while at < end:
            contract, number, width = EVENT_HEAD.unpack_from(self.events.data, at)
            at += EVENT_HEAD_BYTES + width
            yield contract, number, self.events[at - width : at].tobytes()
