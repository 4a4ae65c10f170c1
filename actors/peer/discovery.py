"""The asyncio shell of Kademlia: find nodes over the wire, keep the table alive, keep enough connections.

Rules
1. A record enters the table once its endpoint is known to answer: this node dialled it, or the peer dialled
   in from the very host that its record names. So nobody makes this node relay a victim's address.
2. A contact is checked (asked over its connection, else dialled) before a newcomer takes its place.
3. Connections opened for a lookup are closed again above `KEEP_CONNECTIONS`; members' connections stay.
4. When a connection is dropped as unresponsive or lost, its contact leaves the table with it.
"""

from __future__ import annotations

import asyncio
import os

from actors.peer import messages
from actors.peer.advertise import is_published_to
from actors.peer.errors import ConfigError, NotConnectedError, ProtocolError, RequestError
from actors.peer.kademlia.buckets import RoutingTable, Seen
from actors.peer.kademlia.lookup import Lookup
from actors.peer.kademlia.records import EndpointRecord, decode_record, node_id
from actors.peer.messages import FindNode, Nodes
from actors.peer.network import Network
from actors.peer.table import Link
from actors.peer.wire.frames import Priority

METHOD = "find_node"
KEEP_CONNECTIONS = 32
CHECKS_AT_ONCE_MAX = 16
LOOKUPS_AT_ONCE_MAX = 2
LOOK_PAUSE_S = 1.0
"""Newcomers have the neighbourhood looked up again, so often at most."""


class Discovery:
    """Routing table and lookups of one node."""

    def __init__(self, network: Network) -> None:
        limits = network.config.limits
        self._network = network
        self._id = node_id(network.identity)
        self.table = RoutingTable(
            self._id,
            subnet_per_bucket=limits.subnet_per_bucket_max,
            subnet_per_table=limits.subnet_per_table_max,
        )
        self._checking: set[bytes] = set()
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)
        self._due_s = 0.0
        self._looked_s = -LOOK_PAUSE_S
        self._member_sequences: dict[bytes, int] = {}
        self._looking = False
        network.register_method(METHOD, self._on_find_node)
        network.links.on_established.append(self._on_established)
        network.links.on_gone.append(self._on_gone)
        network.on_tick.append(self._on_tick)

    async def find(self, target: int, wanted: bytes | None = None) -> Lookup:
        """Look for the nodes nearest to a 256-bit `target`, or for the identity `wanted`."""
        async with self._lookups:
            lookup = Lookup(
                target,
                self.table.closest(target),
                wanted=wanted,
                local_identity=self._network.identity,
            )
            running: set[asyncio.Task[None]] = set()
            try:
                while not lookup.finished:
                    for record in lookup.next_queries():
                        running.add(asyncio.create_task(self._query(lookup, record)))
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
            self._prune()
            return lookup

    async def _query(self, lookup: Lookup, record: EndpointRecord) -> None:
        """Ask one contact; every way to fail is reported to the lookup."""
        try:
            await self._network.links.dial(record.address, record.identity)
            body = await self._network.request(
                record.identity,
                METHOD,
                messages.encode(FindNode(lookup.target.to_bytes(32, "big"))),
                priority=Priority.TRANSACTIONS,
            )
            genesis_hash = self._network.config.genesis_hash
            records = [decode_record(data, genesis_hash) for data in messages.decode_nodes(body).records]
            records = self._published(record.identity, records)
        except ProtocolError as error:
            self._network.links.penalise(record.identity, error.reason)
            lookup.failed(record.identity)
        except (RequestError, NotConnectedError, ConfigError, OSError, TimeoutError):
            self.table.failed(record.id, record.identity)
            lookup.failed(record.identity)
        else:
            self._want_members(records)
            lookup.answered(record.identity, records)

    def _want_members(self, records: list[EndpointRecord]) -> None:
        """Members whose address was learned are dialled from now on like those of the genesis, where their
        latest record says: an old one, which anybody can show again, does not stand in its way."""
        links, learned = self._network.links, self._member_sequences
        for record in records:
            if record.identity not in links.members or record.identity == self._network.identity:
                continue
            if record.sequence <= learned.get(record.identity, -1):
                continue
            learned[record.identity] = record.sequence
            links.plan.learn(record.address, record.identity, links.now_s())

    def _prune(self) -> None:
        """Close the newest connections that this node opened beyond `KEEP_CONNECTIONS`, members excepted."""
        links = self._network.links
        spare = [link for link in links.table.links() if link.outbound and not link.member]
        excess = len(links.table) - KEEP_CONNECTIONS
        for link in spare[::-1][: max(0, excess)]:
            links.session(link.identity).close()

    async def _on_find_node(self, peer: bytes, body: bytes) -> bytes:
        target = int.from_bytes(messages.decode_find_node(body).target, "big")
        records = self._published(peer, self.table.closest(target))
        return messages.encode(Nodes([record.encoded for record in records]))

    def _published(self, peer: bytes, records: list[EndpointRecord]) -> list[EndpointRecord]:
        """Those that mean the same to a peer as to this node; see `advertise`."""
        link = self._network.links.table.get(peer)
        host = "" if link is None else link.host
        return [record for record in records if is_published_to(record.host, host)]

    def _on_established(self, link: Link, record: EndpointRecord | None) -> None:
        if record is None or not (link.outbound or record.host == link.host):
            return
        if not is_published_to(record.host, link.host):
            return
        outcome = self.table.seen(record, self._network.links.now_s())
        if outcome.check is not None:
            self._check(outcome.check)
        if outcome.seen is Seen.ADDED:
            self._due_s = min(self._due_s, self._looked_s + LOOK_PAUSE_S)

    def _on_gone(self, identity: bytes) -> None:
        self.table.failed(node_id(identity), identity)

    def _check(self, record: EndpointRecord) -> None:
        if record.identity in self._checking or len(self._checking) >= CHECKS_AT_ONCE_MAX:
            return
        self._checking.add(record.identity)
        self._network.spawn(self._run_check(record), "liveness check")

    async def _run_check(self, record: EndpointRecord) -> None:
        try:
            await self._network.links.dial(record.address, record.identity)
            body = messages.encode(FindNode(self._id.to_bytes(32, "big")))
            await self._network.request(record.identity, METHOD, body, priority=Priority.TRANSACTIONS)
            self.table.seen(record, self._network.links.now_s())
        except (RequestError, NotConnectedError, ConfigError, OSError, TimeoutError):
            self.table.failed(record.id, record.identity)
        finally:
            self._checking.discard(record.identity)

    def _on_tick(self, now_s: float) -> None:
        """Look up the own neighbourhood when it is due, and refresh buckets that nobody looked into."""
        if self._looking or not len(self.table):
            return
        intervals = self._network.config.intervals
        targets = []
        if now_s >= self._due_s:
            self._due_s = now_s + intervals.discover_s
            self._looked_s = now_s
            targets.append(self._id)
        for number in self.table.stale(now_s, intervals.refresh_s):
            targets.append(self.table.target_in(number, int.from_bytes(os.urandom(32), "big")))
        if targets:
            self._looking = True
            self._network.spawn(self._look(targets), "discovery")

    async def _look(self, targets: list[int]) -> None:
        try:
            for target in targets:
                await self.find(target)
        finally:
            self._looking = False
