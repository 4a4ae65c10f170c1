"""Members of a network in one event loop: real engines, pipelines and cores over fake disks, wire, execution.

A fake disk keeps what a real one would: blocks, certificates and the log's records, each write whole or not
at all. `FakeMember.crash` forgets everything else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from actors.consensus.agreement import Dependencies
from actors.consensus.block_body_cache import BlockBodyCache
from actors.consensus.certifier import Certifier
from actors.consensus.convictions import Convictions
from actors.consensus.network_clock import NetworkClock
from actors.consensus.pipeline import PipelineBrokenError, Sealed, Work
from actors.consensus.ports import EpochGate
from actors.consensus.raft_node.agreement import RaftAgreement
from actors.consensus.stages import StageTimes
from actors.consensus.timekeeping import Timekeeper
from actors.faces import remote
from actors.ledger.block import (
    Header,
    OfferedBlock,
    decode_block,
    decode_certificate,
    decode_header,
    sign_proposal,
)
from actors.ledger.delta import ChainHead
from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.ledger.signing import Signer
from actors.settings import ConsensusSettings
from actors.storage.interface import Execute, Executed, LogRecord, StoredLog

COUNT = 3


class RemoteMethod:
    """Calls a method the way an actor's handle does."""

    def __init__(self, method: Any) -> None:
        self._method = method

    async def remote(self, *arguments: Any) -> Any:
        await asyncio.sleep(0)
        return self._method(*arguments)


class FakeDisk:
    """What Storage would keep, and the calls of it that the loop makes. State roots are hashes of heights."""

    def __init__(self, genesis: Genesis, identity: bytes = b"") -> None:
        self.genesis_hash, self.identity = genesis.hash(), identity
        self.blocks: dict[int, tuple[Header, bytes]] = {}
        self.certificates: dict[int, bytes] = {}
        self.hard_state = b""
        self.entries: list[bytes] = []
        self.snapshot = self.base = self.halted = b""
        self.base_index = 0
        self.epoch = self.executed = 0
        self.failing: set[str] = set()
        for name in ("fence", "raft_state", "replay", "head"):
            setattr(self, name, RemoteMethod(getattr(self, f"_{name}")))

    def fail_once(self, call: str) -> None:
        """Raise ConnectionError, as for an actor that is gone, if a test asked for that."""
        if call in self.failing:
            self.failing.remove(call)
            raise ConnectionError(call)

    @property
    def height(self) -> int:
        return len(self.certificates)

    def hash_at(self, height: int) -> bytes:
        return self.blocks[height][0].hash() if height else self.genesis_hash

    def _head(self) -> ChainHead:
        time_ms = self.blocks[self.height][0].time_ms if self.height else 0
        return ChainHead(self.height, self.hash_at(self.height), bytes(32), time_ms)

    def _fence(self) -> tuple[int, ChainHead]:
        self.epoch, self.executed = self.epoch + 1, self.height
        return self.epoch, self._head()

    def _raft_state(self, epoch: int) -> StoredLog:
        assert epoch == self.epoch
        entries = tuple(self.entries)
        return StoredLog(
            self.hard_state, self.snapshot, self.base_index, self.base, entries, self.identity, self.halted
        )

    def _replay(self, epoch: int, digests: list[bytes]) -> list[tuple[bytes, bytes]]:
        assert epoch == self.epoch
        found = [self.blocks[self.height + 1 + at] for at in range(len(digests))]
        assert [header.hash() for header, _ in found] == digests
        self.executed = self.height + len(digests)
        return [(header.encode(), signature) for header, signature in found]

    def write(self, record: LogRecord) -> None:
        self.hard_state = record.hard_state or self.hard_state
        self.halted = record.halted or self.halted
        if record.snapshot:
            self.snapshot, self.base_index, self.base = record.snapshot, record.base_index, record.base
            self.entries = []
        if record.entries:
            at = record.first_index - self.base_index - 1
            assert 0 <= at <= len(self.entries)
            self.entries[at:] = record.entries

    def compact(self, record: LogRecord) -> None:
        del self.entries[: record.base_index - self.base_index]
        self.snapshot, self.base_index, self.base = record.snapshot, record.base_index, record.base


def mark_of(parts: Sequence[Any]) -> int:
    """The number that stands for a body: what is passed by reference, or in the one row of a small block."""
    rows = parts[0]
    return int(rows["amount"][0]) if isinstance(rows, np.ndarray) else int(rows)


