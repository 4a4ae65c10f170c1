"""The actor's plain class, driven without Ray: other actors are stood in for by objects with `.remote`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from actors.peer.config import PeerIntervals
from actors.peer.errors import ConfigError, NotConnectedError
from actors.peer.wire_face import CHANNELS_MAX, Peer
from tests.peer.nodes import config_of, eventually, identity_of


class Remote:
    """A method of an actor handle: `.remote(...)` gives something to await."""

    def __init__(self, function: Callable[..., Awaitable[object]]) -> None:
        self.remote = function


class Listener:
    """Stands for the handle of another actor."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, bytes]] = []
        self.batch = Remote(self._batch)
        self.answer = Remote(self._answer)
        self.judge = Remote(self._judge)

    async def _batch(self, batch: list[tuple[bytes, bytes]]) -> None:
        self.got.extend(batch)

    async def _answer(self, identity: bytes, body: bytes) -> bytes:
        self.got.append((identity, body))
        return b"answer to " + body

    async def _judge(self, batch: list[tuple[bytes, bytes]]) -> list[str]:
        self.got.extend(batch)
        return ["accept"] * len(batch)


def test_start_health_peers_stop() -> None:
    async def scenario() -> None:
        peer = Peer(config_of(0))
        assert (await peer.health())["ok"] is False
        with pytest.raises(NotConnectedError):
            await peer.send([(bytes(32), "raft", b"")])
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


def test_actors_speak_through_two_peers() -> None:
    async def scenario() -> None:
        a, listener = Peer(config_of(0, 2)), Listener()
        await a.listen("raft", listener, "batch")
        await a.serve("ask", listener, "answer", members_only=True)
        await a.serve("block", listener, "answer")
        await a.judge("transactions", listener, "judge")
        address = str((await a.start())["address"])
        b = Peer(config_of(1, 2, seeds=(address,)))
        await b.start()
        target, origin = identity_of(0), identity_of(1)
        joined = await b.poll("peers", 0, wait_s=20)
        assert joined["packets"][0]["event"] == "joined"  # type: ignore[index]
        assert await b.connected() == [target]
        assert await b.send([(target, "raft", b"vote"), (bytes(32), "raft", b"lost")]) == [True, False]
        await eventually(lambda: listener.got == [(origin, b"vote")])
        assert await b.request(target, "ask", b"me") == b"answer to me"
        (receipt,) = await b.broadcast_block(b"block", deadline_s=5)
        assert (receipt["identity"], receipt["ok"]) == (target.hex(), True)
        await b.publish("transactions", [b"batch"])
        await eventually(lambda: (origin, b"batch") in listener.got)
        assert (await b.health())["peers"] == 1
        await a.stop()
        left = await b.poll("peers", 1, wait_s=20)
        assert left["packets"] == ({"event": "left", "identity": target.hex()},)
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
        while await peer.connected() != [identity]:
            await asyncio.sleep(0.005)


def test_channels_tell_who_lagged() -> None:
    async def scenario() -> None:
        config = config_of(0)
        peer = Peer(replace(config, limits=replace(config.limits, channel_packets_max=10)))
        assert await peer.poll("deltas") == {"packets": (), "next": 0, "missed": 0}
        assert await peer.publish_packets("deltas", list(range(25))) == 25
        assert await peer.poll("deltas", 0) == {"packets": (), "next": 15, "missed": 15}
        assert (await peer.poll("deltas", 20))["packets"] == (20, 21, 22, 23, 24)
        waiting = asyncio.create_task(peer.poll("deltas", wait_s=20))
        await asyncio.sleep(0)
        await peer.publish_packets("deltas", ["late"])
        assert (await waiting)["packets"] == ("late",)
        for index in range(CHANNELS_MAX - 1):
            await peer.publish_packets(f"channel {index}", [])
        with pytest.raises(ValueError, match="channel"):
            await peer.publish_packets("one too many", [])

    asyncio.run(scenario())
