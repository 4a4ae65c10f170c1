"""Signed endpoint records: where an identity can be dialled, said by nobody but itself.

    record     signature (64) || body
    body       identity (32) || sequence u64 LE || port u16 LE || host length u8 || host (ASCII)
    signature  Ed25519 over "raychain endpoint v1" || genesis hash || body

A record of a higher sequence number replaces one of a lower; the genesis hash keeps networks apart. The
node id of an identity is SHA-256("raychain node id v1" || identity), 256 bits, so that nobody picks his
place in the id space without paying for keys.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from functools import cached_property

from actors.peer.config import HOST_CHARS_MAX, PORT_MAX, format_address
from actors.peer.errors import ConfigError, ProtocolError
from actors.peer.wire.handshake import KEY_BYTES, SIGNATURE_BYTES, LocalIdentity, verify

DOMAIN = b"raychain endpoint v1"
ID_DOMAIN = b"raychain node id v1"
BODY_BYTES_MIN = KEY_BYTES + 8 + 2 + 1
IPV4_SUBNET_BITS = 24
IPV6_SUBNET_BITS = 48


def node_id(identity: bytes) -> int:
    """256-bit Kademlia id of an identity key."""
    return int.from_bytes(hashlib.sha256(ID_DOMAIN + identity).digest(), "big")


def subnet(host: str) -> str:
    """The network that one owner is taken to hold: IPv4 /24, IPv6 /48, a host name by itself."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    bits = IPV4_SUBNET_BITS if parsed.version == 4 else IPV6_SUBNET_BITS
    return str(ipaddress.ip_network((parsed, bits), strict=False))


@dataclass(frozen=True)
class EndpointRecord:
    """A verified statement of `identity`: dial me at host:port."""

    identity: bytes
    sequence: int
    host: str
    port: int
    encoded: bytes = b""

    @cached_property
    def id(self) -> int:
        """Kademlia id."""
        return node_id(self.identity)

    @cached_property
    def subnet(self) -> str:
        """Subnet of the host, for the table's limits."""
        return subnet(self.host)

    @property
    def address(self) -> str:
        """`host:port`."""
        return format_address(self.host, self.port)


def sign_record(local: LocalIdentity, sequence: int, host: str, port: int) -> EndpointRecord:
    """Make this node's own record. Raises `ConfigError` for a host or port that does not fit."""
    if not host.isascii() or not 0 < len(host) <= HOST_CHARS_MAX or not 0 < port <= PORT_MAX:
        raise ConfigError(f"endpoint: {host!r}:{port} does not fit a record")
    body = b"".join(
        (
            local.public,
            sequence.to_bytes(8, "little"),
            port.to_bytes(2, "little"),
            bytes((len(host),)),
            host.encode("ascii"),
        )
    )
    signature = local.sign(DOMAIN + local.genesis_hash + body)
    return EndpointRecord(local.public, sequence, host, port, signature + body)


def decode_record(data: bytes, genesis_hash: bytes) -> EndpointRecord:
    """Parse and verify a record. Raises `ProtocolError("record")` naming what is wrong."""
    signature, body = data[:SIGNATURE_BYTES], data[SIGNATURE_BYTES:]
    if len(body) < BODY_BYTES_MIN or len(body) != BODY_BYTES_MIN + body[BODY_BYTES_MIN - 1]:
        raise ProtocolError("record", f"length: {len(data)} bytes do not hold a record")
    identity = body[:KEY_BYTES]
    sequence = int.from_bytes(body[KEY_BYTES : KEY_BYTES + 8], "little")
    port = int.from_bytes(body[KEY_BYTES + 8 : KEY_BYTES + 10], "little")
    host = body[BODY_BYTES_MIN:]
    if port == 0 or not _is_host(host):
        raise ProtocolError("record", f"endpoint: {host[:64]!r}:{port} cannot be dialled")
    if not verify(identity, signature, DOMAIN + genesis_hash + body):
        raise ProtocolError("record", "signature: does not verify")
    return EndpointRecord(identity, sequence, host.decode("ascii"), port, bytes(data))


def _is_host(host: bytes) -> bool:
    allowed = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:"
    return (
        0 < len(host) <= HOST_CHARS_MAX and not host.strip(allowed) and all(byte in allowed for byte in host)
    )
