"""The actor's plain class, driven without Ray: the four calls that every actor has, and `peers`."""

import asyncio

from nacl.signing import SigningKey

from actors.peer.actor import Peer
from actors.peer.config import PeerConfig


def test_start_health_peers_stop() -> None:
    async def scenario() -> None:
        peer = Peer(PeerConfig(identity_seed=b"a" * 32, genesis_hash=b"g" * 32))
        assert (await peer.health())["ok"] is False
        started = await peer.start()
        assert started["identity"] == SigningKey(b"a" * 32).verify_key.encode().hex()
        assert str(started["address"]).startswith("127.0.0.1:")
        assert await peer.start() == started
        assert (await peer.health())["ok"] is True
        assert await peer.peers() == []
        await peer.stop()
        await peer.stop()
        assert (await peer.health())["ok"] is False

    asyncio.run(scenario())
