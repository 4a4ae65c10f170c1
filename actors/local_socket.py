"""Lines between actors of a node on one machine, for messages that should not wait for Ray's own way.

    Exchange (one actor)  <-- Unix socket, frames -->  Line (the other one)     messages both ways
    Desk (a thread)       <-- Unix socket, frames -->  Line                     requests and answers

Rules
1. Sockets lie in a folder of this user alone; Exchange and Desk tell their paths through Ray. Whoever called
   last is the only caller from then on. A process of another user that got there all the same is hung up on
   before its call changes anything.
2. Messages arrive whole and in order. What the other end is too slow to read is dropped beyond
   BACKLOG_BYTES_MAX, and `send` says so; nobody waits. A Desk hangs up on a caller that does not read.
3. A frame is its length, u32 little-endian, and MessagePack, in which columns are bytes; one beyond
   FRAME_BYTES_MAX ends the line.
4. A Desk does the work of a request in the thread that read it, so a request costs one wake-up there.
Knows no Ray. Which edges of a node are lines, and which Ray, is in the table of `actors/topology.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, cast, get_args

import msgspec
import numpy as np
from loguru import logger
from numpy.typing import NDArray

from actors.ledger.delta import Rows32
from actors.ledger.rows import in_place
from actors.machine.runtime import sockets_dir

FRAME_BYTES_MAX = 32 << 20
BACKLOG_BYTES_MAX = 8 << 20
DESK_SEND_TIMEOUT_S = 5.0
NAME_BYTES = 8
_READ_BYTES = 256 << 10
Spoken = tuple[bytes, str, bytes]
Decode = Callable[[bytes], Any]
Listener = Callable[[Any], None]
"""Takes a decoded frame. Must not wait, and must not raise."""
Answer = Callable[[bytes], bytes]
"""The answer to a request. Raises msgspec.DecodeError, and nothing else, for what is no request."""

_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("3i")  # of SO_PEERCRED: process, user, group


def _column_bytes(column: object) -> memoryview:
    if not isinstance(column, np.ndarray):
        raise TypeError(f"{type(column).__name__} goes into no frame")
    return in_place(column)


def _column(kind: Any, data: bytes) -> NDArray[Any]:
    """Inverse of `_column_bytes`, read-only. kind: the array's type; `Rows32` has rows of 32 bytes."""
    column = np.frombuffer(data, dtype=get_args(get_args(kind)[1])[0])
    return column.reshape(-1, 32) if kind == Rows32 else column


encode = msgspec.msgpack.Encoder(enc_hook=_column_bytes).encode
"""A message as a frame's bytes; NumPy columns are their bytes."""


def decoder(kind: Any) -> Decode:
    """Inverse of `encode` for messages of a type."""
    return msgspec.msgpack.Decoder(kind, dec_hook=_column).decode


_decode_batch = decoder(list[Spoken])


class FrameError(ValueError):
    """The other end sent what is no frame."""


class Frames:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes. Raises FrameError for one beyond the limit."""
        buffer, taken, frames = self._buffer, 0, []
        buffer += data
        while len(buffer) - taken >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, taken)
            if length > FRAME_BYTES_MAX:
                raise FrameError(f"a frame of {length} bytes, limit {FRAME_BYTES_MAX}")
            end = taken + _LENGTH.size + length
            if end > len(buffer):
                break
            frames.append(bytes(memoryview(buffer)[taken + _LENGTH.size : end]))
            taken = end
        del buffer[:taken]
        return frames


class LocalConnection(asyncio.Protocol):
    """One end of a connection: (identity, channel, body) batches unless `decode` says otherwise.

    `ended` is set once it is of no use any more.
    """

    def __init__(
        self,
        listener: Listener,
        decode: Decode = _decode_batch,
        welcome: Callable[[LocalConnection], None] | None = None,
    ) -> None:
        """`welcome` is told once the other end has shown to be of this user."""
        self._listener, self._decode, self._welcome = listener, decode, welcome
        self._transport: asyncio.Transport | None = None
        self._frames = Frames()
        self.ended = asyncio.Event()

    def send(self, message: Any) -> bool:
        """Send without waiting; False if the line has ended, or the other end does not keep up."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            return False
        frame = encode(message)
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
        if not is_own_user(transport.get_extra_info("socket")):
            self._transport.abort()
        elif self._welcome is not None:
            self._welcome(self)

    def data_received(self, data: bytes) -> None:
        """Hand over the messages that are whole."""
        try:
            for frame in self._frames.take(data):
                self._listener(self._decode(frame))
        except (FrameError, msgspec.DecodeError) as error:
            logger.warning("a line ends: {}", error)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        del exc
        self._transport = None
        self.ended.set()


