"""The calls that change state and disk, whichever way they come: through Ray, or over a line.

What executes takes the turn `state_turn`, what persists the turn `disk_turn`: one of each may be under way,
and a call over a line waits for one through Ray as that one waits for its like. Nothing else orders the two
ways; epochs and heights refuse what comes at the wrong time. Threads: any.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.delta import Delta
from actors.ledger.rows import ROW_DTYPE, Batch, FormatError, concatenate
from actors.local_socket import encode
from actors.storage import calls
from actors.storage.calls import Answer
from actors.storage.chain import Chain
from actors.storage.interface import (
    Commit,
    Execute,
    Executed,
    FunctionTried,
    LogRecord,
    Persist,
    TryFunction,
    Written,
)

DELTAS_KEPT_MAX = 16
Draws = tuple[NDArray[Any], ...]


class Writer:
    """Executes, persists and commits on a chain, and counts. committed() is called after each commit."""

    def __init__(self, chain: Chain, clock_ns: Callable[[], int], committed: Callable[[], None]) -> None:
        self._chain, self._clock_ns, self._committed = chain, clock_ns, committed
        self.state_turn, self.disk_turn = threading.Lock(), threading.Lock()
        self._counters_lock = threading.Lock()
        self._totals_us: dict[str, int] = {}
        self._conflicts: dict[str, int] = {}
        self._counters = {"blocks": 0, "transactions": 0, "bytes_written": 0}
        self._deltas: OrderedDict[int, Delta] = OrderedDict()

    # --- calls -------------------------------------------------------------------------------------------

    def execute(self, epoch: int, request: Execute, parts: Draws) -> Executed:
        """Execute draws."""
        with self.state_turn:
            started = self._clock_ns()
            batch = _joined(parts, request.order)
            decode_us = (self._clock_ns() - started) // 1000
            execution = self._chain.execute(epoch, request, batch)
        stages_us = {"decode": decode_us, **execution.stages_us}
        conflicts = asdict(execution.conflicts)
        self._count(stages_us, conflicts)
        block = execution.block
        return Executed(
            request.height,
            execution.verdicts,
            len(block.batch) if block else 0,
            len(block.batch.payloads) if block else 0,
            block.state_root if block else b"",
            block.receipts_root if block else b"",
            execution.transaction_root,
            block.fees if block else 0,
            conflicts,
            stages_us,
            execution.waiting,
        )

    def try_function(self, request: TryFunction) -> FunctionTried:
        """See `Chain.try_function`."""
        with self.state_turn:
            return self._chain.try_function(request)

    def persist(self, epoch: int, request: Persist) -> tuple[Written, Delta]:
        """See `Chain.persist`."""
        with self.disk_turn:
            return self._counted(*self._chain.persist(epoch, request))

    def commit(self, epoch: int, request: Commit) -> tuple[Written, Delta]:
        """See `Chain.commit`."""
        with self.disk_turn:
            return self._counted(*self._chain.commit(epoch, request))

    def delta(self, height: int) -> Delta:
        """What a committed block has changed; once from memory, if it is of the last ones."""
        with self._counters_lock:
            held = self._deltas.pop(height, None)
        return held or self._chain.delta_at(height)

    def append_record(self, epoch: int, record: LogRecord) -> None:
        """See `Chain.append_record`."""
        with self.disk_turn:
            self._chain.append_record(epoch, record)

    # --- the same over a line ----------------------------------------------------------------------------

    def answer(self, frame: bytes) -> bytes:
        """Carry out a request; its answer. Raises msgspec.DecodeError for what is none."""
        request = calls.decode_request(frame)
        try:
            return encode(Answer(request.number, self._carried_out(request)))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller must get it
            return encode(Answer(request.number, calls.failed(error)))

    def _carried_out(self, request: calls.RpcRequest) -> Executed | Delta | None:
        epoch, call = request.epoch, request.call
        if isinstance(call, Execute):
            parts = (part if at % 2 else part.view(ROW_DTYPE) for at, part in enumerate(request.parts))
            return self.execute(epoch, call, tuple(parts))
        if isinstance(call, LogRecord):
            self.append_record(epoch, call)
            return None
        written, delta = self.persist(epoch, call) if isinstance(call, Persist) else self.commit(epoch, call)
        return self._told(delta) if written.committed else None

    def _told(self, delta: Delta) -> Delta | None:
        """The delta of a small block; that of another one is kept for who fetches it."""
        if len(delta.ids) <= calls.SMALL_ROWS_MAX:
            return delta
        with self._counters_lock:
            self._deltas[delta.height] = delta
            if len(self._deltas) > DELTAS_KEPT_MAX:
                self._deltas.popitem(last=False)
        return None

    # --- figures -----------------------------------------------------------------------------------------

    def totals(self) -> dict[str, Any]:
        """Blocks, transactions and bytes written since the process began, and microseconds by stage."""
        with self._counters_lock:
            return {
                **self._counters,
                "stages_us": dict(self._totals_us),
                "conflicts": dict(self._conflicts),
            }

    def _counted(self, written: Written, delta: Delta) -> tuple[Written, Delta]:
        self._count(written.stages_us)
        with self._counters_lock:
            self._counters["bytes_written"] += written.bytes_written
            if written.committed and written.stages_us:
                self._counters["blocks"] += 1
                self._counters["transactions"] += written.transactions
        if written.committed:
            self._committed()
        return written, delta

    def _count(self, stages_us: dict[str, int], conflicts: dict[str, int] | None = None) -> None:
        with self._counters_lock:
            for totals, added in ((self._totals_us, stages_us), (self._conflicts, conflicts or {})):
                for name, amount in added.items():
                    totals[name] = totals.get(name, 0) + amount


def _joined(parts: Draws, order: NDArray[np.int64] | None) -> Batch:
    """One batch of the draws, reordered. Raises FormatError for an odd number of parts or a wrong order."""
    if len(parts) % 2:
        raise FormatError("parts", f"{len(parts)} arrays", "rows and payloads of each draw")
    batch = concatenate([Batch(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)])
    if order is None:
        return batch
    if len(order) and not (order.min() >= 0 and order.max() < len(batch)):
        raise FormatError("order", f"{order.min()}..{order.max()}", f"0..{len(batch) - 1}")
    if len(np.unique(order)) != len(order):
        raise FormatError("order", "a row twice", "distinct rows")
    return batch.take(order)
