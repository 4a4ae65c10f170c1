"""What a request says of where it comes from, and what of that is believed. Pure: scope and headers in.

* A path is plain text: control characters, backslashes, encoded slashes and percent signs, and bytes
  that are no UTF-8 are refused (400), so that no two parts of the gateway can read it differently.
* `Host` must be a loopback name, an IP address, or in `gateway.allowed_hosts` (421 otherwise): a page that
  points its own name at this node (DNS rebinding) carries that name here. An address cannot be pointed
  elsewhere.
* `Origin` is empty, this node's own, one of `gateway.allowed_origins`, or foreign.
* The client's address is the connection's; behind one of `gateway.trusted_proxies` it is the last address
  in `gateway.forwarded_header` that is no trusted proxy's. Any forwarding header at all says that somebody
  stands between: such a request is never "from this machine".
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from actors.gateway.body import Scope
from actors.gateway.problem import ProblemError
from actors.settings import GatewaySettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = dict[bytes, bytes]
IPV6_CLIENT_BITS = 64  # what one subscriber is given; single addresses in it cost nothing
HOSTS_KNOWN_MAX = 256
ADDRESS_CHARS_MAX = 64
HOPS_MAX = 32
LOOPBACK_NAME = "localhost"
_PLAIN = re.compile(rb"[A-Za-z0-9/._~-]+")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_FORWARDING = frozenset(
    b"forwarded via x-real-ip x-client-ip true-client-ip cf-connecting-ip x-cluster-client-ip "
    b"x-original-forwarded-for".split()
)
_FORWARDED_FOR = re.compile(r"for\s*=\s*(\"[^\"]*\"|[^;,\s]+)", re.IGNORECASE)


class PageOrigin(Enum):
    """Which page sent a request, as browsers say in `Origin`."""

    NONE = "none"
    OWN = "own"
    ALLOWED = "allowed"
    FOREIGN = "foreign"


def path_problem(scope: Scope) -> ProblemError | None:
    """400 for a path that is not plain text; see the module's rules."""
    raw, path = scope.get("raw_path") or b"", scope["path"]
    if _PLAIN.fullmatch(raw) and len(raw) == len(path):
        return None
    text = path + raw.decode("latin-1")
    plain = all(character.isprintable() and character not in "\\\ufffd" for character in text)
    encoded = raw.lower()
    if plain and b"%2f" not in encoded and b"%25" not in encoded:
        return None
    detail = "a path holds no control characters, backslashes, encoded slashes or percent signs, and is UTF-8"
    return ProblemError("malformed", detail, field="path")


def address_of(text: str) -> Address | None:
    """An IP address in the form that it is compared in: IPv4 inside IPv6 as IPv4, without zone; or None."""
    return _parsed(text) if len(text) <= ADDRESS_CHARS_MAX else None


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def client_name(text: str) -> str:
    """The name that an address is counted under: itself, for IPv6 its /64. The one place that says so."""
    return _named(text[:ADDRESS_CHARS_MAX])


@lru_cache(maxsize=4096)
def _named(text: str) -> str:
    address = address_of(text)
    if address is None or isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return text if address is None else str(address)
    return str(ipaddress.ip_network((address, IPV6_CLIENT_BITS), strict=False))


@lru_cache(maxsize=1024)
def is_loopback(host: str) -> bool:
    """Whether an address or host name can only be this machine."""
    address = address_of(host)
    return host.lower() == LOOPBACK_NAME if address is None else address.is_loopback


def exposed_without_keys(settings: GatewaySettings) -> str:
    """Why a gateway with these settings must not start, or "": it would let every stranger in."""
    if is_loopback(settings.host) or settings.api_keys_file:
        return ""
    return (
        f"gateway.host is {settings.host!r}, which others can reach, and nobody needs a key: set "
        "gateway.api_keys_file to a file of keys (a line each: SHA256-HEX ROLE NAME), or listen on 127.0.0.1"
    )


def forwarded(headers: Headers) -> bool:
    """Whether some header says that a proxy passed the request on."""
    return not _FORWARDING.isdisjoint(headers) or b"\nx-forwarded-" in b"\n" + b"\n".join(headers)


class EdgeRules:
    """The settings' view of hosts, origins and proxies."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._hosts = {LOOPBACK_NAME, *(name.lower().rstrip(".") for name in settings.allowed_hosts)}
        self._hosts.add(settings.host.lower())
        self._known_hosts: set[bytes] = set()
        self._origins = {origin.encode() for origin in settings.allowed_origins}
        self._proxies: list[Network] = [
            ipaddress.ip_network(text, strict=False) for text in settings.trusted_proxies
        ]
        self._header = settings.forwarded_header.encode()

    def host_problem(self, scope: Scope, headers: Headers) -> ProblemError | None:
        """421 for the name of another machine, 400 for no name or a malformed one."""
        host = headers.get(b"host")
        if len(headers) != len(scope["headers"]):
            hosts = [value for name, value in scope["headers"] if name == b"host"]
            if len(hosts) > 1:
                return ProblemError("malformed", "a request has one Host header", field="host")
        if host in self._known_hosts:
            return None
        if host is None:
            if scope.get("http_version") != "1.1":
                return None
            return ProblemError("malformed", "a request names its host", field="host")
        found = _HOST.fullmatch(host.decode("latin-1"))
        if found is None:
            return ProblemError("malformed", "the host is no name or address", field="host")
        name = found[1].lower().strip("[]").rstrip(".")
        if name not in self._hosts and address_of(name) is None:
            detail = f"this node is not {name[:64]!r}; names that it answers to are in gateway.allowed_hosts"
            return ProblemError("misdirected", detail, field="host")
        if len(self._known_hosts) < HOSTS_KNOWN_MAX:
            self._known_hosts.add(host)
        return None

    def origin(self, headers: Headers) -> PageOrigin:
        """Whose page asks."""
        origin = headers.get(b"origin")
        if origin is None:
            return PageOrigin.NONE
        with contextlib.suppress(ValueError):
            netloc = urlsplit(origin.decode("latin-1")).netloc.lower()
            if netloc and netloc == headers.get(b"host", b"").decode("latin-1").lower():
                return PageOrigin.OWN
        return PageOrigin.ALLOWED if origin in self._origins else PageOrigin.FOREIGN

    @property
    def shares_reads(self) -> bool:
        """Whether answers differ by origin."""
        return bool(self._origins)

    def is_proxy(self, text: str) -> bool:
        """Whether an address is a trusted proxy's."""
        if not self._proxies:
            return False
        address = address_of(text)
        return address is not None and any(address in network for network in self._proxies)

    def address(self, scope: Scope) -> str:
        """The client's address: the connection's, or what trusted proxies say of it."""
        client: Any = scope.get("client") or ("",)
        nearest = str(client[0])
        if not self._proxies or not self.is_proxy(nearest):
            return nearest
        for text in reversed(self._hops(scope)):
            if address_of(text) is None:
                return nearest  # "unknown", or junk: the last who is known
            if not self.is_proxy(text):
                return text
            nearest = text
        return nearest

    def _hops(self, scope: Scope) -> list[str]:
        """Addresses in the forwarding header, the nearest last, without their ports."""
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == self._header]
        joined = ",".join(values)
        hops = (
            [part.strip('"') for part in _FORWARDED_FOR.findall(joined)]
            if self._header == b"forwarded"
            else [part.strip() for part in joined.split(",") if part.strip()]
        )
        return [_without_port(hop) for hop in hops[-HOPS_MAX:]]


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
