"""Follow a node's events from Python: an endless stream that reconnects and goes on where it was.

    async for event in follow("http://127.0.0.1:8470", accounts=[alice.public_key]):
        ...

Events are the messages that events_route.py describes, as dictionaries. Delivery is at least once: after a
lost connection the stream resumes at the height it saw last, so the events of that height may come again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from actors.gateway.endpoints import Endpoints
from actors.gateway.requests import ApiError, bearer

RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.1, 5.0
MESSAGE_BYTES_MAX = 1 << 20


def events_url(
    url: str,
    blocks: bool,
    accounts: Iterable[bytes] = (),
    keys: Iterable[bytes] = (),
    from_height: int | None = None,
) -> str:
    """The WebSocket address of a subscription to the gateway at `url`."""
    query = [("topic", "blocks")] if blocks else []
    query += [("account", key.hex()) for key in accounts] + [("key", key.hex()) for key in keys]
    query += [] if from_height is None else [("from_height", str(from_height))]
    return f"ws{url.removeprefix('http').rstrip('/')}/v1/events?{urlencode(query)}"


async def follow(
    urls: str | Sequence[str],
    blocks: bool = True,
    accounts: Iterable[bytes] = (),
    keys: Iterable[bytes] = (),
    from_height: int | None = None,
    ca_file: str = "",
    api_key: str = "",
) -> AsyncIterator[dict[str, Any]]:
    """Events without end: blocks, transactions of `accounts`, states of `keys` (32 bytes each).

    Of several gateways the next one is asked when one is away. ca_file: certificates to trust for https,
    instead of the system's. api_key: of a node that asks for keys. Raises ApiError when a node refuses the
    subscription.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

    accounts, keys, endpoints = list(accounts), list(keys), Endpoints(urls)
    next_height, pause_s = from_height, RECONNECT_FIRST_S
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    while True:
        url = endpoints.current
        address = events_url(url, blocks, accounts, keys, next_height)
        try:
            async with connect(
                address,
                max_size=MESSAGE_BYTES_MAX,
                proxy=None,
                ssl=context,
                additional_headers=bearer(api_key),
            ) as connection:
                async for text in connection:
                    event = msgspec.json.decode(text)
                    pause_s = RECONNECT_FIRST_S
                    yield event
                    next_height = max(next_height or 0, int(event["height"]))
        except InvalidStatus as error:
            if error.response.status_code not in (429, 503):
                raise _refusal(error.response.status_code, error.response.body) from error
        except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)
        endpoints.failed(url)
        await asyncio.sleep(pause_s)


def _refusal(status: int, body: bytes | bytearray) -> ApiError:
    try:
        problem = msgspec.json.decode(body, type=dict)
    except msgspec.MsgspecError:
        problem = {"title": "The node refused the subscription"}
    return ApiError({**problem, "status": status})
