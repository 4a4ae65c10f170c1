"""Gossip in the simulator: a random graph of nodes, some of them hostile, under loss and partitions.

Hostile nodes announce what they never deliver, push junk, and relay nothing. Honest nodes reject junk and
cut off whoever sent it, as the shell does.
"""

from __future__ import annotations

import hashlib
from collections import deque

from actors.peer.gossip import Gossip, GossipEffects, ItemVerdict, Message, Topic
from actors.peer.messages import Announce, Bodies, Fetch
from bench.simulation.peer.world import PeerWorld

BLOCKS = "blocks"
TICK_S = 0.5
JUNK = b"junk"
DEGREE = 4
"""Connections that each node opens; it has about twice as many."""


class SpreadingNode:
    """One node of the graph: the gossip core, and what has reached it."""

    def __init__(self, spreading: Spreading, identity: bytes, *, hostile: bool) -> None:
        self.identity = identity
        self.hostile = hostile
        self.neighbours: set[bytes] = set()
        self.received: dict[bytes, float] = {}
        self.core = Gossip(
            (Topic(BLOCKS, eager=2, body_bytes_max=1 << 16),), seen_max=256, store_bytes_max=1 << 20
        )
        self._spreading = spreading

    def connect(self, other: bytes) -> None:
        """A connection to `other` stands."""
        self.neighbours.add(other)
        self._apply(self.core.peer_joined(other))

    def disconnect(self, other: bytes) -> None:
        """The connection to `other` is gone."""
        self.neighbours.discard(other)
        self.core.peer_left(other)

    def publish(self, body: bytes) -> None:
        """Spread a body of this node's own."""
        self.received[body] = self._spreading.world.now_s
        self._apply(self.core.publish(BLOCKS, body)[1])
        self._apply(self.core.flush())

    def receive(self, peer: bytes, message: Message) -> None:
        """A message arrived."""
        if self.hostile or peer not in self.neighbours:
            return
        now_s = self._spreading.world.now_s
        if isinstance(message, Announce):
            self._apply(self.core.on_announce(peer, message, now_s))
        elif isinstance(message, Fetch):
            self._apply(self.core.on_fetch(peer, message))
        else:
            effects = self.core.on_bodies(peer, message)
            self._apply(effects)
            for delivery in effects.deliver:
                bad = delivery.body.startswith(JUNK)
                if not bad:
                    self.received.setdefault(delivery.body, now_s)
                self._apply(self.core.judged(delivery, ItemVerdict.REJECT if bad else ItemVerdict.ACCEPT))
            self._apply(self.core.flush())

    def tick(self) -> None:
        """What the shell does on its timer."""
        self._apply(self.core.tick(self._spreading.world.now_s))

    def attack(self, false_id: bytes) -> None:
        """A hostile node's turn: announce what it will not deliver, push junk."""
        junk = JUNK + self._spreading.world.random.randbytes(8)
        for neighbour in sorted(self.neighbours):
            self._spreading.send(self.identity, neighbour, Announce(BLOCKS, [false_id]))
            self._spreading.send(self.identity, neighbour, Bodies(BLOCKS, [junk]))

    def _apply(self, effects: GossipEffects) -> None:
        for peer, message in effects.send:
            self._spreading.send(self.identity, peer, message)
        for peer, _ in effects.blame:
            self._spreading.cut(self.identity, peer)


class Spreading:
    """A random graph of `count` nodes, the first `hostile` of which are hostile."""

    def __init__(self, seed: int, count: int, *, hostile: int = 0) -> None:
        self.world = PeerWorld(seed)
        identities = [hashlib.sha256(b"%d %d" % (seed, index)).digest() for index in range(count)]
        self.nodes = {
            identity: SpreadingNode(self, identity, hostile=index < hostile)
            for index, identity in enumerate(identities)
        }
        for index, identity in enumerate(identities):
            for other in self.world.random.sample(identities, DEGREE):
                if other != identity:
                    self.connect(identity, other)
            self.world.after(TICK_S * index / count, self._tick, identity)

    def honest(self) -> list[SpreadingNode]:
        """All honest nodes, in a fixed order."""
        return [node for node in self.nodes.values() if not node.hostile]

    def hostile(self) -> list[SpreadingNode]:
        """All hostile nodes."""
        return [node for node in self.nodes.values() if node.hostile]

    def connect(self, a: bytes, b: bytes) -> None:
        """Open a connection."""
        self.nodes[a].connect(b)
        self.nodes[b].connect(a)

    def cut(self, a: bytes, b: bytes) -> None:
        """Close a connection."""
        self.nodes[a].disconnect(b)
        self.nodes[b].disconnect(a)

    def send(self, source: bytes, sink: bytes, message: Message) -> None:
        """Carry a message along a standing connection."""
        if sink in self.nodes[source].neighbours:
            self.world.carry(source, sink, self.nodes[sink].receive, source, message)

    def split(self) -> list[tuple[bytes, bytes]]:
        """Partition the graph into halves; returns the connections that broke."""
        identities = list(self.nodes)
        sides = {identity: index % 2 for index, identity in enumerate(identities)}
        broken = [
            (node.identity, other)
            for node in self.nodes.values()
            for other in sorted(node.neighbours)
            if sides[node.identity] < sides[other]
        ]
        for a, b in broken:
            self.cut(a, b)
        self.world.partition(sides)
        return broken

    def heal(self, broken: list[tuple[bytes, bytes]]) -> None:
        """End the partition; the broken connections come back."""
        self.world.partition({})
        for a, b in broken:
            self.connect(a, b)

    def reachable(self, source: bytes) -> set[bytes]:
        """Honest nodes that honest connections lead to from `source`."""
        reached, waiting = {source}, deque([source])
        while waiting:
            for other in self.nodes[waiting.popleft()].neighbours:
                if other not in reached and not self.nodes[other].hostile:
                    reached.add(other)
                    waiting.append(other)
        return reached

    def _tick(self, identity: bytes) -> None:
        self.nodes[identity].tick()
        self.world.after(TICK_S, self._tick, identity)
