"""Consensus' calls into Storage: those of a small block over lines, all others through Ray.

A call through Ray wakes several threads at both ends, which costs a small block more than its execution and
its sync together. So Storage keeps two desks (see actors/local_socket.py), as it has two groups of Ray calls:
at one blocks are executed, at the other they and the log's records become durable.

Rules
1. A request has a number, and the answer has the same. Answers of a line come in the order of the requests.
2. Blocks of more than SMALL_ROWS_MAX rows or SMALL_BYTES_MAX are executed through Ray, which passes them by
   reference, and so their deltas are fetched: once they are committed, while nobody waits. Calls while there
   is no line go through Ray as well. No order holds between the two ways: who needs one awaits a call before
   it makes the next.
3. What Storage raises is raised here as the same error. A line that breaks ends the calls under way with
   LineEndedError: they may have been carried out or not, as with a call through Ray to an actor that died.
4. A broken line is sought again, with pauses up to PAUSE_S_MAX.
The frames are private to this file and to Storage of the same version.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import ROW_DTYPE, FormatError, in_place
from actors.local_socket import Line, call
from actors.storage import errors
from actors.storage.errors import StorageError
from actors.storage.raft_log import RaftRecord

SMALL_ROWS_MAX, SMALL_BYTES_MAX = 256, 256 << 10
PAUSE_S_MIN, PAUSE_S_MAX = 0.02, 2.0
Delta = dict[str, object]


class LineEndedError(ConnectionError):
    """A line to Storage broke while a call was under way; it may have been carried out."""


class UnexpectedError(StorageError):
    """Storage failed in a way that it has no error for. Args: type of the error, what it says."""

    TEMPLATE = "{}: {}"


FAILURES: tuple[type[Exception], ...] = (StorageError, LineEndedError)
"""What calls over a line raise, besides FormatError."""


class Execute(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """See `Storage.execute`. order: int64 little-endian. parts: rows and payloads of each draw."""

    number: int
    epoch: int
    height: int
    strict: bool
    proposer: bytes
    order: bytes | None
    sealed: bytes
    parts: tuple[bytes, ...]


class Persist(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """See `Storage.persist`."""

    number: int
    epoch: int
    height: int
    header: bytes
    signature: bytes
    certificate: bytes
    record: RaftRecord | None


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """See `Storage.commit`."""

    number: int
    epoch: int
    height: int
    certificate: bytes
    sync: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """See `Storage.append_record`."""

    number: int
    epoch: int
    record: RaftRecord


class Executed(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Answers Execute. verdicts: uint8."""

    number: int
    verdicts: bytes
    count: int
    payload_bytes: int
    state_root: bytes
    receipts_root: bytes
    transaction_root: bytes
    fees: int
    conflicts: dict[str, int]
    stages_us: dict[str, int]


class Written(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Answers Persist, Commit and Append: the delta of a small block that is committed now, else nothing."""

    number: int
    height: int = 0
    hash: bytes = b""
    state_root: bytes = b""
    time_ms: int = 0
    keys: bytes = b""
    nonces: bytes = b""
    balances: bytes = b""
    ids: bytes = b""

    def delta(self) -> Delta:
        """As Storage answers it through Ray: keys (m, 32) uint8, nonces and balances (m,) uint64, ids
        (n, 32) uint8, read-only."""
        return {
            "height": self.height,
            "hash": self.hash,
            "state_root": self.state_root,
            "time_ms": self.time_ms,
            "keys": np.frombuffer(self.keys, dtype=np.uint8).reshape(-1, 32),
            "nonces": np.frombuffer(self.nonces, dtype=np.uint64),
            "balances": np.frombuffer(self.balances, dtype=np.uint64),
            "ids": np.frombuffer(self.ids, dtype=np.uint8).reshape(-1, 32),
        }


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A call raised: the name of the error's class, and what it is made from, as numbers and text."""

    number: int
    error: str
    parts: tuple[int | str, ...]


Request = Execute | Persist | Commit | Append
Answer = Executed | Written | Failed
encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode

_KINDS: dict[str, type[Exception]] = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, StorageError)
} | {"FormatError": FormatError}


def failed(number: int, error: Exception) -> Failed:
    """What to answer for an error."""
    name = type(error).__name__
    if type(error) is not _KINDS.get(name):
        return Failed(number, "", (name, str(error)))
    made_from = error.__reduce__()[1]
    return Failed(number, name, tuple(p if isinstance(p, int | str) else str(p) for p in made_from))


def error_of(answer: Failed) -> Exception:
    """Inverse of `failed`."""
    return _KINDS.get(answer.error, UnexpectedError)(*answer.parts)


