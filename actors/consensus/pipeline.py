"""The block pipeline: every stage of one block overlaps other stages of the next ones.

    submit -> signatures         started at once, on the Validators
           -> execute lane       state transition and all roots, in block order
           -> join lane          waits for both, seals or compares the header
           -> persist lane       durable here, by the rules of the consensus engine

Rules
1. The execute lane alone advances the executed height, the join lane alone the sealed height and parent hash.
2. At most `inflight_max` proposals, and OTHERS_PER_OWN times as many blocks that others made, are between
   submit and the disk; `submit` waits at that bound, so the lanes' queues need none. A proposal that waits
   for its turn takes more rows along instead; what others made comes as it is, and a member that is behind
   can only hide the time that signatures take by having many under way.
3. A refused block takes every block behind it down with it: the state is rolled back to the last sealed
   height, and their submitters are told which block was refused and why.
4. What is on disk is no longer this file's business: the engine says when it is final.
5. Any other failure breaks the pipeline for good: all submitters get the cause, and the owner makes a new one
   on the state that Storage reports.
Large bodies never pass through here: `parts` are references that Storage and the Validators resolve. Those of
a small block are the columns themselves, and a proposal made of them is sealed with its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.consensus.stages import StageTimes
from actors.ledger.block import Block, Header, verify_proposal
from actors.ledger.block_time import time_of_block
from actors.ledger.rows import Batch, concatenate
from actors.ledger.succession import Parent, succession_fault
from actors.ledger.verdict import Verdict
from actors.storage.interface import Execute, Executed

OTHERS_PER_OWN = 8


class Stages(Protocol):
    """The other actors, as the pipeline sees them."""

    async def verify(self, parts: Sequence[Any], count: int) -> NDArray[np.bool_]: ...

    async def execute(self, request: Execute, parts: Sequence[Any]) -> Executed: ...

    async def rollback(self, height: int) -> None: ...

    async def persist(self, sealed: Sealed) -> None:
        """Put the block into the log and on the disk; returns once it is durable here."""
        ...

    def seal(self, header: Header) -> bytes:
        """The proposer's signature over a header of ours."""
        ...


class BlockRefusedError(ValueError):
    """A block that is not valid. Names the height, the reason, and the row where there is one.

    header and signature are the block's where it came with them. misplaced: it only did not follow the last
    one. of_function: a governed function has other effects here, which says nothing against the proposer.
    """

    header: Header | None = None
    signature = b""
    misplaced = of_function = False

    def __init__(self, height: int, reason: str, row: int | None = None, proposer: bytes = b"") -> None:
        where = f" in row {row}" if row is not None else ""
        by = f" (proposed by {proposer.hex()})" if proposer else ""
        super().__init__(f"block {height} refused: {reason}{where}{by}")
        self.height, self.reason, self.row = height, reason, row


class PipelineBrokenError(RuntimeError):
    """The pipeline stopped; its blocks that were not committed have not happened."""


