"""The Consensus shell: its neighbours, what others may ask, and what other members say.

A member's replica leads or follows, an observer takes what is proven to it; `participation.py` has the loop.
This actor holds references to rows; the rows themselves only of small blocks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.consensus.block_builder import DRAW_TIMEOUT_S, Producer
from actors.consensus.bodies import Bodies, Body
from actors.consensus.clocks import Clocks
from actors.consensus.neighbours import Neighbours
from actors.consensus.network_clock import NetworkClock
from actors.consensus.pipeline import BlockRefusedError, Work
from actors.consensus.ports import CERTIFICATE_CHANNEL, CHANGE_METHOD, CLOCK_CHANNEL, RAFT_CHANNEL, NodePorts
from actors.consensus.proving import Proving
from actors.consensus.publishing import Publisher
from actors.consensus.raft import TraceRecord, to_ndjson
from actors.consensus.raft_node.installing import RETRY_PAUSE_S
from actors.consensus.raft_node.lifecycle import Neighbourhood, Participation
from actors.consensus.raft_node.membership import (
    change_here,
    decode_answer,
    decode_change,
    describe_members,
    encode_answer,
    encode_change,
)
from actors.consensus.raft_node.replica import LogRecord
from actors.consensus.stages import StageTimes
from actors.ledger.block import Header, decode_block, decode_header
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.ledger.signing import Signer
from actors.local_socket import Exchange, Spoken
from actors.settings import ConsensusSettings
from actors.shell import ActorContext, Shell, first_line, freeze_long_lived
from actors.storage.calls import FAILURES, StorageCalls
from actors.storage.raft_log import RaftRecord
from actors.validator.actor import ValidatorPool, ValidatorsUnavailableError
from actors.validator.crew.actor import Crew

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
        self._storage, self._pool = storage, pool
        self._store = StorageCalls(storage, (RayError,))
        self._store_kept = asyncio.create_task(self._store.keep())
        self._peer: Any = None
        self._shards = len(shards)
        self._times, self._bodies, self._clocks = StageTimes(), Bodies(), Clocks()
        clocks = self._clocks.wall_ms, self._clocks.monotonic_us
        self._time = NetworkClock(genesis.member_keys, settings.clock_ahead_ms_max, *clocks)
        self._proving = Proving(genesis, self._heed, self.log)
        self._exchange = Exchange(self._on_line)
        await self._exchange.start()
        self._producer = Producer(
            shards,
            genesis,
            settings.block_interval_ms,
            self._times,
            (RayError,),
            self._missed_draw,
            self._clocks.monotonic_us,
        )
        self._blocks = self._transactions = self._event_us_max = 0
        self._publisher = Publisher(unreachable=(RayError,))
        for number, shard in enumerate(shards):
            self._publisher.add(f"shard-{number}", shard.settle.remote)
        self._neighbours = Neighbours(follower_names, ray.get_actor, self._on_neighbour, (RayError,))
        self._finding = asyncio.create_task(self._neighbours.find())
        pool.warm()  # before others rely on this replica's prompt answers
        self._trace_path = Path(settings.trace_file) if settings.trace_file else None
        self._part = Participation(self._neighbourhood(), self.log)
        self._main = asyncio.create_task(self._part.run())
        self._crew = Crew(context, self.log, pool, shards)
        freeze_long_lived()

    def _neighbourhood(self) -> Neighbourhood:
        ports = NodePorts(
            storage=self._storage,
            store=self._store,
            pool=self._pool,
            signer=self._signer,
            network=self._proving.network,
            peer=lambda: self._peer,
            say=self._exchange.send,
            to_record=_to_record,
            published=self._committed,
            others=self._others,
            add_proof=self._proving.answered,
            show=self._proving.shown,
            unreachable=(RayError,),
        )
        return Neighbourhood(
            settings=self._settings,
            genesis=self._genesis,
            signer=self._signer,
            storage=self._storage,
            ports=ports,
            certifier=self._proving.certifier,
            convictions=self._proving.convictions,
            bodies=self._bodies,
            producer=self._producer,
            times=self._times,
            fetch=self._fetch,
            read_body=self._read_body,
            catch_up=self._catch_up,
            unreachable=(RayError, ValidatorsUnavailableError, *FAILURES),
            on_trace=self._write_trace if self._trace_path else None,
            clock_us=self._clocks.monotonic_us,
            rng=random.SystemRandom(),
            time=self._time,
        )

    def _write_trace(self, record: TraceRecord) -> None:
        if self._trace_path is not None:
            with self._trace_path.open("ab") as file:
                file.write(to_ndjson(record))

    # --- what every actor has ------------------------------------------------------------------------------

    async def start(self) -> dict[str, object]:
        """Returns once this replica stands on the log's last block, and, alone in its network, leads."""
        await self._part.ready.wait()
        return {
            "height": self._part.head["height"],
            "term": self._term,
            "role": self._role,
            "identity": self._signer.public_key.hex(),
        }

    async def stop(self) -> None:
        """Propose no more, let what is under way reach the disk."""
        self._producer.paused = True
        deadline = time.monotonic() + DRAW_TIMEOUT_S
        while self._depths().get("inflight") and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._main.cancel()
        self._store_kept.cancel()
        self._exchange.close()

    async def health(self) -> dict[str, object]:
        """Process facts, role and queue depths."""
        own = {"role": self._role, "recoveries": self._part.recoveries, **self._part.trouble()}
        return {**self.process_health(), **own, **self._depths()}

    async def status(self) -> dict[str, object]:
        """Where the chain stands, what the pipeline did and how long each stage took."""
        return {
            **self._part.head,
            "term": self._term,
            "role": self._role,
            "leader": self._leader_identity(),
            "elections": self._part.elections,
            "identity": self._signer.public_key.hex(),
            "blocks": self._blocks,
            "transactions": self._transactions,
            "validators": len(self._pool.workers),
            "mempool_shards": self._shards,
            "recoveries": self._part.recoveries,
            **self._part.trouble(),
            **self._part.timekeeper.describe(),
            "evidence": len(self._proving.convictions.describe()),
            "refused_leaders": self._refused_leaders(),
            "event_ms_max": round(self._event_us_max / 1000, 2),
            "queues": self._depths(),
            "stages_us_per_tx": self._times.us_per_transaction(),
            "validator_pool": self._pool.statistics(),
        }

    @property
    def _role(self) -> str:
        if not self._part.member:
            return "observer"
        return "starting" if self._part.engine is None else self._part.engine.replica.raft.role.value

    @property
    def _term(self) -> int:
        return self._part.engine.replica.raft.term if self._part.engine else 0

    def _leader_identity(self) -> str:
        leader = self._part.engine.replica.raft.leader if self._part.engine else None
        return self._genesis.member_keys[leader - 1].hex() if leader else ""

    def _leader_name(self) -> str:
        leader = self._part.engine.replica.raft.leader if self._part.engine else None
        return self._genesis.members[leader - 1].name if leader else ""

    def _depths(self) -> dict[str, int]:
        return self._part.pipeline.depths() if self._part.pipeline else {}

    async def scale_validators(self, count: int) -> dict[str, object]:
        """Have that many Validators from now on; see `Crew.scale`."""
        return await self._crew.scale(count)

    async def reset_times(self) -> None:
        """Forget the stage times so far, as a benchmark does after its warm-up."""
        self._times.reset()

    async def skew_clocks(self, wall_ms: int, ahead_ms: int = 0) -> None:
        """Have this replica's clocks be wrong, for tests; see `Clocks.skew`."""
        self._clocks.skew(wall_ms, ahead_ms)

    # --- what other members say ----------------------------------------------------------------------------

    async def line(self) -> str:
        """Where this node's Peer, on the same machine, can send what follows faster; see `Exchange`."""
        return self._exchange.name

    def _on_line(self, batch: list[Spoken]) -> None:
        for identity, channel, body in batch:
            if channel == RAFT_CHANNEL:
                self._deliver(identity, body)
            elif channel == CERTIFICATE_CHANNEL:
                self._proving.announced(body)
            elif channel == CLOCK_CHANNEL:
                self._part.timekeeper.hear(identity, body)

    async def deliver(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Replica messages, as (identity of the sender, bytes)."""
        for identity, body in messages:
            self._deliver(identity, body)

    def _deliver(self, identity: bytes, body: bytes) -> None:
        if self._part.engine is None:
            return
        began = time.perf_counter_ns()
        self._part.engine.deliver(identity, body)
        self._event_us_max = max(self._event_us_max, (time.perf_counter_ns() - began) // 1000)

    async def offer_block(self, _sender: bytes, block: tuple[bytes, bytes, bytes, Any, Any]) -> None:
        """A body that a leader pushed: header, signature, certificate, rows, payloads, the last two by
        reference where they are large."""
        body = _body(block)
        self._bodies.put(body.header.hash(), body)
        self._proving.proposed(body.header, body.signature)

    def _read_body(self, raw: bytes) -> Body | None:
        """A small block that rode on a message of the leader."""
        genesis = self._genesis
        try:
            block = decode_block(raw, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        except FormatError as error:
            self.log.warning("a block on a message is malformed: {}", error)
            return None
        self._proving.proposed(block.header, block.signature)
        return Body(block.header, block.signature, b"", block.batch.rows, block.batch.payloads)

    async def offer_certificates(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Certificates that a leader announced: the header, then the certificate."""
        for _, message in messages:
            self._proving.announced(message)

    async def offer_times(self, messages: list[tuple[bytes, bytes]]) -> None:
        """What other members' clocks say."""
        for identity, body in messages:
            self._part.timekeeper.hear(identity, body)

    def _heed(self, header: Header) -> None:
        self._part.heed(header)

    async def prove(self, height: int, digest: bytes) -> bytes:
        """This node's certificate of a block, or its term and vote if it may give one, or nothing."""
        stored = self._storage.stored_block.remote
        return await self._proving.prove(height, digest, self._part.engine, stored)

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
        6.4). Raises RaftError or TimeoutError when no leader confirms it.
        """
        if self._part.engine is None:
            raise TimeoutError("this node takes no part in consensus")
        return await self._part.engine.read_height(self._settings.read_timeout_ms / 1000)

    async def agreement(self) -> dict[str, object]:
        """For benchmarks, by this machine's monotonic clock: since when this replica leads, when the first
        entry of its term was committed, and how long each of its last blocks took to a majority, in us."""
        engine = self._part.engine
        if engine is None or not engine.replica.leads:
            return {"leads": False}
        return {
            "leads": True,
            "term": engine.replica.raft.term,
            "led_since_ms": engine.led_since_ms,
            "led_commit_ms": engine.led_commit_ms,
            "commit_times_us": list(engine.commit_times_us),
        }

    async def members(self) -> list[dict[str, object]]:
        """One row a member of the genesis: number, name, identity, address, what it is now, and, at the
        leader, how far it has come."""
        return describe_members(self._genesis, self._part.engine.replica if self._part.engine else None)

    async def change_member(self, action: str, name: str) -> dict[str, object]:
        """`add` (as a learner), `promote`, `remove` or `transfer` (leadership to) a member, by name.

        Asked of the leader if that is another member. Answers once it is so: action, member, term and the
        leader's identity, or why it was `refused`. `readmit` concerns this member alone; see `readmit_here`.
        """
        leader, peer = self._leader_identity(), self._peer
        if action == "readmit" or not leader or leader == self._signer.public_key.hex() or peer is None:
            return await change_here(self._genesis, self._part.engine, action, name)
        try:
            asked = peer.request.remote(bytes.fromhex(leader), CHANGE_METHOD, encode_change(action, name))
            return decode_answer(await asked)
        except (RayError, ValueError) as error:
            return {"refused": f"the leader, {self._leader_name()}, did not answer: {first_line(error)}"}

    async def hear_change(self, request: bytes) -> bytes:
        """A change that another member's operator asks for; see `change_member`."""
        return encode_answer(await change_here(self._genesis, self._part.engine, *decode_change(request)))

    async def validate_blocks(
        self, blocks: list[tuple[bytes, bytes, bytes, Any, Any]]
    ) -> list[dict[str, object]]:
        """Validate and commit blocks that somebody else made, outside of the log.

        Each is (header, signature, certificate, rows, payloads), the last two as references. The certificate
        has been verified by who fetched the block. It may be empty only at the one member of a network, whose
        own vote then makes it. Answers height and hash of each block, or the reason why it was refused.
        """
        await self._part.ready.wait()
        outcomes = []
        for block in blocks:
            body = _body(block)
            if self._part.pipeline is None or (not body.certificate and len(self._genesis.members) > 1):
                raise ValueError(f"block {body.header.height}: only what has a certificate is taken")
            parts, count = (body.rows, body.payloads), body.header.transaction_count
            work = Work(
                parts, count, header=body.header, signature=body.signature, certificate=body.certificate
            )
            outcomes.append(await self._part.pipeline.submit(work))
        results: list[dict[str, object]] = []
        for block, outcome in zip(
            blocks, await asyncio.gather(*outcomes, return_exceptions=True), strict=True
        ):
            if isinstance(outcome, Header):
                results.append({"height": outcome.height, "hash": outcome.hash().hex()})
            elif isinstance(outcome, BlockRefusedError):
                if outcome.misplaced or not block[2]:
                    self.log.warning("{}", outcome)
                else:
                    self._part.halt(f"a certified block is not valid here: {outcome}")
                results.append({"height": outcome.height, "refused": outcome.reason, "row": outcome.row})
            else:
                results.append({"refused": str(outcome), "row": None})
        return results

    # --- neighbours ----------------------------------------------------------------------------------------

    async def _committed(self, header: Header, digest: bytes, delta: Any) -> None:
        """Bookkeeping after a commit, and publication to whoever follows."""
        self._blocks += 1
        self._transactions += header.transaction_count
        self._part.head = {
            "height": header.height,
            "hash": digest.hex(),
            "state_root": header.state_root.hex(),
            "time_ms": header.time_ms,
        }
        self._proving.convictions.committed(header.height, digest)
        self._time.certified(header.time_ms)
        await self._neighbours.looked.wait()
        await self._publisher.publish(header.height, delta)

    def _on_neighbour(self, name: str, handle: Any) -> None:
        if name.endswith("/peer"):
            self._peer = handle
        self._publisher.add(name, handle.committed.remote)

    async def _catch_up(self) -> None:
        peer = self._peer
        if peer is None:
            await asyncio.sleep(RETRY_PAUSE_S)
            return
        await peer.catch_up.remote()

    def _others(self) -> list[bytes]:
        return self._part.engine.replica.others() if self._part.engine else []

    def _missed_draw(self, error: BaseException) -> None:
        self.log.warning("no draw from a shard: {}", first_line(error))

    async def _fetch(self, height: int, digest: bytes, leader: bytes) -> Body | None:
        """A block from the leader, else from any other member."""
        others = [identity for identity in self._others() if identity != leader]
        for identity in (leader, *others):
            peer = self._peer
            try:
                block = None if peer is None else await peer.fetch_block.remote(identity, height, digest)
            except RayError:
                block = None
            if block is not None:
                return _body(block)
        await asyncio.sleep(RETRY_PAUSE_S)
        return None


def _body(block: tuple[bytes, bytes, bytes, Any, Any]) -> Body:
    header, signature, certificate, rows, payloads = block
    return Body(decode_header(header), signature, certificate, rows, payloads)


def _to_record(record: LogRecord) -> RaftRecord:
    return RaftRecord(**dataclasses.asdict(record))
