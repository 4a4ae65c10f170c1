"""A line between two actors of a node on one machine, for messages that should not wait for Ray's own way.

    Exchange (one actor)  <-- abstract Unix socket, frames -->  Line (the other one)

Rules
1. The exchange tells its name through Ray; whoever calls it is the only caller from then on. Processes of
   another user are hung up on.
2. Batches of (identity, channel, body) arrive whole and in order. What the other end is too slow to read is
   dropped beyond BACKLOG_BYTES_MAX, and `send` says so; nobody waits.
3. A frame is its length, u32 little-endian, and MessagePack; one beyond FRAME_BYTES_MAX ends the line.
Knows no Ray: who has no line sends through Ray instead.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from loguru import logger

FRAME_BYTES_MAX = 32 << 20
BACKLOG_BYTES_MAX = 8 << 20
Spoken = tuple[bytes, str, bytes]
Listener = Callable[[list[Spoken]], None]
"""Takes a batch of (identity, channel, body). Must not wait, and must not raise."""

_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Spoken]).decode


class Line(asyncio.Protocol):
    """One end of a connection. `ended` is set once it is of no use any more."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self.ended = asyncio.Event()

    def send(self, batch: Sequence[Spoken]) -> bool:
        """Send without waiting; False if the line has ended, or the other end does not keep up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            return False
        frame = _encode(batch)
        if len(frame) > FRAME_BYTES_MAX:
            return False
        transport.write(_LENGTH.pack(len(frame)) + frame)
        return True

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in processes of this user only."""
        self._transport = cast(asyncio.Transport, transport)
        own = transport.get_extra_info("socket")
        told = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(told)[1] != os.getuid():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand over the batches that are whole."""
        self._buffer += data
        taken = 0
        while len(self._buffer) - taken >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, taken)
            if length > FRAME_BYTES_MAX:
                self._refuse(f"a frame of {length} bytes, limit {FRAME_BYTES_MAX}")
                return
            end = taken + _LENGTH.size + length
            if end > len(self._buffer):
                break
            try:
                batch = _decode(bytes(memoryview(self._buffer)[taken + _LENGTH.size : end]))
            except msgspec.DecodeError as error:
                self._refuse(str(error))
                return
            taken = end
            self._listener(batch)
        del self._buffer[:taken]

    def _refuse(self, reason: str) -> None:
        logger.warning("a line ends: {}", reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        del exc
        self._transport = None
        self.ended.set()


class Exchange:
    """Listens under a name that nobody can guess; the newest caller has the line."""

    def __init__(self, listener: Listener) -> None:
        self.name = f"raychain-{secrets.token_hex(16)}"
        self._listener = listener
        self._line: Line | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
        own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        own.bind(_address(self.name))
        self._server = await asyncio.get_running_loop().create_unix_server(self._answer, sock=own)

    def _answer(self) -> Line:
        if self._line is not None:
            self._line.close()
        self._line = Line(self._listener)
        return self._line

    def send(self, batch: Sequence[Spoken]) -> bool:
        """As `Line.send`; False while nobody has called."""
        return self._line is not None and self._line.send(batch)

    def close(self) -> None:
        """Listen no more, and hang up."""
        if self._server is not None:
            self._server.close()
        if self._line is not None:
            self._line.close()


async def call(name: str, listener: Listener) -> Line:
    """A line to the exchange of this name. Raises OSError where there is none on this machine."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(own, _address(name))
        _, line = await loop.create_unix_connection(lambda: Line(listener), sock=own)
    except BaseException:
        own.close()
        raise
    return line


def _address(name: str) -> str:
    """In Linux' abstract namespace: it leaves no file, and ends with whoever listens."""
    return f"\0{name}"
