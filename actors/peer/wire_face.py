"""The Ray shell of the peer room: one `Peer` a node, an async actor around `Network`, `Discovery`, `Spread`.

The class is plain; `actors/topology.py` makes an actor of it and gives it resources. Calls from one caller
may be reordered (async actors do that), so whatever needs order carries its own sequence numbers. Other
actors register with `listen`, `serve` and `judge`: their handle, and the name of their method that takes a
batch. One call a class is under way at a time and the next batch gathers meanwhile, so a slow listener slows
its own class of its own peers and nobody else.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from actors.faces import remote
from actors.peer.advertise import NOT_PUBLISHED
from actors.peer.channels import Channel, Lagged
from actors.peer.config import PeerConfig
from actors.peer.discovery import Discovery
from actors.peer.errors import NotConnectedError, RequestError
from actors.peer.faults import read_faults
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.kademlia.records import EndpointRecord
from actors.peer.network import Network
from actors.peer.spread import Spread
from actors.peer.table import Link
from actors.peer.wire.frames import Priority

PEERS_CHANNEL = "peers"
NOT_STARTED = "this node's peer is not started"
CHANNELS_MAX = 64
POLL_WAIT_S_MAX = 30.0


class Peer:
    """A node's place on the network. Constructor, `start`, `health`, `stop`, then its own calls."""

    def __init__(self, config: PeerConfig) -> None:
        self._config = config
        self._network: Network | None = None
        self._discovery: Discovery | None = None
        self._spread: Spread | None = None
        self._channels: dict[str, Channel[Any]] = {}
        self._registrations: list[tuple[str, str, Any, str, bool]] = []
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
                network.links.on_gone.append(self._on_gone)
                self._network = network
                for registration in self._registrations:
                    self._register(*registration)
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

    async def connected(self) -> list[bytes]:
        """Identities with an established connection."""
        return [] if self._network is None else self._network.connected()

    async def set_faults(self, faults: dict[str, Any]) -> None:
        """Have the wire misbehave, for tests (see `faults.read_faults`); an empty document ends it.

        Raises `ValueError` naming what is wrong with it.
        """
        self._running().links.faults = read_faults(faults)

    # -- other actors listen; again after this actor may have restarted, which forgets them

    async def listen(self, channel: str, handle: Any, method: str) -> None:
        """Call `handle.method(list[(identity, body)])` with what peers send on `channel`."""
        self._remember("listen", channel, handle, method, False)

    async def serve(self, name: str, handle: Any, method: str, members_only: bool = False) -> None:
        """Answer requests for `name` with `handle.method(identity, body) -> bytes`."""
        self._remember("serve", name, handle, method, members_only)

    async def judge(self, topic: str, handle: Any, method: str) -> None:
        """Ask `handle.method(list[(identity, body)])`, which answers `accept`, `ignore` or `reject` each."""
        self._remember("judge", topic, handle, method, False)

    # -- other actors speak

    async def send(self, messages: list[tuple[bytes, str, bytes]], priority: str = "consensus") -> list[bool]:
        """Send a batch of (identity, channel, body) without waiting; says which were queued.

        `priority`: `consensus`, `blocks` or `transactions`. What is not queued (not connected, or the queue
        is at its bound) is dropped and counted. Who does not want to know calls it with `num_returns=0`.
        """
        network, level = self._running(), Priority[priority.upper()]
        return [network.offer(identity, channel, body, level) for identity, channel, body in messages]

    async def request(
        self, identity: bytes, method: str, body: bytes, deadline_s: float | None = None
    ) -> bytes:
        """Ask a connected peer. Raises `NotConnectedError` or `RequestError`."""
        return await self._running().request(identity, method, body, deadline_s)

    async def ask(
        self, identities: list[bytes], method: str, body: bytes, deadline_s: float | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Ask several peers at once; (identity, answer) of those that answered in time, in order."""
        network = self._running()
        answers = await asyncio.gather(
            *(network.request(identity, method, body, deadline_s) for identity in identities),
            return_exceptions=True,
        )
        told = []
        for identity, answer in zip(identities, answers, strict=True):
            if isinstance(answer, bytes):
                told.append((identity, answer))
            elif not isinstance(answer, RequestError | NotConnectedError):
                raise answer
        return told

    async def publish(self, topic: str, bodies: list[bytes]) -> list[bytes]:
        """Gossip items of this node's own, `transactions` or `blocks`; returns their ids."""
        self._running()
        return [] if self._spread is None else self._spread.publish(topic, bodies)

    async def broadcast_block(
        self, body: bytes, to: list[bytes] | None = None, deadline_s: float | None = None
    ) -> list[dict[str, object]]:
        """Send a block to all of `to` (connected members when None) at once, each with its own deadline.

        Waits for all; one row a peer: `identity` (hex), `ok`, `error`, `elapsed_ms`.
        """
        self._running()
        receipts = [] if self._spread is None else await self._spread.broadcast_block(body, to, deadline_s)
        return [
            {
                "identity": receipt.identity.hex(),
                "ok": not receipt.error,
                "error": receipt.error,
                "elapsed_ms": receipt.elapsed_ms,
            }
            for receipt in receipts
        ]

    # -- channels inside the node

    async def publish_packets(self, channel: str, packets: list[Any]) -> int:
        """Append packets to an in-node channel; returns the next sequence number. Never waits."""
        ring = self._channel(channel)
        for packet in packets:
            ring.publish(packet)
        return ring.next_sequence

    async def poll(self, channel: str, sequence: int | None = None, wait_s: float = 0.0) -> dict[str, object]:
        """Packets from `sequence` on (from now on when None), waiting up to `wait_s` for the first.

        Returns `packets`, `next` (where to poll next) and `missed` (packets that went before they were
        read; then `packets` is empty and `next` is the oldest that is left).
        """
        ring = self._channel(channel)
        start = ring.next_sequence if sequence is None else sequence
        try:
            async with asyncio.timeout(min(wait_s, POLL_WAIT_S_MAX)):
                await ring.wait(start)
        except TimeoutError:
            return {"packets": (), "next": start, "missed": 0}
        got = ring.read(start)
        if isinstance(got, Lagged):
            return {"packets": (), "next": got.resume, "missed": got.missed}
        return {"packets": got.packets, "next": got.next_sequence, "missed": 0}

    # -- inside

    def _running(self) -> Network:
        if self._network is None:
            raise NotConnectedError("this peer is not started")
        return self._network

    def _channel(self, name: str) -> Channel[Any]:
        if name not in self._channels:
            if len(self._channels) >= CHANNELS_MAX:
                raise ValueError(f"channel: {CHANNELS_MAX} channels exist already")
            self._channels[name] = Channel(self._config.limits.channel_packets_max)
        return self._channels[name]

    def _remember(self, kind: str, name: str, handle: Any, method: str, members_only: bool) -> None:
        """Registrations outlive a stop and a start; one a kind and name."""
        kept = [entry for entry in self._registrations if entry[:2] != (kind, name)]
        self._registrations = [*kept, (kind, name, handle, method, members_only)]
        if self._network is not None:
            self._register(kind, name, handle, method, members_only)

    def _register(self, kind: str, name: str, handle: Any, method: str, members_only: bool) -> None:
        call = getattr(remote(handle), method)

        async def on_batch(batch: list[tuple[bytes, bytes]]) -> None:
            await call(batch)

        async def on_request(identity: bytes, body: bytes) -> bytes:
            return bytes(await call(identity, body))

        async def on_items(items: list[GossipItem]) -> list[ItemVerdict]:
            verdicts = await call([(item.peer, item.body) for item in items])
            return [ItemVerdict(verdict) for verdict in verdicts]

        network = self._running()
        if kind == "listen":
            network.register_channel(name, on_batch)
        elif kind == "serve":
            network.register_method(name, on_request, members_only=members_only)
        elif self._spread is not None:
            self._spread.register_judge(name, on_items)

    def _on_established(self, link: Link, _record: EndpointRecord | None) -> None:
        self._channel(PEERS_CHANNEL).publish(
            {"event": "joined", "identity": link.identity.hex(), "address": link.address}
        )

    def _on_gone(self, identity: bytes) -> None:
        self._channel(PEERS_CHANNEL).publish({"event": "left", "identity": identity.hex()})
