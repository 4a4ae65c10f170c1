"""The connection table: who is connected, in which state, and who must go.

    ACTIVE --no traffic for idle_s--> IDLE --traffic--> ACTIVE
    any --no sign of life for probe_s--> a probe is due (one an attempt, until answered)
    any --no sign of life for unresponsive_s--> UNRESPONSIVE: close it, clean its routes

Traffic is what the node's parts say to each other; a sign of life is any frame that opened, pongs included.
So an idle link that answers its probes stays, idle, and a silent one is gone after `unresponsive_s`.

Two nodes that dial each other at the same time end up with two connections; `keeps_new` is the rule by which
both drop the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from actors.peer.config import PeerIntervals, PeerLimits
from actors.peer.kademlia.records import subnet

RTT_WEIGHT = 0.125  # smoothing of round-trip times, RFC 6298 section 2


class LinkState(Enum):
    """State of an established connection."""

    ACTIVE = "active"
    IDLE = "idle"
    UNRESPONSIVE = "unresponsive"


@dataclass(slots=True)
class Link:
    """One established connection, as the table sees it. Times are seconds of the caller's clock."""

    identity: bytes
    address: str
    host: str
    member: bool
    outbound: bool
    incarnation: bytes
    traffic_s: float
    seen_s: float
    probed_s: float | None = None
    rtt_ms: float | None = None
    state: LinkState = LinkState.ACTIVE


@dataclass(frozen=True, slots=True)
class LinkDecision:
    """Whether a new link may stay, whom it displaces, and why not."""

    admitted: bool
    displaced: bytes | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What a tick asks for: first probe these, then close and forget those."""

    probe: tuple[bytes, ...]
    drop: tuple[bytes, ...]


def keeps_new(local_identity: bytes, old: Link, new: Link) -> bool:
    """Which of two connections to one peer survives; both ends decide the same.

    A new incarnation of the peer, or a second dial from the same side, means the old one is dead. Of two
    that crossed, the one that the smaller identity dialled stays.
    """
    if old.incarnation != new.incarnation or old.outbound == new.outbound:
        return True
    return new.outbound == (local_identity < new.identity)


def _crowd(observers: list[Link], new: Link) -> list[Link]:
    """Observers that dialled in from the subnet that has most places, when that is two more than the
    newcomer's; those that this node dialled itself are nobody's crowd."""
    by_subnet: dict[str, list[Link]] = {}
    for link in observers:
        if not link.outbound:
            by_subnet.setdefault(subnet(link.host), []).append(link)
    crowd = max(by_subnet.values(), key=len, default=[])
    return crowd if len(crowd) >= 2 + len(by_subnet.get(subnet(new.host), ())) else []


class LinkTable:
    """Established links by identity, within the limits."""

    def __init__(self, local_identity: bytes, limits: PeerLimits, intervals: PeerIntervals) -> None:
        self._local_identity = local_identity
        self._limits = limits
        self._intervals = intervals
        self._links: dict[bytes, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def __contains__(self, identity: object) -> bool:
        return identity in self._links

    def get(self, identity: bytes) -> Link | None:
        """The link to `identity`, or None."""
        return self._links.get(identity)

    def links(self) -> list[Link]:
        """All links, oldest first."""
        return list(self._links.values())

    def admit(self, new: Link) -> LinkDecision:
        """Enter a link. At `connections_max` a member displaces the observer silent longest, and an observer
        one that dialled in from the subnet that holds most places, if that is two more than the newcomer's.
        """
        old = self._links.get(new.identity)
        if old is not None:
            if not keeps_new(self._local_identity, old, new):
                return LinkDecision(False, reason="duplicate")
            del self._links[new.identity]
            self._links[new.identity] = new
            return LinkDecision(True, displaced=new.identity)
        displaced = None
        if len(self._links) >= self._limits.connections_max:
            observers = [link for link in self._links.values() if not link.member]
            if not new.member:
                observers = _crowd(observers, new)
            if not observers:
                return LinkDecision(False, reason="connections_max")
            displaced = min(observers, key=lambda link: link.seen_s).identity
            del self._links[displaced]
        self._links[new.identity] = new
        return LinkDecision(True, displaced=displaced)

    def remove(self, identity: bytes) -> Link | None:
        """Forget a link; returns it."""
        return self._links.pop(identity, None)

    def saw(self, identity: bytes, now_s: float, *, traffic: bool) -> None:
        """A frame of the peer opened; `traffic` when it was more than keep-alive."""
        link = self._links.get(identity)
        if link is None:
            return
        link.seen_s = now_s
        link.probed_s = None
        if traffic:
            link.traffic_s = now_s
            link.state = LinkState.ACTIVE

    def measured(self, identity: bytes, rtt_ms: float) -> None:
        """A probe came back after `rtt_ms` milliseconds."""
        link = self._links.get(identity)
        if link is not None:
            old = link.rtt_ms
            link.rtt_ms = rtt_ms if old is None else old + RTT_WEIGHT * (rtt_ms - old)

    def tick(self, now_s: float) -> Upkeep:
        """Advance states to `now_s`; removes the unresponsive from the table and names them."""
        probe, drop = [], []
        for link in self._links.values():
            silent_s = now_s - link.seen_s
            if silent_s >= self._intervals.unresponsive_s:
                link.state = LinkState.UNRESPONSIVE
                drop.append(link.identity)
                continue
            if now_s - link.traffic_s >= self._intervals.idle_s:
                link.state = LinkState.IDLE
            if silent_s >= self._intervals.probe_s and link.probed_s is None:
                link.probed_s = now_s
                probe.append(link.identity)
        for identity in drop:
            del self._links[identity]
        return Upkeep(tuple(probe), tuple(drop))
