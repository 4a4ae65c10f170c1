"""Why addresses could not be reached: the last failure of each, so that a node without peers can say why.

A peer of another network, a closed port and a silent host need different mistakes mended, so each failure has
a sentence of its own. At `ADDRESSES_MAX` the address that failed longest ago is forgotten.
"""

from __future__ import annotations

import socket
from collections import OrderedDict

from actors.peer.errors import ConfigError, RequestError

ADDRESSES_MAX = 32
SHOWN_MAX = 3
NOBODY_KNOWN = (
    "no address of a peer is known: give one with --join HOST:PORT or peer.seeds, or in the genesis' members"
)
SENTENCES = {
    "another_network": "is a peer of another network (its genesis differs)",
    "another_version": "is a peer that speaks another version of the protocol",
    "another_refusal": "is a peer that refuses this one",
    "identity": "is another peer than the one expected there",
    "magic": "does not speak this protocol",
    "proof": "did not prove who it is",
    "handshake_timeout": "accepted the connection and then said nothing",
    "self": "is this node itself",
}


def sentence(error: Exception) -> str:
    """What is wrong at an address, as the rest of a sentence that begins with it."""
    if isinstance(error, RequestError):
        if error.reason == "closed" and "before" in error.detail:
            return "ended the connection before it proved itself: it is no peer, or refuses this address"
        if error.reason == "closed":
            return "ended the connection after the handshake: it is full, admits members only, or refuses us"
        return SENTENCES.get(error.reason, f"did not become a peer ({error.reason})")
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection: nobody listens there"
    if isinstance(error, socket.gaierror):
        return "is a host name that does not resolve"
    if isinstance(error, TimeoutError):
        return "did not answer in time: wrong host, or a firewall between"
    if isinstance(error, ConfigError):
        return "is not host:port"
    return f"cannot be reached ({getattr(error, 'strerror', None) or type(error).__name__})"


class Failures:
    """The last failure of each address that was tried and is not connected."""

    def __init__(self) -> None:
        self._sentences: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sentences)

    def failed(self, address: str, error: Exception) -> None:
        """A dial did not end in a connection."""
        self._sentences[address] = sentence(error)
        self._sentences.move_to_end(address)
        if len(self._sentences) > ADDRESSES_MAX:
            self._sentences.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """It did."""
        self._sentences.pop(address, None)

    def all(self) -> dict[str, str]:
        """What is wrong, by address, latest last."""
        return dict(self._sentences)

    def reason(self, connected: int, known: int) -> str:
        """Why a node with `connected` peers that knows `known` addresses has none; empty when it has some."""
        if connected:
            return ""
        if not known:
            return NOBODY_KNOWN
        if not self._sentences:
            return f"no peer has answered yet; {known} addresses are being tried"
        last = list(self._sentences.items())[-SHOWN_MAX:]
        more = len(self._sentences) - len(last)
        told = "; ".join(f"{address} {what}" for address, what in last)
        return f"no peer: {told}" + (f"; and {more} more" if more else "")
