"""The actor's plain class, driven without Ray: other actors are stood in for by objects with `.remote`."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from actors.peer.config import PeerIntervals
from actors.peer.errors import ConfigError, NotConnectedError
from actors.peer.wire_face import Peer
from tests.peer.nodes import config_of, identity_of


class Remote:
    """A method of an actor handle: `.remote(...)` gives something to await."""

    def __init__(self, function: Callable[..., Awaitable[object]]) -> None:
        self.remote = function


def test_start_health_peers_stop() -> None:
    async def scenario() -> None:
        peer = Peer(config_of(0))
        assert (await peer.health())["ok"] is False
        with pytest.raises(NotConnectedError):
            await peer.request(bytes(32), "ask", b"")
        started = await peer.start()
        assert started["identity"] == identity_of(0).hex()
        assert str(started["address"]).startswith("127.0.0.1:")
        assert await peer.start() == started
        health = await peer.health()
        assert (health["ok"], health["event_loop"]) == (True, "asyncio")
        assert await peer.peers() == []
        await peer.stop()
        await peer.stop()
        assert (await peer.health())["ok"] is False

    asyncio.run(scenario())


def test_taken_address_leaves_the_actor_startable() -> None:
    async def scenario() -> None:
        first = Peer(config_of(0))
        port = int(str((await first.start())["address"]).rpartition(":")[2])
        second = Peer(config_of(1, listen_port=port))
        with pytest.raises(OSError, match="address"):
            await second.start()
        await first.stop()
        await second.start()
        await second.stop()

    asyncio.run(scenario())


def test_two_peers_ask_each_other_and_send_blocks() -> None:
    async def scenario() -> None:
        a, b = Peer(config_of(0, 2)), Peer(config_of(1, 2))
        address = str((await a.start())["address"])
        got: list[tuple[bytes, bytes]] = []

        async def answer(identity: bytes, body: bytes) -> bytes:
            got.append((identity, body))
            return b"answer to " + body

        await b.start()
        network = a._running()
        network.register_method("ask", answer, members_only=True)
        network.register_method("block", answer)
        target, origin = identity_of(0), identity_of(1)
        await b.add_seeds([address])
        await eventually_connected(b, target)
        assert await b.request(target, "ask", b"me") == b"answer to me"
        (receipt,) = await b.push_block([target], np.frombuffer(b"block", dtype=np.uint8), 5)
        assert (receipt.identity, receipt.error) == (target, "")
        assert got == [(origin, b"me"), (origin, b"block")]
        assert (await b.health())["peers"] == 1
        await a.stop()
        await b.stop()

    asyncio.run(scenario())


def test_seeds_that_are_added_later_are_dialled_at_once_and_remembered() -> None:
    async def scenario() -> None:
        slow = PeerIntervals(tick_s=3600, backoff_min_s=3600, backoff_max_s=3600)
        a, b = Peer(config_of(0, intervals=slow)), Peer(config_of(1, intervals=slow))
        addresses = [str((await peer.start())["address"]) for peer in (a, b)]
        await a.add_seeds(addresses)
        await eventually_connected(a, identity_of(1))
        with pytest.raises(ConfigError, match="port"):
            await a.add_seeds(["127.0.0.1:1", "127.0.0.1:0"])
        with pytest.raises(ConfigError, match=r"seeds: \d+ addresses, limit 256"):
            await a.add_seeds([f"127.0.0.1:{port}" for port in range(1, 300)])
        await a.stop()
        await a.start()
        await eventually_connected(a, identity_of(1))
        await a.stop()
        await b.stop()

    asyncio.run(scenario())


async def eventually_connected(peer: Peer, identity: bytes) -> None:
    async with asyncio.timeout(20):
        while peer._running().connected() != [identity]:
            await asyncio.sleep(0.005)
