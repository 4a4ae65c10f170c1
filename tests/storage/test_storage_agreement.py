"""One scenario, two consensus engines: the same shells over real Storage, and neither knows the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.consensus import actor
from actors.consensus.actor import Consensus
from actors.consensus.agreement import Agreement, Dependencies
from actors.consensus.engines import agreement_of
from actors.ledger.block import (
    BlockRefused,
    OfferedBlock,
    decode_block,
    decode_certificate,
    decode_sealed_header,
)
from actors.ledger.channels import (
    CERTIFICATE_CHANNEL,
    CHANGE_METHOD,
    CLOCK_CHANNEL,
    FUNCTION_METHOD,
    PROGRESS_METHOD,
    RAFT_CHANNEL,
)
from actors.ledger.delta import Delta
from actors.ledger.genesis import Genesis, Member
from actors.ledger.membership import ChangeRefused
from actors.ledger.pending import DrawSummary
from actors.ledger.signing import Signer
from actors.local_socket import LocalConnection, Spoken, call
from actors.settings import ConsensusSettings, LogSettings, StorageSettings
from actors.shell import ActorContext
from actors.storage.actor import Storage
from tests.consensus.fixed_leader import FixedLeader
from tests.storage.storage_batches import transfers
from tests.storage.storage_network import make_genesis
from tests.storage.test_storage_calls import Handle, Remote

ACCOUNTS, ROWS, BLOCKS, MEMBERS = 20, 5, 4, 3
CHANNELS = RAFT_CHANNEL, CERTIFICATE_CHANNEL, CLOCK_CHANNEL
SIGNERS = [Signer(bytes([number]) * 32) for number in range(1, MEMBERS + 1)]
KEYS = [signer.public_key for signer in SIGNERS]
ALONE, ALLOCATION = make_genesis(ACCOUNTS)
GENESIS = msgspec.structs.replace(
    ALONE, members=[Member(f"node-{n}", signer.public_key.hex()) for n, signer in enumerate(SIGNERS, 1)]
)
# Timers that a busy machine does not end.
SETTINGS = ConsensusSettings(
    block_interval_ms=1, election_timeout_ms_min=1000, election_timeout_ms_max=2000, read_timeout_ms=60_000
)


Engine = Callable[[Dependencies, Any], Agreement]
ENGINES: tuple[Engine, ...] = (agreement_of, FixedLeader)


class Here:
    """A method of an actor's handle whose actor is on this loop."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.ensure_future(self._method(*arguments))
        return answer


class Shard:
    """Has rows for so many blocks, in whichever node is asked for them."""

    def __init__(self) -> None:
        self._nonces, self._rng = np.zeros(ACCOUNTS, dtype=np.uint64), np.random.default_rng(1)
        self.draw_at_hand, self.near_line = Here(self._draw_at_hand), Here(self._no_line)
        self.resolve = self.settle = self.release = Here(self._nothing)
        self._left = BLOCKS

    async def _no_line(self) -> str:
        return ""

    async def _draw_at_hand(self, _rows: int, _payloads: int, _height: int, wait_s: float) -> Any:
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(wait_s)
        count = ROWS if self._left >= 0 else 0
        batch = transfers(ACCOUNTS, self._nonces, count, self._rng, GENESIS.chain_tag)
        told = DrawSummary(1, count, np.zeros(count, dtype=np.uint64))
        return told, batch.rows, batch.payloads, 0

    async def _nothing(self, *_: Any) -> None:
        return None


class Peer:
    """The wire of one node, and a follower of its commits."""

    def __init__(self, network: Network, number: int) -> None:
        self._network, self._identity = network, SIGNERS[number - 1].public_key
        self.followed: list[int] = []
        self._line: LocalConnection | None = None
        for name in ("request", "committed", "ask_proofs", "ask_headers", "fetch_block"):
            setattr(self, name, Here(getattr(self, f"_{name}")))

    async def begin(self) -> None:
        """Carry what this node's Consensus and those of others say."""
        self._line = await call(await self._network.shells[self._identity].line(), self._say)

    def _say(self, batch: list[Spoken]) -> None:
        for to, channel, body in batch:
            assert channel in CHANNELS
            self._network.peers[f"node-{KEYS.index(to) + 1}/peer"].hear((self._identity, channel, body))

    def hear(self, said: Spoken) -> None:
        """Another node's Peer has sent this."""
        if self._line is not None:
            self._line.send([said])

    async def _request(self, to: bytes, method: str, body: bytes, _deadline_s: float | None = None) -> bytes:
        shell = self._network.shells[to]
        if method == PROGRESS_METHOD:
            return await shell.hear_progress()
        if method == FUNCTION_METHOD:
            return await shell.hear_function(body)
        assert method == CHANGE_METHOD
        return await shell.hear_change(body)

    async def _committed(self, delta: Delta) -> None:
        self.followed.append(delta.height)

    async def _ask_proofs(self, to: list[bytes], height: int, digest: bytes) -> list[tuple[bytes, bytes]]:
        return [(who, await self._network.shells[who].prove(height, digest)) for who in to]

    async def _ask_headers(self, *_: Any) -> list[bytes]:
        return []

    async def _fetch_block(self, *_: Any) -> None:
        return None


