"""The peer of a whole node, driven without Ray: blocks between members, and what a restart remembers."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.ledger.block import Block, Header, sign_proposal
from actors.ledger.delta import AccountStates, ChainHead, Delta
from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.local_socket import LocalListener, Spoken
from actors.peer import address_book
from actors.peer.actor import NodePeer
from actors.peer.address_book import ADDRESSES_MAX, AddressBook, decode_address_book
from actors.peer.errors import ConfigError
from actors.settings import LogSettings, PeerSettings
from actors.shell import ActorContext
from tests.peer.test_actor import Remote, eventually_connected

MEMBERS = [Signer(bytes([n]) * 32) for n in (1, 2)]
GENESIS = Genesis(
    version=GENESIS_VERSION,
    network="test",
    created_ms=1,
    members=[Member(f"node-{n}", signer.public_key.hex()) for n, signer in enumerate(MEMBERS)],
    accounts=0,
    supply=0,
    state_root="00" * 32,
    block_transactions_max=10,
    block_payload_bytes_max=100,
    fee_min=0,
    balance_min=1,
)
BODY = sign_transfer(MEMBERS[0], GENESIS.chain_tag, Transfer(bytes(32), 1, 0, payload=b"memo"))


def block_of(body: Batch = BODY) -> Block:
    key = MEMBERS[0].public_key
    header = Header(1, 1, 1, len(body), len(body.payloads), bytes(32), bytes(32), bytes(32), bytes(32), key)
    return Block(header, sign_proposal(MEMBERS[0], GENESIS.hash(), header.hash()), body)


def delta(height: int) -> Delta:
    no_keys, nothing = np.empty((0, 32), dtype=np.uint8), np.empty(0, dtype=np.uint64)
    accounts = AccountStates(height, no_keys, nothing, nothing)
    return Delta.of_accounts(accounts, 1, bytes(32), bytes(32), no_keys)


class Storage:
    """Stands for the handle of Storage: a genesis, and perhaps one stored block."""

    def __init__(self, block: Block | None = None) -> None:
        self.head = Remote(self._head)
        self.announced: list[int] = []
        self.sealed_headers, self.bodies = Remote(self._headers), Remote(self._nothing)
        self.stored_block = Remote(self._stored)
        self._block = block

    async def _head(self) -> ChainHead:
        return ChainHead(0, GENESIS.hash(), bytes(32), GENESIS.created_ms)

    async def _nothing(self, *_: int) -> list[bytes]:
        return []

    async def _headers(self, start: int, _count: int) -> list[bytes]:
        self.announced.append(start)
        return []

    async def _stored(self, height: int, digest: bytes) -> tuple[bytes, bytes] | None:
        block = self._block
        if block is None or block.header.height != height:
            return None
        return block.encode(), b"certificate"


class Consensus:
    """Stands for the handle of Consensus: keeps what it is handed, and votes for every block."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.offer_block = Remote(self._take)
        self.prove = Remote(self._prove)
        self.line = Remote(self._line)
        self.hear_change = Remote(self._change)
        self.exchange: LocalListener | None = None
        self.by_line: list[Spoken] = []
        self.asked = 0

    async def _take(self, identity: bytes, block: Any) -> None:
        self.got.append((identity, block))

    async def _change(self, request: bytes) -> bytes:
        return b"changed by " + request

    async def _line(self) -> str:
        self.asked += self.exchange is not None
        return self.exchange.name if self.exchange else "nobody"

    async def listen(self) -> None:
        self.exchange = LocalListener(self.by_line.extend)
        await self.exchange.start()

    async def _prove(self, height: int, digest: bytes) -> bytes:
        return b"vote" + bytes([height]) + digest


@asynccontextmanager
async def members(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *storages: Storage
) -> AsyncIterator[list[NodePeer]]:
    monkeypatch.setattr("actors.peer.actor.ray.put", lambda column: column)
    peers = [open_peer(folder, index, storage) for index, storage in enumerate(storages)]
    try:
        for peer in peers:
            await peer.start()
        yield peers
    finally:
        for peer in peers:
            await peer.stop()