def small_body(mark: int) -> Sequence[Any]:
    batch = Batch(np.zeros(1, dtype=ROW_DTYPE), np.empty(0, dtype=np.uint8))
    batch.rows["amount"] = mark
    return batch.rows, batch.payloads


class FakePorts:
    """Stages of the pipeline and ports of the engine over a `FakeDisk` and the network."""

    def __init__(self, member: FakeMember) -> None:
        self._member, self._disk = member, member.disk
        self.network = member.network.genesis.hash()
        self.epoch = 0
        self.gate = EpochGate()
        self.head = member.disk._head()
        self.persist_stage: Any = None
        self._headers: dict[int, Header] = {}

    async def verify(self, parts: Sequence[Any], count: int) -> NDArray[np.bool_]:
        return np.ones(count, dtype=np.bool_)

    async def execute(self, request: Execute, parts: Sequence[Any]) -> Executed:
        await asyncio.sleep(0)
        self._disk.fail_once("execute")
        height = request.height
        assert height == self._disk.executed + 1
        self._disk.executed = height
        return Executed(
            height,
            np.zeros(1, dtype=np.uint8),
            count=1,
            state_root=bytes([height % 251, mark_of(parts)]) * 16,
            receipts_root=bytes(32),
            transaction_root=bytes([mark_of(parts)]) * 32,
        )

    async def rollback(self, height: int) -> None:
        self._disk.executed = height

    def seal(self, header: Header) -> bytes:
        return sign_proposal(self._member.signer, self.network, header.hash())

    async def persist(self, sealed: Sealed) -> None:
        await self.persist_stage(sealed)

    def remember(self, header: Header) -> None:
        self._headers[header.height] = header

    def send(self, messages: list[tuple[bytes, bytes]]) -> None:
        for identity, body in messages:
            self._member.network.carry(self._member, identity, body)

    def push(self, sealed: Sealed) -> None:
        self._member.network.push(self._member, sealed)

    def others(self) -> list[bytes]:
        return self._member.part.others()

    def tell_time(self, body: bytes) -> None:
        if self._member.network.clocks_told:
            for other in self._member.network.others(self._member):
                other.timekeeper.hear(self._member.identity, body)

    def announce(self, header: Header, certificate: bytes) -> None:
        for other in self._member.network.others(self._member):
            other.take(header, certificate)

    async def write(self, sealed: Sealed | None, certificate: bytes, record: LogRecord | None) -> Any:
        await asyncio.sleep(0)
        self._disk.fail_once("write")
        if sealed is not None:
            height = sealed.header.height
            assert height <= self._disk.executed
            for above in [known for known in self._disk.blocks if known >= height]:
                del self._disk.blocks[above]
            self._disk.blocks[height] = (sealed.header, sealed.signature)
            self.remember(sealed.header)
            if certificate:
                self._certify(height, certificate)
        if record is not None:
            self._disk.write(record)
        return {}

    async def commit(self, height: int, certificate: bytes) -> Any:
        async with self.gate.passing():
            await asyncio.sleep(0)
            self._disk.fail_once("commit")
            if height > self._disk.height:
                self._certify(height, certificate)
        return {}

    def _certify(self, height: int, certificate: bytes) -> None:
        members, (header, _) = self._member.network.genesis.member_keys, self._disk.blocks[height]
        assert height == self._disk.height + 1
        assert decode_certificate(certificate).verify(self.network, header, members)
        self._disk.certificates[height] = certificate

    async def publish(self, height: int, digest: bytes, delta: Any) -> None:
        assert self._headers.pop(height).hash() == digest
        self._member.convictions.committed(height, digest)

    async def take_proven(self, sealed: Sealed) -> None:
        await self.write(sealed, sealed.certificate, None)
        await self.publish(sealed.header.height, sealed.digest, {})
        self.head = self._disk._head()

    async def compact(self, record: LogRecord) -> None:
        self._disk.compact(record)

    async def seek_proof(self, height: int) -> None:
        await asyncio.sleep(0.001)
        for other in self._member.network.others(self._member):
            for at in (height, height + 1):
                if other.disk.height >= at > 0:
                    self._member.take(other.disk.blocks[at][0], other.disk.certificates[at])

    async def find_certificate(self, header: Header) -> None:
        await asyncio.sleep(0)
        height, digest, certifier = header.height, header.hash(), self._member.certifier
        for other in self._member.network.others(self._member):
            if other.disk.height >= height and other.disk.hash_at(height) == digest:
                self._member.take(header, other.disk.certificates[height])
            elif (vote := other.part.vote(digest)) is not None:
                certifier.add_vote(other.identity, header, *vote)


