"""What a node is told about its network: identity, genesis, members, seeds, and every bound and interval.

Nothing here is read from the environment or the disk; `node.py` fills these records from the profile.
Secrets never appear in a repr.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.peer.errors import ConfigError

KEY_BYTES = 32
HASH_BYTES = 32
HOST_CHARS_MAX = 253  # RFC 1035 section 2.3.4, a full domain name without the root dot
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Every bound of the room, with what happens when it is reached."""

    connections_max: int = 128
    """Established connections. At the bound a member displaces the observer that was silent longest; an
    observer displaces one of the subnet that holds most places, or is refused."""
    connections_per_address_max: int = 16
    """Connections from one address (IPv6: /64), handshakes included. At the bound a new one is closed on
    accept."""
    handshakes_pending_max: int = 64
    """Handshakes under way, inbound, of which a quarter is kept for addresses of members. At the bound the
    address that has most of them loses its oldest, or a new connection is closed on accept."""
    handshakes_pending_per_address_max: int = 16
    """The same from one address. Same behaviour."""
    handshakes_per_s_max: int = 128
    """Hellos of strangers answered a second, over all addresses but those of members. Beyond twice this in
    one burst a connection is closed before anything is computed for it."""
    handshakes_per_s_per_address_max: int = 16
    """The same of one address, members that prove themselves not counted. Beyond four times this in one burst
    same behaviour."""
    message_bytes_max_member: int = 16 << 20
    """Partly received messages of one member's connection. At the bound the connection is closed."""
    message_bytes_max_observer: int = 4 << 20
    """The same for an observer."""
    partial_bytes_max_observers: int = 32 << 20
    """Partly received messages of all observers together. At the bound the connection is closed whose message
    is largest and oldest."""
    send_queue_bytes_max: int = 32 << 20
    """Bytes that wait in one priority class of one peer. At the bound `send` waits and `offer` refuses."""
    send_queue_messages_max: int = 4_096
    """Messages that wait in one priority class of one peer. Same behaviour."""
    send_backlog_bytes_max_observer: int = 6 << 20
    """Bytes that wait in one priority class of one observer, unless it is one message. Same behaviour."""
    send_bytes_max_members: int = 256 << 20
    """Blocks, answers and transactions that wait for all members together. At the bound the connection gives
    way that holds most for longest; if that is the one that wants more, it is refused."""
    send_bytes_max_observers: int = 64 << 20
    """The same for all observers together."""
    inbound_backlog_max: int = 512
    """Messages of one peer and class that wait for a handler. At the bound, which a peer that keeps to its
    credit reaches in no class but consensus, its socket is not read."""
    inbound_backlog_bytes_max: int = 8 << 20
    """Bytes of the same. Same behaviour."""
    inbound_bytes_max_observers: int = 64 << 20
    """Bytes of all observers that wait for a handler or are with it. At the bound who sends more is not
    read."""
    requests_pending_max: int = 64
    """Requests under way to one peer, and from one member. At the bound a request is refused."""
    requests_pending_max_observer: int = 16
    """Requests under way from one observer. Same behaviour."""
    request_bytes_max_observer: int = 64 << 10
    """Body of an observer's request. Beyond it the request is refused."""
    answers_at_once_max_members: int = 16
    """Long answers (headers, bodies, snapshots) that are being prepared for members. At the bound a request
    waits; peers take turns."""
    answers_at_once_max_observers: int = 4
    """The same for observers."""
    messages_per_s_member: int = 20_000
    """Sustained inbound messages a second. Beyond twice this in one burst the peer is disconnected."""
    messages_per_s_observer: int = 1_000
    """The same for an observer."""
    greylist_max: int = 4_096
    """Identities and addresses that are remembered as misbehaving. At the bound the mildest is forgotten."""
    greylist_loopback: bool = False
    """Whether an unproved client on the loopback address makes that address greylisted. Off, because the
    nodes of a local network share it; proved identities are greylisted wherever they are."""
    seen_max: int = 65_536
    """Gossip ids remembered a topic. At the bound the oldest is forgotten."""
    gossip_store_bytes_max: int = 64 << 20
    """Gossip bodies kept to answer fetches. At the bound the oldest is dropped."""
    seeds_max: int = 256
    """Addresses that are dialled as seeds, those of the configuration included. At the bound `add_seeds`
    refuses."""
    """Packets that a channel keeps for its subscribers. At the bound the oldest goes; readers are told."""
    subnet_per_bucket_max: int = 2
    """Routing entries of one subnet in one bucket; 0 switches the limit off (loopback networks)."""
    subnet_per_table_max: int = 10
    """Routing entries of one subnet in the whole table; 0 switches the limit off."""


