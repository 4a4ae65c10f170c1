"""Follow a node's events from Python: an endless stream that reconnects and goes on where it was.

    async for event in follow("http://127.0.0.1:8470", accounts=[alice.public_key]):
        ...

Events are the messages that gateway/events_route.py describes, as dictionaries. After a lost connection the
stream resumes at the height that it had come to, at the same gateway or the next one; what it yielded of that
height is not yielded again. A `hello` comes with every connection, and says nothing of what was yielded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from actors.ledger.genesis import Genesis
from actors.sdk.answers import ApiError, ForeignAnswerError, UnavailableApiError, check_mark, error_of
from actors.sdk.endpoints import Endpoints
from actors.sdk.proxies import proxy_of, trusted
from actors.sdk.requests import bearer
from actors.sdk.trust import Pin

if TYPE_CHECKING:
    from websockets.http11 import Response

RECONNECT_FIRST_S, RECONNECT_MAX_S = 0.1, 5.0
MESSAGE_BYTES_MAX = 1 << 20
_PASSING = (408, 425, 429)
Event = dict[str, Any]


@dataclass(frozen=True)
class EventFilter:
    """Events of a contract: all, those of one number, or of these also only those whose first field has these
    bytes."""

    contract: bytes
    event: int | None = None
    first: bytes | None = None

    def __str__(self) -> str:
        """As the subscription names it. Raises ValueError for a first field of no event."""
        if self.event is None and self.first is not None:
            raise ValueError("a first field is that of an event: say of which")
        parts = self.contract.hex(), self.event, None if self.first is None else self.first.hex()
        return ".".join(str(part) for part in parts if part is not None)


def events_url(
    url: str,
    blocks: bool,
    accounts: Iterable[bytes] = (),
    keys: Iterable[bytes] = (),
    from_height: int | None = None,
    contracts: Iterable[EventFilter] = (),
) -> str:
    """The WebSocket address of a subscription to the gateway at `url`."""
    query = [("topic", "blocks")] if blocks else []
    query += [("account", key.hex()) for key in accounts] + [("key", key.hex()) for key in keys]
    query += [("contract", str(each)) for each in contracts]
    query += [] if from_height is None else [("from_height", str(from_height))]
    return f"ws{url.removeprefix('http').rstrip('/')}/v1/events?{urlencode(query)}"


class _Position:
    """How far a stream has come: from which height to resume, and what of it was yielded already.

    Within a height blocks, transactions and contracts' events each come once; of a state only its newest
    value counts.
    """

    def __init__(self, from_height: int | None, states_only: bool) -> None:
        self.height, self._states_only = from_height, states_only
        self._yielded: set[tuple[str, str]] = set()
        self._states: dict[str, Event] = {}

    def takes(self, event: Event) -> bool:
        """Whether an event is new; then it counts as yielded. Raises KeyError, TypeError or ValueError for
        what is no event."""
        kind, height = str(event["type"]), int(event["height"])
        if kind == "hello":
            self.height = height + 1 if self.height is None else self.height
            return True
        if kind == "lagged":
            self._move(int(event["to_height"]) + 1)
            return True
        if kind == "state":
            if self._states.get(key := str(event["key"])) == event:
                return False
            self._states[key] = event
            if self._states_only:
                self._move(height)
            return True
        own = (event["transaction"], event["position"]) if kind == "event" else event.get("id", "")
        name = kind, str(own)
        if height < (self.height or 0) or (height == self.height and name in self._yielded):
            return False
        self._move(height)
        self._yielded.add(name)
        return True

    def _move(self, height: int) -> None:
        if height > (self.height or 0):
            self.height = height
            self._yielded.clear()


async def follow(
    urls: str | Sequence[str],
    blocks: bool = True,
    accounts: Iterable[bytes] = (),
    keys: Iterable[bytes] = (),
    from_height: int | None = None,
    ca_file: str = "",
    api_key: str = "",
    genesis: Genesis | bytes | None = None,
    contracts: Iterable[EventFilter] = (),
) -> AsyncIterator[Event]:
    """Events without end: blocks, transactions of `accounts`, states of `keys` (32 bytes each), events of
    `contracts`.

    Of several gateways the next one is asked when one is away. ca_file: certificates to trust for https,
    instead of the system's. api_key: of a node that asks for keys. genesis: of the network, or its hash;
    without it, the network of the first answer. Raises ApiError when a node refuses the subscription,
    ForeignAnswerError when at first something else answers than a gateway of the network; later that is a
    disturbance like any other, which ends.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException

    class Straight(connect):
        """A gateway redirects nobody: where a redirect leads is not where the caller wants to go."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    accounts, keys, contracts = list(accounts), list(keys), list(contracts)
    endpoints, pin = Endpoints(urls), Pin(genesis)
    position = _Position(from_height, not (blocks or accounts or contracts))
    pause_s, begun = RECONNECT_FIRST_S, False
    while True:
        url = endpoints.current
        secure = trusted(ca_file) if url.startswith("https") else None
        address = events_url(url, blocks, accounts, keys, position.height, contracts)
        proxy = proxy_of(url)
        try:
            async with Straight(
                address,
                max_size=MESSAGE_BYTES_MAX,
                proxy=proxy,
                ssl=secure,
                additional_headers=bearer(api_key),
            ) as connection:
                async for text in connection:
                    event = _read(text, pin)
                    fresh = position.takes(event)
                    pause_s, begun = RECONNECT_FIRST_S, True
                    if fresh:
                        yield event
        except InvalidStatus as error:
            refusal = _refusal(error.response, pin.mark)
            if not _passes(refusal, begun):
                raise refusal from error
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)
        except (ForeignAnswerError, KeyError, TypeError, ValueError) as error:
            if not begun:
                raise _not_events(error) from error
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)
        except (OSError, WebSocketException, EOFError):
            pause_s = min(2 * pause_s, RECONNECT_MAX_S)
        endpoints.failed(url)
        await asyncio.sleep(pause_s)


def _read(text: str | bytes, pin: Pin) -> Event:
    """An event. Raises ForeignAnswerError for the hello of another network, ValueError for no JSON."""
    event: Event = msgspec.json.decode(text, type=dict[str, Any])
    if event["type"] == "hello":
        digest = bytes.fromhex(event["chain_id"])
        if pin.digest is None:
            pin.digest = digest
        if digest != pin.digest:
            why = f"it is of the network {digest.hex()}, {pin.digest.hex()} is asked for"
            raise ForeignAnswerError(101, why, network=digest.hex())
    return event


def _not_events(error: Exception) -> ForeignAnswerError:
    if isinstance(error, ForeignAnswerError):
        return error
    return ForeignAnswerError(101, f"a WebSocket without this API's events: {error!r}")


def _passes(error: ApiError, begun: bool) -> bool:
    """Whether a refusal of the subscription is a disturbance, after which it is asked for again."""
    if isinstance(error, ForeignAnswerError):
        return begun or error.status in _PASSING or error.status >= 500
    if isinstance(error, UnavailableApiError) or error.status >= 500:
        return True
    # Another gateway, which is behind the one that was read so far.
    return begun and error.field == "from_height"


def _refusal(response: Response, mark: str | None) -> ApiError:
    """The typed error of an answer in place of the stream."""
    import httpx

    headers = [pair for pair in response.headers.raw_items() if pair[0].lower() != "content-encoding"]
    answer = httpx.Response(response.status_code, headers=headers, content=bytes(response.body or b""))
    try:
        check_mark(answer, mark)
    except ForeignAnswerError as error:
        return error
    return error_of(answer)
