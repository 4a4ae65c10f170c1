"""uvicorn's protocols with bounds on what a connection may cost before it is a request, and while it is one.

  * A new connection takes its place in the `ConnectionTable`, or is answered 503 and closed.
  * A head (request line and headers) is at most HEAD_BYTES_MAX and HEADERS_MAX, and complete `head_timeout_s`
    after its first byte; otherwise 400 and 408. Requests ahead of their answers are PIPELINED_MAX at most.
  * An answer that its client does not read at the least rate ends the connection, so does one that is unread
    when the connection is to be closed.
  * A WebSocket costs its handshake, of which a client may begin so many a second (429); those begin in the
    turn of their clients.
  * What httptools cannot read is answered with problem details, as every other error; answers that no
    application makes name the network, as every other answer.

Timers exist only where something is incomplete: a request that arrives whole sets none but the keep-alive's.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response
from websockets.server import ServerProtocol

from actors.gateway.backend import BusyError
from actors.gateway.connections import ConnectionTable
from actors.gateway.edge import EdgeRules, client_name
from actors.gateway.limits import ClientRates
from actors.gateway.problem import ProblemError, of_error
from actors.gateway.shares import FairStarts
from actors.sdk.answers import NETWORK_HEADER, PROBLEM_TYPE

HEAD_BYTES_MAX = 32 << 10
HEADERS_MAX = 128
LINE_BYTES = 4  # of a header: its colon, blank and line end
HEAD_BYTES_OPEN = 1024  # of a head that is not whole: what is none of its headers, and more
PIPELINED_MAX = 16
WRITE_LOOK_S, LINGER_S = 10.0, 1.0
WEBSOCKET_BUFFER_BYTES = 64 << 10
HANDSHAKE_COST = 8  # of a small request


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """What all connections of a server share. network: the mark of answers, "" for none."""

    table: ConnectionTable[asyncio.Transport]
    rules: EdgeRules
    starts: FairStarts
    handshakes: ClientRates
    network: str
    head_timeout_s: float
    keep_alive_s: float
    bytes_per_s_min: int


def http_protocol(bounds: HttpBounds) -> type[HttpToolsProtocol]:
    """The protocol of a server with these bounds."""
    return type("BoundedHttp", (_Http,), {"bounds": bounds})


def websocket_protocol(bounds: HttpBounds) -> type[WebSocketsSansIOProtocol]:
    """The protocol of its WebSockets."""
    return type("BoundedWebSocket", (_WebSocket,), {"bounds": bounds})


def answer_without_request(problem: ProblemError, network: str) -> bytes:
    """An HTTP/1.1 answer, after which the connection ends, to what has not become a request."""
    body = problem.body()
    head = [f"HTTP/1.1 {problem.status} {problem.document['title']}", f"content-type: {PROBLEM_TYPE}"]
    head += [f"{name.lower()}: {value}" for name, value in problem.headers.items()]
    head += [f"{NETWORK_HEADER}: {network}"] if network else []
    head += [f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(head).encode() + body


class _Http(HttpToolsProtocol):
    """See the module's rules.

    `_ended` is set once the connection is being closed with a problem, `_upgrades` once it is to be a
    WebSocket.
    """

    bounds: ClassVar[HttpBounds]
    _head_bytes = _came_bytes = _heads_begun = 0
    _head_open = _ended = _upgrades = False
    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _unread_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        try:
            ended = self.bounds.table.opened(
                transport, client_name(address), self.bounds.rules.is_proxy(address)
            )
        except BusyError as error:
            self._end(of_error(error), linger=False)
            return
        if ended is not None:
            _close(ended)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self.bounds.table.closed(self.transport)
        self._stop_timers()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._ended or self._upgrades:
            return
        waited = self._head_open
        rested = not waited and (self.cycle is None or self.cycle.response_complete)
        self._heads_begun = 0
        super().data_received(data)
        if self._ended or self._upgrades or self.transport.is_closing():
            return
        if self._head_open:
            # What is not a whole header yet lies in the parser: count what came, if it is all of this head.
            if waited and not self._heads_begun:
                self._came_bytes += len(data)
            else:
                self._came_bytes = len(data) if rested and self._heads_begun == 1 else 0
            if self._came_bytes > HEAD_BYTES_MAX + HEAD_BYTES_OPEN:
                self._end(_head_too_large())
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(self.bounds.head_timeout_s, self._head_is_late)
        elif self.cycle is None or self.cycle.response_complete:
            self._rest()  # line ends between requests are not the beginning of one

    def handle_websocket_upgrade(self) -> None:
        """Refuse what is above the client's rate; the rest waits for its turn, before it costs much."""
        if self._ended:
            return
        bounds, client = self.bounds, client_name(self.bounds.rules.address(dict(self.scope)))
        if not bounds.handshakes.take(client, self.loop.time()):
            limit = bounds.handshakes.rate_max
            detail = f"event streams that you open a second reached the bound of {limit}"
            self._end(ProblemError("too-many-requests", detail, limit=limit), linger=False)
            return
        self._upgrades = True
        self.transport.pause_reading()  # a client has nothing to say before he is answered
        bounds.starts.begin(client, HANDSHAKE_COST, self._upgrade)

    def _upgrade(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            super().handle_websocket_upgrade()

    def _rest(self) -> None:
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.bounds.keep_alive_s, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._heads_begun += 1
        self._head_open, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._ended:
            return
        self._head_bytes += len(name) + len(value) + LINE_BYTES
        if self._head_bytes > HEAD_BYTES_MAX or len(self.headers) == HEADERS_MAX:
            self._end(_head_too_large())
            return
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_open = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if not self._ended and self._head_bytes > HEAD_BYTES_MAX:
            self._end(_head_too_large())
        if not self._ended and len(self.pipeline) >= PIPELINED_MAX:
            self._ended = True
            self.transport.abort()
        if not self._ended:
            self.bounds.table.works(self.transport)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._ended:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        waits = bool(self.pipeline)
        super().on_response_complete()
        if not waits:
            self.bounds.table.rests(self.transport)

    def send_400_response(self, msg: str) -> None:
        if not self._ended:
            self._end(ProblemError("malformed", msg))

    def _head_is_late(self) -> None:
        limit_s = self.bounds.head_timeout_s
        self._end(ProblemError("request-timeout", f"the headers did not arrive within {limit_s} s"))

    def _end(self, problem: ProblemError, linger: bool = True) -> None:
        """Answer a connection without a request, and close it; linger: once its client has read that."""
        self._ended = True
        self._stop_timers()
        if not self.transport.is_closing():
            self.transport.write(answer_without_request(problem, self.bounds.network))
            if not linger or not self.transport.can_write_eof():
                self.transport.close()
                return
            # Closed with bytes unread, the system would take the answer back.
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self.transport.abort)

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._unread_bytes = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(WRITE_LOOK_S, self._look_at_reader)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _look_at_reader(self) -> None:
        unread_bytes = self.transport.get_write_buffer_size()
        if self._unread_bytes - unread_bytes < WRITE_LOOK_S * self.bounds.bytes_per_s_min:
            self.transport.abort()
            return
        self._unread_bytes = unread_bytes
        self._write_timer = self.loop.call_later(WRITE_LOOK_S, self._look_at_reader)

    def timeout_keep_alive_handler(self) -> None:
        _close(self.transport)


