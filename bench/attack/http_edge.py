"""Attacks on the HTTP edge of the first node: spellings, origins, and one client who takes what all share.

The attacker's connections come from an address of their own in 127.0.0.0/8, as another client's would; a
witness at yet another address says whether others are still served.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from bench.attack.registry import AttackOutcome, AttackTarget, attack

ATTACKER, WITNESS = "127.0.0.66", "127.0.0.77"
ANSWER_S_MAX = 5.0
IDLE, STREAMS, HEADS, BODIES, READERS = 8_250, 4_200, 800, 200, 256
OPENED_AT_ONCE = 64
FILES_KEPT = 200
BATCH, BATCH_TYPE = "/v1/transactions/batch", "application/octet-stream"
BODY_BYTES = 3_000_000
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SPELLINGS = (
    "/v1/%s%%0A",
    "/v1/%s%%0D",
    "/v1/%s%%00",
    "/v1/%s%%09",
    "/v1%%2F%s",
    "/v1%%5C%s",
    "/v1%%252F%s",
    "/v1/%s%%C1%%8A",
    "/v1/%s%%C2%%85",
)
DIGITS = ("9" * 5_000, "0" * 4_999 + "7")


class _Gateway:
    """Where the first gateway listens, and what is said to it by hand."""

    def __init__(self, target: AttackTarget) -> None:
        address = urlsplit(target.urls[0])
        self.host, self.port, self.name = address.hostname or "", address.port or 80, address.netloc

    async def open(self, source: str = ATTACKER) -> Connection:
        return await asyncio.wait_for(
            asyncio.open_connection(self.host, self.port, local_addr=(source, 0)), ANSWER_S_MAX
        )

    def text(self, method: str, path: str, headers: Sequence[str] = (), content: bytes = b"") -> bytes:
        host = () if any(line.lower().startswith("host:") for line in headers) else (f"host: {self.name}",)
        length = (f"content-length: {len(content)}",) if content else ()
        lines = (f"{method} {path} HTTP/1.1", *host, *headers, *length, "", "")
        return "\r\n".join(lines).encode() + content

    async def status(self, text: bytes, source: str = ATTACKER) -> int:
        """Status of the answer; 0 for none, or none in time."""
        try:
            reader, writer = await self.open(source)
            try:
                writer.write(text)
                line = await asyncio.wait_for(reader.readline(), ANSWER_S_MAX)
                return int(line.split(b" ")[1])
            finally:
                writer.close()
        except (OSError, TimeoutError, IndexError, ValueError):
            return 0

    async def witness(self, path: str = "/v1/status") -> int:
        """What another client is answered."""
        return await self.status(self.text("GET", path, ("connection: close",)), WITNESS)

    async def many(self, count: int, begin: bytes) -> list[Connection]:
        """As many connections as let themselves be opened, each of which begins by saying something."""
        turns, opened = asyncio.Semaphore(OPENED_AT_ONCE), []

        async def one() -> None:
            async with turns:
                with contextlib.suppress(OSError, TimeoutError):
                    connection = await self.open()
                    connection[1].write(begin)
                    opened.append(connection)

        await asyncio.gather(*(one() for _ in range(count)))
        return opened


def _files(wanted: int) -> int:
    """How many connections this process may open, of those it wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + FILES_KEPT:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + FILES_KEPT), hard))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - FILES_KEPT)


def _close(connections: Sequence[Connection]) -> None:
    for _, writer in connections:
        writer.transport.abort()


async def _witnessed(seconds: float, ask: Callable[[], Awaitable[int]]) -> Counter[int]:
    """What the witness is answered for so long, twice a second."""
    seen: Counter[int] = Counter()
    until_s = time.monotonic() + seconds
    while not seen or time.monotonic() < until_s:
        seen[await ask()] += 1
        await asyncio.sleep(0.5)
    return seen


def _served(seen: Counter[int], wanted: Sequence[int], what: str) -> AttackOutcome:
    held = set(seen) <= set(wanted)
    return AttackOutcome(held, f"{what}; others were answered {dict(seen)}")


@attack("encoded-path", "roles")
def encoded_path(target: AttackTarget) -> AttackOutcome:
    """Reach administrative routes by odd spellings of their paths, as a foreign page and through a proxy."""
    return asyncio.run(_encoded_path(_Gateway(target)))


