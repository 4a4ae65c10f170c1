"""The asyncio shell of the room, seen from the node: start, stop, send, request, register.

`Links` owns the sockets, `Exchange` the requests, `Delivery` the inbound queues; this file joins them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from loguru import logger

from actors.peer.advertise import advertised_address, with_port
from actors.peer.config import PORT_MAX, PeerConfig, format_address, parse_address
from actors.peer.delivery import Deliverable, Delivery
from actors.peer.errors import ConfigError, NotConnectedError, QueueFullError, RequestError
from actors.peer.exchange import Exchange, Handler
from actors.peer.kademlia.records import sign_record
from actors.peer.links import Links
from actors.peer.messages import Announce, Bodies, Data, Fetch, Request, Response
from actors.peer.session import PeerSession
from actors.peer.wire.frames import Priority
from actors.peer.wire.handshake import LocalIdentity

ChannelHandler = Callable[[list[tuple[bytes, bytes]]], Awaitable[None]]
"""Takes a batch of (identity, body), in the order in which each peer sent them."""
GossipHandler = Callable[[bytes, Announce | Fetch | Bodies], Awaitable[None]]


class Network:
    """One node's connections. Every method runs on the event loop that called `start`."""

    def __init__(self, config: PeerConfig) -> None:
        if config.advertise_address:
            with_port(config.advertise_address, PORT_MAX)  # raises for one that cannot be dialled
        intervals, limits = config.intervals, config.limits
        self.config = config
        self.local = LocalIdentity(config.identity_seed, config.genesis_hash)
        self.identity = self.local.public
        self.address: str | None = None
        self.advertised: str | None = None
        self.links = Links(config, self.local, self._route)
        self.links.on_gone.append(self._on_gone)
        self.exchange = Exchange(limits, intervals.request_deadline_s)
        self.delivery = Delivery(limits, self.links.members, self._deliver, intervals.request_deadline_s)
        self.links.on_greylisted.append(self.delivery.drop)
        self.on_gossip: GossipHandler | None = None
        self.on_tick: list[Callable[[float], None]] = []
        self.dropped: Counter[str] = Counter()
        self._channels: dict[str, ChannelHandler] = {}
        self._seeds: dict[str, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    # -- life

    async def start(self, record_sequence: int) -> None:
        """Bind, sign the endpoint record under `record_sequence` (u64), begin to dial.

        Raises `OSError` when the address is taken, `ConfigError` for one that cannot be advertised.
        """
        if self._server is not None:
            return
        config, loop = self.config, asyncio.get_running_loop()
        self._server = await loop.create_server(self.links.accept, config.listen_host, config.listen_port)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = format_address(host, port)
        self.advertised = advertised_address(config, self.identity, host, port)
        if self.advertised is not None:
            self.links.record = sign_record(self.local, record_sequence, *parse_address(self.advertised))
        now_s = self.links.now_s()
        for member in config.members:
            if member.address is not None and member.identity != self.identity:
                self.links.plan.add(member.address, member.identity, now_s)
                self.links.admission.expect_member(parse_address(member.address)[0])
        self._seeds.clear()
        self.add_seeds(config.seeds)
        self.delivery.start()
        self.spawn(self._upkeep(), "upkeep")

    def add_seeds(self, addresses: Iterable[str]) -> None:
        """Dial these `host:port` from now on, at once for the first time; known ones and the own are skipped.

        Raises `ConfigError` for a malformed address, or beyond `seeds_max`; none is added then.
        """
        own = (self.address, self.advertised)
        wanted = {address: None for address in addresses if address not in own}
        for address in wanted:
            parse_address(address)
        seeds, limit = self._seeds | wanted, self.config.limits.seeds_max
        if len(seeds) > limit:
            raise ConfigError(f"seeds: {len(seeds)} addresses, limit {limit}")
        self._seeds, now_s = seeds, self.links.now_s()
        for address in wanted:
            self.links.plan.add(address, None, now_s)
        self.links.tick()

    async def stop(self) -> None:
        """Close the listening socket, then every connection. Calling it twice is harmless."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.links.stop()
        await self.delivery.stop()
        await server.wait_closed()

    def spawn(self, coroutine: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Run a background task that ends with the network."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _upkeep(self) -> None:
        while True:
            for step in (self._tick_links, *self.on_tick):
                try:
                    step(self.links.now_s())
                except Exception:  # noqa: BLE001 - one service's bug must not end everybody's upkeep
                    self.dropped["upkeep_errors"] += 1
                    logger.exception("upkeep failed")
            await asyncio.sleep(self.config.intervals.tick_s)

    def _tick_links(self, _now_s: float) -> None:
        self.links.tick()

    # -- what the node's parts call

    def register_channel(self, channel: str, handler: ChannelHandler) -> None:
        """Hand every `Data` message of `channel` to `handler`, in batches; registering again replaces."""
        self._channels[channel] = handler

    def register_method(
        self, method: str, handler: Handler, *, members_only: bool = False, long_answers: bool = False
    ) -> None:
        """Answer requests for `method` with `handler`; registering again replaces."""
        self.exchange.register(method, handler, members_only=members_only, long_answers=long_answers)

    def connected(self) -> list[bytes]:
        """Identities with an established connection."""
        return [link.identity for link in self.links.table.links()]

    def offer(self, identity: bytes, channel: str, body: bytes, priority: Priority) -> bool:
        """Send without waiting; False when not connected or the queue is full (the message is dropped)."""
        return self.offer_message(identity, Data(channel, body), priority)

    def offer_message(
        self, identity: bytes, message: Data | Announce | Fetch | Bodies, priority: Priority
    ) -> bool:
        """`offer` for any message that expects no answer."""
        try:
            self.links.session(identity).send(priority, message)
        except NotConnectedError:
            self.dropped["not_connected"] += 1
            return False
        except QueueFullError:
            self.dropped[f"{priority.name.lower()}_queue_full"] += 1
            return False
        return True

    async def send(self, identity: bytes, channel: str, body: bytes, priority: Priority) -> None:
        """Send, waiting for room in the queue. Raises `NotConnectedError`."""
        await self.links.session(identity).send_when_room(priority, Data(channel, body))

    async def request(
        self,
        identity: bytes,
        method: str,
        body: bytes,
        deadline_s: float | None = None,
        priority: Priority = Priority.BLOCKS,
    ) -> bytes:
        """Ask a connected peer; returns the body of its answer.

        Raises `NotConnectedError`, or `RequestError` with reason `deadline`, `lost`, `busy` or the peer's.
        """
        session = self.links.session(identity)
        request, answer = self.exchange.open(identity, method, body)
        limit_s = self.config.intervals.request_deadline_s if deadline_s is None else deadline_s
        try:
            async with asyncio.timeout(limit_s):
                await session.send_when_room(priority, request)
                return (await answer).body
        except TimeoutError as error:
            raise RequestError("deadline", f"no answer to {method} within {limit_s} s") from error
        finally:
            self.exchange.done(identity, request.id)

    def peers(self) -> list[dict[str, object]]:
        """Connected peers, then members that are wanted but not connected (`connecting`, `backoff`)."""
        now_s, table = self.links.now_s(), self.links.table
        rows: list[dict[str, object]] = [
            {
                "state": link.state.value,
                "address": link.address,
                "identity": link.identity.hex(),
                "last_seen_s": round(now_s - link.seen_s, 3),
                "rtt_ms": None if link.rtt_ms is None else round(link.rtt_ms, 3),
                "member": link.member,
                "outbound": link.outbound,
            }
            for link in table.links()
        ]
        for target in self.links.plan.targets():
            if target.identity is None or target.identity in table or target.identity == self.identity:
                continue
            rows.append(
                {
                    "state": "connecting" if target.dialling else "backoff",
                    "address": target.address,
                    "identity": target.identity.hex(),
                    "last_seen_s": None,
                    "rtt_ms": None,
                    "member": target.identity in self.links.members,
                    "outbound": True,
                }
            )
        return rows

    def reason(self) -> str:
        """Why no peer is connected, in one sentence for people; empty when there is one."""
        known = sum(target.identity != self.identity for target in self.links.plan.targets())
        return self.links.failures.reason(len(self.links.table), known)

    def counters(self) -> dict[str, object]:
        """Bounded counters for metrics."""
        return {
            "refused": dict(self.links.refused),
            "offences": dict(self.links.greylist.offences),
            "greylisted": len(self.links.greylist),
            "dropped": dict(self.dropped),
            "waiting": self.delivery.waiting(),
            "handler_failures": dict(self.delivery.failed),
            "responses_late": self.exchange.late_total,
            "requests_refused": self.exchange.refused_total,
        }

    # -- from the wire

    def _route(
        self, session: PeerSession, priority: Priority, message: Deliverable | Response, size: int
    ) -> None:
        if session.identity is None:
            return
        if isinstance(message, Response):
            self.exchange.on_response(session.identity, message)
            session.dealt_with(priority, size)
        else:
            self.delivery.push(session, priority, message, size)

    def _on_gone(self, identity: bytes) -> None:
        self.exchange.lost(identity)

    async def _deliver(self, priority: Priority, batch: list[tuple[PeerSession, Deliverable]]) -> None:
        by_channel: dict[str, list[tuple[bytes, bytes]]] = {}
        for session, message in batch:
            identity = session.identity or b""
            if isinstance(message, Data):
                by_channel.setdefault(message.channel, []).append((identity, message.body))
            elif isinstance(message, Request):
                self._serve(session, identity, priority, message)
            elif self.on_gossip is not None:
                await self.on_gossip(identity, message)
        for channel, entries in by_channel.items():
            handler = self._channels.get(channel)
            if handler is None:
                self.dropped["unknown_channel"] += len(entries)
            else:
                await handler(entries)

    def _serve(self, session: PeerSession, identity: bytes, priority: Priority, request: Request) -> None:
        waiting = session.connection.queue.waiting_bytes(priority)
        member = identity in self.links.members
        if self.exchange.accept(identity, request, member=member, waiting_bytes=waiting):
            self.spawn(self._answer(session, identity, priority, request), f"serve {request.method}")
            return
        self._respond(session, identity, priority, Response(request.id, "busy", b""))

    async def _answer(
        self, session: PeerSession, identity: bytes, priority: Priority, request: Request
    ) -> None:
        member = identity in self.links.members
        response = await self.exchange.serve(identity, request, member=member)
        self._respond(session, identity, priority, response)

    def _respond(self, session: PeerSession, identity: bytes, priority: Priority, response: Response) -> None:
        """Answer on the session that asked, or on its successor when that one is closing."""
        try:
            if session.connection.closing:
                session = self.links.session(identity)
            session.send(priority, response)
        except NotConnectedError:
            self.dropped["not_connected"] += 1
        except QueueFullError:
            self.dropped[f"{priority.name.lower()}_queue_full"] += 1