class FakeProducer:
    """Proposes one block of one row whenever few wait; the row's number is the member's."""

    def __init__(self, member: FakeMember) -> None:
        self._member = member

    async def run(self, leadership: Any, pipeline: Any) -> None:
        while True:
            if pipeline.broken.done():
                raise pipeline.broken.exception()
            if self._member.network.producing and pipeline.next_height - leadership.height < 5:
                order = np.zeros(1, dtype=np.int64)
                mark = self._member.number
                parts = small_body(mark) if self._member.network.small_blocks else (mark, None)
                await pipeline.submit(Work(parts, 1, order=order))
            await asyncio.sleep(0.005)

    async def release(self) -> None:
        """Nothing was drawn from anybody."""


class FakeMember:
    """One member: its disk outlives it."""

    def __init__(self, network: FakeNetwork, number: int) -> None:
        self.network, self.number = network, number
        self.signer = network.signers[number - 1]
        self.identity = self.signer.public_key
        self.disk = FakeDisk(network.genesis, network.new_identity())
        self.time_ms = 5
        self.start()

    def start(self) -> None:
        genesis = self.network.genesis
        self.bodies, self.certifier = BlockBodyCache(), Certifier(genesis.hash(), genesis.member_keys)
        self.convictions = Convictions(genesis.hash())
        loop = asyncio.get_running_loop()
        clock_us = lambda: int(loop.time() * 1e6)  # noqa: E731
        ahead_ms_max = self.network.settings.clock_ahead_ms_max
        time = NetworkClock(genesis.member_keys, ahead_ms_max, self.wall_ms, clock_us)
        ports: Any = FakePorts(self)
        node: Any = Dependencies(
            settings=self.network.settings,
            genesis=self.network.genesis,
            signer=self.signer,
            storage=remote(self.disk),
            ports=ports,
            certifier=self.certifier,
            convictions=self.convictions,
            bodies=self.bodies,
            builder=FakeProducer(self),
            times=StageTimes(),
            fetch=self.fetch,
            read_body=self.read_body,
            catch_up=self.catch_up,
            unreachable=(ConnectionError,),
            trace=None,
            clock_us=clock_us,
            time=time,
            rng=random.Random(self.network.rng.random()),
        )
        log = logger.bind(node=f"node-{self.number}")
        self.part = RaftAgreement(node, log)
        self.timekeeper = Timekeeper(time, ports, log.info, log.warning)
        self.tasks = [asyncio.create_task(each.run()) for each in (self.part, self.timekeeper)]

    def take(self, header: Header, certificate: bytes) -> None:
        if self.certifier.add_certificate(header, certificate):
            self.part.heed(header)

    def wall_ms(self) -> int:
        """The time of day stands still, unless a test says otherwise."""
        return self.time_ms

    async def crash(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.part.close()

    async def wipe(self) -> None:
        """Crash, and come back with nothing but the key."""
        await self.crash()
        self.disk = FakeDisk(self.network.genesis, self.network.new_identity())
        self.start()

    @property
    def leads(self) -> bool:
        return self.part.engine is not None and self.part.engine.replica.leads

    async def catch_up(self) -> None:
        """Hand over what the most advanced other member can prove."""
        await asyncio.sleep(0.001)
        source = max(self.network.others(self), key=lambda other: other.disk.height).disk
        for height in range(self.disk.height + 1, source.height + 1):
            header, signature = source.blocks[height]
            parts, certificate = (header.transaction_root[0], None), source.certificates[height]
            try:
                future = await self.part.submit_proven(
                    Work(parts, 1, header=header, signature=signature, certificate=certificate)
                )
                await future
            except PipelineBrokenError:
                return

    @staticmethod
    def read_body(raw: bytes) -> OfferedBlock | None:
        block = decode_block(raw, 10, 10)
        return OfferedBlock(block.header, block.signature, b"", block.batch.rows, block.batch.payloads)

    async def fetch(self, height: int, digest: bytes, leader: bytes) -> OfferedBlock | None:
        network = self.network
        network.fetches += 1
        network.fetching += 1
        network.fetching_max = max(network.fetching_max, network.fetching)
        try:
            await asyncio.sleep(network.fetch_s)
        finally:
            network.fetching -= 1
        for other in self.network.others(self):
            header, signature = other.disk.blocks.get(height, (None, b""))
            if header is not None and header.hash() == digest:
                certificate = other.disk.certificates.get(height, b"")
                return OfferedBlock(header, signature, certificate, header.transaction_root[0], None)
        return None


class FakeNetwork:
    """All members, and a wire that loses, delays and reorders by the seed."""

    def __init__(self, seed: int, loss: float = 0.0, retain_entries: int = 1000, disks: bool = False) -> None:
        """disks: members' memories have identities, as real ones have, and the network has to be founded."""
        self._disks_made, self._has_disks = 0, disks
        self.rng = random.Random(seed)
        self.loss, self.delay_s_max = loss, 0.002
        self.cut: set[int] = set()
        self.producing = self.clocks_told = True
        self.small_blocks = False
        self.pushes = self.fetches = self.fetching = self.fetching_max = 0
        self.fetch_s = 0.001
        self.settings = ConsensusSettings(log_retain_entries=retain_entries)
        self.signers = [Signer(bytes([number]) * 32) for number in range(1, COUNT + 1)]
        members = [Member(f"node-{n}", s.public_key.hex()) for n, s in enumerate(self.signers, 1)]
        self.genesis = Genesis(GENESIS_VERSION, "test", 0, members, 1, 1, bytes(32).hex(), 10, 10, 0, 1)
        self.members = [FakeMember(self, number) for number in range(1, COUNT + 1)]

    def new_identity(self) -> bytes:
        """One that no disk has had; empty where disks have none."""
        self._disks_made += 1
        return self._disks_made.to_bytes(16, "big") if self._has_disks else b""

    def others(self, member: FakeMember) -> list[FakeMember]:
        return [other for other in self.members if other is not member and self._connected(member, other)]

    def _connected(self, one: FakeMember, other: FakeMember) -> bool:
        return one.number not in self.cut and other.number not in self.cut

    def carry(self, sender: FakeMember, identity: bytes, body: bytes) -> None:
        to = next(member for member in self.members if member.identity == identity)
        if self._connected(sender, to) and self.rng.random() >= self.loss:
            delay_s = self.rng.random() * self.delay_s_max
            asyncio.get_running_loop().call_later(delay_s, self._arrive, to, sender.identity, body)

    @staticmethod
    def _arrive(to: FakeMember, identity: bytes, body: bytes) -> None:
        to.part.deliver(identity, body)

    def push(self, sender: FakeMember, sealed: Sealed) -> None:
        self.pushes += 1
        header = decode_header(sealed.header.encode())
        body = OfferedBlock(header, sealed.signature, b"", header.transaction_root[0], None)
        for other in self.others(sender):
            if self.rng.random() >= self.loss:
                other.bodies.put(sealed.digest, body)

    async def until(self, holds: Any, what: str, deadline_s: float = 60) -> Any:
        """Wait for a condition. Fails, naming it, at the deadline."""
        try:
            async with asyncio.timeout(deadline_s):
                while not (value := holds()):
                    await asyncio.sleep(0.005)
                return value
        except TimeoutError:
            heights = [member.disk.height for member in self.members]
            raise AssertionError(f"not within {deadline_s} s: {what}; heights {heights}") from None

    async def settle(self) -> None:
        """Propose no more, and wait until all have the same head."""
        self.producing = False
        await self.until(lambda: len({m.disk.height for m in self.members}) == 1, "one height")
        self.assert_agreement()

    def assert_agreement(self) -> None:
        """No two members have different blocks at a committed height; each has a certificate (checked when
        it was written)."""
        for one in self.members:
            for other in self.members:
                for height in range(1, min(one.disk.height, other.disk.height) + 1):
                    assert one.disk.hash_at(height) == other.disk.hash_at(height)

    async def close(self) -> None:
        for member in self.members:
            await member.crash()


def run(
    seed: int,
    scenario: Callable[[FakeNetwork], Awaitable[None]],
    prepare: Callable[[FakeNetwork], None] = lambda _: None,
    retain_entries: int = 1000,
) -> None:
    """Run a scenario on a network of its own. prepare: called before anything else happens in it."""

    async def whole() -> None:
        network = FakeNetwork(seed, retain_entries=retain_entries)
        prepare(network)
        try:
            await scenario(network)
        finally:
            await network.close()

    asyncio.run(whole())