async def _encoded_path(gateway: _Gateway) -> AttackOutcome:
    seen: Counter[int] = Counter()
    for who in ("origin: https://evil.example", "x-forwarded-for: 203.0.113.9"):
        headers = (who, "content-type: application/json", "connection: close")
        for name, content in (
            ("validators", b'{"validators":1}'),
            ("members", b'{"action":"remove","member":"node-3"}'),
        ):
            for spelling in ("/v1/%s", *SPELLINGS):
                seen[await gateway.status(gateway.text("POST", spelling % name, headers, content))] += 1
    held = set(seen) <= {400, 403}
    return AttackOutcome(held, f"{len(SPELLINGS)} spellings of two administrative routes: {dict(seen)}")


@attack("foreign-origin-and-host", "roles")
def foreign_origin_and_host(target: AttackTarget) -> AttackOutcome:
    """Ask as a page of another origin, and as one whose own name points at this node (DNS rebinding)."""
    return asyncio.run(_foreign(_Gateway(target)))


async def _foreign(gateway: _Gateway) -> AttackOutcome:
    close, media = "connection: close", "content-type: application/json"
    port, wrong, tried = gateway.port, [], 0
    for headers, wanted in (
        (("origin: https://evil.example",), 403),
        (("origin: null",), 403),
        ((f"host: evil.example:{port}", f"origin: http://evil.example:{port}"), 421),
        ((f"host: localhost.evil.example:{port}",), 421),
    ):
        for path in ("/v1/validators", "/v1/members", "/v1/transactions"):
            text = gateway.text("POST", path, (*headers, media, close), b'{"validators":1}')
            status, tried = await gateway.status(text), tried + 1
            wrong += [] if status == wanted else [f"{path} {headers}: {status}"]
    for headers in ((f"host: evil.example:{port}",), ("host: evil.example", "origin: http://evil.example")):
        status, tried = await gateway.status(gateway.text("GET", "/v1/status", (*headers, close))), tried + 1
        wrong += [] if status == 421 else [f"GET {headers}: {status}"]
    return AttackOutcome(not wrong, f"{tried} requests of foreign pages; let in: {wrong or 'none'}")


@attack("idle-connections", "shares")
def idle_connections(target: AttackTarget) -> AttackOutcome:
    """Open connections by the thousand and say nothing."""
    return asyncio.run(_idle(_Gateway(target), _files(IDLE), target.seconds))


async def _idle(gateway: _Gateway, count: int, seconds: float) -> AttackOutcome:
    opened = await gateway.many(count, b"")
    seen = await _witnessed(seconds, gateway.witness)
    _close(opened)
    return _served(seen, (200,), f"{len(opened)} idle connections of one client")


@attack("slow-heads", "shares")
def slow_heads(target: AttackTarget) -> AttackOutcome:
    """Send headers a byte at a time, on many connections, without ever ending them."""
    return asyncio.run(_slow_heads(_Gateway(target), _files(HEADS), target.seconds))


async def _slow_heads(gateway: _Gateway, count: int, seconds: float) -> AttackOutcome:
    opened = await gateway.many(count, f"GET /v1/status HTTP/1.1\r\nhost: {gateway.name}\r\nx: ".encode())

    async def trickle() -> None:
        while True:
            for _, writer in opened:
                if not writer.transport.is_closing():
                    writer.write(b"a")
            await asyncio.sleep(0.5)

    slow = asyncio.ensure_future(trickle())
    seen = await _witnessed(seconds, gateway.witness)
    slow.cancel()
    _close(opened)
    return _served(seen, (200,), f"{len(opened)} heads that trickle")


@attack("reserved-bodies", "shares")
def reserved_bodies(target: AttackTarget) -> AttackOutcome:
    """Declare the longest bodies, on many connections, and send none of them."""
    return asyncio.run(_reserved(_Gateway(target), target.seconds))


async def _reserved(gateway: _Gateway, seconds: float) -> AttackOutcome:
    headers = (f"content-type: {BATCH_TYPE}", f"content-length: {BODY_BYTES}")
    opened = await gateway.many(BODIES, gateway.text("POST", BATCH, headers))
    junk = gateway.text("POST", BATCH, (f"content-type: {BATCH_TYPE}", "connection: close"), b"RCB1")
    seen = await _witnessed(seconds, lambda: gateway.status(junk, WITNESS))
    _close(opened)
    return _served(seen, (400,), f"{len(opened)} bodies of {BODY_BYTES} bytes that never come")


def _subscription(gateway: _Gateway, query: str) -> bytes:
    upgrade = ("upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13")
    key = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
    return gateway.text("GET", f"/v1/events?{query}", (*upgrade, key))


@attack("event-streams", "shares")
def event_streams(target: AttackTarget) -> AttackOutcome:
    """Open event streams by the thousand."""
    return asyncio.run(_streams(_Gateway(target), _files(STREAMS), target.seconds))


