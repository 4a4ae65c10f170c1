"""Gossip without I/O: push to a few, announce to the rest, fetch once, relay only what was accepted.

Rules
1. An item's id is SHA-256(topic || 0x00 || body); a body that hashes to nothing that was asked for or could
   be pushed is junk of its sender, and never stored twice.
2. Nothing is relayed before the node's own part has judged it: ACCEPT relays, IGNORE forgets the body,
   REJECT also blames the sender. A bad item thus travels one hop.
3. An item is fetched from one announcer at a time; when the deadline passes, from the next one.
4. Every collection is bounded, and the peer that fills one fills only its own share. What has not been judged
   yet is held for its sender, and enters what is shared (`seen`, `gossip_store`) only once it is accepted;
   observers have a bounded part of everything, and a member is asked and believed before an observer.

Theory of operation. `publish` and ACCEPT push the body to `eager` peers and announce the id to the others,
so a body crosses a link about once, and an id crosses it at most once each way. Who is pushed to is decided
by the hash of the item and the peer, which spreads the work without a random source. Announcements gather
until `flush`, which the shell calls on its tick or at once for urgent topics. A node with no more peers than
`eager` relays by announcement alone: among so few, whoever published has pushed to all. A peer that joins is
told of the items that are still stored, which is what carries a block over a healed partition.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from actors.peer.gossip_store import GossipStore, Item
from actors.peer.messages import BODIES_MAX, IDS_MAX, Announce, Bodies, Fetch
from actors.peer.seen import SeenIds

WANTED_PER_PEER_MAX = 4_096
WANTED_PER_OBSERVER_MAX = 512
ANNOUNCERS_MAX = 8
"""Peers that may be asked for an item, the one that is being asked included. At the bound a member takes the
place of the last one."""
UNJUDGED_BYTES_MAX = 8 << 20
"""Bodies of one peer that wait for judgement, each counted UNJUDGED_ITEM_BYTES longer. More is dropped."""
UNJUDGED_BYTES_MAX_OBSERVERS = 32 << 20
"""The same of all observers together."""
UNJUDGED_ITEM_BYTES = 4_096
STORED_ITEMS_MAX = 8_192
JOIN_ANNOUNCE_MAX = 256
ANNOUNCE_WAITING_MAX = 4_096
"""Ids that wait for `flush`, a peer and topic; new ones are dropped at the bound: others announce them."""
FETCH_DEADLINE_S = 2.0

Message = Announce | Fetch | Bodies


class ItemVerdict(Enum):
    """What the node's part thinks of an item."""

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Topic:
    """Rules of one topic: how many peers get a body unasked, and how long a body may be."""

    name: str
    eager: int
    body_bytes_max: int


@dataclass(frozen=True, slots=True)
class GossipItem:
    """An item for the node's part to judge; `peer` is who sent it."""

    topic: str
    id: bytes
    body: bytes
    peer: bytes


@dataclass(slots=True)
class GossipEffects:
    """What to do now: send these, hand over those, blame these peers (identity, reason). `dropped` bodies
    were more than the sender may have unjudged."""

    send: list[tuple[bytes, Message]] = field(default_factory=list)
    deliver: list[GossipItem] = field(default_factory=list)
    blame: list[tuple[bytes, str]] = field(default_factory=list)
    dropped: int = 0


@dataclass(slots=True)
class Want:
    """An announced item that has not arrived: who can be asked, whom we asked, until when."""

    topic: str
    announcers: list[bytes]
    asked: bytes
    deadline_s: float


def item_id(topic: str, body: bytes) -> bytes:
    """32-byte id of an item."""
    return hashlib.sha256(topic.encode() + b"\x00" + body).digest()


