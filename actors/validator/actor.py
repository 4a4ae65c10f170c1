"""The Validator shell, and `ValidatorPool`, through which other shells hand out work to Validators.

A Validator keeps nothing that matters: each call carries its rows and answers with columns. The pool splits
rows into chunks, lets workers take the next one as they free up, and gives a chunk whose worker died or went
silent to another (see chunks.py). While no Validator answers at all, the pool's owner does the work itself,
in a thread: blocks and admission wait for a chunk then, and not for a process to start.

Which Validators there are is what their names in the cluster say: NODE/validator-N. A pool looks them up when
its owner starts or starts again, and whenever a call fails; a planned change it is told of (scaler/actor.py).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.kernels.interface import Kernels
from actors.kernels.selection import select
from actors.ledger.rows import LEAF_PREFIX, row_matrix
from actors.settings import ValidatorSettings
from actors.shell import ActorContext, Shell, first_line, freeze_long_lived, kernel_cache_dir
from actors.validator.chunking import ChunkSizer
from actors.validator.chunks import Chunk, ChunkQueue
from actors.validator.verified_cache import VerifiedCache
from actors.validator.work import verify_rows

if TYPE_CHECKING:
    from actors.execution.contract_engine import ContractEngine

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0}
_CALLS_PER_WORKER = 2
_RETRY_PAUSE_S = 0.05
_INLINE_ROWS_MAX = 2_048  # of a chunk: what travels inside a call costs less than what is put into the store
IN_PLACE_ROWS_MAX = {"avx512ifma": 64, "mulx": 16, "sha_ni": 16, "portable": 16}
"""Rows that the owner verifies at once, by kernels: less than a millisecond, and less than a call takes."""
_LOOK_EVERY_S = 0.5
NAME = "validator-"


class ValidatorsUnavailableError(RuntimeError):
    """Neither a Validator nor the pool's owner could do a piece of work."""


