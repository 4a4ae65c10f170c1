"""How a node takes part in its network: recover, stand, work, again and again.

    recover    a new epoch (fences every older incarnation), the log from the disk, a new replica and engine
    stand      a pipeline on the last block of the log
    work       leader: draw, execute, seal, append        follower: validate what the leader appends
               observer: take what is proven to it
    work ends when the role changes (then stand) or a neighbour fails (then recover)

What was drawn and did not reach the log is given back to its shard. The handle of Storage comes from the
shell; this file knows no Ray.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors.consensus.agreement import Dependencies
from actors.consensus.pipeline import Pipeline, PipelineBrokenError, Position, Sealed
from actors.consensus.raft import RaftError, RaftOptions, SnapshotMeta, TraceRecord, to_ndjson
from actors.consensus.raft.terms import term_ceiling
from actors.consensus.raft_node.engine import Engine, OvertakenError
from actors.consensus.raft_node.follower import FollowerLoop, LeaderRefusedError, RestandError
from actors.consensus.raft_node.installing import Until, catch_up_until, drained
from actors.consensus.raft_node.replica import AppliedBlock, Replica, installation
from actors.consensus.raft_node.standing import StandingWatch, describe_standing
from actors.consensus.setbacks import RETRY_PAUSE_S, Setbacks
from actors.ledger.block import Header, decode_header, sign_vote
from actors.ledger.delta import ChainHead
from actors.ledger.rows import ROW_BYTES
from actors.shell import first_line
from actors.storage.interface import LogRecord, StoredLog

if TYPE_CHECKING:
    from loguru import Logger

_OWN_FAILURES = (RaftError, PipelineBrokenError, OvertakenError, TimeoutError, ValueError)


class ReplicaLifecycle:
    """The loop of one node. `engine` is None at an observer, and while a member recovers."""

    def __init__(self, node: Dependencies, log: Logger) -> None:
        self._node, self._log, self.genesis = node, log, node.genesis
        members, identity = node.genesis.member_keys, node.signer.public_key
        self.member = members.index(identity) + 1 if identity in members else 0
        self.engine: Engine | None = None
        self.pipeline: Pipeline | None = None
        self.ready = asyncio.Event()
        self.halted = self._fork = ""
        self._setbacks, self._worked = Setbacks(), ("", 0)
        self._halting = asyncio.Event()
        self.recoveries = 0
        self._elections_before = 0
        self._failures: tuple[type[Exception], ...] = (*_OWN_FAILURES, *node.unreachable)

    def trouble(self) -> dict[str, str]:
        """`halted`: why this node stopped; `standing`: what keeps this member from its full part."""
        standing = describe_standing(self.genesis, self.engine.replica.raft) if self.engine else ""
        return {"halted": self.halted, "standing": standing}

    @property
    def head(self) -> ChainHead:
        """The last final block; NO_HEAD before the first recovery."""
        return self._node.ports.head

    @property
    def height(self) -> int:
        """Of the last block that is committed here."""
        return self.engine.replica.head.height if self.engine else self.head.height

    @property
    def elections(self) -> int:
        """Leaders that this process has seen take office."""
        return self._elections_before + (self.engine.elections if self.engine else 0)

    async def run(self) -> None:
        """Take part until a certificate contradicts what this node computed; then stop."""
        part, halting = (asyncio.create_task(each) for each in (self._keep_on(), self._halting.wait()))
        try:
            await asyncio.wait([part, halting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            part.cancel()
            halting.cancel()
            await asyncio.gather(part, halting, return_exceptions=True)
        await self._keep_verdict()
        await self.close()

    async def _keep_verdict(self) -> None:
        """That a block committed here is proven wrong is kept on the disk, for `check` and the next start."""
        if not self._fork:
            return
        try:
            await self._node.ports.write(None, b"", LogRecord(halted=self._fork.encode()))
        except self._failures as error:
            self._log.warning("the next start will not know why this node stopped: {}", first_line(error))

    def halt(self, reason: str) -> None:
        """This node's own state is wrong, as a certificate proves: stop, loudly, once."""
        if not self.halted:
            self.halted = reason
            self._log.critical("this node stops, for its own state is wrong: {}", reason)
            self._halting.set()

    def heed(self, header: Header) -> None:
        """A certificate of this header was proven: hold it against what this node did."""
        if self._node.convictions.acquit(header):
            self._log.warning("block {} is final, whose time this member refused", header.height)
        self._node.time.certified(header.time_ms)
        convictions = self._node.convictions
        if not self.halted:
            self._fork = convictions.fork(header)
        if contradiction := convictions.contradiction(header):
            self.halt(contradiction)

    async def _keep_on(self) -> None:
        while True:
            try:
                await self._recover()
                await self._take_part()
            except self._failures as error:
                failure = f"{type(error).__name__}: {first_line(error)}"
                self.recoveries += 1
                setback = self._setbacks.note(type(error).__name__, self.height)
                if setback.told:
                    self._log.warning("recovering after {} ({} in a row)", failure, setback.times)
                await asyncio.sleep(setback.pause_s)
            except Exception as error:  # noqa: BLE001 -- a bug: say so, and go on from what is durable
                self.recoveries += 1
                setback = self._setbacks.note(type(error).__name__, self.height)
                if setback.told:
                    self._log.exception("recovering after an unexpected error: {}", first_line(error))
                await asyncio.sleep(setback.pause_s)
            await asyncio.sleep(RETRY_PAUSE_S)

    # --- recover -----------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Everything anew from the disk, under a new epoch, with every drawn transaction given back."""
        node = self._node
        await self.close()
        node.ports.epoch, head = await node.storage.fence()
        await node.builder.release()
        node.ports.head = head
        node.time.certified(head.time_ms)
        if head.height:
            node.convictions.committed(head.height, head.hash)
        if self.member:
            stored = await node.storage.raft_state(node.ports.epoch)
            if stored.halted:
                self.halt(f"{stored.halted.decode()}, as it found before")
            replica = self._replica(stored, AppliedBlock(head.height, head.hash))
            position, headers = await self._replay(replica)
            self.pipeline = self._new_pipeline(position)
            self.engine = Engine(
                replica,
                node.certifier,
                node.ports,
                self._vote,
                node.clock_us,
                node.settings.log_retain_entries,
                headers,
            )
            self.engine.on_silence = self._log.info
            self._watch(replica, StandingWatch(node.genesis, replica.raft, self._log.info, self._log.warning))
            self.engine.avoids = lambda who: node.convictions.avoids(who, self._clock_ms())
        else:
            self.pipeline = self._new_pipeline(_position(head))
        if self._setbacks.is_worth_telling:
            self._log.info("epoch {} from height {}", node.ports.epoch, head.height)

    def _watch(self, replica: Replica, standing: StandingWatch) -> None:
        node = self._node

        def look() -> None:
            replica.raft.term_ceiling = term_ceiling(node.time.now_ms() - node.genesis.created_ms)
            standing.look()

        look()
        if self.engine is not None:
            self.engine.watch(look)

    async def close(self) -> None:
        """End pipeline and engine; what is on the disk stays."""
        pipeline, self.pipeline = self.pipeline, None
        if pipeline is not None:
            await pipeline.close()
        engine, self.engine = self.engine, None
        if engine is not None:
            self._elections_before += engine.elections
            await engine.close()

    def _replica(self, stored: StoredLog, head: AppliedBlock) -> Replica:
        node, settings = self._node, self._node.settings
        options = RaftOptions(
            heartbeat_interval_ms=settings.heartbeat_ms,
            election_timeout_ms_min=settings.election_timeout_ms_min,
            election_timeout_ms_max=settings.election_timeout_ms_max,
            founded_by_all=settings.founding == "all",
        )
        return Replica(
            self.member,
            node.genesis.member_keys,
            stored,
            head,
            node.rng,
            node.clock_us() // 1000,
            options,
            node.ports.epoch,
            self._trace if node.trace is not None else None,
        )

    def _trace(self, record: TraceRecord) -> None:
        if self._node.trace is not None:
            self._node.trace(to_ndjson(record, self._node.clock_us()))

    async def _replay(self, replica: Replica, below: int | None = None) -> tuple[Position, list[Header]]:
        """Have Storage execute again the blocks of the log's tail; the last of them, and their headers."""
        node = self._node
        head = await node.storage.head()
        already = head.height - replica.head.height
        digests = [entry.digest for entry in replica.tail(below)[already:]]
        position, headers = _position(head), list[Header]()
        if digests:
            for header_bytes, _ in await node.storage.replay(node.ports.epoch, digests):
                header = decode_header(header_bytes)
                node.ports.remember(header)
                headers.append(header)
                position = Position(header.height, header.hash(), header.term, header.time_ms)
        return position, headers

    def _new_pipeline(self, position: Position) -> Pipeline:
        node = self._node
        return Pipeline(
            node.ports,
            position,
            node.signer.public_key,
            node.ports.network,
            node.genesis.member_keys,
            node.settings.blocks_inflight_max,
            node.clock_us,
            node.time.now_ms,
            node.times,
        )

    # --- stand -------------------------------------------------------------------------------------------

    async def _take_part(self) -> None:
        """Stand and work, again and again, until something fails."""
        below: int | None = None
        led = False
        while True:
            if self.engine is not None:
                await self._stand(self.engine, below)
                if led:
                    await self._node.builder.release()
                led = self.engine.replica.leads
            below = None
            if self.engine is not None and self.engine.snapshot_offer is not None:
                await self._install(self.engine, self.engine.snapshot_offer.snapshot)
                return
            try:
                await self._work()
            except RestandError as error:
                below = error.below
                setback = self._setbacks.note(repr(error.__cause__), self.height)
                if setback.told:
                    self._log.info("{} after {!r} ({} in a row)", error, error.__cause__, setback.times)
                await asyncio.sleep(setback.pause_s)
            except LeaderRefusedError as error:
                self._refuse(error)
                if error.contradicts:
                    await self._node.ports.seek_proof(self.height)

    def _clock_ms(self) -> int:
        return self._node.clock_us() // 1000

    def _refuse(self, error: LeaderRefusedError) -> None:
        """A leader's block is not valid here: refuse the leader for a while, unless a certificate says that
        it is this node that is wrong."""
        node, engine, refusal = self._node, self.engine, error.refusal
        if engine is None:
            return
        leader, header, now_ms = engine.replica.identity(error.member), refusal.header, self._clock_ms()
        if error.early is not None:
            header = error.early
            for_ms = node.convictions.refuse_time(leader, header, str(refusal), now_ms)
        else:
            for_ms = node.convictions.refuse(leader, header, refusal.signature, str(refusal), now_ms)
        name = node.genesis.members[error.member - 1].name
        self._log.critical("{} is refused as a leader for {} s: {}", name, for_ms // 1000, refusal)
        engine.forsake(error.member)
        if header is not None and node.certifier.certificate(header.hash()):
            self.heed(header)

    async def _stand(self, engine: Engine, below: int | None) -> None:
        """A pipeline on the last block of the log (under index `below`), with nothing else executed."""
        pipeline, node = self.pipeline, self._node
        clean = pipeline is not None and below is None and pipeline.is_clean
        if clean and pipeline is not None and pipeline.tip.height == engine.replica.tip_height:
            return
        if pipeline is not None:
            await pipeline.close()
        await drained(engine)
        async with node.ports.gate.closed():
            node.ports.epoch, _ = await node.storage.fence()
            position, _ = await self._replay(engine.replica, below)
        self.pipeline = self._new_pipeline(position)

    # --- a log that begins after this node's head --------------------------------------------------------

    async def _install(self, engine: Engine, snapshot: SnapshotMeta) -> None:
        """The leader's log begins after what this node has: take proven blocks up to its snapshot's, and
        begin the log there. Ends in a recovery, which finds both on the disk."""
        node, ports = self._node, self._node.ports
        if self.pipeline is not None:
            await self.pipeline.close()
        await drained(engine)
        async with ports.gate.closed():
            ports.epoch, head = await node.storage.fence()
            self.pipeline = pipeline = self._new_pipeline(_position(head))
            if self._setbacks.is_worth_telling:
                self._log.info("behind the leader's log: catching up from height {}", head.height)
            ports.persist_stage = stage = Until(ports, snapshot.digest)
            if head.hash == snapshot.digest:
                stage.reached.set()
            while not stage.reached.is_set():
                await ports.seek_proof(pipeline.tip.height)
                await catch_up_until(stage.reached, pipeline, node.catch_up)
            await pipeline.close()
        await ports.write(None, b"", installation(snapshot))

    # --- work --------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Lead, follow or observe until the role changes; raises what ends the work."""
        engine, pipeline, ports = self.engine, self.pipeline, self._node.ports
        if pipeline is None:
            raise PipelineBrokenError("there is no pipeline")
        if engine is None:
            ports.persist_stage = ports.take_proven
            self.ready.set()
            await pipeline.broken
            return
        engine.changed.clear()
        if engine.replica.leads:
            pipeline.lead(engine.replica.raft.term)
            ports.persist_stage = self._append_own
            duty = asyncio.create_task(self._node.builder.run(engine, pipeline))
        else:
            node = self._node
            ways = node.fetch, node.read_body, ports.find_certificate
            following = FollowerLoop(engine, pipeline, node.bodies, *ways, node.time)
            ports.persist_stage = following.accept
            duty = asyncio.create_task(following.run())
        working = engine.replica.raft.role.value, engine.replica.raft.term
        if working != self._worked:
            self._worked = working
            self._log.info("{} in term {}", *working)
        if engine.replica.leads or len(engine.replica.members) > 1:
            self.ready.set()
        await self._until_changed(engine, pipeline, duty)

    async def _until_changed(self, engine: Engine, pipeline: Pipeline, duty: asyncio.Task[None]) -> None:
        change = asyncio.create_task(engine.changed.wait())
        ends: list[asyncio.Future[Any]] = [duty, change, engine.failed, pipeline.broken]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if engine.failed.done():
                engine.failed.result()
            if pipeline.broken.done():
                pipeline.broken.result()
            if duty.done():
                duty.result()
        except (PipelineBrokenError, OvertakenError, RaftError) as error:
            if engine.failed.done():
                raise
            raise RestandError from error
        finally:
            duty.cancel()
            change.cancel()
            await asyncio.gather(duty, change, return_exceptions=True)

    async def _append_own(self, sealed: Sealed) -> None:
        """A leader's persist stage: the block goes to the other members while it is written here."""
        engine = self.engine
        if engine is None:
            raise OvertakenError("this replica starts anew")
        durable = engine.propose(
            sealed, sealed.header.transaction_count * ROW_BYTES + sealed.header.payload_bytes
        )
        if not engine.rides(sealed):
            self._node.ports.push(sealed)
        await durable

    def _vote(self, header: Header, term: int) -> bytes:
        return sign_vote(self._node.signer, self._node.ports.network, header, term)


def _position(head: ChainHead) -> Position:
    return Position(head.height, head.hash, 0, head.time_ms)
