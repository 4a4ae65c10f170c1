"""Whole answers: the cache of those that never change, and how an answer leaves, tagged and compressed.

Starlette's GZipMiddleware would compress final answers each time they are asked for, also for `gzip;q=0`, and
columns of signatures, so it is not used.
"""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from actors.gateway.body import Send
from actors.gateway.final_cache import FinalCache

ANSWERS_BYTES_MAX, ANSWERS_MAX = 64 << 20, 20_000
GZIP_BYTES_MIN = 1024
PART_BYTES = 256 << 10
FINAL_CACHE = b"max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """A whole answer that never changes, plain and compressed."""

    media: bytes
    etag: bytes
    body: bytes
    zipped: bytes | None


def answer_cache(
    entries_max: int = ANSWERS_MAX, bytes_max: int = ANSWERS_BYTES_MAX
) -> FinalCache[tuple[str, bytes], FinalAnswer]:
    """Final answers by path and query."""
    return FinalCache(entries_max, bytes_max, lambda kept: len(kept.body) + len(kept.zipped or b"") + 256)


class Captured:
    """Holds an answer back until it is whole; one that comes in several parts passes through as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        self.status, self.headers, self.body, self.whole = 0, [], b"", False  # type: ignore[var-annotated]

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif self._start is not None and not message.get("more_body"):
            self.body, self.whole = message.get("body", b""), True
        else:
            if self._start is not None:
                await self._send(self._start)
                self._start = None
            await self._send(message)

    async def release(self, zipped: bool) -> None:
        """Send what was held back, compressed if asked."""
        body, headers = self.body, self.headers
        if zipped:
            body = zipped_bytes(body)
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
            length = str(len(body)).encode()
            headers += [(b"content-length", length), (b"content-encoding", b"gzip")]
            headers += [(b"vary", b"Accept-Encoding")]
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await _send_body(self._send, body)


async def send_final(send: Send, answer: FinalAnswer, headers: dict[bytes, bytes], whose: bytes) -> None:
    """Send a final answer, or 304 where the client has it. whose: may caches share it, `public, ` or not."""
    caching = [(b"etag", answer.etag), (b"cache-control", whose + FINAL_CACHE), (b"vary", b"Accept-Encoding")]
    known = headers.get(b"if-none-match")
    if known is not None and (known.strip() == b"*" or answer.etag in known):
        await send({"type": "http.response.start", "status": 304, "headers": caching})
        await send({"type": "http.response.body", "body": b""})
        return
    body = answer.body
    if answer.zipped is not None and b"accept-encoding" in headers and takes_gzip(headers):
        body = answer.zipped
        caching.append((b"content-encoding", b"gzip"))
    length = str(len(body)).encode()
    caching += ((b"content-type", answer.media), (b"content-length", length))
    await send({"type": "http.response.start", "status": 200, "headers": caching})
    await _send_body(send, body)


async def _send_body(send: Send, body: bytes) -> None:
    """A body in parts, each when the one before is on its way: a reader who is slow costs one part."""
    for start in range(0, len(body) or 1, PART_BYTES):
        end = start + PART_BYTES
        part = body if len(body) <= PART_BYTES else body[start:end]
        await send({"type": "http.response.body", "body": part, "more_body": end < len(body)})


def takes_gzip(headers: dict[bytes, bytes]) -> bool:
    """Whether the client takes gzip."""
    offered = headers.get(b"accept-encoding", b"").lower()
    return b"gzip" in offered and b"gzip;q=0" not in offered.replace(b" ", b"")


def compresses(media: bytes, body: bytes) -> bool:
    """Whether an answer is worth compressing."""
    return len(body) >= GZIP_BYTES_MIN and (b"json" in media or media.startswith(b"text/"))


def zipped_bytes(body: bytes) -> bytes:
    """A body as gzip, quickly."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()
