"""What a peer remembers over a restart: its own port, and where members were reached last.

So a peer that was killed comes back where the others look for it and knows where to look for them, also
when its configuration names neither (a network on loopback, where every port is a free one). One whose
folder was emptied remembers nothing: it takes the port that follows from its key, where the others look.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from actors.peer.config import PORT_MAX, parse_address
from actors.peer.errors import ConfigError

ADDRESSES_MAX = 64
"""At the bound the one that was confirmed longest ago is forgotten."""
FILE_NAME = "peers.json"
USUAL_PORTS = range(20_000, 32_000)
"""Above those of services and of Ray's workers, below those that systems give to outgoing connections."""


class AddressBook(Struct, frozen=True):
    """`port` 0 when none was bound yet; `addresses` as host:port, the last confirmed last; `sequence` of the
    last record that this node signed of itself."""

    port: Annotated[int, Meta(ge=0, le=PORT_MAX)] = 0
    addresses: Annotated[tuple[str, ...], Meta(max_length=ADDRESSES_MAX)] = ()
    sequence: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0

    def bound(self, port: int, sequence: int) -> AddressBook:
        """The book with this node's own port, and the sequence of its record."""
        return AddressBook(port, self.addresses, sequence)

    def reached(self, *addresses: str) -> AddressBook:
        """The book with these as the last confirmed."""
        kept = [known for known in self.addresses if known not in addresses]
        return AddressBook(self.port, (*kept, *dict.fromkeys(addresses))[-ADDRESSES_MAX:], self.sequence)

    def encode(self) -> bytes:
        """JSON."""
        return msgspec.json.encode(self)


def usual_port(identity: bytes) -> int:
    """Where the node of this key listens if neither its configuration nor its book names a port; any free one
    where that is taken."""
    return USUAL_PORTS[int.from_bytes(hashlib.sha256(identity).digest()[:8], "big") % len(USUAL_PORTS)]


def decode_address_book(data: bytes) -> AddressBook:
    """Raises `ConfigError` naming what is wrong."""
    try:
        book = msgspec.json.decode(data, type=AddressBook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"address book: {error}") from error
    for address in book.addresses:
        parse_address(address)
    return book
