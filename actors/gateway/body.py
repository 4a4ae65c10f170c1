"""Bodies and answers at the level of ASGI: bounded before they are read, bounded in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from actors.gateway.backend import BusyError
from actors.gateway.problem import MEDIA_TYPE, ProblemError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Report = Callable[[str, Exception], None]

BODY_TIMEOUT_S = 30.0
BODY_BYTES_HELD_MAX = 256 << 20


class BodyBudget:
    """Bytes of bodies that may be held at a time, in sum; beyond them `hold` raises BusyError."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held_bytes = 0

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve `size` bytes for as long as the request lasts."""
        if self.held_bytes + size > self._bytes_max:
            raise BusyError("bytes of request bodies", self._bytes_max)
        self.held_bytes += size
        try:
            yield
        finally:
            self.held_bytes -= size


class DisconnectError(Exception):
    """The client went away before its body was complete."""


def size_of_body(headers: dict[bytes, bytes], bytes_max: int) -> int:
    """The length that the request declares, or the bound. Raises ProblemError 413 above the bound."""
    declared = headers.get(b"content-length")
    if declared is None or not declared.isdigit():
        return bytes_max
    if int(declared[:20]) > bytes_max:
        raise _too_large(bytes_max)
    return int(declared)


async def read_body(receive: Receive, bytes_max: int) -> bytes:
    """The request's body. Raises ProblemError 413 above `bytes_max`, 408 when it does not arrive in time."""
    chunks, size, more = [], 0, True
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectError
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                chunks.append(chunk)
                more = message.get("more_body", False)
    except TimeoutError:
        detail = f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s"
        raise ProblemError("request-timeout", detail, limit=int(BODY_TIMEOUT_S)) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(bytes_max: int) -> ProblemError:
    return ProblemError("too-large", f"the body exceeds {bytes_max} bytes", field="body", limit=bytes_max)


async def send_problem(send: Send, problem: ProblemError) -> None:
    """Answer with problem details. A body that was refused unread ends the connection with it."""
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.status in (408, 413, 415):
        headers.append((b"connection", b"close"))
    await send_answer(send, problem.status, MEDIA_TYPE, problem.body(), headers)


async def send_answer(
    send: Send, status: int, media: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    base = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": base + headers})
    await send({"type": "http.response.body", "body": body})