class LocalListener:
    """Listens where only this user may call; the newest caller has the line."""

    def __init__(self, listener: Listener) -> None:
        self.name = new_name()
        self._listener = listener
        self._line: LocalConnection | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
        own = bound_socket(self.name)
        self._server = await asyncio.get_running_loop().create_unix_server(self._answer, sock=own)

    def _answer(self) -> LocalConnection:
        return LocalConnection(self._listener, welcome=self._take)

    def _take(self, line: LocalConnection) -> None:
        if self._line is not None:
            self._line.close()
        self._line = line

    def send(self, message: Any) -> bool:
        """As `LocalConnection.send`; False while nobody has called."""
        return self._line is not None and self._line.send(message)

    def close(self) -> None:
        """Listen no more, and hang up."""
        if self._server is not None:
            self._server.close()
            forget(self.name)
        if self._line is not None:
            self._line.close()


class LocalRpcServer:
    """Answers the requests of the newest caller, one after the other, in a thread of its own."""

    def __init__(self, answer: Answer, title: str) -> None:
        """`title` is the thread's name. Listens from now on."""
        self.name = new_name()
        self._answer = answer
        self._closed = False
        self._bell, self._closes = socket.socketpair()  # whoever closes rings; the thread alone has the rest
        self._door = bound_socket(self.name)
        self._door.listen()
        self._caller: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name=title, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and hang up; a request under way is finished first."""
        self._closed = True
        self._closes.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        frames = Frames()
        events = select.poll()
        events.register(self._bell, select.POLLIN)
        events.register(self._door, select.POLLIN)
        while not self._closed:
            ready = {number for number, _ in events.poll()}
            if self._closed:
                break
            if self._door.fileno() in ready:
                if self._let_in(events):
                    frames = Frames()
            elif not self._attend(frames):
                self._hang_up(events)
        self._hang_up(events)
        self._door.close()
        self._bell.close()
        forget(self.name)

    def _let_in(self, events: select.poll) -> bool:
        """Whether there is a new caller, in the place of the one before."""
        try:
            caller, _ = self._door.accept()
        except OSError:  # who called has hung up already
            return False
        if not is_own_user(caller):
            caller.close()
            return False
        self._hang_up(events)
        caller.settimeout(DESK_SEND_TIMEOUT_S)
        events.register(caller, select.POLLIN)
        self._caller = caller
        return True

    def _hang_up(self, events: select.poll) -> None:
        if self._caller is not None:
            events.unregister(self._caller)
            self._caller.close()
            self._caller = None

    def _attend(self, frames: Frames) -> bool:
        """Read once, and answer what is whole. False when this caller is done with."""
        caller = self._caller
        if caller is None:
            return True
        try:
            data = caller.recv(_READ_BYTES)
            for request in frames.take(data):
                answer = self._answer(request)
                caller.sendall(_LENGTH.pack(len(answer)) + answer)
        except (FrameError, msgspec.DecodeError) as error:
            logger.warning("a line ends: {}", error)
            return False
        except OSError:  # the caller is gone, or does not read
            return False
        return bool(data)


async def call(name: str, listener: Listener, decode: Decode = _decode_batch) -> LocalConnection:
    """A line to the exchange or desk of this name. Raises OSError where there is none on this machine."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(own, name)
        _, line = await loop.create_unix_connection(lambda: LocalConnection(listener, decode), sock=own)
    except BaseException:
        own.close()
        raise
    return line


def new_name() -> str:
    """A name for a socket, in the folder of this user alone."""
    return str(sockets_dir() / secrets.token_hex(NAME_BYTES))


def bound_socket(name: str) -> socket.socket:
    """A socket of that name, to listen at."""
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.bind(name)
    return own


def forget(name: str) -> None:
    """Remove the name of a socket that listens no more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)


def is_own_user(other: socket.socket) -> bool:
    """Whether the process at the other end belongs to this user."""
    told = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(told)[1] == os.getuid())