def open_peer(folder: Path, index: int, storage: Storage) -> NodePeer:
    home = folder / f"node-{index}"
    home.mkdir(exist_ok=True)
    (home / "key").write_text((bytes([index + 1]) * 32).hex())
    context = ActorContext(f"node-{index}", "peer", str(home), LogSettings(level="ERROR"))
    return NodePeer(
        context, PeerSettings(), GENESIS, str(home / "key"), storage, Consensus(), kernel_choice="portable"
    )


def handle_of(face: Any) -> Any:
    """What a face stands before."""
    return face._handle


async def address_of(peer: NodePeer) -> str:
    return str((await peer.health())["address"])


def run(scenario: Callable[[], Any]) -> None:
    asyncio.run(scenario())


def test_a_pushed_block_reaches_consensus_and_a_malformed_one_its_senders_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage(), Storage()) as (a, b):
            await a.add_seeds([await address_of(b)])
            await eventually_connected(a, MEMBERS[1].public_key)
            to, block, consensus = [MEMBERS[1].public_key], block_of(), handle_of(b._consensus)
            (report,) = await a.push_block(to, np.frombuffer(block.encode(), dtype=np.uint8), 20)
            assert (report.identity, report.error) == (to[0], "")
            ((sender, got),) = consensus.got
            assert sender == MEMBERS[0].public_key
            assert (got.header, got.signature, got.certificate) == (block.header, block.signature, b"")
            assert np.array_equal(got.rows, BODY.rows)
            assert got.payloads.tobytes() == b"memo"
            (bad,) = await a.push_block(to, np.frombuffer(block.encode()[:-1], dtype=np.uint8), 20)
            assert bad.error == "block_form"
            offences = (await b.health())["counters"]["offences"]  # type: ignore[index]
            assert offences == {"block_form": 1}
            assert len(consensus.got) == 1

    run(scenario)


def test_members_are_asked_for_their_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage(), Storage()) as (a, b):
            await a.add_seeds([await address_of(b)])
            key = MEMBERS[1].public_key
            await eventually_connected(a, key)
            assert await a.request(key, "change_member", b"me", 20) == b"changed by me"
            asked = await a.ask_proofs([key, bytes(32)], 7, b"\x05" * 32)
            assert asked == [(key, b"vote\x07" + b"\x05" * 32)]

    run(scenario)


def test_a_line_carries_what_replicas_say_and_another_one_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage(), Storage()) as (a, b):
            keys, handles = (
                [signer.public_key for signer in MEMBERS],
                [handle_of(a._consensus), handle_of(b._consensus)],
            )
            await a.add_seeds([await address_of(b)])
            await eventually_connected(a, keys[1])
            for round_number in range(2):  # as after a restart of both
                for handle in handles:
                    await handle.listen()
                said = [(keys[1], "raft", b"%d" % round_number), (keys[1], "certificate", b"two")]
                async with asyncio.timeout(60):
                    while b._line is None or not handles[0].exchange.send(said):
                        await asyncio.sleep(0.01)
                    while len(handles[1].by_line) < 2:
                        await asyncio.sleep(0.01)
                assert handles[1].by_line == [(keys[0], channel, body) for _, channel, body in said]
                assert [handle.asked for handle in handles] == [round_number + 1] * 2  # one line, no contest
                handles[1].by_line.clear()
                for handle, peer in zip(handles, (a, b), strict=True):
                    handle.exchange.close()
                    handle.exchange = None
                    async with asyncio.timeout(60):
                        while peer._line is not None:
                            await asyncio.sleep(0.01)

    run(scenario)