def _close(transport: asyncio.Transport) -> None:
    """Close now, also where the other side never reads what it was sent."""
    if transport.get_write_buffer_size():
        transport.abort()
    else:
        transport.close()


def _head_too_large() -> ProblemError:
    detail = f"request line and headers are {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers at most"
    return ProblemError("malformed", detail, field="headers", limit=HEAD_BYTES_MAX)


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol with small buffers, so that a reader who never reads is noticed and costs little."""

    bounds: ClassVar[HttpBounds]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.conn.reject = self._rejected  # type: ignore[method-assign]
        self.transport.set_write_buffer_limits(high=WEBSOCKET_BUFFER_BYTES)
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WEBSOCKET_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        self.bounds.table.closed(self.transport)
        super().connection_lost(exc)

    def _rejected(self, status: int, text: str) -> Response:
        """What the library answers by itself: a handshake that it cannot read, or 500."""
        response = ServerProtocol.reject(self.conn, status, text)
        if self.bounds.network:
            response.headers[NETWORK_HEADER] = self.bounds.network
        return response

    async def send(self, message: Any) -> None:
        """As uvicorn does. A refusal ends the handshake, too: uvicorn would report each as a fault."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def keepalive_timeout(self) -> None:
        """Close at once: what such a reader has not read would keep the connection open for ever."""
        super().keepalive_timeout()
        self.transport.abort()
