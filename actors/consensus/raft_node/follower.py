"""A follower's way of taking the leader's entries: validate each block, then let the core have its entry.

The core would take entries at once; here each waits until its block is at hand, executed, and found valid,
and several are under way in the pipeline. To the core that is only a slower network. Requests are split into
one entry each, so that every block enters the log the moment it is valid.

    request -> does it follow what is under way?        yes: submit its block to the pipeline
               no: wait until all under way has ended    then the log itself says whether it fits
                   the log does not know its predecessor: the core answers so
                   it replaces entries of the log: the pipeline must first stand below them (RestandError)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from actors.consensus.block_body_cache import BlockBodyCache, Fetch, ReadBody
from actors.consensus.network_clock import NetworkClock
from actors.consensus.pipeline import BlockRefusedError, Pipeline, Sealed, Work
from actors.consensus.raft import Entry, EntryKind, ProtocolViolationError, RaftError, Role
from actors.consensus.raft.messages import AppendRequest
from actors.consensus.raft_node.coming import AheadFetches
from actors.consensus.raft_node.engine import Engine
from actors.ledger.block import Header, OfferedBlock

PUSHED_WAIT_S = 0.15
FETCH_PAUSE_S = 0.1
AHEAD_BLOCKS_MAX = 64
# How long the block that a leader names may fail to arrive: from the one heard, and from one beside it.
MISSING_MS_MAX, MISSING_BESIDE_MS_MAX = 30_000, 1_000
# How long a block whose time is ahead of this member's clock waits for that time, or to be proven final.
EARLY_MS_MAX = 1_000
Prove = Callable[[Header], Awaitable[None]]


class LeaderRefusedError(RuntimeError):
    """`member` put forward, as leader, a block that this node found invalid, or that does not arrive, or it
    said what no correct leader says. early: the header of one whose time alone is refused, or whose governed
    function has other effects here: neither says that its leader lies."""

    def __init__(self, member: int, refusal: BlockRefusedError, early: Header | None = None) -> None:
        super().__init__(str(refusal))
        self.member, self.refusal, self.early = member, refusal, early

    @property
    def contradicts(self) -> bool:
        """True if what the leader said does not go with what is committed here: one of both is wrong."""
        return isinstance(self.__cause__, ProtocolViolationError)


class RestandError(RuntimeError):
    """The pipeline must be built anew on the log: on its entries under index `below`, or on all of them."""

    def __init__(self, below: int | None = None) -> None:
        super().__init__(f"stand below {below}" if below else "stand on the log's end")
        self.below = below


class FollowerLoop:
    """Takes requests from `engine.appends` into `pipeline`, which stands on the log's last block (or below).

    fetch(height, digest, leader) asks the other members for a block that did not arrive by itself;
    read(bytes) decodes one that rode on a request, and answers None for a malformed one. prove(header) asks
    the other members for votes and certificate of a block.
    """

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        bodies: BlockBodyCache,
        fetch: Fetch,
        read: ReadBody,
        prove: Prove,
        clock: NetworkClock,
    ) -> None:
        self._engine, self._pipeline, self._bodies = engine, pipeline, bodies
        self._ahead, self._read = AheadFetches(fetch, bodies), read
        self._clock, self._prove = clock, prove
        self._raft = engine.replica.raft
        self._height, self._time_ms = pipeline.tip.height, pipeline.tip.time_ms
        self._pending: list[tuple[Entry, asyncio.Future[Header | None]]] = []
        self._requests: dict[bytes, AppendRequest] = {}

    async def run(self) -> None:
        """Take requests until cancelled. Raises RestandError, or LeaderRefusedError for a block that the
        leader put forward and this node found invalid, and for a request that the core refuses."""
        try:
            await self._take_all()
        finally:
            self._ahead.stop()

    async def _take_all(self) -> None:
        engine = self._engine
        while True:
            request = engine.interrupted or await engine.appends.get()
            if request is None:  # a block was refused, and perhaps nothing else comes that would show it
                await self._drain()
                continue
            engine.interrupted = request
            try:
                if self._raft.role is Role.LEADER or request.term < self._raft.term:
                    engine.step(request)
                else:
                    await self._take(request)
            except RaftError as error:  # it would be refused again and again
                engine.interrupted = None
                reason = f"its leader says what no correct one does: {error}"
                refusal = BlockRefusedError(self._pipeline.tip.height + 1, reason)
                raise LeaderRefusedError(request.sender, refusal) from error
            engine.interrupted = None

    async def accept(self, sealed: Sealed) -> None:
        """The pipeline's last stage: a valid block enters the log, and is durable when this returns.

        Raises OvertakenError when another leader's entries came first.
        """
        await self._engine.accept(self._requests.pop(sealed.digest), sealed)

    async def _take(self, request: AppendRequest) -> None:
        self._unload(request)
        for part in _split(request):
            entry = part.entries[0] if part.entries else None
            if not self._follows_pending(part):
                await self._drain()
                log = self._raft.log
                fits = log.term_at(part.prev_index) == part.prev_term
                decided = entry is None or entry.index <= self._raft.commit_index
                if not fits or entry is None or decided or log.term_at(entry.index) == entry.term:
                    self._engine.step(part)  # which refuses what would replace a committed entry
                    if not fits:
                        return
                    continue
                self._require_stand_below(entry)
            if entry is None or entry.kind is not EntryKind.BLOCK:
                await self._drain()
                self._engine.step(part)
                if self._pipeline.tip.height != self._engine.replica.tip_height:
                    raise RestandError
            elif not await self._submit(part, entry):
                return

    def _unload(self, request: AppendRequest) -> None:
        """Keep the blocks that rode on a request, where its entries need them."""
        log = self._raft.log
        needed = {entry.digest for entry in request.entries if log.term_at(entry.index) != entry.term}
        for raw in request.bodies:
            body = self._read(raw)
            if body is not None and (digest := body.header.hash()) in needed:
                self._bodies.put(digest, body)

    def _follows_pending(self, part: AppendRequest) -> bool:
        while self._pending and self._pending[0][1].done():
            if self._pending[0][1].exception() is not None:
                return False
            self._pending.pop(0)
        if not self._pending:
            return False
        last = self._pending[-1][0]
        return (last.index, last.term) == (part.prev_index, part.prev_term)

    async def _drain(self) -> None:
        """Wait until nothing is under way. Raises RestandError or LeaderRefusedError if something failed."""
        pending, self._pending = self._pending, []
        for outcome in await asyncio.gather(*(future for _, future in pending), return_exceptions=True):
            if isinstance(outcome, BlockRefusedError) and outcome.header is not None:
                leader = self._requests[outcome.header.hash()].sender
                if outcome.of_function:
                    await self._await_certificate(leader, outcome, outcome.header)
                raise LeaderRefusedError(leader, outcome)
            if isinstance(outcome, BaseException):
                raise RestandError from outcome

    async def _await_certificate(self, leader: int, refusal: BlockRefusedError, header: Header) -> None:
        """A governed function has other effects here: is that this member alone? Raises RestandError when the
        others have certified the block, which then is taken as it is; LeaderRefusedError after EARLY_MS_MAX.
        """
        certifier, digest, began_ms = self._engine.certifier, header.hash(), self._engine.now_ms
        while not certifier.certificate(digest):
            if self._engine.now_ms - began_ms > EARLY_MS_MAX:
                raise LeaderRefusedError(leader, refusal, header)
            await self._prove(header)
            await certifier.wait(digest, FETCH_PAUSE_S)
        raise RestandError from refusal

    def _require_stand_below(self, entry: Entry) -> None:
        """A new entry may replace others: then the pipeline must not stand on those."""
        replica = self._engine.replica
        below = replica.head.height + len(replica.tail(below=entry.index))
        if self._pipeline.tip.height != below:
            raise RestandError(entry.index)
        self._height, self._time_ms = below, self._pipeline.tip.time_ms

    async def _submit(self, part: AppendRequest, entry: Entry) -> bool:
        """Put the block under way. False if a later leader made the request void meanwhile."""
        height, leader = self._height + 1, self._engine.replica.identity(part.sender)
        request = self._engine.interrupted or part
        self._ahead.look_ahead(self._engine.appends.beginning(request, entry), height, leader)
        body = await self._body(part, entry.digest, height, leader)
        if body is None:
            return False
        while height - self._engine.replica.head.height > AHEAD_BLOCKS_MAX:
            self._engine.advanced.clear()
            await self._engine.advanced.wait()
        if body.certificate:
            self._engine.certifier.add_certificate(body.header, body.certificate)
        if not await self._await_time(part, body.header):
            return False
        work = Work(
            (body.rows, body.payloads),
            body.header.transaction_count,
            header=body.header,
            signature=body.signature,
            proven=bool(self._engine.certifier.certificate(entry.digest)),
        )
        self._requests[entry.digest] = part
        outcome = await self._pipeline.submit(work)
        outcome.add_done_callback(self._notice)
        self._pending.append((entry, outcome))
        self._height, self._time_ms = height, body.header.time_ms
        return True

    async def _await_time(self, part: AppendRequest, header: Header) -> bool:
        """Hold a block back while its time is too far ahead of this member's clock. True once it is not, or
        the others have certified the block; False if a later leader made the request void meanwhile.

        Raises LeaderRefusedError after EARLY_MS_MAX.
        """
        certifier, digest = self._engine.certifier, header.hash()
        began_ms = self._engine.now_ms
        while fault := self._clock.fault(header.time_ms, self._time_ms):
            if certifier.certificate(digest):
                self._clock.certified(header.time_ms)
                return True
            if self._raft.term > part.term:
                return False
            if self._engine.now_ms - began_ms > EARLY_MS_MAX:
                raise LeaderRefusedError(part.sender, BlockRefusedError(header.height, fault), header)
            await self._prove(header)
            await certifier.wait(digest, FETCH_PAUSE_S)
        return True

    def _notice(self, outcome: asyncio.Future[Header | None]) -> None:
        """See to it that a refusal is looked at; requests that wait already will bring that about, too."""
        if not outcome.cancelled() and isinstance(outcome.exception(), BlockRefusedError):
            self._engine.appends.nudge()

    async def _body(
        self, part: AppendRequest, digest: bytes, height: int, leader: bytes
    ) -> OfferedBlock | None:
        trails = part.commit >= part.prev_index + 1  # what is committed already is not pushed any more
        body = await self._bodies.take(digest, 0 if trails else PUSHED_WAIT_S)
        began_ms = self._engine.now_ms
        while body is None and self._raft.term <= part.term:
            beside = self._raft.leader not in (None, part.sender)
            if self._engine.now_ms - began_ms > (MISSING_BESIDE_MS_MAX if beside else MISSING_MS_MAX):
                reason = f"nobody has the block {digest.hex()} that its leader names"
                raise LeaderRefusedError(part.sender, BlockRefusedError(height, reason))
            body = await self._ahead.take(height, digest, leader)
            if body is None:
                body = await self._bodies.take(digest, FETCH_PAUSE_S)
        return body


def _split(request: AppendRequest) -> Iterator[AppendRequest]:
    """The same request as requests of at most one entry."""
    if len(request.entries) <= 1:
        yield request
        return
    previous, previous_term = request.prev_index, request.prev_term
    for entry in request.entries:
        yield msgspec.structs.replace(request, prev_index=previous, prev_term=previous_term, entries=(entry,))
        previous, previous_term = entry.index, entry.term
