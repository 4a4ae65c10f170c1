"""What an actor and its cell say to each other: frames over a socket pair, a length (u32) and MessagePack.

actor: CellSetup               RunJob                    RunJob
cell:              CellReady            JobAnswered               JobFailed
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

FRAME_BYTES_MAX = 4096
TEXT_CHARS_MAX = 200
_LENGTH = struct.Struct("<I")


class CellSetup(msgspec.Struct, frozen=True, tag=True):
    """engine: the module whose `run` does the work. job, answer: descriptors of the files of columns.
    directory: where it may keep code while it prepares, or nothing.

    memory_bytes: more than the child has once it is ready. nice: see CellLimits. confined: end where there
    is no filter of calls.
    """

    engine: str
    directory: str
    job: int
    answer: int
    answer_bytes_max: int
    memory_bytes: int
    nice: int
    confined: bool


class CellReady(msgspec.Struct, frozen=True, tag=True):
    """filtered: system calls are. unfiltered_why: if they are not. import_ms: of the engine."""

    filtered: bool
    unfiltered_why: str
    import_ms: float


class RunJob(msgspec.Struct, frozen=True, tag=True):
    """A job of so many bytes is there."""

    nbytes: int


class JobAnswered(msgspec.Struct, frozen=True, tag=True):
    """An answer of so many bytes is there."""

    nbytes: int


class JobFailed(msgspec.Struct, frozen=True, tag=True):
    """The engine raised. error: the name of the exception."""

    error: str
    text: str


ToCell = CellSetup | RunJob
FromCell = CellReady | JobAnswered | JobFailed
_to_cell: msgspec.msgpack.Decoder[ToCell] = msgspec.msgpack.Decoder(ToCell)
_from_cell: msgspec.msgpack.Decoder[FromCell] = msgspec.msgpack.Decoder(FromCell)
M = TypeVar("M")


class HungUpError(ConnectionError):
    """The other end is gone."""


class CellFrameError(ValueError):
    """The other end said what is no message."""


class CellChannel:
    """One end. A wait that lasts longer than the socket's timeout calls `on_timeout`, which may raise."""

    def __init__(self, connection: socket.socket, on_timeout: Callable[[], None] = lambda: None) -> None:
        self._connection, self.on_timeout = connection, on_timeout

    def send(self, message: Any) -> None:
        """Raises HungUpError; and TimeoutError if the other end reads nothing."""
        body = msgspec.msgpack.encode(message)
        try:
            self._connection.sendall(_LENGTH.pack(len(body)) + body)
        except ConnectionError as error:
            raise HungUpError(str(error)) from error

    def receive_from_cell(self) -> FromCell:
        """Raises HungUpError, CellFrameError, and what `on_timeout` raises."""
        return _decoded(_from_cell, self._frame())

    def receive_from_actor(self) -> ToCell:
        """Raises HungUpError, CellFrameError."""
        return _decoded(_to_cell, self._frame())

    def _frame(self) -> bytes:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > FRAME_BYTES_MAX:
            raise CellFrameError(f"a frame of {length} bytes: at most {FRAME_BYTES_MAX}")
        return self._read(length)

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                piece = self._connection.recv(count - len(data))
            except TimeoutError:
                self.on_timeout()
                continue
            except ConnectionError as error:
                raise HungUpError(str(error)) from error
            if not piece:
                raise HungUpError("it hung up")
            data += piece
        return data


def _decoded(decoder: msgspec.msgpack.Decoder[M], frame: bytes) -> M:
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CellFrameError(str(error)) from error
