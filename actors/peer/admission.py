"""Who may open a connection and begin a handshake: decided before anything is computed for a stranger.

Rules
1. Every bound has a share for each source, which is an IPv4 address or an IPv6 /64, so that one source closes
   nobody else out; and a part of it that only sources where members were proved may use.
2. A hello costs its sender a token, of its source and of all strangers, before any curve operation. A member
   that proves itself gets it back.
3. A hello that was seen before is a replay: it costs a look-up, and its sender his standing.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Hashable
from functools import lru_cache

from actors.peer.config import PeerLimits
from actors.peer.errors import ProtocolError
from actors.peer.greylist import TokenBucket

SOURCES_MAX = 4_096
"""Sources whose tokens are remembered. At the bound the one that was quiet longest is forgotten."""
MEMBER_SOURCES_MAX = 256
"""Sources of members. At the bound the one confirmed longest ago is forgotten."""
HELLOS_MAX = 16_384
"""Hellos remembered to know replays. At the bound the oldest is forgotten."""
RESERVE = 4
"""One in so many handshakes under way is kept for members' sources."""
IPV6_SOURCE_BITS = 64


@lru_cache(maxsize=SOURCES_MAX)
def source_of(host: str) -> str:
    """What one owner is taken to send from: an IPv4 address, an IPv6 /64, the loopback, a name by itself."""
    try:
        parsed = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower()
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        if not parsed.is_loopback:
            return str(ipaddress.ip_network((parsed, IPV6_SOURCE_BITS), strict=False))
    return str(parsed)


@lru_cache(maxsize=SOURCES_MAX)
def is_loopback(host: str) -> bool:
    """Whether a host leads back to the machine that reads it."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


class HandshakeAdmission:
    """Connections and handshakes under way, by source. Times are seconds of the caller's clock."""

    def __init__(self, limits: PeerLimits, now_s: float = 0.0) -> None:
        self._limits = limits
        self._connections: Counter[str] = Counter()
        self._pending: dict[str, dict[Hashable, None]] = {}
        self._pending_total = 0
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._strangers = TokenBucket(limits.handshakes_per_s_max, 2 * limits.handshakes_per_s_max, now_s)
        self._member_sources: OrderedDict[str, None] = OrderedDict()
        self._hellos: OrderedDict[bytes, None] = OrderedDict()

    @property
    def pending(self) -> int:
        """Inbound handshakes under way."""
        return self._pending_total

    def dialled(self, source: str) -> None:
        """A socket that this node opened counts until `closed`."""
        self._connections[source] += 1

    def accepted(self, source: str, socket: Hashable) -> tuple[str, Hashable | None]:
        """A socket was accepted: it counts until `closed`, and its handshake is under way until `settled`.

        Returns the bound that refuses it, or nothing, and a socket that has to go for it: the oldest of the
        source that has most under way, if that is two more than this one's.
        """
        self._connections[source] += 1
        mine = self._pending.setdefault(source, {})
        mine[socket] = None
        self._pending_total += 1
        limits = self._limits
        if len(mine) > limits.handshakes_pending_per_address_max:
            return "handshakes_pending_per_address_max", None
        if self._connections[source] > limits.connections_per_address_max:
            return "connections_per_address_max", None
        room = limits.handshakes_pending_max
        if source not in self._member_sources:
            room -= room // RESERVE
        if self._pending_total <= room:
            return "", None
        crowd, theirs = max(self._pending.items(), key=lambda entry: len(entry[1]))
        if len(theirs) < len(mine) + 2:
            return "handshakes_pending_max", None
        oldest = next(iter(theirs))
        self.settled(crowd, oldest)
        return "", oldest

    def settled(self, source: str, socket: Hashable) -> None:
        """A handshake is over, well or not; saying so twice is harmless."""
        theirs = self._pending.get(source, {})
        if socket in theirs:
            del theirs[socket]
            self._pending_total -= 1
            if not theirs:
                del self._pending[source]

    def closed(self, source: str) -> None:
        """A socket is gone."""
        self._connections[source] -= 1
        if self._connections[source] <= 0:
            del self._connections[source]

    def hello(self, source: str, ephemeral: bytes, now_s: float) -> None:
        """Let a well-formed hello be answered. Raises `ProtocolError`: `replayed` or `handshake_rate`."""
        if ephemeral in self._hellos:
            raise ProtocolError("replayed", "a hello that was seen before")
        bucket = self._bucket(source, now_s)
        if not bucket.take(1, now_s):
            limit = self._limits.handshakes_per_s_per_address_max
            raise ProtocolError("handshake_rate", f"more than {limit} handshakes a second of one address")
        if source not in self._member_sources and not self._strangers.take(1, now_s):
            limit = self._limits.handshakes_per_s_max
            raise ProtocolError("handshake_rate", f"more than {limit} handshakes a second of all strangers")
        self._hellos[ephemeral] = None
        if len(self._hellos) > HELLOS_MAX:
            self._hellos.popitem(last=False)

    def proved_member(self, source: str, now_s: float) -> None:
        """A member proved itself from this source: what its hello cost is given back, and it keeps room."""
        self._bucket(source, now_s).give(1)
        if source not in self._member_sources:
            self._strangers.give(1)
        self._member_sources[source] = None
        self._member_sources.move_to_end(source)
        if len(self._member_sources) > MEMBER_SOURCES_MAX:
            self._member_sources.popitem(last=False)

    def expect_member(self, host: str) -> None:
        """A member is known to be at this host: it keeps room from the start."""
        if len(self._member_sources) < MEMBER_SOURCES_MAX:
            self._member_sources[source_of(host)] = None

    def _bucket(self, source: str, now_s: float) -> TokenBucket:
        bucket = self._buckets.get(source)
        if bucket is None:
            rate = self._limits.handshakes_per_s_per_address_max
            bucket = self._buckets[source] = TokenBucket(rate, 4 * rate, now_s)
            if len(self._buckets) > SOURCES_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(source)
        return bucket