class Network:
    """Three nodes on one loop, each with a Storage of its own. shard: makes where each draws from."""

    def __init__(
        self,
        folder: Path,
        genesis: Genesis = GENESIS,
        shard: Callable[[], Any] = Shard,
        settings: ConsensusSettings = SETTINGS,
    ) -> None:
        self._folder, self.shells = folder, dict[bytes, Consensus]()
        self._genesis, self._shard, self._settings = genesis, shard, settings
        self.storages: list[Storage] = []
        self.peers = {f"node-{n}/peer": Peer(self, n) for n in range(1, MEMBERS + 1)}

    def without_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The shells find each other here."""
        monkeypatch.setattr(actor, "ValidatorScaler", lambda *_: None)
        monkeypatch.setattr(actor, "freeze_long_lived", lambda: None)
        monkeypatch.setattr("actors.consensus.actor.ray.get_actor", self.peers.__getitem__)

    async def start(self) -> None:
        place = self._folder / "allocation"
        place.write_bytes(ALLOCATION.encode())
        for number, signer in enumerate(SIGNERS, 1):
            folder, name = self._folder / str(number), f"node-{number}"
            folder.mkdir()
            key = folder / "node.key"
            key.write_text((bytes([number]) * 32).hex())
            context = ActorContext(name, "storage", str(folder), LogSettings())
            storage = Storage(context, StorageSettings(), self._genesis, str(place), "portable", 1)
            self.storages.append(storage)
            handle = Handle(storage)
            handle.stored_block = Remote(storage.stored_block)
            shell = Consensus.__new__(Consensus)
            context = ActorContext(name, "consensus", str(folder), LogSettings())
            await Consensus.__init__(
                shell, context, self._settings, self._genesis, str(key), handle, pool(), [self._shard()],
                [f"{name}/peer"],
            )  # fmt: skip
            self.shells[signer.public_key] = shell
        for peer in self.peers.values():
            await peer.begin()

    async def stop(self) -> None:
        for shell in self.shells.values():
            await shell.stop()
            await shell._agreement.close()
        for storage in self.storages:
            storage.stop()

    async def until_all_have(self, blocks: int) -> list[dict[str, Any]]:
        """What each says of itself once it has so many."""
        async with asyncio.timeout(60):
            while True:
                told = [await shell.status() for shell in self.shells.values()]
                if min(int(str(each.get("height", 0))) for each in told) >= blocks:
                    return told
                await asyncio.sleep(0.005)


def pool() -> Any:
    """Validators that find everything valid."""

    async def verify(_rows: Any, count: int) -> np.ndarray:
        return np.ones(count, dtype=np.bool_)

    return SimpleNamespace(workers=[], warm=lambda: None, verify=verify, statistics=dict)


@pytest.mark.parametrize("engine", ENGINES)
def test_blocks_are_ordered_delivered_and_read_whatever_the_engine_is(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def whole() -> None:
        network = Network(tmp_path)
        monkeypatch.setattr(actor, "agreement_of", engine)
        network.without_ray(monkeypatch)
        await network.start()
        try:
            await scenario(network)
        finally:
            await network.stop()

    asyncio.run(whole())


async def scenario(network: Network) -> None:
    for shell in network.shells.values():
        await shell.start()
    told = await network.until_all_have(BLOCKS)
    assert len({(each["hash"], each["state_root"]) for each in told}) == 1
    assert [each["halted"] for each in told] == [""] * MEMBERS
    leaders = {bytes.fromhex(str(each["leader"])) for each in told}
    assert [each["role"] for each in told if each["identity"] in {who.hex() for who in leaders}] == ["leader"]
    leader = network.shells[leaders.pop()]
    follower = next(shell for shell in network.shells.values() if shell is not leader)
    assert await follower.read_index() == await leader.read_index() == BLOCKS
    assert [member.name for member in await follower.members()] == ["node-1", "node-2", "node-3"]
    told_here, told_there = await follower.members(), await leader.members()
    assert [each.behind is None for each in told_here] == [each.behind is None for each in told_there]
    assert isinstance(await follower.change_member("add", "nobody"), ChangeRefused)
    proof = await follower.prove(BLOCKS, bytes.fromhex(str(told[0]["hash"])))
    voters = {identity for identity, _ in decode_certificate(proof).votes}
    assert voters <= set(GENESIS.member_keys)
    assert (await leader.agreement())["leads"]
    await nothing_is_committed_twice(network.storages[0], follower)
    for peer in network.peers.values():
        assert peer.followed == list(range(1, BLOCKS + 1))


async def nothing_is_committed_twice(storage: Storage, follower: Consensus) -> None:
    """A proven block that is final already changes nothing; one without proof is not looked at."""
    sealed = decode_sealed_header(storage.sealed_headers(1, 1)[0])
    found = storage.stored_block(1, sealed.header.hash())
    assert found is not None
    batch = decode_block(found[0], 100, 100).batch
    proven = OfferedBlock(sealed.header, sealed.signature, found[1], batch.rows, batch.payloads)
    refused = BlockRefused(1, f"height follows {BLOCKS}")
    assert await follower.validate_blocks([proven]) == [refused]
    with pytest.raises(ValueError, match="only what has a certificate is taken"):
        await follower.validate_blocks([msgspec.structs.replace(proven, certificate=b"")])
