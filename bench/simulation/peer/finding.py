"""Kademlia in the simulator: joins, churn, lookups, and identities that try to eclipse a node.

`fill_tables` gives every node the table that a long run would have given it (a random sample of each
bucket's range), because that is what lookups in a settled network see; `join` runs the real bootstrap.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.peer.kademlia.buckets import K, RoutingTable
from actors.peer.kademlia.lookup import Lookup
from actors.peer.kademlia.records import EndpointRecord
from bench.simulation.peer.world import PeerWorld

TIMEOUT_S = 1.5
REFRESHES_AT_JOIN = 1
HOSTILE_SUBNETS = 4


@dataclass(frozen=True, slots=True)
class LookupStats:
    """Outcome of a set of lookups of single identities."""

    nodes: int
    lookups: int
    success: float
    hops_mean: float
    messages_mean: float


class FindingNode:
    """One node: a routing table, and lookups driven by the world's clock."""

    def __init__(self, finding: Finding, record: EndpointRecord, *, hostile: bool) -> None:
        self.record = record
        self.hostile = hostile
        self.alive = True
        self.joined_s = -math.inf
        self.table = RoutingTable(
            record.id, subnet_per_bucket=finding.subnet_limits[0], subnet_per_table=finding.subnet_limits[1]
        )
        self._finding = finding
        self._checking = False

    def find(
        self, target: int, done: Callable[[Lookup], None], wanted: bytes | None = None, paths: int = 3
    ) -> None:
        """Run one lookup; `done` gets it when it is finished."""
        start = self.table.closest(target)
        lookup = Lookup(target, start, wanted=wanted, local_identity=self.record.identity, paths=paths)
        self._advance(lookup, done)

    def join(self, seeds: Sequence[EndpointRecord]) -> None:
        """Bootstrap: learn the seeds, look up the own id, then refresh the farthest bucket."""
        self.joined_s = self._finding.world.now_s
        for seed in seeds:
            self._see(seed)
        self.find(self.record.id, lambda _lookup: self._refresh())

    def _refresh(self) -> None:
        random = self._finding.world.random
        for number in range(255, 255 - REFRESHES_AT_JOIN, -1):
            self.find(self.table.target_in(number, random.getrandbits(256)), lambda _lookup: None)

    def answer(self, asker: EndpointRecord, target: int) -> list[EndpointRecord]:
        """What this node says to a `find_node`; a hostile one names its accomplices only."""
        if self.hostile:
            return self._finding.nearest_hostile(target)
        self._see(asker)
        return self.table.closest(target)

    def _advance(self, lookup: Lookup, done: Callable[[Lookup], None]) -> None:
        for record in lookup.next_queries():
            self._ask(record, lookup.target, *self._callbacks(lookup, record, done))
        if lookup.finished:
            done(lookup)

    def _callbacks(
        self, lookup: Lookup, record: EndpointRecord, done: Callable[[Lookup], None]
    ) -> tuple[Callable[[list[EndpointRecord]], None], Callable[[], None]]:
        def answered(records: list[EndpointRecord]) -> None:
            already = lookup.finished
            lookup.answered(record.identity, records)
            if not already:
                self._advance(lookup, done)

        def failed() -> None:
            already = lookup.finished
            lookup.failed(record.identity)
            if not already:
                self._advance(lookup, done)

        return answered, failed

    def _ask(
        self,
        record: EndpointRecord,
        target: int,
        answered: Callable[[list[EndpointRecord]], None],
        failed: Callable[[], None],
    ) -> None:
        world, settled = self._finding.world, [False]

        def arrive() -> None:
            other = self._finding.nodes.get(record.identity)
            if other is not None and other.alive:
                records = other.answer(self.record, target)
                world.carry(record.identity, self.record.identity, come_back, records)

        def come_back(records: list[EndpointRecord]) -> None:
            if self.alive and not settled[0]:
                settled[0] = True
                self._see(record)
                answered(records)

        def time_out() -> None:
            if self.alive and not settled[0]:
                settled[0] = True
                self.table.failed(record.id, record.identity)
                failed()

        world.carry(self.record.identity, record.identity, arrive)
        world.after(TIMEOUT_S, time_out)

    def _see(self, record: EndpointRecord) -> None:
        check = self.table.seen(record, self._finding.world.now_s).check
        if check is not None and not self._checking:
            self._checking = True
            self._ask(check, self.record.id, lambda _records: self._checked(), self._checked)

    def _checked(self) -> None:
        self._checking = False


