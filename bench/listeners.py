"""Event subscribers that cost next to nothing: a WebSocket handshake by hand, and then silence."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Sequence
from urllib.parse import SplitResult, urlsplit

from actors.sdk.subscribe import events_url

CONNECTING_AT_ONCE = 50
SMALL_BUFFER_BYTES = 4096
RETRY_AFTER_S, REFUSED_S_MAX = 1.0, 120.0


class Listener:
    """One subscription. Nothing is read but what `messages` is asked for, and pings are not answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def messages(self) -> AsyncIterator[dict[str, object]]:
        """Events until the connection ends. Server frames are unmasked and whole (RFC 6455, section 5.2)."""
        while True:
            try:
                first, second = await self._reader.readexactly(2)
                size = second & 127
                if size >= 126:
                    size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
                payload = await self._reader.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if first & 15 == 1:
                yield json.loads(payload)

    def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()


async def listen(
    url: str,
    blocks: bool = False,
    accounts: Sequence[bytes] = (),
    keys: Sequence[bytes] = (),
    small_buffers: bool = False,
) -> Listener:
    """Subscribe at a gateway; see `events_url` for the topics. With small buffers the kernel holds little."""
    address = urlsplit(events_url(url, blocks, accounts, keys))
    async with asyncio.timeout(REFUSED_S_MAX):
        while True:
            reader, writer = await _shake_hands(address, small_buffers)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 429"):
                break
            writer.transport.abort()  # at this client's rate: as a client does, later
            await asyncio.sleep(RETRY_AFTER_S)
    assert answer.startswith(b"HTTP/1.1 101"), answer
    return Listener(reader, writer)


async def _shake_hands(
    address: SplitResult, small_buffers: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket()
    connection.setblocking(False)
    if small_buffers:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    await asyncio.get_running_loop().sock_connect(connection, (address.hostname, address.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=SMALL_BUFFER_BYTES)
    writer.write(
        f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return reader, writer


async def listen_many(url: str, count: int, keys: Sequence[bytes]) -> list[Listener]:
    """`count` subscriptions, opened some at a time."""
    turns = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def one() -> Listener:
        async with turns:
            return await listen(url, keys=keys)

    return list(await asyncio.gather(*(one() for _ in range(count))))


def may_open_files(count: int) -> bool:
    """Raise this process's bound of open files if need be; whether it is high enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return hard >= count
