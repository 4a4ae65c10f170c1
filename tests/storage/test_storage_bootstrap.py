"""A new observer begins with a snapshot from peers that it does not trust, over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.bootstrap import Begun, begin_from_peers
from actors.directory import NetworkDirectory, NodeFolder, write_secret
from actors.ledger.hashing import sha256_rows
from actors.peer.config import KnownMember, PeerConfig, PeerLimits
from actors.peer.network import Network
from actors.peer.snapshots import serve_snapshots
from actors.settings import PeerSettings
from actors.storage import snapshots
from actors.storage.chain import Chain
from actors.storage.housekeeping import Housekeeper, Policy, offer
from actors.storage.interface import StorageFace
from actors.storage.reads import Reader
from tests.standing_for import standing_for
from tests.storage.storage_network import Driver, make_genesis, open_chain, present

ACCOUNTS, SNAPSHOT_AT = 90, 10
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


class Served:
    """The snapshots of a chain, or what a liar makes of them."""

    def __init__(self, chain: Chain, change: Callable[[bytes], bytes | None]) -> None:
        self.chain, self.change = chain, change
        self.house = Housekeeper(chain, Policy(5, SNAPSHOT_AT, 2, "full", 3), lambda _text: None)

    async def snapshot_offer(self) -> tuple[bytes, bytes]:
        """As the shell of Storage answers."""
        return offer(self.house, Reader(self.chain)) or (b"", b"")

    async def snapshot_chunk(self, digest: bytes) -> bytes | None:
        """A chunk, changed."""
        return self.change(self.house.store.chunk(digest) or b"")


@contextmanager
def peers(*sources: Served) -> Iterator[list[str]]:
    """Nodes that serve these, in a loop of their own; their addresses."""
    loop, addresses = asyncio.new_event_loop(), []
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin(number: int, source: Served) -> Network:
        limits = PeerLimits(subnet_per_bucket_max=0, subnet_per_table_max=0)
        member = KnownMember(bytes.fromhex(GENESIS.members[0].identity))
        network = Network(
            PeerConfig(bytes([number + 1] * 32), GENESIS.hash(), (member,), limits=limits, listen_port=0)
        )
        await network.start(1)
        serve_snapshots(network, standing_for(StorageFace, source))
        return network

    networks = []
    try:
        for number, source in enumerate(sources):
            network = asyncio.run_coroutine_threadsafe(begin(number, source), loop).result(30)
            networks.append(network)
            addresses.append(str(network.address))
        yield addresses
    finally:
        for network in networks:
            asyncio.run_coroutine_threadsafe(network.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_ACCOUNTS", 16)
    monkeypatch.setattr("actors.bootstrap.CONNECT_TIMEOUT_S", 120.0)  # it ends with the last peer


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A pruned chain with a snapshot at SNAPSHOT_AT."""
    chain = open_chain(tmp_path / "member", GENESIS, ALLOCATION)
    Driver(chain, ACCOUNTS).run(SNAPSHOT_AT + 3)
    house = Served(chain, bytes).house
    house.run(lambda: False)
    assert chain.base.bodies == SNAPSHOT_AT + 1
    yield chain
    chain.disk.close()


def begun(tmp_path: Path, addresses: list[str]) -> Begun | None:
    folder = NodeFolder("new", tmp_path / "new", b"")
    if not folder.key_path.exists():
        write_secret(folder.key_path, b"\x77" * 32)
    directory = NetworkDirectory(tmp_path, GENESIS, [folder], created=True)
    settings = PeerSettings(seeds=addresses)
    return begin_from_peers(settings, directory, folder, sha256_rows, lambda _text: None)


def test_a_new_node_begins_with_the_snapshot_of_a_pruned_chain(chain: Chain, tmp_path: Path) -> None:
    with peers(Served(chain, bytes)) as addresses:
        told = present(begun(tmp_path, addresses))
        assert begun(tmp_path, addresses) is None  # it is not new any more
    assert (told.height, told.chunks, told.peers) == (SNAPSHOT_AT, 8, 1)
    assert told.bytes_fetched > 48 * ACCOUNTS
    other = open_chain(tmp_path / "new" / "db", GENESIS, None)
    assert other.head.hash == chain.hash_at(SNAPSHOT_AT)
    assert other.state.committed_supply() == GENESIS.supply
    other.disk.close()


def test_liars_and_the_silent_cost_time_only(chain: Chain, tmp_path: Path) -> None:
    liar = Served(chain, lambda chunk: chunk[:-1] + bytes([chunk[-1] ^ 1]))
    silent = Served(chain, lambda _chunk: None)
    with peers(liar, silent) as addresses:
        assert begun(tmp_path, addresses[:1]) is None
        assert begun(tmp_path, addresses[1:]) is None
    with peers(liar, silent, Served(chain, bytes)) as addresses:
        told = present(begun(tmp_path, addresses))
    assert (told.height, told.peers) == (SNAPSHOT_AT, 1)


def test_nobody_offers_a_snapshot(tmp_path: Path) -> None:
    chain = open_chain(tmp_path / "young", GENESIS, ALLOCATION)
    with peers(Served(chain, bytes)) as addresses:
        assert begun(tmp_path, addresses) is None
    chain.disk.close()
    assert not (tmp_path / "new" / "db" / "acknowledged").read_bytes()