class Finding:
    """A network of `FindingNode`s."""

    def __init__(self, world: PeerWorld, *, subnet_limits: tuple[int, int] = (2, 10)) -> None:
        self.world = world
        self.subnet_limits = subnet_limits
        self.nodes: dict[bytes, FindingNode] = {}
        self._hostile: list[EndpointRecord] = []

    def add(self, *, hostile: bool = False) -> FindingNode:
        """A new node with an empty table. Honest nodes have a subnet each, hostile ones share a few."""
        number = len(self.nodes)
        identity = hashlib.sha256(b"%d %d" % (self.world.seed, number)).digest()
        host = (
            f"192.0.{number % HOSTILE_SUBNETS}.{number % 250 + 1}"
            if hostile
            else f"{10 + number // 65_536}.{number // 256 % 256}.{number % 256}.1"
        )
        node = FindingNode(self, EndpointRecord(identity, 1, host, 9000), hostile=hostile)
        self.nodes[identity] = node
        if hostile:
            self._hostile.append(node.record)
        return node

    def alive(self) -> list[FindingNode]:
        """Honest nodes that run."""
        return [node for node in self.nodes.values() if node.alive and not node.hostile]

    def nearest_hostile(self, target: int) -> list[EndpointRecord]:
        """What a liar answers."""
        return sorted(self._hostile, key=lambda record: record.id ^ target)[:K]

    def fill_tables(self) -> None:
        """Give every honest node a settled table."""
        records = sorted((node.record for node in self.nodes.values()), key=lambda record: record.id)
        ids = [record.id for record in records]
        for node in self.alive():
            own, number = node.record.id, 255
            low, high = 0, len(ids)
            while high - low > 1 and number >= 0:
                middle = bisect.bisect_left(ids, (own >> number | 1) << number, low, high)
                other, (low, high) = (
                    ((low, middle), (middle, high)) if own >> number & 1 else ((middle, high), (low, middle))
                )
                count = min(K, other[1] - other[0])
                for index in self.world.random.sample(range(*other), count):
                    node.table.seen(records[index], 0.0)
                number -= 1

    def lookups(self, count: int, window_s: float, *, settled_s: float = 0.0) -> LookupStats:
        """Run `count` lookups of random running nodes, by random running nodes, spread over `window_s`.

        A node is looked for, and looks, once it has been there for `settled_s`. A lookup whose own node
        goes down is not counted.
        """
        done: list[Lookup] = []

        def begin() -> None:
            now_s = self.world.now_s
            ready = [node for node in self.alive() if now_s - node.joined_s >= settled_s]
            source, target = self.world.random.sample(ready, 2)
            source.find(target.record.id, done.append, target.record.identity)

        for index in range(count):
            self.world.after(window_s * index / count, begin)
        self.world.run(self.world.now_s + window_s + 60.0)
        found = [lookup for lookup in done if lookup.found is not None]
        return LookupStats(
            nodes=len(self.alive()),
            lookups=len(done),
            success=len(found) / max(1, len(done)),
            hops_mean=sum(lookup.hops for lookup in found) / max(1, len(found)),
            messages_mean=sum(lookup.queries for lookup in found) / max(1, len(found)),
        )

    def churn(self, share: float, window_s: float) -> None:
        """Over `window_s`, `share` of the nodes go without a word and as many new ones join."""
        leavers = self.world.random.sample(self.alive(), round(share * len(self.alive())))
        for leaver in leavers:
            self.world.after(window_s * self.world.random.random(), self._leave, leaver)
            self.world.after(window_s * self.world.random.random(), self._join)

    def _leave(self, node: FindingNode) -> None:
        node.alive = False

    def _join(self) -> None:
        seeds = [node.record for node in self.world.random.sample(self.alive(), 3)]
        self.add().join(seeds)


def settled(seed: int, count: int) -> Finding:
    """A settled network of `count` honest nodes."""
    finding = Finding(PeerWorld(seed))
    for _ in range(count):
        finding.add()
    finding.fill_tables()
    return finding


def attacked(seed: int, count: int, hostile: int, *, subnet_limits: tuple[int, int]) -> Finding:
    """`count` nodes, `hostile` of them from few subnets, who reach every honest node before the others do."""
    finding = Finding(PeerWorld(seed), subnet_limits=subnet_limits)
    for _ in range(count - hostile):
        finding.add()
    attackers = [finding.add(hostile=True) for _ in range(hostile)]
    for node in finding.alive():
        for attacker in attackers:
            node.table.seen(attacker.record, 0.0)
    finding.fill_tables()
    return finding


def hostile_share(finding: Finding, node: FindingNode) -> float:
    """Which share of a node's table is hostile."""
    contacts = node.table.contacts()
    return sum(finding.nodes[record.identity].hostile for record in contacts) / len(contacts)


def log_fit(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float, float]:
    """Least squares of `values` = a + b * log2(size); returns (a, b, largest residual relative to value)."""
    logs = [math.log2(size) for size in sizes]
    log_mean, value_mean = sum(logs) / len(logs), sum(values) / len(values)
    spread = sum((x - log_mean) ** 2 for x in logs)
    slope = sum((x - log_mean) * (y - value_mean) for x, y in zip(logs, values, strict=True)) / spread
    offset = value_mean - slope * log_mean
    residual = max(abs(offset + slope * x - y) / y for x, y in zip(logs, values, strict=True))
    return offset, slope, residual
