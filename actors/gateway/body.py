"""Bodies and answers at the level of ASGI: bounded before they are read, bounded in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from actors.gateway.problem import ProblemError
from actors.gateway.shares import ClientShares
from actors.sdk.answers import PROBLEM_TYPE

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Report = Callable[[str, Exception], None]

BODY_TIMEOUT_S, BODY_GRACE_S = 30.0, 5.0
LENGTH_DIGITS_MAX = 64
BODY_BYTES_HELD_MAX = 256 << 20


class BodyBudget:
    """Bytes of bodies that are held at a time, as they arrive; each client has its share of them."""

    def __init__(self, bytes_max: int, bytes_per_s_min: int) -> None:
        self._shares = ClientShares("bytes of request bodies", bytes_max)
        self._bytes_per_s_min = bytes_per_s_min

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies that are held now."""
        return self._shares.held

    @contextlib.asynccontextmanager
    async def body(self, receive: Receive, bytes_max: int, client: str) -> AsyncIterator[bytes]:
        """Read a body and hold its bytes for as long as the request lasts.

        Raises BusyError where there is no room for what arrives, and what `read_body` raises.
        """
        held = 0

        def arrived(size: int) -> None:
            nonlocal held
            self._shares.take(client, size)
            held += size

        try:
            yield await read_body(receive, bytes_max, self._bytes_per_s_min, arrived)
        finally:
            self._shares.give(client, held)


class DisconnectError(Exception):
    """The client went away before its body was complete."""


def size_of_body(headers: dict[bytes, bytes], bytes_max: int) -> int:
    """The length that the request declares, or the bound. Raises ProblemError 413 above the bound, 400 for
    what is no number."""
    declared = headers.get(b"content-length")
    if declared is None:
        return bytes_max
    if not declared.isdigit() or len(declared) > LENGTH_DIGITS_MAX:
        detail = f"a length is a number of {LENGTH_DIGITS_MAX} digits at most"
        raise ProblemError("malformed", detail, field="content-length", limit=LENGTH_DIGITS_MAX)
    size = int(declared)
    if size > bytes_max:
        raise _too_large(bytes_max)
    return size


async def read_body(
    receive: Receive,
    bytes_max: int,
    bytes_per_s_min: int,
    arrived: Callable[[int], None] = lambda _size: None,
) -> bytes:
    """The request's body; `arrived` is told of each part's size before it is kept.

    Raises ProblemError 413 above `bytes_max`, 408 when it does not arrive within BODY_TIMEOUT_S, or, after
    BODY_GRACE_S, at `bytes_per_s_min`.
    """
    chunks, size, more = [], 0, True
    began_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(BODY_TIMEOUT_S, BODY_GRACE_S)) as limit:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                arrived(len(chunk))
                chunks.append(chunk)
                more = message.get("more_body", False)
                if more:
                    due_s = min(BODY_TIMEOUT_S, BODY_GRACE_S + size / bytes_per_s_min)
                    limit.reschedule(began_s + due_s)
    except TimeoutError:
        detail = (
            f"the body did not arrive at {bytes_per_s_min} bytes/s after {BODY_GRACE_S:.0f} s, or within "
            f"{BODY_TIMEOUT_S:.0f} s"
        )
        raise ProblemError("request-timeout", detail, limit=bytes_per_s_min) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError("too-large", f"the body exceeds {bytes_max} bytes", field="body", limit=bytes_max)


async def send_problem(send: Send, problem: ProblemError) -> None:
    """Answer with problem details. A body that was refused unread ends the connection with it."""
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.status in (408, 413, 415):
        headers.append((b"connection", b"close"))
    await send_answer(send, problem.status, PROBLEM_TYPE, problem.body(), headers)


async def send_answer(
    send: Send, status: int, media: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    base = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": base + headers})
    await send({"type": "http.response.body", "body": body})


async def refuse_stream(send: Send, problem: ProblemError) -> None:
    """Problem details in place of a WebSocket, as ASGI's extension websocket.http.response writes them."""

    async def as_websocket(message: Any) -> None:
        await send({**message, "type": message["type"].replace("http.", "websocket.http.")})

    await send_problem(as_websocket, problem)