@dataclass(slots=True, eq=False)
class Work:
    """One block on its way. header is None for a proposal: the join lane writes it.

    parts: rows, payloads, rows, payloads, ... of its draws; all arrays, or all references. proven: as in
    `Execute`, also without a certificate at hand. clock_ms: what a proposal takes for the time, if not now.
    on_waiting: is told before `on_executed` of a function that needs a block of its own.
    """

    parts: Sequence[Any]
    count: int
    order: NDArray[np.int64] | None = None
    header: Header | None = None
    signature: bytes = b""
    certificate: bytes = b""
    proven: bool = False
    clock_ms: int = 0
    on_waiting: Callable[[bytes], None] | None = None
    on_executed: Callable[[NDArray[np.uint8]], None] | None = None
    generation: int = 0
    height: int = 0
    time_ms: int = 0
    execution: Executed = field(init=False, repr=False)
    verified: asyncio.Task[NDArray[np.bool_]] | None = None
    done: asyncio.Future[Header | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def taken(self, order: NDArray[np.int64]) -> Batch | None:
        """The rows of a proposal in this order, if they are at hand."""
        if not all(isinstance(part, np.ndarray) for part in self.parts):
            return None
        draws = zip(self.parts[::2], self.parts[1::2], strict=True)
        return concatenate([Batch(rows, payloads) for rows, payloads in draws]).take(order)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A block ready for the disk. certificate is empty unless the block came with one; body is the whole of a
    small block of ours in bytes, else empty."""

    header: Header
    digest: bytes
    signature: bytes
    certificate: bytes = b""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Position:
    """The block to build on: its height, hash, term and time. Height 0 is the genesis, of term 0."""

    height: int
    digest: bytes
    term: int
    time_ms: int


class Pipeline:
    """See the module's text. `clock_us` is monotonic, `wall_ms` is what a proposer takes for the time."""

    def __init__(
        self,
        stages: Stages,
        position: Position,
        proposer: bytes,
        network: bytes,
        members: Sequence[bytes],
        inflight_max: int,
        clock_us: Callable[[], int],
        wall_ms: Callable[[], int],
        times: StageTimes,
    ) -> None:
        self._stages, self._proposer, self._times = stages, proposer, times
        self._network, self._members = network, frozenset(members)
        self._clock_us, self._wall_ms = clock_us, wall_ms
        self._parent_term = self._own_term = position.term
        self._executed_height = self._sealed_height = position.height
        self._parent, self._parent_ms = position.digest, position.time_ms
        self._executed_ms = position.time_ms
        self._generation = 0
        self._own_slots = asyncio.Semaphore(inflight_max)
        self._slots = asyncio.Semaphore(OTHERS_PER_OWN * inflight_max)
        self._state_turn = asyncio.Lock()
        self._to_execute: asyncio.Queue[Work] = asyncio.Queue()
        self._to_join: asyncio.Queue[Work] = asyncio.Queue()
        self._to_persist: asyncio.Queue[tuple[Work, Sealed]] = asyncio.Queue()
        self._live: set[Work] = set()
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes = [
            asyncio.create_task(self._lane(step))
            for step in (self._execute_next, self._join_next, self._persist_next)
        ]

    @property
    def tip(self) -> Position:
        """The last block that was sealed or found valid."""
        return Position(self._sealed_height, self._parent, self._parent_term, self._parent_ms)

    @property
    def is_clean(self) -> bool:
        """True while nothing is under way and nothing has failed: whatever was executed is in `tip`."""
        return not self._live and not self.broken.done() and self._executed_height == self._sealed_height

    def lead(self, term: int) -> None:
        """Propose in `term` from now on."""
        self._own_term = term

    @property
    def next_height(self) -> int:
        """The height that the next submitted block will most likely get."""
        return self._executed_height + self._to_execute.qsize() + 1

    def depths(self) -> dict[str, int]:
        """Blocks that wait before each lane, and all that are in flight."""
        return {
            "execute": self._to_execute.qsize(),
            "join": self._to_join.qsize(),
            "persist": self._to_persist.qsize(),
            "inflight": len(self._live),
        }

    async def submit(self, work: Work) -> asyncio.Future[Header | None]:
        """Put a block in; waits while as many as may be are under way.

        The future ends with the header of the persisted block, with None for a proposal of which nothing was
        left, or with BlockRefusedError or PipelineBrokenError.
        """
        slots = self._slots_of(work)
        await slots.acquire()
        if self.broken.done():
            slots.release()
            raise PipelineBrokenError("the pipeline has stopped")
        work.generation = self._generation
        self._live.add(work)
        self._to_execute.put_nowait(work)
        if work.header is not None:
            work.verified = asyncio.create_task(self._timed_verify(work))
        return work.done

    def _slots_of(self, work: Work) -> asyncio.Semaphore:
        return self._own_slots if work.header is None else self._slots

    async def close(self, cause: BaseException | None = None) -> None:
        """Stop the lanes; whoever still waits gets PipelineBrokenError."""
        if not self.broken.done():
            self.broken.set_exception(cause or PipelineBrokenError("closed"))
        self.broken.exception()
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        for work in list(self._live):
            self._finish(work, error=PipelineBrokenError(f"the pipeline has stopped: {cause}"))

    async def _lane(self, step: Callable[[], Any]) -> None:
        try:
            while True:
                await step()
        except Exception as error:  # noqa: BLE001 -- every failure must reach the owner, none may be swallowed
            if not self.broken.done():
                self.broken.set_exception(error)

    # execute lane

    async def _execute_next(self) -> None:
        work = await self._to_execute.get()
        async with self._state_turn:
            if work.generation != self._generation:
                self._finish(work, error=BlockRefusedError(0, "an earlier block was refused"))
                return
            work.height = self._executed_height + 1
            began = self._clock_us()
            proposer = self._proposer if work.header is None else work.header.proposer
            sealed = b"" if work.header is None else work.header.encode() + work.signature
            strict = work.header is not None
            if work.header is None:
                work.time_ms = time_of_block(work.clock_ms or self._wall_ms(), self._executed_ms)
            else:
                work.time_ms = work.header.time_ms
            proven = work.proven or bool(work.certificate)
            request = Execute(work.height, strict, proposer, work.order, sealed, work.time_ms, proven)
            work.execution = done = await self._stages.execute(request, work.parts)
            self._times.add("execute", self._clock_us() - began, work.count)
            for stage, elapsed_us in done.stages_us.items():
                self._times.add(stage, elapsed_us, work.count)
            if work.on_waiting is not None and done.waiting:
                work.on_waiting(done.waiting)
            if work.on_executed is not None:
                work.on_executed(done.verdicts)
            if work.header is None and done.count == 0:
                await self._stages.rollback(self._executed_height)
                self._finish(work, header=None)
                return
            if work.header is None or not done.verdicts.any():
                self._executed_height, self._executed_ms = work.height, work.time_ms
        await self._to_join.put(work)

    # join lane

    async def _join_next(self) -> None:
        work = await self._to_join.get()
        if work.generation != self._generation:
            self._finish(work, error=BlockRefusedError(work.height, "an earlier block was refused"))
            return
        try:
            sealed = await (self._seal(work) if work.header is None else self._compare(work))
        except BlockRefusedError as refusal:
            await self._refuse(work, refusal)
            return
        self._sealed_height, self._parent = sealed.header.height, sealed.digest
        self._parent_term, self._parent_ms = sealed.header.term, sealed.header.time_ms
        await self._to_persist.put((work, sealed))

    async def _seal(self, work: Work) -> Sealed:
        """Write and sign the header of our own proposal."""
        execution, kept = work.execution, work.order
        if kept is None:
            raise ValueError("a proposal needs an order")
        if execution.count != work.count:
            kept = kept[execution.verdicts == Verdict.OK]
        header = Header(
            height=work.height,
            term=self._own_term,
            time_ms=work.time_ms,
            transaction_count=execution.count,
            payload_bytes=execution.payload_bytes,
            parent_hash=self._parent,
            transaction_root=execution.transaction_root,
            state_root=execution.state_root,
            receipts_root=execution.receipts_root,
            proposer=self._proposer,
        )
        batch, signature = work.taken(kept), self._stages.seal(header)
        body = b"" if batch is None else Block(header, signature, batch).encode()
        return Sealed(header, header.hash(), signature, body=body)

    async def _compare(self, work: Work) -> Sealed:
        """Hold somebody's block against our own computation. Raises BlockRefusedError."""
        header, execution = work.header, work.execution
        if header is None or work.verified is None:
            raise ValueError("a block to validate needs its header, and its signatures under way")
        self._compare_links(header)
        failed = np.flatnonzero(execution.verdicts)
        if len(failed):
            row = int(failed[0])
            verdict = Verdict(int(execution.verdicts[row]))
            refusal = self._refusal(header, verdict.name.lower(), row)
            refusal.of_function = verdict == Verdict.EFFECTS_DIFFER
            raise refusal
        counts = execution.count, execution.payload_bytes
        if (header.transaction_count, header.payload_bytes) != counts:
            raise self._refusal(
                header, f"counts say {header.transaction_count} rows, the body has {counts[0]}"
            )
        for name in ("transaction_root", "state_root", "receipts_root"):
            said, computed = getattr(header, name), getattr(execution, name)
            if said != computed:
                raise self._refusal(header, f"{name} is {said.hex()}, computed {computed.hex()}")
        bad = np.flatnonzero(~await work.verified)
        if len(bad):
            raise self._refusal(header, "bad_signature", int(bad[0]))
        return Sealed(header, header.hash(), work.signature, work.certificate)

    def _compare_links(self, header: Header) -> None:
        if header.height != self._sealed_height + 1:
            refusal = self._refusal(header, f"height follows {self._sealed_height}")
            refusal.misplaced = True
            raise refusal
        if header.proposer not in self._members:
            raise self._refusal(header, "the proposer is no member of the genesis")
        if header.term < self._parent_term:
            raise self._refusal(header, f"term {header.term} is older than {self._parent_term}")
        if fault := succession_fault(header, Parent(self._sealed_height, self._parent, self._parent_ms)):
            raise self._refusal(header, fault)

    @staticmethod
    def _refusal(header: Header, reason: str, row: int | None = None) -> BlockRefusedError:
        return BlockRefusedError(header.height, reason, row, header.proposer)

    async def _timed_verify(self, work: Work) -> NDArray[np.bool_]:
        began = self._clock_us()
        header = work.header
        if header is not None and not verify_proposal(self._network, header, work.signature):
            raise self._refusal(header, "the proposer's signature over the header is false")
        valid = await self._stages.verify(work.parts, work.count)
        self._times.add("signatures", self._clock_us() - began, work.count)
        return valid

    async def _refuse(self, work: Work, refusal: BlockRefusedError) -> None:
        async with self._state_turn:
            self._generation += 1
            await self._stages.rollback(self._sealed_height)
            self._executed_height, self._executed_ms = self._sealed_height, self._parent_ms
        refusal.header, refusal.signature = work.header, work.signature
        self._finish(work, error=refusal)

    # persist lane

    async def _persist_next(self) -> None:
        work, sealed = await self._to_persist.get()
        began = self._clock_us()
        await self._stages.persist(sealed)
        self._times.add("persist", self._clock_us() - began, sealed.header.transaction_count)
        self._finish(work, header=sealed.header)

    def _finish(self, work: Work, header: Header | None = None, error: Exception | None = None) -> None:
        task = work.verified
        if task is not None and not task.done():
            task.cancel()
        elif task is not None and not task.cancelled():
            task.exception()  # looked at, so that a failure behind a refusal is not reported as lost
        self._live.discard(work)
        self._slots_of(work).release()
        if work.done.done():
            return
        if error is not None:
            work.done.set_exception(error)
            work.done.exception()
        else:
            work.done.set_result(header)
