"""The Ray shell of the peer room: one `Peer` a node, an async actor around `Network`.

The class is plain; `node.py` wraps it with `ray.remote(Peer)` and gives it resources. Calls from one caller
may be reordered (async actors do that), so whatever needs order carries its own sequence numbers.
"""

from __future__ import annotations

import asyncio
import time

from actors.peer.config import PeerConfig
from actors.peer.network import Network


class Peer:
    """A node's place on the network. Constructor, `start`, `health`, `stop`, then its own calls."""

    def __init__(self, config: PeerConfig) -> None:
        self._config = config
        self._network: Network | None = None
        self._started_at_s: float | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> dict[str, object]:
        """Bind and begin to connect. Returns `address` and `identity` (hex); idempotent.

        Raises `OSError` when the address is taken.
        """
        async with self._lock:
            if self._network is None:
                network = Network(self._config)
                await network.start(time.time_ns() // 1_000_000)
                self._network = network
                self._started_at_s = time.monotonic()
            return {"address": self._network.address, "identity": self._network.identity.hex()}

    async def health(self) -> dict[str, object]:
        """`ok`, `address`, `identity`, `uptime_s` and `peers` (how many are connected)."""
        network = self._network
        if network is None or self._started_at_s is None:
            return {"ok": False, "address": None, "identity": None, "uptime_s": 0.0, "peers": 0}
        return {
            "ok": True,
            "address": network.address,
            "identity": network.identity.hex(),
            "uptime_s": time.monotonic() - self._started_at_s,
            "peers": len(network.connected()),
        }

    async def peers(self) -> list[dict[str, object]]:
        """One row a known peer: `state`, `address`, `identity` (hex), `last_seen_s`, `rtt_ms`."""
        return [] if self._network is None else self._network.peers()

    async def stop(self) -> None:
        """Close every connection and the listening socket; idempotent."""
        async with self._lock:
            network, self._network = self._network, None
            if network is not None:
                await network.stop()
