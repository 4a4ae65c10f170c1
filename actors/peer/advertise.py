"""Which address a node publishes as its own, and to whom.

Rules
1. What is configured is published; its port is the one bound when it names none (NAT and containers often map
   only the host).
2. A node that listens on all interfaces does not know its address: a member publishes the one of the genesis,
   anybody else none, and is reached by nobody that it does not dial.
3. A loopback address means another machine to everybody else: it is published to, and taken from, peers on
   the loopback only.
"""

from __future__ import annotations

from actors.peer.admission import is_loopback
from actors.peer.config import PeerConfig, format_address, parse_address
from actors.peer.errors import ConfigError

WILDCARD_HOSTS = frozenset({"", "0.0.0.0", "::"})
NOT_PUBLISHED = (
    "listens on all interfaces and so publishes no address: nobody can find this node unless it dials them; "
    "set peer.advertise to the host[:port] that others reach"
)


def advertised_address(config: PeerConfig, own: bytes, bound_host: str, bound_port: int) -> str | None:
    """`host:port` to publish, or None. own: this node's identity."""
    if config.advertise_address:
        return with_port(config.advertise_address, bound_port)
    if bound_host not in WILDCARD_HOSTS:
        return format_address(bound_host, bound_port)
    return next((member.address for member in config.members if member.identity == own), None)


def with_port(address: str, port: int) -> str:
    """`host:port` of `host[:port]`. Raises `ConfigError`."""
    try:
        host, port = parse_address(address)
    except ConfigError:
        bracketed = address.startswith("[") and address.endswith("]")
        if ":" in address and not bracketed:
            raise
        host, _ = parse_address(f"{address}:{port}")
    if host in WILDCARD_HOSTS:
        raise ConfigError(f"advertise: {address!r} is no address that others can dial")
    return format_address(host, port)


def is_published_to(record_host: str, peer_host: str) -> bool:
    """Whether an endpoint at `record_host` is of use to, or to be believed from, a peer at `peer_host`."""
    return not is_loopback(record_host) or is_loopback(peer_host)
