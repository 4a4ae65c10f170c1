"""A network of one member over real Storage: its small blocks go over lines, whatever ends those lines."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from loguru import logger
from numpy.typing import NDArray

from actors.consensus.agreement import Dependencies, Leadership
from actors.consensus.block_body_cache import BlockBodyCache
from actors.consensus.certifier import Certifier
from actors.consensus.convictions import Convictions
from actors.consensus.network_clock import NetworkClock
from actors.consensus.pipeline import Pipeline, Work
from actors.consensus.ports import NodePorts
from actors.consensus.raft_node.agreement import RaftAgreement
from actors.consensus.stages import StageTimes
from actors.faces import remote
from actors.ledger.block import Header
from actors.ledger.delta import Delta
from actors.settings import ConsensusSettings
from actors.storage.actor import Storage
from actors.storage.calls import FAILURES, StorageCalls
from tests.storage.storage_batches import transfers
from tests.storage.storage_network import SIGNER, present
from tests.storage.storage_served import Served, committed_nonces
from tests.storage.test_storage_calls import ACCOUNTS, GENESIS, Handle, hang_up, open_storage, until

ROWS = 5
Nonces: TypeAlias = Callable[[], Awaitable[NDArray[np.uint64]]]
Scenario: TypeAlias = Callable[[StorageCalls, "Producer", RaftAgreement], Awaitable[None]]


class Producer:
    """Proposes valid transfers, a block at a time. nonces() reads what the committed state asks for."""

    def __init__(self, nonces: Nonces) -> None:
        self._nonces, self._rng = nonces, np.random.default_rng(1)
        self.published: list[int] = []

    async def run(self, _leadership: Leadership, pipeline: Pipeline) -> None:
        nonces = (await self._nonces()).copy()
        while True:
            batch = transfers(ACCOUNTS, nonces, ROWS, self._rng, GENESIS.chain_tag)
            work = Work((batch.rows, batch.payloads), ROWS, order=np.arange(ROWS))
            assert present(await (await pipeline.submit(work))).transaction_count == ROWS

    async def release(self) -> None:
        return None

    async def committed(self, header: Header, _digest: bytes, delta: Delta) -> None:
        assert (delta.height, len(delta.ids)) == (header.height, ROWS)
        self.published.append(header.height)

    async def go_on(self, blocks: int = 3) -> None:
        """Returns when that many more blocks are committed."""
        wanted = len(self.published) + blocks
        await until(lambda: len(self.published) >= wanted)


async def nobody_has_it(_height: int, _digest: bytes, _from: bytes) -> None:
    """There is no other member."""


async def nothing_to_fetch() -> None:
    """A member alone is at its head."""


def participation(handle: Handle, store: StorageCalls, producer: Producer) -> RaftAgreement:
    """The loop of the one member, as the actor makes it."""
    ports = NodePorts(
        storage=remote(handle),
        store=store,
        pool=None,
        signer=SIGNER,
        network=GENESIS.hash(),
        peer=lambda: None,
        say=lambda _: True,
        published=producer.committed,
        others=list,
        add_proof=lambda *_: None,
        show=lambda _sealed: None,
        unreachable=(ConnectionError,),
    )
    settings, clock_us = ConsensusSettings(), lambda: time.monotonic_ns() // 1000
    node = Dependencies(
        settings=settings,
        genesis=GENESIS,
        signer=SIGNER,
        storage=remote(handle),
        ports=ports,
        certifier=Certifier(GENESIS.hash(), GENESIS.member_keys),
        convictions=Convictions(GENESIS.hash()),
        bodies=BlockBodyCache(),
        builder=producer,
        times=StageTimes(),
        fetch=nobody_has_it,
        read_body=lambda _digest: None,
        catch_up=nothing_to_fetch,
        unreachable=(ConnectionError, *FAILURES),
        trace=None,
        clock_us=clock_us,
        time=NetworkClock(GENESIS.member_keys, settings.clock_ahead_ms_max, lambda: 5, clock_us),
        rng=random.Random(1),
    )
    return RaftAgreement(node, logger.bind(node="one"))


def run(handle: Handle, nonces: Nonces, scenario: Scenario) -> None:
    """Take part while scenario(store, producer, part) lasts; blocks are published once, in order."""

    async def whole() -> None:
        store, producer = StorageCalls(remote(handle), (ConnectionError,)), Producer(nonces)
        kept = asyncio.create_task(store.keep())
        await until(lambda: store._state._line and store._disk._line)
        part = participation(handle, store, producer)
        running = asyncio.create_task(part.run())
        await scenario(store, producer, part)
        for task in (running, kept):
            task.cancel()
        await asyncio.gather(running, kept, return_exceptions=True)
        await part.close()
        assert not part.halted
        assert producer.published == sorted(set(producer.published))

    asyncio.run(whole())


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    storage = open_storage(tmp_path)
    yield storage
    storage.stop()


def test_small_blocks_go_over_lines_that_may_break_at_any_time(storage: Storage) -> None:
    handle = Handle(storage)

    async def nonces() -> NDArray[np.uint64]:
        return committed_nonces(storage)

    async def scenario(store: StorageCalls, producer: Producer, part: RaftAgreement) -> None:
        await producer.go_on(5)
        assert not handle.through_ray().keys() & {"execute", "persist", "commit", "append_record"}
        for counter in (store._state, store._disk, store._disk, store._state):
            hang_up(counter._line)
            await producer.go_on()
            await until(lambda counter=counter: counter._line)
        recoveries = part.recoveries
        await handle.fence.remote()  # somebody else takes over, and this one takes it back
        await until(lambda: part.recoveries > recoveries)
        await producer.go_on()

    run(handle, nonces, scenario)
    assert storage.audit().problem == ""


def test_a_storage_that_is_killed_is_called_again_when_it_is_back(tmp_path: Path) -> None:
    served = Served(tmp_path)
    handle = served.handle()
    try:
        served.start()

        async def scenario(store: StorageCalls, producer: Producer, part: RaftAgreement) -> None:
            for _ in range(3):
                await producer.go_on()
                line, recoveries = store._disk._line, part.recoveries
                await asyncio.to_thread(served.kill)
                await until(lambda recoveries=recoveries: part.recoveries > recoveries)
                await asyncio.to_thread(served.start)
                await until(lambda line=line: store._disk._line not in (None, line))
            await producer.go_on()
            published = producer.published[-1]  # more may be while the head is on its way here
            head = await handle.head.remote()
            assert head.height >= published
            assert (await handle.audit.remote()).problem == ""

        run(handle, handle.nonces.remote, scenario)
    finally:
        served.kill()
