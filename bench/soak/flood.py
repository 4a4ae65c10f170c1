"""Bad input of every sort, as fast as it is answered: each must be refused and harm nobody."""

from __future__ import annotations

import random
import socket
import struct
import time
from contextlib import suppress

import httpx

from actors.sdk.proxies import http_options

_BINARY = {"content-type": "application/octet-stream"}
_TIMEOUT_S = 5.0


def flood_with_bad_input(url: str, peer_address: str, seed: int, seconds: float) -> int:
    """Send malformed bodies to a gateway and noise to a peer for so long; how many of them were sent."""
    chance, until, sent = random.Random(seed), time.monotonic() + seconds, 0
    with httpx.Client(base_url=url, timeout=_TIMEOUT_S, **http_options([url])) as http:
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                _bad_request(http, chance)
            _bad_connection(peer_address, chance)
            sent += 2
    return sent


def _bad_request(http: httpx.Client, chance: random.Random) -> None:
    noise = chance.randbytes(chance.randrange(1, 4_000))
    rows = chance.randrange(1, 20)
    cut = struct.pack("<4sIQ", b"RCB1", rows, 0) + noise
    false_rows = struct.pack("<4sIQ", b"RCB1", rows, 0) + _rows(chance, rows)
    request = chance.choice(("noise", "cut", "false", "json", "path"))
    if request == "json":
        http.post("/v1/transactions", content=noise, headers={"content-type": "application/json"})
    elif request == "path":
        http.get(f"/v1/accounts/{noise[:40].hex()}")
    else:
        body = {"noise": noise, "cut": cut, "false": false_rows}[request]
        http.post("/v1/transactions/batch", content=body, headers=_BINARY)


def _rows(chance: random.Random, count: int) -> bytes:
    """Rows of the right form and version whose every other field is noise."""
    return b"".join(struct.pack("<BBHI", 1, 1, 0, 0) + chance.randbytes(200) for _ in range(count))


def _bad_connection(address: str, chance: random.Random) -> None:
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as peer:
        peer.sendall(chance.randbytes(chance.randrange(1, 2_000)))
