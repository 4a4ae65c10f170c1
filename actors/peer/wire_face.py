"""The Ray shell of the peer room: one `Peer` a node, an async actor around `Network`, `Discovery`, `Spread`.

The class is plain; `actors/topology.py` makes an actor of it and gives it resources. Calls from one caller
may be reordered (async actors do that), so whatever needs order carries its own sequence numbers.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.block import PushReceipt
from actors.peer.advertise import NOT_PUBLISHED
from actors.peer.config import PeerConfig
from actors.peer.discovery import Discovery
from actors.peer.errors import NotConnectedError
from actors.peer.faults import read_faults
from actors.peer.kademlia.records import EndpointRecord
from actors.peer.network import Network
from actors.peer.spread import Spread
from actors.peer.table import Link

NOT_STARTED = "this node's peer is not started"


class Peer:
    """A node's place on the network. Constructor, `start`, `health`, `stop`, then its own calls."""

    def __init__(self, config: PeerConfig) -> None:
        self._config = config
        self._network: Network | None = None
        self._discovery: Discovery | None = None
        self._spread: Spread | None = None
        self._started_at_s = 0.0
        self._lock = asyncio.Lock()

    # -- life

    async def start(self) -> dict[str, object]:
        """Bind and begin to connect. Returns `address` and `identity` (hex); idempotent.

        Raises `OSError` when the address is taken.
        """
        async with self._lock:
            if self._network is None:
                network = Network(self._config)
                self._discovery, self._spread = Discovery(network), Spread(network)
                network.links.on_established.append(self._on_established)
                self._network = network
                try:
                    await network.start(self._record_sequence())
                except OSError:
                    self._network = self._discovery = self._spread = None
                    raise
                self._started_at_s = time.monotonic()
            network = self._network
            return {
                "address": network.address,
                "advertised": network.advertised,
                "identity": network.identity.hex(),
            }

    def _on_established(self, link: Link, record: EndpointRecord | None) -> None:
        """A connection is there, with what the other end says of itself."""

    def _record_sequence(self) -> int:
        """Of the record that this node signs of itself: higher than any before it."""
        return time.time_ns() // 1_000_000

    async def health(self) -> dict[str, object]:
        """`ok`, `address` (bound), `advertised` (published; None for none, and then `advertise` says what to
        set), `identity`, `uptime_s`, `event_loop` (uvloop in a node), `peers` (connected),
        `reason` (why there are none; empty when there are), `failures` (what is wrong at which address),
        `routes` (table size), `counters`."""
        network = self._network
        if network is None or self._discovery is None or self._spread is None:
            return {
                "ok": False,
                "address": None,
                "identity": None,
                "uptime_s": 0.0,
                "peers": 0,
                "reason": NOT_STARTED,
            }
        return {
            "ok": True,
            "address": network.address,
            "advertised": network.advertised,
            "advertise": "" if network.advertised else NOT_PUBLISHED,
            "identity": network.identity.hex(),
            "uptime_s": time.monotonic() - self._started_at_s,
            "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "peers": len(network.connected()),
            "reason": network.reason(),
            "failures": network.links.failures.all(),
            "routes": len(self._discovery.table),
            "gossip": self._spread.core.held,
            "counters": network.counters(),
        }

    async def stop(self) -> None:
        """Close every connection and the listening socket; idempotent."""
        async with self._lock:
            network, self._network = self._network, None
            self._discovery = self._spread = None
            if network is not None:
                await network.stop()

    async def add_seeds(self, addresses: list[str]) -> None:
        """Dial these `host:port` at once and keep trying; remembered over a stop and a start.

        Raises `ConfigError` for a malformed address or too many, and then adds none.
        """
        if self._network is not None:
            self._network.add_seeds(addresses)
        seeds = tuple(dict.fromkeys((*self._config.seeds, *addresses)))
        self._config = replace(self._config, seeds=seeds)

    async def peers(self) -> list[dict[str, object]]:
        """One row a known peer: `state`, `address`, `identity` (hex), `last_seen_s`, `rtt_ms`, `member`."""
        return [] if self._network is None else self._network.peers()

    async def set_faults(self, faults: dict[str, Any]) -> None:
        """Have the wire misbehave, for tests (see `faults.read_faults`); an empty document ends it.

        Raises `ValueError` naming what is wrong with it.
        """
        self._running().links.faults = read_faults(faults)

    # -- other actors speak

    async def request(
        self, identity: bytes, method: str, body: bytes, deadline_s: float | None = None
    ) -> bytes:
        """Ask a connected peer. Raises `NotConnectedError` or `RequestError`."""
        return await self._running().request(identity, method, body, deadline_s)

    async def push_block(
        self, to: list[bytes], body: NDArray[np.uint8], deadline_s: float | None = None
    ) -> list[PushReceipt]:
        """Send the bytes of a `Block`, (n,) uint8, to these members; see `Spread.broadcast_block`."""
        self._running()
        spread = self._spread
        return [] if spread is None else await spread.broadcast_block(body.tobytes(), to, deadline_s)

    # -- inside

    def _running(self) -> Network:
        if self._network is None:
            raise NotConnectedError("this peer is not started")
        return self._network