class Validator(Shell):
    """Signatures in chunks. What it keeps only saves work."""

    def __init__(self, context: ActorContext, settings: ValidatorSettings) -> None:
        super().__init__(context)
        self._kernels: Kernels = select(settings.kernels, kernel_cache_dir(), alarm=self.log.critical)
        if self._kernels.reason:
            self.log.info("kernels {}: {}", self._kernels.name, self._kernels.reason)
        self._remembered = VerifiedCache(secrets.randbits(128))
        self._contract_cells = settings.contract_cells
        self._rows = self._recalled = 0
        self._verify_us = self._busy_us = 0
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
            "rows_recalled": self._recalled,
            "us_per_row": round(self._verify_us / self._rows, 3) if self._rows else 0.0,
            "busy_s": self._busy_us / 1e6,
            "contracts": self._contracts.facts() if "_contracts" in self.__dict__ else {},
            **self._kernels.statistics(),
        }

    def stop(self) -> None:
        """End the cell. Calls run in order, so whoever gets the answer knows that all before it ended."""
        if "_contracts" in self.__dict__:
            self._contracts.close()

    def verify(
        self, rows: NDArray[Any], start: int, stop: int, again: bool = False
    ) -> tuple[NDArray[np.bool_], int]:
        """Signatures of rows[start:stop]: (stop - start,) bool, and the processor's microseconds it took.

        again: the same rows may be asked for again, or have been; those that are remembered are not verified.
        """
        began = time.thread_time_ns()
        chunk = rows[start:stop]
        valid = self._recall(chunk) if again else verify_rows(self._kernels, chunk)
        elapsed_us = self._worked_us(began)
        self._rows += stop - start
        self._verify_us += elapsed_us
        return valid, elapsed_us

    def run_contracts(self, job: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A packed Job, run in this Validator's cell: the packed JobOutcome, empty while it has no code for
        it. Raises EngineError."""
        from actors.execution.packed_jobs import run_packed

        return run_packed(self._contracts, job)

    @cached_property
    def _contracts(self) -> ContractEngine:
        """From the first heavy block on: what it imports, most Validators never need."""
        from actors.execution.contract_engine import ContractEngine

        return ContractEngine(self._contract_cells, kernel_cache_dir(), self.log.warning)

    def _recall(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        ids = self._kernels.hash_rows(row_matrix(rows), LEAF_PREFIX)
        valid = self._remembered.known(ids)
        unknown = np.flatnonzero(~valid)
        self._recalled += len(rows) - len(unknown)
        if len(unknown):
            valid[unknown] = verify_rows(self._kernels, rows if len(unknown) == len(rows) else rows[unknown])
            self._remembered.add(ids[unknown[valid[unknown]]])
        return valid

    def _worked_us(self, began_ns: int) -> int:
        elapsed_us = (time.thread_time_ns() - began_ns) // 1000
        self._busy_us += elapsed_us
        return elapsed_us


def validators_of(node: str) -> dict[str, Any]:
    """Handles of the Validators that a node has now, by actor name. They are numbered from 0 without a gap.

    node: what the names of its actors begin with. Asks the cluster, about a millisecond for each.
    """
    found: dict[str, Any] = {}
    while True:
        name = f"{NAME}{len(found)}"
        try:
            found[name] = ray.get_actor(f"{node}/{name}")
        except ValueError:
            return found


def with_validators(actors: dict[str, Any], node: str) -> dict[str, Any]:
    """A node's actors by name, with the Validators that it has now.

    Handles that are there already stay the same ones: an actor ends with the handle that made it.
    """
    known = {name: actors.get(name) for name in actors if name.startswith(NAME)}
    others = {name: handle for name, handle in actors.items() if name not in known}
    found = validators_of(node)
    return others | {n: known[n] if known.get(n) == handle else handle for n, handle in found.items()}


class ValidatorPool:
    """Hands out chunks to Validators; lives inside one async actor (Mempool shard, Consensus).

    Bounds: `_CALLS_PER_WORKER` calls in flight a worker; the queue before them holds what its callers have
    taken in, and they are bounded themselves. A Validator that fails or is late gets nothing more until it
    answers a probe. While all are like that, and for chunks that failed repeatedly, the owner works himself.
    """

    def __init__(
        self,
        workers: Sequence[Any],
        settings: ValidatorSettings,
        node: str = "",
        options: Mapping[str, Any] | None = None,
        again: bool = False,
    ) -> None:
        """workers: who serves until the names below `node` say otherwise; without `node` nobody asks.

        options: of Ray, with which further Validators of the node are made. again: rows come twice, as at
        a member of several: for the mempool, and in a block.
        """
        self.settings, self.node, self.options = settings, node, dict(options or OPTIONS)
        self._again = again
        self._sizer = ChunkSizer(settings.chunk_target_ms * 1000, settings.chunk_rows_max)
        self._workers = list(workers)
        self._runners: dict[Any, list[asyncio.Task[None]]] = {}
        self._probes: dict[Any, asyncio.Task[None]] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._own: list[asyncio.Task[None]] = []
        self._looked_s = 0.0
        self.redone = self.done_here = self.done_in_place = 0

    # Made on first use, inside the owner's event loop; the pool itself is shipped to its owner.

    @cached_property
    def _queue(self) -> ChunkQueue:
        return ChunkQueue(self.settings.chunk_overdue_ms / 1000, time.monotonic)

    @cached_property
    def _nobody(self) -> asyncio.Event:
        return asyncio.Event()

    @cached_property
    def _here(self) -> asyncio.Lock:
        return asyncio.Lock()

    def warm(self) -> None:
        """Find the Validators and load the owner's own kernels now; else the first work waits for both."""
        self.refresh()
        _ = self._kernels

    @cached_property
    def _kernels(self) -> Kernels:
        return select(self.settings.kernels, kernel_cache_dir(), tables_bytes_max=0)

    # Who serves

    @property
    def workers(self) -> list[Any]:
        """Validators that serve this pool."""
        return self._workers

    def set_workers(self, workers: Sequence[Any]) -> None:
        """Serve with exactly these from now on; what removed ones have in hand they finish."""
        self._workers = list(workers)
        for gone in set(self._runners) - set(workers):
            for runner in self._runners.pop(gone):
                if runner not in self._busy:
                    runner.cancel()
            if gone in self._probes:
                self._probes.pop(gone).cancel()
        for new in set(workers) - set(self._runners):
            self._runners[new] = [asyncio.create_task(self._run(new)) for _ in range(_CALLS_PER_WORKER)]
        if not self._own:
            self._own = [asyncio.create_task(each) for each in (self._watch(), self._stand_in())]
        self._count_present()

    def refresh(self) -> None:
        """Serve with the Validators whose names the cluster has; with those before if it has none."""
        self._looked_s = time.monotonic()
        found = validators_of(self.node) if self.node else {}
        self.set_workers(list(found.values()) or self._workers)

    def _count_present(self) -> None:
        (self._nobody.clear if self._present() else self._nobody.set)()

    def _present(self) -> list[Any]:
        return [worker for worker in self._workers if worker not in self._probes]

    def _suspect(self, worker: Any) -> None:
        """Give a worker nothing until it answers a probe."""
        if worker in self._runners and worker not in self._probes:
            self._probes[worker] = asyncio.create_task(self._probe(worker))
            self._count_present()

    async def _probe(self, worker: Any) -> None:
        while True:
            try:
                await asyncio.wait_for(worker.start.remote(), self.settings.chunk_timeout_s)
                break
            except (RayError, TimeoutError):
                if self.node and time.monotonic() > self._looked_s + _LOOK_EVERY_S:
                    self.refresh()  # it may be gone for good, which cancels this probe
                await asyncio.sleep(_RETRY_PAUSE_S)
        self._probes.pop(worker, None)
        self._count_present()

    def statistics(self) -> dict[str, float]:
        """Chunks and what became of them, Validators that are away, the measured time a row."""
        return {
            "chunks_waiting": len(self._queue),
            "chunks_held": self._queue.held,
            "chunks_overdue": self._queue.overdue,
            "chunks_redone": self.redone,
            "done_here": self.done_here,
            "done_in_place": self.done_in_place,
            "validators_away": len(self._probes),
            "overdue_ms": round(self._queue.limit_s * 1000, 1),
            "us_per_row": round(self._sizer.us_per_row, 2),
        }

    # Signatures

    async def verify(self, rows: Any, count: int | None = None, flow: str = "") -> NDArray[np.bool_]:
        """(n,) bool of valid signatures. `rows` is a row array, or a reference to one with its `count`.

        flow: who asks; see chunks.py.
        """
        if not self._runners:
            self.refresh()
        total = len(rows) if count is None else count
        if self._in_place(rows, total):
            return verify_rows(self._kernels, rows[:total])
        ranges = self._sizer.split(total, len(self._workers))
        if not ranges:
            return np.zeros(0, dtype=np.bool_)
        future = asyncio.get_running_loop().create_future
        if count is None and ranges[0][1] <= _INLINE_ROWS_MAX:  # the first is as long as any
            chunks = [Chunk(rows[start:stop], 0, stop - start, future(), flow) for start, stop in ranges]
        else:
            source = ray.put(rows) if count is None else rows
            chunks = [Chunk(source, start, stop, future(), flow) for start, stop in ranges]
        for chunk in chunks:
            self._queue.put(chunk)
        return np.concatenate(await asyncio.gather(*(chunk.result for chunk in chunks)))

    async def _run(self, worker: Any) -> None:
        """Serve one worker's turns until it is removed."""
        turn = asyncio.current_task()
        while turn is not None and turn in self._runners.get(worker, ()):
            if worker in self._probes:
                await asyncio.wait({self._probes[worker]})
                continue
            chunk = await self._queue.take(worker)
            if worker in self._probes:
                self._queue.put(chunk, first=True)
                continue
            self._busy.add(turn)
            load = [chunk, *self._queue.take_along(chunk, min(self._sizer.rows_max, _INLINE_ROWS_MAX))]
            try:
                await self._attempt(worker, load)
            except (RayError, TimeoutError) as error:
                self.redone += len(load)
                self._suspect(worker)
                for each in load:
                    if not self._queue.fail(each, worker):
                        await self._verify_here(each, error)
            except Exception as error:
                for each in load:
                    self._queue.refuse(each, error)
                raise
            finally:
                self._busy.discard(turn)

    async def _attempt(self, worker: Any, load: list[Chunk]) -> None:
        began_s = time.monotonic()
        rows, start, stop = load[0].rows, load[0].start, load[0].stop
        if len(load) > 1:
            rows, start, stop = np.concatenate([chunk.columns for chunk in load]), 0, sum(map(len, load))
        call = worker.verify.remote(rows, start, stop, self._again)
        valid, elapsed_us = await asyncio.wait_for(call, self.settings.chunk_timeout_s)
        self._sizer.observe(stop - start, elapsed_us)
        waited_s: float | None = time.monotonic() - began_s
        ends = np.cumsum([len(chunk) for chunk in load])
        for chunk, own in zip(load, np.split(valid, ends[:-1]), strict=True):
            self._queue.answer(chunk, own, waited_s)
            waited_s = None  # a call tells once how long it took

    async def _watch(self) -> None:
        """Notice who is late, and let others have their chunks."""
        while True:
            await self._queue.until_held()
            await asyncio.sleep(self._queue.limit_s / 4)
            for worker in self._queue.take_overdue():
                self._suspect(worker)

    async def _stand_in(self) -> None:
        """Do the Validators' work while none of them answers; be ready for it before."""
        await asyncio.to_thread(lambda: self._kernels)
        while True:
            await self._nobody.wait()
            chunk = await self._queue.take(None)
            if self._nobody.is_set():
                await self._verify_here(chunk, TimeoutError("no Validator answers"))
            else:
                self._queue.put(chunk, first=True)

    async def _verify_here(self, chunk: Chunk, cause: Exception) -> None:
        async with self._here:
            if chunk.result.done():
                return
            try:
                rows = await _answer(chunk.rows)
                piece = rows[chunk.start : chunk.stop]
                valid = await asyncio.to_thread(lambda: verify_rows(self._kernels, piece))
            except RayError as error:
                what = f"rows {chunk.start} to {chunk.stop}: {first_line(error)}, after {first_line(cause)}"
                self._queue.refuse(chunk, ValidatorsUnavailableError(what))
                return
        self.done_here += 1
        self._queue.answer(chunk, valid)

    def _in_place(self, rows: Any, count: int) -> bool:
        """Whether the owner does this much work itself: the rows are at hand, few, and its kernels loaded."""
        if not isinstance(rows, np.ndarray) or "_kernels" not in self.__dict__ or self._here.locked():
            return False
        few = 0 < count <= IN_PLACE_ROWS_MAX[self._kernels.name]
        self.done_in_place += few
        return few


async def _answer(reference: Any) -> Any:
    """What a reference refers to; other values as they are."""
    return await reference if isinstance(reference, ray.ObjectRef) else reference
