"""The Validator shell, and `ValidatorPool`, through which other shells hand out work to Validators.

A Validator keeps nothing that matters: each call carries its rows and answers with columns. The pool splits
rows into chunks, lets workers take the next one as they free up, and gives a chunk whose worker died or went
silent to another. A chunk's result is set once, so a late duplicate changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, RayError

from actors.ledger import merkle
from actors.ledger.rows import (
    SENDER_AT_BYTE,
    SIGNATURE_AT_BYTE,
    SIGNED_BYTES,
    Batch,
    concatenate,
    row_matrix,
)
from actors.settings import ValidatorSettings
from actors.shell import ActorContext, Shell, freeze_long_lived, kernel_cache_dir
from actors.validator.chunking import ChunkSizer
from actors.validator.kernels import Kernels, select

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
_CALLS_PER_WORKER = 2
_RETRY_PAUSE_S = 0.05
_INLINE_ROWS_MAX = 256


class ValidatorsUnavailableError(RuntimeError):
    """No Validator answered within the bound on attempts."""


class Validator(Shell):
    """Stateless CPU work in chunks: signatures and the transaction tree."""

    def __init__(self, context: ActorContext, settings: ValidatorSettings) -> None:
        super().__init__(context)
        self._kernels: Kernels = select(settings.kernels, kernel_cache_dir(), alarm=self.log.critical)
        if self._kernels.reason:
            self.log.info("kernels {}: {}", self._kernels.name, self._kernels.reason)
        self._rows = 0
        self._busy_us = 0
        freeze_long_lived()

    def start(self) -> dict[str, object]:
        """Name of the kernels in use."""
        return {"kernels": self._kernels.name}

    def health(self) -> dict[str, object]:
        """Process facts and the work done so far."""
        return {
            **self.process_health(),
            "kernels": self._kernels.name,
            "rows": self._rows,
            "us_per_row": round(self._busy_us / self._rows, 3) if self._rows else 0.0,
            **self._kernels.statistics(),
        }

    def stop(self) -> None:
        """Nothing to flush."""

    def verify(self, rows: NDArray[Any], start: int, stop: int) -> tuple[NDArray[np.bool_], int]:
        """Signatures of rows[start:stop]: (stop - start,) bool, and the microseconds it took."""
        began = time.perf_counter_ns()
        table = row_matrix(rows[start:stop])
        valid = self._kernels.verify(
            table[:, SENDER_AT_BYTE : SENDER_AT_BYTE + 32],
            table[:, SIGNATURE_AT_BYTE:],
            table[:, :SIGNED_BYTES],
        )
        elapsed_us = (time.perf_counter_ns() - began) // 1000
        self._rows += stop - start
        self._busy_us += elapsed_us
        return valid, elapsed_us

    def transaction_root(self, order: NDArray[np.int64] | None, *parts: NDArray[Any]) -> tuple[bytes, int]:
        """RFC 9162 root over the rows of `parts` (rows, payloads, rows, payloads, ...) in `order`."""
        began = time.perf_counter_ns()
        batch = concatenate(
            [Batch(rows, payloads) for rows, payloads in zip(parts[::2], parts[1::2], strict=True)]
        )
        rows = batch.rows if order is None else batch.rows[order]
        leaves = Batch(np.ascontiguousarray(rows), batch.payloads).ids(self._kernels.hash_rows)
        return merkle.root(leaves, self._kernels.hash_rows), (time.perf_counter_ns() - began) // 1000


class _Chunk:
    __slots__ = ("attempts", "result", "rows", "start", "stop")

    def __init__(self, rows: Any, start: int, stop: int, result: asyncio.Future[NDArray[np.bool_]]) -> None:
        self.rows, self.start, self.stop, self.result = rows, start, stop, result
        self.attempts = 0


class ValidatorPool:
    """Hands out chunks to Validators; lives inside one async actor (Mempool shard, Consensus).

    Bounds: `_CALLS_PER_WORKER` calls in flight a worker; the queue before them holds what its callers have
    taken in, and they are bounded themselves. A chunk is tried until `chunk_timeout_s` of attempts have
    passed, then its caller gets ValidatorsUnavailableError.
    """

    def __init__(self, workers: Sequence[Any], settings: ValidatorSettings) -> None:
        self._settings = settings
        self._sizer = ChunkSizer(settings.chunk_target_ms * 1000, settings.chunk_rows_max)
        self._runners: dict[Any, list[asyncio.Task[None]]] = {}
        self.redone = 0
        self._workers = list(workers)

    @cached_property
    def _queue(self) -> asyncio.Queue[_Chunk]:
        """Made on first use, inside the owner's event loop; the pool itself is shipped to its owner."""
        return asyncio.Queue()

    def set_workers(self, workers: Sequence[Any]) -> None:
        """Serve with exactly these Validators from now on; chunks of removed ones are finished first."""
        self._workers = list(workers)
        for gone in set(self._runners) - set(workers):
            for runner in self._runners.pop(gone):
                runner.cancel()
        for new in set(workers) - set(self._runners):
            self._runners[new] = [asyncio.create_task(self._run(new)) for _ in range(_CALLS_PER_WORKER)]

    @property
    def workers(self) -> list[Any]:
        """Validators that serve this pool."""
        return self._workers

    def statistics(self) -> dict[str, float]:
        """Chunks waiting, chunks redone, and the measured time a row."""
        return {
            "chunks_waiting": self._queue.qsize(),
            "chunks_redone": self.redone,
            "us_per_row": round(self._sizer.us_per_row, 2),
        }

    async def verify(self, rows: Any, count: int | None = None) -> NDArray[np.bool_]:
        """(n,) bool of valid signatures. `rows` is a row array, or a reference to one with its `count`."""
        if not self._runners:
            self.set_workers(self._workers)
        total = len(rows) if count is None else count
        ranges = self._sizer.split(total, len(self._workers))
        if not ranges:
            return np.zeros(0, dtype=np.bool_)
        source = rows if count is not None or total <= _INLINE_ROWS_MAX else ray.put(rows)
        loop = asyncio.get_running_loop()
        chunks = [_Chunk(source, start, stop, loop.create_future()) for start, stop in ranges]
        for chunk in chunks:
            self._queue.put_nowait(chunk)
        return np.concatenate(await asyncio.gather(*(chunk.result for chunk in chunks)))

    async def transaction_root(
        self, order: NDArray[np.int64] | None, parts: Sequence[Any]
    ) -> tuple[bytes, int]:
        """RFC 9162 root of the parts in order, by whichever Validator answers first in turn."""
        workers, attempts = self.workers, 0
        while True:
            try:
                worker = workers[attempts % len(workers)]
                return await worker.transaction_root.remote(order, *parts)
            except RayError as error:
                attempts += 1
                if attempts * _RETRY_PAUSE_S > self._settings.chunk_timeout_s:
                    raise ValidatorsUnavailableError("no Validator computed the transaction root") from error
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _run(self, worker: Any) -> None:
        while True:
            chunk = await self._queue.get()
            if chunk.result.done():
                continue
            try:
                await self._attempt(worker, chunk)
            except (RayError, GetTimeoutError, TimeoutError) as error:
                self.redone += 1
                self._give_back(chunk, error)
                await asyncio.sleep(_RETRY_PAUSE_S)
            except asyncio.CancelledError:
                self._queue.put_nowait(chunk)
                raise

    async def _attempt(self, worker: Any, chunk: _Chunk) -> None:
        call = worker.verify.remote(chunk.rows, chunk.start, chunk.stop)
        valid, elapsed_us = await asyncio.wait_for(call, self._settings.chunk_timeout_s)
        self._sizer.observe(chunk.stop - chunk.start, elapsed_us)
        if not chunk.result.done():
            chunk.result.set_result(valid)

    def _give_back(self, chunk: _Chunk, error: Exception) -> None:
        chunk.attempts += 1
        if chunk.result.done():
            return
        if chunk.attempts * _RETRY_PAUSE_S > self._settings.chunk_timeout_s:
            failure = ValidatorsUnavailableError(f"rows {chunk.start} to {chunk.stop}: {error}")
            chunk.result.set_exception(failure)
        else:
            self._queue.put_nowait(chunk)