async def _streams(gateway: _Gateway, count: int, seconds: float) -> AttackOutcome:
    text = _subscription(gateway, "key=" + "00" * 32)
    opened = await gateway.many(count, text)
    seen = await _witnessed(seconds, lambda: gateway.status(text, WITNESS))
    _close(opened)
    return _served(seen, (101,), f"{len(opened)} event streams of one client")


@attack("events-ahead", "events")
def events_ahead(target: AttackTarget) -> AttackOutcome:
    """Subscribe from heights that are far ahead, so that others hear nothing any more."""
    return asyncio.run(_ahead(_Gateway(target), target.seconds))


async def _ahead(gateway: _Gateway, seconds: float) -> AttackOutcome:
    reader, writer = await gateway.open(WITNESS)
    writer.write(_subscription(gateway, "topic=blocks"))
    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_S_MAX)
    heights: list[int] = []

    async def listen() -> None:
        while True:
            head = await reader.readexactly(2)
            size = head[1] & 127
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if head[0] & 15 == 1 and (message := json.loads(payload))["type"] == "block":
                heights.append(int(message["height"]))

    listening = asyncio.ensure_future(listen())
    ahead = []
    for height in (10**17, 999_999_999_999_999_999, 900):
        ahead += await gateway.many(4, _subscription(gateway, f"topic=blocks&from_height={height}"))
    await asyncio.sleep(1.0)
    before = len(heights)
    await asyncio.sleep(seconds)
    listening.cancel()
    _close([*ahead, (reader, writer)])
    gaps = sum(later != earlier + 1 for earlier, later in itertools.pairwise(heights))
    held = len(heights) > before and not gaps
    return AttackOutcome(
        held, f"another subscriber heard {len(heights) - before} blocks after it, {gaps} gaps"
    )


@attack("heavy-reads", "shares")
def heavy_reads(target: AttackTarget) -> AttackOutcome:
    """Ask for proofs, status, metrics and pages of blocks without a pause, on many connections."""
    return asyncio.run(_heavy(_Gateway(target), target.seconds))


async def _heavy(gateway: _Gateway, seconds: float) -> AttackOutcome:
    paths = (
        f"/v1/accounts/{'11' * 32}/proof",
        "/v1/status",
        "/metrics",
        "/v1/blocks?limit=100",
        "/v1/actors",
    )
    texts = [gateway.text("GET", path) for path in paths]
    asked = 0

    async def ask(number: int) -> None:
        nonlocal asked
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                reader, writer = await gateway.open()
                for turn in range(1_000):
                    writer.write(texts[(number + turn) % len(texts)])
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                    await reader.readexactly(int(length))
                    asked += 1
            await asyncio.sleep(0.1)

    readers = [asyncio.ensure_future(ask(number)) for number in range(READERS)]
    seen = await _witnessed(seconds, lambda: gateway.witness("/v1/ready"))
    seen += await _witnessed(1.0, lambda: gateway.witness(f"/v1/accounts/{'22' * 32}/proof"))
    for each in readers:
        each.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return _served(seen, (200,), f"{asked} heavy reads on {READERS} connections")


@attack("long-numbers", "parsing")
def long_numbers(target: AttackTarget) -> AttackOutcome:
    """Send numbers of thousands of digits wherever one is read."""
    return asyncio.run(_long(_Gateway(target)))


async def _long(gateway: _Gateway) -> AttackOutcome:
    seen: Counter[int] = Counter()
    close, media = "connection: close", "content-type: application/json"
    for digits in DIGITS:
        for path, kind in ((BATCH, BATCH_TYPE), ("/v1/transactions", "application/json")):
            headers = (f"content-type: {kind}", f"content-length: {digits}", close)
            seen[await gateway.status(gateway.text("POST", path, headers))] += 1
        for path in (f"/v1/blocks/{digits}", f"/v1/blocks?before={digits}", f"/v1/blocks/1?offset={digits}"):
            seen[await gateway.status(gateway.text("GET", path, (close,)))] += 1
        content = f'{{"nonce": {digits}}}'.encode()
        seen[await gateway.status(gateway.text("POST", "/v1/transactions", (media, close), content))] += 1
    seen[await gateway.status(_subscription(gateway, f"topic=blocks&from_height={DIGITS[0]}"))] += 1
    held = all(200 <= status < 500 for status in seen)  # leading zeros alone change no number
    return AttackOutcome(held, f"numbers of {len(DIGITS[0])} digits: {dict(seen)}")