class _Counter:
    """The way to one of Storage's desks, and the calls under way to it."""

    def __init__(self, find: Callable[[], Awaitable[str]]) -> None:
        """find() tells the name of the desk."""
        self._find = find
        self._line: Line | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0

    async def keep(self, away: tuple[type[Exception], ...]) -> None:
        """Have a line, and another one when it ends, until cancelled. away: what find() raises."""
        gone: tuple[type[Exception], ...] = (*away, OSError)
        pause_s = PAUSE_S_MIN
        while True:
            try:
                self._line = line = await call(await self._find(), self._heard, decode_answer)
            except gone:
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            else:
                pause_s = PAUSE_S_MIN
                try:
                    await line.ended.wait()
                finally:
                    self._end(line)
            await asyncio.sleep(pause_s)

    def _end(self, line: Line) -> None:
        self._line = None
        line.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(LineEndedError("the line to Storage broke"))

    def ask(self, kind: Any, *fields: Any) -> asyncio.Future[Any] | None:
        """Send a request; None if it has to go another way."""
        self._asked += 1
        number = self._asked
        if self._line is None or not self._line.send(kind(number, *fields)):
            return None
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        return answer

    def _heard(self, answer: Answer) -> None:
        future = self._waiting.pop(answer.number, None)
        if future is None or future.done():
            return
        if isinstance(answer, Failed):
            future.set_exception(error_of(answer))
        else:
            future.set_result(answer)


class StorageCalls:
    """The calls of one Consensus to its node's Storage. Arguments and errors are those of Storage."""

    def __init__(self, storage: Any, unreachable: tuple[type[Exception], ...]) -> None:
        """storage: an actor's handle. unreachable: what calls through it raise while it is away."""
        self._storage, self._unreachable = storage, unreachable
        self._state, self._disk = (_Counter(partial(self._find, place)) for place in range(2))

    async def keep(self) -> None:
        """Have lines to Storage, and others when they end, until cancelled."""
        await asyncio.gather(*(counter.keep(self._unreachable) for counter in (self._state, self._disk)))

    async def _find(self, place: int) -> str:
        names: tuple[str, str] = await self._storage.desks.remote()
        return names[place]

    async def execute(
        self,
        epoch: int,
        height: int,
        strict: bool,
        proposer: bytes,
        order: NDArray[np.int64] | None,
        sealed: bytes,
        parts: Sequence[Any],
    ) -> dict[str, Any]:
        """As `Storage.execute`."""
        if _are_small(parts):
            places = None if order is None else order.astype("<i8", copy=False).tobytes()
            columns = tuple(in_place(part).tobytes() for part in parts)
            asked = self._state.ask(Execute, epoch, height, strict, proposer, places, sealed, columns)
            if asked is not None:
                done: Executed = await asked
                fields = msgspec.structs.asdict(done)
                return {**fields, "height": height, "verdicts": np.frombuffer(done.verdicts, dtype=np.uint8)}
        through_ray: dict[str, Any] = await self._storage.execute.remote(
            epoch, height, strict, proposer, order, sealed, *parts
        )
        return through_ray

    async def persist(
        self,
        epoch: int,
        height: int,
        header: bytes,
        signature: bytes,
        certificate: bytes,
        record: RaftRecord | None,
        rows: int,
    ) -> Any:
        """As `Storage.persist` of a block of that many rows; the delta, or a reference to it, where a
        certificate commits the block."""
        asked = self._disk.ask(Persist, epoch, height, header, signature, certificate, record)
        if asked is not None:
            written: Written = await asked
            return self._delta(written, height, rows) if certificate else None
        told, delta = self._storage.persist.options(num_returns=2).remote(
            epoch, height, header, signature, certificate, record
        )
        await told
        return delta

    async def commit(self, epoch: int, height: int, certificate: bytes, sync: bool, rows: int) -> Any:
        """As `Storage.commit` of a block of that many rows; the delta, or a reference to it."""
        asked = self._disk.ask(Commit, epoch, height, certificate, sync)
        if asked is not None:
            return self._delta(await asked, height, rows)
        told, delta = self._storage.commit.options(num_returns=2).remote(epoch, height, certificate, sync)
        await told
        return delta

    def _delta(self, written: Written, height: int, rows: int) -> Any:
        """The delta of a small block, a reference to that of another one."""
        return written.delta() if rows <= SMALL_ROWS_MAX else self._storage.delta.remote(height)

    async def append_record(self, epoch: int, record: RaftRecord) -> None:
        """As `Storage.append_record`."""
        asked = self._disk.ask(Append, epoch, record)
        await (self._storage.append_record.remote(epoch, record) if asked is None else asked)


def _are_small(parts: Sequence[Any]) -> bool:
    """Whether all parts are columns at hand, and short."""
    if not all(isinstance(part, np.ndarray) for part in parts):
        return False
    rows = sum(len(part) for part in parts if part.dtype == ROW_DTYPE)
    return rows <= SMALL_ROWS_MAX and sum(part.nbytes for part in parts) <= SMALL_BYTES_MAX
