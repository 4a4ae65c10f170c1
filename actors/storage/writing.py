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

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import ROW_DTYPE, Batch, FormatError, concatenate
from actors.storage import calls
from actors.storage.calls import Append, Commit, Execute, Executed, Persist
from actors.storage.chain import Chain, Written
from actors.storage.formats import Delta
from actors.storage.raft_log import RaftRecord
from actors.storage.state import Execution

DELTAS_KEPT_MAX = 16
Draws = tuple[NDArray[Any], ...]
Done = tuple[Written, Delta, NDArray[np.uint8]]


class Writer:
    """Executes, persists and commits on a chain, and counts. committed() is called after each commit."""

    def __init__(self, chain: Chain, clock_ns: Callable[[], int], committed: Callable[[], None]) -> None:
        self._chain, self._clock_ns, self._committed = chain, clock_ns, committed
        self.state_turn, self.disk_turn = threading.Lock(), threading.Lock()
        self._counters_lock = threading.Lock()
        self._totals_us: dict[str, int] = {}
        self._conflicts: dict[str, int] = {}
        self._counters = {"blocks": 0, "transactions": 0, "bytes_written": 0}
        self._deltas: OrderedDict[int, tuple[Delta, NDArray[np.uint8]]] = OrderedDict()

    # --- calls -------------------------------------------------------------------------------------------

    def execute(
        self,
        epoch: int,
        height: int,
        strict: bool,
        proposer: bytes,
        order: NDArray[np.int64] | None,
        sealed: bytes,
        parts: Draws,
    ) -> tuple[Execution, dict[str, int], dict[str, int]]:
        """Execute draws; the outcome, microseconds by stage, and conflicts by kind. See `Storage.execute`."""
        with self.state_turn:
            started = self._clock_ns()
            batch = _joined(parts, order)
            decode_us = (self._clock_ns() - started) // 1000
            execution = self._chain.execute(epoch, height, strict, proposer, batch, sealed)
        stages_us = {"decode": decode_us, **execution.stages_us}
        conflicts = asdict(execution.conflicts)
        self._count(stages_us, conflicts)
        return execution, stages_us, conflicts

    def persist(
        self,
        epoch: int,
        height: int,
        header: bytes,
        signature: bytes,
        certificate: bytes,
        record: RaftRecord | None,
    ) -> Done:
        """See `Chain.persist`."""
        with self.disk_turn:
            return self._counted(*self._chain.persist(epoch, height, header, signature, certificate, record))

    def commit(self, epoch: int, height: int, certificate: bytes, sync: bool) -> Done:
        """See `Chain.commit`."""
        with self.disk_turn:
            return self._counted(*self._chain.commit(epoch, height, certificate, sync))

    def delta(self, height: int) -> tuple[Delta, NDArray[np.uint8]]:
        """What a committed block has changed, and its ids; once from memory, if it is of the last ones."""
        with self._counters_lock:
            held = self._deltas.pop(height, None)
        return held or self._chain.delta_at(height)

    def append_record(self, epoch: int, record: RaftRecord) -> None:
        """See `Chain.append_record`."""
        with self.disk_turn:
            self._chain.append_record(epoch, record)

    # --- the same over a line ----------------------------------------------------------------------------

    def answer(self, frame: bytes) -> bytes:
        """Carry out a request; its answer. Raises msgspec.DecodeError for what is none."""
        request = calls.decode_request(frame)
        try:
            return calls.encode(self._carried_out(request))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller must get it
            return calls.encode(calls.failed(request.number, error))

    def _carried_out(self, request: calls.Request) -> calls.Answer:
        if isinstance(request, Execute):
            return self._executed(request)
        if isinstance(request, Persist):
            _, *fields = msgspec.structs.astuple(request)
            return self._told(request.number, *self.persist(*fields))
        if isinstance(request, Commit):
            _, *fields = msgspec.structs.astuple(request)
            return self._told(request.number, *self.commit(*fields))
        return self._appended(request)

    def _executed(self, request: Execute) -> Executed:
        order = None if request.order is None else np.frombuffer(request.order, dtype="<i8")
        parts = tuple(
            np.frombuffer(part, dtype=np.uint8 if place % 2 else ROW_DTYPE)
            for place, part in enumerate(request.parts)
        )
        execution, stages_us, conflicts = self.execute(
            request.epoch, request.height, request.strict, request.proposer, order, request.sealed, parts
        )
        block = execution.block
        return Executed(
            request.number,
            execution.verdicts.tobytes(),
            len(block.batch) if block else 0,
            len(block.batch.payloads) if block else 0,
            block.state_root if block else b"",
            block.receipts_root if block else b"",
            execution.transaction_root,
            block.fees if block else 0,
            conflicts,
            stages_us,
        )

    def _appended(self, request: Append) -> calls.Written:
        self.append_record(request.epoch, request.record)
        return calls.Written(request.number)

    def _told(self, number: int, written: Written, delta: Delta, ids: NDArray[np.uint8]) -> calls.Written:
        if not written.committed:
            return calls.Written(number)
        if len(ids) > calls.SMALL_ROWS_MAX:
            with self._counters_lock:
                self._deltas[delta.height] = delta, ids
                if len(self._deltas) > DELTAS_KEPT_MAX:
                    self._deltas.popitem(last=False)
            return calls.Written(number)
        columns = (column.tobytes() for column in (delta.keys, delta.nonces, delta.balances, ids))
        return calls.Written(number, delta.height, delta.hash, delta.state_root, delta.time_ms, *columns)

    # --- figures -----------------------------------------------------------------------------------------

    def totals(self) -> dict[str, Any]:
        """Blocks, transactions and bytes written since the process began, and microseconds by stage."""
        with self._counters_lock:
            return {
                **self._counters,
                "stages_us": dict(self._totals_us),
                "conflicts": dict(self._conflicts),
            }

    def _counted(self, written: Written, delta: Delta, ids: NDArray[np.uint8]) -> Done:
        self._count(written.stages_us)
        with self._counters_lock:
            self._counters["bytes_written"] += written.bytes_written
            if written.committed and written.stages_us:
                self._counters["blocks"] += 1
                self._counters["transactions"] += written.transactions
        if written.committed:
            self._committed()
        return written, delta, ids

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