class Gossip:
    """Gossip state of one node. `members`: whom it prefers."""

    def __init__(
        self,
        topics: Iterable[Topic],
        *,
        seen_max: int,
        store_bytes_max: int,
        members: frozenset[bytes] = frozenset(),
    ) -> None:
        self._topics = {topic.name: topic for topic in topics}
        for topic in self._topics.values():
            if topic.body_bytes_max > store_bytes_max:
                raise ValueError(f"store_bytes_max: {store_bytes_max} cannot hold one item of {topic.name}")
        self._members = members
        self._seen = SeenIds(seen_max, members)
        self._store = GossipStore(STORED_ITEMS_MAX, store_bytes_max, members)
        self._unjudged: dict[bytes, dict[bytes, Item]] = {}
        self._unjudged_bytes: Counter[bytes] = Counter()
        self._unjudged_bytes_observers = 0
        self._wants: dict[bytes, Want] = {}
        self._want_counts: dict[bytes, int] = {}
        self._announce: dict[tuple[bytes, str], list[bytes]] = {}

    @property
    def held(self) -> dict[str, int]:
        """Sizes of the bounded collections."""
        return {
            "seen": self._seen.accepted,
            "refused": self._seen.refused,
            "stored": len(self._store),
            "stored_bytes": self._store.held_bytes,
            "unjudged": len(self._unjudged),
            "unjudged_bytes": self._unjudged_bytes.total(),
            "wanted": len(self._wants),
        }

    def peer_joined(self, peer: bytes) -> GossipEffects:
        """A peer connected: it counts from now on, and hears of the latest stored items."""
        self._want_counts.setdefault(peer, 0)
        for id_, item in list(self._store.items())[-JOIN_ANNOUNCE_MAX:]:
            if peer not in item.known_by:
                self._announce_later(peer, item.topic, id_)
        return self.flush()

    def peer_left(self, peer: bytes) -> None:
        """A peer is gone; what was asked of it is asked of the next announcer on `tick`."""
        self._want_counts.pop(peer, None)
        for key in [key for key in self._announce if key[0] == peer]:
            del self._announce[key]
        self._store.peer_left(peer)
        self._seen.peer_left(peer)
        for want in self._wants.values():
            if want.asked == peer:
                want.deadline_s = 0.0

    def publish(self, topic: str, body: bytes, known_by: Iterable[bytes] = ()) -> tuple[bytes, GossipEffects]:
        """Spread an item of this node's own, but not to those who know it.

        Raises `ValueError` for an unknown topic or a long body.
        """
        rules = self._topics.get(topic)
        if rules is None:
            raise ValueError(f"topic: {topic!r} is unknown")
        if len(body) > rules.body_bytes_max:
            raise ValueError(f"body: {len(body)} bytes, limit {rules.body_bytes_max}")
        id_, effects = item_id(topic, body), GossipEffects()
        if not self._seen.accept(id_):
            return id_, effects
        self._drop_want(id_)
        self._keep(id_, Item(topic, body, set(known_by), None), effects)
        return id_, effects

    def on_announce(self, peer: bytes, message: Announce, now_s: float) -> GossipEffects:
        """A peer has items: ask for those that are new, unless somebody is being asked already."""
        effects, ask = GossipEffects(), []
        if message.topic not in self._topics:
            effects.blame.append((peer, "message"))
            return effects
        for id_ in message.ids:
            item, want = self._store.get(id_), self._wants.get(id_)
            if item is not None:
                item.known_by.add(peer)
            elif self._seen.knows(peer, id_) or self._is_under_judgement(peer, id_):
                continue
            elif want is not None:
                if self._add_announcer(want, peer, now_s):
                    ask.append(id_)
            elif self._take_share(peer):
                self._wants[id_] = Want(message.topic, [peer], peer, now_s + FETCH_DEADLINE_S)
                ask.append(id_)
        if ask:
            effects.send.append((peer, Fetch(message.topic, ask)))
        return effects

    def on_fetch(self, peer: bytes, message: Fetch) -> GossipEffects:
        """A peer asks for bodies: it gets those that are still stored and accepted."""
        bodies = []
        for id_ in message.ids[:IDS_MAX]:
            item = self._store.get(id_)
            if item is not None and item.topic == message.topic:
                item.known_by.add(peer)
                bodies.append(item.body)
        return GossipEffects(send=list(_batches(peer, message.topic, bodies)))

    def on_bodies(self, peer: bytes, message: Bodies) -> GossipEffects:
        """Bodies arrived, asked for or pushed: the new ones go to the node's part."""
        effects, rules = GossipEffects(), self._topics.get(message.topic)
        for body in message.bodies:
            if rules is None or len(body) > rules.body_bytes_max:
                effects.blame.append((peer, "message"))
                return effects
            id_ = item_id(message.topic, body)
            known = self._store.get(id_)
            if known is not None:
                known.known_by.add(peer)
            if self._seen.knows(peer, id_) or self._is_under_judgement(peer, id_):
                continue
            if not self._hold(id_, Item(message.topic, body, {peer}, peer), peer):
                effects.dropped += 1
                continue
            self._drop_want(id_)
            effects.deliver.append(GossipItem(message.topic, id_, body, peer))
        return effects

    def judged(self, delivery: GossipItem, verdict: ItemVerdict) -> GossipEffects:
        """The node's part has judged a delivered item."""
        effects, peer, id_ = GossipEffects(), delivery.peer, delivery.id
        item = self._release(id_, peer)
        if item is None:
            return effects
        if verdict is ItemVerdict.ACCEPT:
            if self._seen.accept(id_):
                self._drop_want(id_)
                self._keep(id_, item, effects)
            return effects
        self._seen.refuse(peer, id_)
        if verdict is ItemVerdict.REJECT:
            effects.blame.append((peer, "rejected"))
        return effects

    def tick(self, now_s: float) -> GossipEffects:
        """Ask the next announcer for what is overdue, forget what nobody delivers, flush announcements."""
        effects = self.flush()
        ask: dict[tuple[bytes, str], list[bytes]] = {}
        for id_ in [id_ for id_, want in self._wants.items() if want.deadline_s <= now_s]:
            want = self._wants[id_]
            want.announcers = [p for p in want.announcers if p != want.asked and p in self._want_counts]
            self._release_share(want.asked)
            if not want.announcers:
                del self._wants[id_]
                continue
            want.asked, want.deadline_s = want.announcers[0], now_s + FETCH_DEADLINE_S
            self._want_counts[want.asked] += 1
            ask.setdefault((want.asked, want.topic), []).append(id_)
        for (peer, topic), ids in ask.items():
            effects.send += [
                (peer, Fetch(topic, ids[at : at + IDS_MAX])) for at in range(0, len(ids), IDS_MAX)
            ]
        return effects

    def flush(self) -> GossipEffects:
        """Send the announcements that have gathered, in batches."""
        effects = GossipEffects()
        for (peer, topic), ids in self._announce.items():
            for at in range(0, len(ids), IDS_MAX):
                effects.send.append((peer, Announce(topic, ids[at : at + IDS_MAX])))
        self._announce.clear()
        return effects

    # -- bounded collections

    def _keep(self, id_: bytes, item: Item, effects: GossipEffects) -> None:
        """Store an accepted item and spread it."""
        self._store.put(id_, item)
        targets = [peer for peer in self._want_counts if peer not in item.known_by]
        targets.sort(key=lambda peer: hashlib.blake2b(id_ + peer, digest_size=8).digest())
        eager = self._topics[item.topic].eager
        if item.sender is not None and len(self._want_counts) <= eager:
            eager = 0
        for peer in targets[:eager]:
            item.known_by.add(peer)
            effects.send.append((peer, Bodies(item.topic, [item.body])))
        for peer in targets[eager:]:
            self._announce_later(peer, item.topic, id_)

    def _announce_later(self, peer: bytes, topic: str, id_: bytes) -> None:
        ids = self._announce.setdefault((peer, topic), [])
        if len(ids) < ANNOUNCE_WAITING_MAX:
            ids.append(id_)

    def _is_under_judgement(self, peer: bytes, id_: bytes) -> bool:
        """Whether the item need not come from `peer`: an observer's copy does not stand for a member's."""
        copies = self._unjudged.get(id_)
        if copies is None:
            return False
        if peer in self._members and self._members.isdisjoint(copies):
            return False
        for item in copies.values():
            item.known_by.add(peer)
        return True

    def _hold(self, id_: bytes, item: Item, peer: bytes) -> bool:
        """Keep an item until it is judged; False at the sender's bound, or that of all observers."""
        size, observer = UNJUDGED_ITEM_BYTES + len(item.body), peer not in self._members
        if self._unjudged_bytes[peer] + size > UNJUDGED_BYTES_MAX:
            return False
        if observer and self._unjudged_bytes_observers + size > UNJUDGED_BYTES_MAX_OBSERVERS:
            return False
        self._unjudged.setdefault(id_, {})[peer] = item
        self._unjudged_bytes[peer] += size
        self._unjudged_bytes_observers += size if observer else 0
        return True

    def _release(self, id_: bytes, peer: bytes) -> Item | None:
        copies = self._unjudged.get(id_, {})
        item = copies.pop(peer, None)
        if item is None:
            return None
        if not copies:
            del self._unjudged[id_]
        size = UNJUDGED_ITEM_BYTES + len(item.body)
        self._unjudged_bytes[peer] -= size
        if not self._unjudged_bytes[peer]:
            del self._unjudged_bytes[peer]
        self._unjudged_bytes_observers -= 0 if peer in self._members else size
        return item

    def _add_announcer(self, want: Want, peer: bytes, now_s: float) -> bool:
        """Another peer has a wanted item; whether to ask it at once, since so far an observer is asked."""
        if peer in want.announcers:
            return False
        if peer not in self._members:
            if len(want.announcers) < ANNOUNCERS_MAX:
                want.announcers.append(peer)
            return False
        want.announcers = [peer, *want.announcers][:ANNOUNCERS_MAX]
        if want.asked in self._members or not self._take_share(peer):
            return False
        self._release_share(want.asked)
        want.asked, want.deadline_s = peer, now_s + FETCH_DEADLINE_S
        return True

    def _take_share(self, peer: bytes) -> bool:
        count = self._want_counts.get(peer)
        limit = WANTED_PER_PEER_MAX if peer in self._members else WANTED_PER_OBSERVER_MAX
        if count is None or count >= limit:
            return False
        self._want_counts[peer] = count + 1
        return True

    def _release_share(self, peer: bytes) -> None:
        if self._want_counts.get(peer, 0) > 0:
            self._want_counts[peer] -= 1

    def _drop_want(self, id_: bytes) -> None:
        want = self._wants.pop(id_, None)
        if want is not None:
            self._release_share(want.asked)


def _batches(peer: bytes, topic: str, bodies: list[bytes]) -> Iterable[tuple[bytes, Message]]:
    """Bodies in messages of at most `BODIES_MAX`; a message ends at about a MiB, so that none grows huge."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and (len(batch) >= BODIES_MAX or size + len(body) > 1 << 20):
            yield peer, Bodies(topic, batch)
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield peer, Bodies(topic, batch)
