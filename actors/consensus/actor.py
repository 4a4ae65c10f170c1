"""The Consensus shell: its neighbours, what others may ask, and what other members say.

How members agree is the engine's affair, which this file knows by the face in `agreement.py` alone. This
actor holds references to rows; the rows themselves only of small blocks.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.consensus import functions
from actors.consensus.actor_lookup import ActorLookup
from actors.consensus.agreement import Dependencies
from actors.consensus.block_body_cache import BlockBodyCache
from actors.consensus.block_builder import DRAW_TIMEOUT_S, BlockBuilder
from actors.consensus.changes import (
    PROGRESS_TIMEOUT_S,
    decode_answer,
    decode_change,
    encode_answer,
    encode_change,
    encode_progress,
    with_progress,
)
from actors.consensus.clocks import Clocks
from actors.consensus.engines import agreement_of
from actors.consensus.functions import FunctionTrials
from actors.consensus.intake import Intake
from actors.consensus.network_clock import NetworkClock
from actors.consensus.ports import NodePorts
from actors.consensus.proving import Proving
from actors.consensus.publishing import Publisher
from actors.consensus.setbacks import RETRY_PAUSE_S
from actors.consensus.stages import StageTimes
from actors.consensus.timekeeping import Timekeeper
from actors.faces import GatewayFace, MempoolFace, PeerFace, remote
from actors.ledger.block import BlockOutcome, Header, OfferedBlock
from actors.ledger.channels import (
    CERTIFICATE_CHANNEL,
    CHANGE_METHOD,
    CLOCK_CHANNEL,
    PROGRESS_METHOD,
    RAFT_CHANNEL,
)
from actors.ledger.genesis import Genesis
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberStanding
from actors.ledger.signing import Signer
from actors.local_socket import LocalListener, Spoken
from actors.near.follower import NearFollower
from actors.near.messages import NearError
from actors.near.shard import NearShard
from actors.settings import ConsensusSettings
from actors.shell import ActorContext, Shell, first_line, freeze_long_lived
from actors.storage.calls import FAILURES, StorageCalls
from actors.storage.interface import StorageFace
from actors.validator.actor import ValidatorPool, ValidatorsUnavailableError
from actors.validator.scaler.actor import ValidatorScaler

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 256}


class Consensus(Shell):
    """One replica. `pool` serves its pipeline; `shards` feed it; followers are told of commits by name."""

    async def __init__(  # type: ignore[misc]
        self,
        context: ActorContext,
        settings: ConsensusSettings,
        genesis: Genesis,
        identity_path: str,
        storage: Any,
        pool: ValidatorPool,
        shards: Sequence[Any],
        follower_names: Sequence[str],
    ) -> None:
        super().__init__(context)
        self._settings, self._genesis = settings, genesis
        self._signer = Signer(bytes.fromhex(Path(identity_path).read_text().strip()))
        self._storage: StorageFace = remote(storage)
        self._pool = pool
        self._store = StorageCalls(self._storage, (RayError,))
        self._store_kept = asyncio.create_task(self._store.keep())
        self._peer: PeerFace | None = None
        faces: list[MempoolFace] = [NearShard(remote(shard), (RayError,)) for shard in shards]
        self._shards = len(faces)
        self._times, self._bodies, self._clocks = StageTimes(), BlockBodyCache(), Clocks()
        clocks = self._clocks.wall_ms, self._clocks.monotonic_us
        self._time = NetworkClock(genesis.member_keys, settings.clock_ahead_ms_max, *clocks)
        self._proving = Proving(genesis, self._heed, self.log)
        self._intake = Intake(genesis, self._bodies, self._proving, self.log)
        self._exchange = LocalListener(self._on_line)
        await self._exchange.start()
        ports = self._ports()
        self._producer = BlockBuilder(
            faces,
            genesis,
            settings.block_interval_ms,
            self._times,
            (RayError, NearError),
            self._missed_draw,
            self._clocks.monotonic_us,
            self._trials(ports),
        )
        self._blocks = self._transactions = self._event_us_max = 0
        self._publisher = Publisher(unreachable=(RayError, NearError))
        for number, shard in enumerate(faces):
            self._publisher.add(f"shard-{number}", shard.settle)
        self._neighbours = ActorLookup(follower_names, ray.get_actor, self._on_neighbour, (RayError,))
        self._finding = asyncio.create_task(self._neighbours.find())
        pool.warm()  # before others rely on this replica's prompt answers
        self._trace_path = Path(settings.trace_file) if settings.trace_file else None
        self._timekeeper = Timekeeper(self._time, ports, self.log.info, self.log.warning)
        self._agreement = agreement_of(self._dependencies(ports), self.log)
        self._main = asyncio.create_task(self._take_part())
        self._crew = ValidatorScaler(context, self.log, pool, faces)
        freeze_long_lived()

    def _ports(self) -> NodePorts:
        return NodePorts(
            storage=self._storage,
            store=self._store,
            pool=self._pool,
            signer=self._signer,
            network=self._proving.network,
            peer=lambda: self._peer,
            say=self._exchange.send,
            published=self._committed,
            others=self._others,
            add_proof=self._proving.answered,
            show=self._proving.shown,
            unreachable=(RayError,),
        )

    def _trials(self, ports: NodePorts) -> FunctionTrials:
        names = {bytes.fromhex(member.identity): member.name for member in self._genesis.members}
        return FunctionTrials(
            ports=ports,
            chain_tag=self._genesis.chain_tag,
            others=self._others,
            name=lambda identity: names.get(identity, identity.hex()),
            wall_ms=self._time.now_ms,
            told=self.log.warning,
        )

    def _dependencies(self, ports: NodePorts) -> Dependencies:
        return Dependencies(
            settings=self._settings,
            genesis=self._genesis,
            signer=self._signer,
            storage=self._storage,
            ports=ports,
            certifier=self._proving.certifier,
            convictions=self._proving.convictions,
            bodies=self._bodies,
            builder=self._producer,
            times=self._times,
            fetch=self._fetch,
            read_body=self._intake.read,
            catch_up=self._catch_up,
            unreachable=(RayError, ValidatorsUnavailableError, *FAILURES),
            trace=self._write_trace if self._trace_path else None,
            clock_us=self._clocks.monotonic_us,
            rng=random.SystemRandom(),
            time=self._time,
        )

    async def _take_part(self) -> None:
        telling = asyncio.create_task(self._timekeeper.run())
        try:
            await self._agreement.run()
        finally:
            telling.cancel()

    def _write_trace(self, line: bytes) -> None:
        if self._trace_path is not None:
            with self._trace_path.open("ab") as file:
                file.write(line)

    # --- what every actor has ------------------------------------------------------------------------------

    async def start(self) -> dict[str, object]:
        """Returns once this replica stands on the log's last block, and, alone in its network, leads."""
        await self._agreement.ready.wait()
        engine = self._agreement.status()
        return {
            "height": self._agreement.head.height,
            "term": engine.term,
            "role": engine.role,
            "identity": self._signer.public_key.hex(),
        }

    async def stop(self) -> None:
        """Propose no more, let what is under way reach the disk."""
        self._producer.paused = True
        deadline = time.monotonic() + DRAW_TIMEOUT_S
        while self._agreement.depths().get("inflight") and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._main.cancel()
        self._store_kept.cancel()
        self._exchange.close()

    async def health(self) -> dict[str, object]:
        """Process facts, role and queue depths."""
        agreement, engine = self._agreement, self._agreement.status()
        own = {"role": engine.role, "recoveries": engine.recoveries, **agreement.trouble()}
        return {**self.process_health(), **own, **agreement.depths()}

    async def status(self) -> dict[str, object]:
        """Where the chain stands, what the pipeline did and how long each stage took."""
        agreement, engine = self._agreement, self._agreement.status()
        return {
            **agreement.head.describe(),
            "term": engine.term,
            "role": engine.role,
            "leader": engine.leader.hex(),
            "elections": engine.elections,
            "identity": self._signer.public_key.hex(),
            "blocks": self._blocks,
            "transactions": self._transactions,
            "validators": len(self._pool.workers),
            "mempool_shards": self._shards,
            "recoveries": engine.recoveries,
            **agreement.trouble(),
            **self._timekeeper.describe(),
            "evidence": len(self._proving.convictions.describe()),
            "refused_leaders": self._refused_leaders(),
            "event_ms_max": round(self._event_us_max / 1000, 2),
            "queues": agreement.depths(),
            "stages_us_per_tx": self._times.us_per_transaction(),
            "validator_pool": self._pool.statistics(),
        }

    async def scale_validators(self, count: int) -> dict[str, object]:
        """Have that many Validators from now on; see `ValidatorScaler.scale`."""
        return await self._crew.scale(count)

    async def reset_times(self) -> None:
        """Forget the stage times so far, as a benchmark does after its warm-up."""
        self._times.reset()

    async def skew_clocks(self, wall_ms: int, ahead_ms: int = 0) -> None:
        """Have this replica's clocks be wrong, for tests; see `Clocks.skew`."""
        self._clocks.skew(wall_ms, ahead_ms)

    # --- what other members say ----------------------------------------------------------------------------

    async def line(self) -> str:
        """Where this node's Peer, on the same machine, sends what members say; see `LocalListener`."""
        return self._exchange.name

    def _on_line(self, batch: list[Spoken]) -> None:
        """What members say, by channel: (identity of the sender, channel, bytes)."""
        for identity, channel, body in batch:
            if channel == RAFT_CHANNEL:
                self._deliver(identity, body)
            elif channel == CERTIFICATE_CHANNEL:
                self._proving.announced(body)
            elif channel == CLOCK_CHANNEL:
                self._timekeeper.hear(identity, body)

    def _deliver(self, identity: bytes, body: bytes) -> None:
        began = time.perf_counter_ns()
        self._agreement.deliver(identity, body)
        self._event_us_max = max(self._event_us_max, (time.perf_counter_ns() - began) // 1000)

    async def offer_block(self, _sender: bytes, block: OfferedBlock) -> None:
        """A block that a leader pushed."""
        self._intake.pushed(block)

    def _heed(self, header: Header) -> None:
        self._agreement.heed(header)

    async def prove(self, height: int, digest: bytes) -> bytes:
        """This node's certificate of a block, or its term and vote if it may give one, or nothing."""
        stored = self._storage.stored_block
        return await self._proving.prove(height, digest, self._agreement, stored)

    async def evidence(self) -> list[dict[str, object]]:
        """What convicts members: two signed blocks of one height and term, or a block refused here."""
        return self._proving.convictions.describe()

    def _refused_leaders(self) -> list[dict[str, object]]:
        avoided = self._proving.convictions.avoided(self._clocks.monotonic_us() // 1000)
        return [
            {"identity": who.hex(), "for_ms": for_ms, "reason": why} for who, (for_ms, why) in avoided.items()
        ]

    # --- what this node's actors ask -----------------------------------------------------------------------

    async def read_index(self) -> int:
        """A height not below any that was committed before the call; it is applied here.

        State at this height or a later one is a linearizable read (ReadIndex, Raft dissertation, section
        6.4). Raises TimeoutError, or what the engine has against it, when no leader confirms it.
        """
        return await self._agreement.read_height(self._settings.read_timeout_ms / 1000)

    async def agreement(self) -> dict[str, object]:
        """For benchmarks, by this machine's monotonic clock: since when this replica leads, when the first
        entry of its term was committed, and how long each of its last blocks took to a majority, in us."""
        return self._agreement.figures()

    async def members(self) -> list[MemberStanding]:
        """What each member of the genesis is now, and how far it has come, if the leader tells in time."""
        members, leader = self._agreement.members(), self._agreement.status().leader
        if leader in (b"", self._signer.public_key) or self._peer is None:
            return members
        try:
            asked = self._peer.request(leader, PROGRESS_METHOD, b"", PROGRESS_TIMEOUT_S)
            return with_progress(members, await asked)
        except (RayError, ValueError) as error:
            self.log.debug("the leader does not tell how far members have come: {}", first_line(error))
            return members

    async def hear_progress(self) -> bytes:
        """How far members have come, as far as it is known here, for another member."""
        return encode_progress(self._agreement.members())

    async def change_member(self, action: str, name: str) -> ChangeOutcome:
        """`add` (as a learner), `promote`, `remove` or `transfer` (leadership to) a member, by name.

        Asked of the leader if that is another member, but for `readmit`, which concerns this one alone.
        Answers once it is so, or is refused.
        """
        leader, peer = self._agreement.status().leader, self._peer
        if action == "readmit" or leader in (b"", self._signer.public_key) or peer is None:
            return await self._agreement.change(action, name)
        try:
            asked = peer.request(leader, CHANGE_METHOD, encode_change(action, name))
            return decode_answer(await asked)
        except (RayError, ValueError) as error:
            who = self._genesis.members[self._genesis.member_keys.index(leader)].name
            return ChangeRefused(f"the leader, {who}, did not answer: {first_line(error)}")

    async def hear_function(self, request: bytes) -> bytes:
        """Another member leads, and asks what effects a governed function has here. Raises ValueError."""
        return await functions.answer(request, self._storage.try_function)

    async def hear_change(self, request: bytes) -> bytes:
        """A change that another member's operator asks for; see `change_member`."""
        return encode_answer(await self._agreement.change(*decode_change(request)))

    async def validate_blocks(self, blocks: list[OfferedBlock]) -> list[BlockOutcome]:
        """Validate and commit blocks that somebody else made, outside of the log.

        The certificate has been verified by who fetched the block. It may be empty only at the one member of
        a network, whose own vote then makes it. Answers the headers of those that are committed.
        """
        await self._agreement.ready.wait()
        return await self._intake.commit_proven(self._agreement, blocks)

    # --- neighbours ----------------------------------------------------------------------------------------

    async def _committed(self, header: Header, digest: bytes, delta: Any) -> None:
        """Bookkeeping after a commit, and publication to whoever follows."""
        self._blocks += 1
        self._transactions += header.transaction_count
        self._proving.convictions.committed(header.height, digest)
        self._time.certified(header.time_ms)
        await self._neighbours.looked.wait()
        await self._publisher.publish(delta)

    def _on_neighbour(self, name: str, handle: Any) -> None:
        if name.endswith("/peer"):
            self._peer = peer = remote(handle)
            self._publisher.add(name, peer.committed)
            return
        gateway: GatewayFace = remote(handle)
        near = NearFollower(gateway.near_line, gateway.committed, (RayError,))
        self._publisher.add(name, near.committed)

    async def _catch_up(self) -> None:
        peer = self._peer
        if peer is None:
            await asyncio.sleep(RETRY_PAUSE_S)
            return
        await peer.catch_up()

    def _others(self) -> list[bytes]:
        return self._agreement.others()

    def _missed_draw(self, error: BaseException) -> None:
        self.log.warning("no draw from a shard: {}", first_line(error))

    async def _fetch(self, height: int, digest: bytes, leader: bytes) -> OfferedBlock | None:
        """A block from the leader, else from any other member."""
        others = [identity for identity in self._others() if identity != leader]
        for identity in (leader, *others):
            peer = self._peer
            try:
                block = None if peer is None else await peer.fetch_block(identity, height, digest)
            except RayError:
                block = None
            if block is not None:
                return block
        await asyncio.sleep(RETRY_PAUSE_S)
        return None
