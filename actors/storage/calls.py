"""Consensus' calls into Storage on the way of a block.

A call through Ray wakes several threads at both ends, which costs a small block more than its execution and
its sync together. So Storage keeps two desks (see actors/local_socket.py), beside its groups of Ray calls:
at one small blocks are executed, at the other all blocks and the log's records become durable.

Rules
1. A request has a number, and the answer has the same. Answers of a line come in the order of the requests.
2. What becomes durable goes to the desk `disk`, always. A block at hand of up to SMALL_ROWS_MAX rows and
   SMALL_BYTES_MAX is executed at the desk `state`; a larger one, or one that is held by reference, through
   Ray, where its columns do not pass through this process; so its delta is fetched once it is committed.
3. What Storage raises is raised here as the same error. A line that breaks ends the calls under way with
   LineEndedError: they may have been carried out or not, as with a call through Ray to an actor that died.
4. A broken line is sought again (near/call_line.py). A call waits LINE_WAIT_S for it, and then
   fails with LineEndedError; so does one that the line takes no more of.
The frames are private to this file and to Storage of the same version.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.delta import Delta
from actors.ledger.rows import ROW_DTYPE, FormatError
from actors.local_socket import decoder
from actors.near.call_line import CallLine
from actors.storage import errors
from actors.storage.errors import StorageError
from actors.storage.interface import Commit, Execute, Executed, LogRecord, Persist, StorageFace

SMALL_ROWS_MAX, SMALL_BYTES_MAX = 256, 256 << 10
LINE_WAIT_S = 5.0


class LineEndedError(ConnectionError):
    """A line to Storage broke during a call, which may have been carried out; or there is none."""


class UnexpectedError(StorageError):
    """Storage failed in a way that it has no error for. Args: type of the error, what it says."""

    TEMPLATE = "{}: {}"


FAILURES: tuple[type[Exception], ...] = (StorageError, LineEndedError)
"""What calls over a line raise, besides FormatError."""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A call raised: the name of the error's class, and what it is made from, as numbers and text."""

    error: str
    parts: tuple[int | str, ...]


class RpcRequest(msgspec.Struct, frozen=True, array_like=True):
    """A call in a frame. parts: rows, payloads, rows, ... of what it executes, as bytes."""

    number: int
    epoch: int
    call: Execute | Persist | Commit | LogRecord
    parts: tuple[NDArray[np.uint8], ...] = ()


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Its answer: a delta for a small block that is committed now; nothing for what else became durable."""

    number: int
    told: Executed | Delta | Failed | None


decode_request = decoder(RpcRequest)
decode_answer = decoder(Answer)

_KINDS: dict[str, type[Exception]] = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, StorageError)
} | {"FormatError": FormatError}


def failed(error: Exception) -> Failed:
    """What to answer for an error."""
    name = type(error).__name__
    if type(error) is not _KINDS.get(name):
        return Failed("", (name, str(error)))
    made_from = error.__reduce__()[1]
    return Failed(name, tuple(p if isinstance(p, int | str) else str(p) for p in made_from))


def error_of(answer: Failed) -> Exception:
    """Inverse of `failed`."""
    return _KINDS.get(answer.error, UnexpectedError)(*answer.parts)


class _RpcClient(CallLine):
    """The way to one of Storage's desks, and the calls under way to it."""

    def __init__(self, find: Callable[[], Awaitable[str]]) -> None:
        """find() tells the name of the desk."""
        super().__init__(find, decode_answer, _error, partial(LineEndedError, "the line to Storage broke"))

    async def ask(self, epoch: int, request: Any, parts: tuple[Any, ...] = ()) -> Any:
        """The answer to a request. Raises LineEndedError, and what Storage raises."""
        if not self.connected.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.connected.wait(), LINE_WAIT_S)
        answer = self.send(lambda number: RpcRequest(number, epoch, request, parts))
        if answer is None:
            raise LineEndedError("there is no line to Storage, or it takes no more")
        return await answer


def _error(told: Any) -> Exception | None:
    return error_of(told) if isinstance(told, Failed) else None


class StorageCalls:
    """The calls of one Consensus to its node's Storage. Arguments and errors are those of Storage."""

    def __init__(self, storage: StorageFace, unreachable: tuple[type[Exception], ...]) -> None:
        """unreachable: what calls through it raise while it is away."""
        self._storage, self._unreachable = storage, unreachable
        self._state, self._disk = (_RpcClient(partial(self._find, place)) for place in range(2))

    async def keep(self) -> None:
        """Have lines to Storage, and others when they end, until cancelled."""
        await asyncio.gather(*(counter.keep(self._unreachable) for counter in (self._state, self._disk)))

    async def _find(self, place: int) -> str:
        return (await self._storage.desks())[place]

    async def execute(self, epoch: int, request: Execute, parts: Sequence[Any]) -> Executed:
        """As `Storage.execute`."""
        if not _are_small(parts):
            return await self._storage.execute(epoch, request, *parts)
        done: Executed = await self._state.ask(epoch, request, tuple(parts))
        return done

    async def persist(self, epoch: int, request: Persist, rows: int) -> Delta | Awaitable[Delta] | None:
        """As `Chain.persist` of a block of that many rows; the delta, or a reference to it, where a
        certificate commits the block."""
        delta = await self._disk.ask(epoch, request)
        return self._delta(delta, request.height, rows) if request.certificate else None

    async def commit(self, epoch: int, request: Commit, rows: int) -> Delta | Awaitable[Delta] | None:
        """As `Chain.commit` of a block of that many rows; the delta, or a reference to it."""
        return self._delta(await self._disk.ask(epoch, request), request.height, rows)

    def _delta(self, delta: Delta | None, height: int, rows: int) -> Delta | Awaitable[Delta] | None:
        """The delta of a small block, a reference to that of another one."""
        return delta if rows <= SMALL_ROWS_MAX else self._storage.delta(height)

    async def append_record(self, epoch: int, record: LogRecord) -> None:
        """As `Chain.append_record`."""
        await self._disk.ask(epoch, record)


def _are_small(parts: Sequence[Any]) -> bool:
    """Whether all parts are columns at hand, and short."""
    if not all(isinstance(part, np.ndarray) for part in parts):
        return False
    rows = sum(len(part) for part in parts if part.dtype == ROW_DTYPE)
    return rows <= SMALL_ROWS_MAX and sum(part.nbytes for part in parts) <= SMALL_BYTES_MAX