def test_a_missed_block_is_fetched_and_another_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        block = block_of()
        async with members(tmp_path, monkeypatch, Storage(), Storage(block)) as (a, b):
            await a.add_seeds([await address_of(b)])
            await eventually_connected(a, MEMBERS[1].public_key)
            key, digest = MEMBERS[1].public_key, block.header.hash()
            got = await a.fetch_block(key, 1, digest, 20)
            assert got is not None
            assert (got.header, got.signature, got.certificate) == (
                block.header,
                block.signature,
                b"certificate",
            )
            assert np.array_equal(got.rows, BODY.rows)
            assert await a.fetch_block(key, 2, digest, 20) is None
            assert await a.fetch_block(MEMBERS[0].public_key, 1, digest, 20) is None
            assert await a.fetch_block(key, 1, bytes(32), 20) is None
            offences = (await a.health())["counters"]["offences"]  # type: ignore[index]
            assert offences == {"block_hash": 1}

    run(scenario)


def test_commits_are_announced_to_observers_and_not_among_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage(), Storage(), Storage()) as (a, b, observer):
            await a.add_seeds([await address_of(b)])
            await eventually_connected(a, MEMBERS[1].public_key)
            await a.committed(delta(1))
            assert handle_of(a._storage).announced == []
            await observer.add_seeds([await address_of(a)])
            async with asyncio.timeout(60):
                while Signer(bytes([3]) * 32).public_key not in a._running().connected():
                    await asyncio.sleep(0)
            assert handle_of(a._storage).announced == []
            await a.committed(delta(2))
            assert handle_of(a._storage).announced == [2]

    run(scenario)


@pytest.mark.parametrize("emptied", [False, True])
def test_a_restarted_peer_keeps_its_port_and_finds_the_others_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, emptied: bool
) -> None:
    """One that was emptied is found by the others, at the port that follows from its key."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(address_book, "USUAL_PORTS", range(port, port + 1))  # nobody else's in these tests

    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage(), Storage()) as (a, b):
            before, other = await address_of(a), await address_of(b)
            await a.add_seeds([other])
            await eventually_connected(a, MEMBERS[1].public_key)
            await b.add_seeds([before])
            await a.stop()
            if emptied:
                (tmp_path / "node-0" / "peers.json").unlink()
            again = open_peer(tmp_path, 0, Storage())
            assert (await again.start())["address"] == before
            await eventually_connected(again, MEMBERS[1].public_key)
            squatter = open_peer(tmp_path, 0, Storage())
            assert (await squatter.start())["address"] not in (before, other)
            await squatter.stop()
            await again.stop()

    run(scenario)


def test_a_peer_that_restarts_with_a_clock_set_back_is_still_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with members(tmp_path, monkeypatch, Storage()) as (peer,):
            await peer.start()
            before = decode_address_book(peer._book_path.read_bytes()).sequence
            await peer.stop()
            monkeypatch.setattr("actors.peer.actor.time.time_ns", lambda: 0)
            again = open_peer(tmp_path, 0, Storage())
            await again.start()
            record = again._running().links.record
            await again.stop()
            assert record is not None
            assert (before > 0, record.sequence) == (True, before + 1)

    run(scenario)


def test_the_address_book_is_bounded_and_refuses_what_is_no_book(tmp_path: Path) -> None:
    book = AddressBook().bound(7, 9).reached("a:1", "b:2").reached("a:1")
    assert book == AddressBook(7, ("b:2", "a:1"), 9)
    assert decode_address_book(book.encode()) == book
    full = book.reached(*(f"c:{port}" for port in range(1, 100)))
    assert len(full.addresses) == ADDRESSES_MAX
    assert full.addresses[-1] == "c:99"
    for bad in (b"", b"[]", b"\xff", b'{"port": 70000}', b'{"addresses": ["no port"]}', b'{"port": "x"}'):
        with pytest.raises(ConfigError):
            decode_address_book(bad)
    folder = tmp_path / "node-0"
    folder.mkdir()
    (folder / "peers.json").write_bytes(b"torn")
    assert open_peer(tmp_path, 0, Storage())._book == AddressBook()