@dataclass(frozen=True, slots=True)
class PeerIntervals:
    """Every timer of the room, in seconds."""

    handshake_timeout_s: float = 5.0
    idle_s: float = 60.0
    probe_s: float = 120.0
    unresponsive_s: float = 180.0
    tick_s: float = 0.5
    dial_timeout_s: float = 5.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 60.0
    request_deadline_s: float = 5.0
    message_deadline_s: float = 30.0
    """A message whose fragments take longer than this to arrive ends the connection."""
    broadcast_deadline_s: float = 3.0
    discover_s: float = 15.0
    """Between lookups of the own neighbourhood."""
    refresh_s: float = 600.0
    """After which a bucket that no lookup touched is refreshed."""
    greylist_halflife_s: float = 300.0

    def __post_init__(self) -> None:
        if not 0 < self.idle_s < self.probe_s < self.unresponsive_s:
            raise ConfigError(
                "intervals: need 0 < idle_s < probe_s < unresponsive_s, "
                f"got {self.idle_s}, {self.probe_s}, {self.unresponsive_s}"
            )


@dataclass(frozen=True, slots=True)
class KnownMember:
    """One identity that the genesis lists, with the address it is known by, if any."""

    identity: bytes
    address: str | None = None

    def __post_init__(self) -> None:
        _require_length("member.identity", self.identity, KEY_BYTES)
        if self.address is not None:
            parse_address(self.address)


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Everything a `Peer` needs. Raises `ConfigError` naming the field that is wrong."""

    identity_seed: bytes = field(repr=False)
    """32-byte Ed25519 seed of this node. Never printed, never logged."""
    genesis_hash: bytes
    """32 bytes that name the network; a peer of another network fails the first handshake message."""
    members: tuple[KnownMember, ...] = ()
    """Who may speak consensus. Their addresses are dialled and kept connected."""
    seeds: tuple[str, ...] = ()
    """`host:port` to start discovery from; when empty, the members' addresses are the preset list."""
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0 binds any free port."""
    advertise_address: str | None = None
    """`host[:port]` that other nodes should dial; when None, see `advertise`."""
    allow_observers: bool = True
    """Whether identities outside the genesis may connect (they may never speak consensus)."""
    limits: PeerLimits = field(default_factory=PeerLimits)
    intervals: PeerIntervals = field(default_factory=PeerIntervals)

    def __post_init__(self) -> None:
        _require_length("identity_seed", self.identity_seed, KEY_BYTES)
        _require_length("genesis_hash", self.genesis_hash, HASH_BYTES)
        if not 0 <= self.listen_port <= PORT_MAX:
            raise ConfigError(f"listen_port: {self.listen_port} is outside 0..{PORT_MAX}")
        for seed in self.seeds:
            parse_address(seed)


def parse_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[ipv6]:port`. Raises `ConfigError` when it is neither."""
    host, separator, port_text = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f"address: {address!r} needs brackets around its IPv6 host")
    if not separator or not host or len(host) > HOST_CHARS_MAX:
        raise ConfigError(f"address: {address!r} is not host:port")
    if not (port_text.isascii() and port_text.isdigit()) or not 0 < int(port_text[:6]) <= PORT_MAX:
        raise ConfigError(f"address: port {port_text[:16]!r} is outside 1..{PORT_MAX}")
    return host, int(port_text)


def format_address(host: str, port: int) -> str:
    """Join a host and a port; an IPv6 host gets brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _require_length(name: str, value: bytes, length: int) -> None:
    if not isinstance(value, bytes) or len(value) != length:
        raise ConfigError(f"{name}: need {length} bytes, got {len(value)}")
