"""A server that accepts every batch at once: what remains is the load generator's own ceiling."""

from __future__ import annotations

import struct
import sys
from typing import Any

_BINARY = b"application/octet-stream"


async def accept_all(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """ASGI application: read the body, count its rows, accept them, in the form that is asked for."""
    if scope["type"] != "http":
        return
    head, more = b"", True
    while more:
        message = await receive()
        body = message.get("body", b"")
        head = head if len(head) >= 16 else head + body
        more = message.get("more_body", False)
    count = struct.unpack_from("<4sIQ", head)[1] if len(head) >= 16 else 0
    binary = dict(scope["headers"]).get(b"accept") == _BINARY
    media = _BINARY if binary else b"application/json"
    answer = bytes(count) if binary else b'{"accepted":%d,"rejected":[],"height":null}' % count
    headers = [(b"content-type", media), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(accept_all, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
