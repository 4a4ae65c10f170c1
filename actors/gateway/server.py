"""uvicorn inside a running event loop: the listening socket, start and graceful stop.

Bounds: CONNECTIONS_MAX connections, beyond them requests are answered 503 by uvicorn itself; a request whose
line and headers exceed HEAD_BYTES_MAX before they end is answered 400 and its connection closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

BACKLOG = 2048
BIND_RETRY_S = 0.1
BIND_TIMEOUT_S = 20.0
REBIND_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 5
KEEP_ALIVE_S = 60
CONNECTIONS_MAX = 8192
HEAD_BYTES_MAX = 64 << 10
WEBSOCKET_BYTES_MAX = 4096
WEBSOCKET_BUFFER_BYTES = 64 << 10
PING_INTERVAL_S, PING_TIMEOUT_S = 20.0, 20.0


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on the request's head, which httptools would buffer without end."""

    _head_bytes = 0
    _head_open = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._head_open:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("Request line and headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_open, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._head_open = False
        super().on_headers_complete()


class _WebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol with small buffers, so that a reader who never reads is noticed and costs little."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=WEBSOCKET_BUFFER_BYTES)
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WEBSOCKET_BUFFER_BYTES)

    def keepalive_timeout(self) -> None:
        """Close at once: what such a reader has not read would keep the connection open for ever."""
        super().keepalive_timeout()
        self.transport.abort()


class _Server(uvicorn.Server):
    """Leaves signals to the process it is a guest in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def bind(host: str, port: int, timeout_s: float) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Retries while the address is in use, as it may be right after a restart. Raises OSError after `timeout_s`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > deadline_s:
                raise
        else:
            return listener
        await asyncio.sleep(BIND_RETRY_S)


async def bind_kept(host: str, port: int, kept: Path) -> socket.socket:
    """As `bind`; with port 0, the port that was free before is taken again if nobody has it.

    `kept` is the file that remembers the port, so that clients find a restarted gateway where it was.
    """
    last = _read_port(kept) if port == 0 else 0
    if last:
        try:
            listener = await bind(host, last, REBIND_TIMEOUT_S)
        except OSError:
            listener = await bind(host, 0, BIND_TIMEOUT_S)
    else:
        listener = await bind(host, port, BIND_TIMEOUT_S)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(str(listener.getsockname()[1]))
    return listener


def _read_port(kept: Path) -> int:
    """The port that a file remembers; 0 when there is none, or none that can be."""
    if not kept.exists():
        return 0
    text = kept.read_bytes()[:8].strip()
    return int(text) if text.isdigit() and int(text) < 2**16 else 0


def url_of(listener: socket.socket, secure: bool = False) -> str:
    """Where clients on this host reach the listener, also when it listens on all addresses."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a certificate chain and of its private key, both PEM."""

    certificate_file: str
    key_file: str


def read_tls(certificate_file: str, key_file: str) -> Tls | None:
    """None for two empty names. Raises ValueError where one is missing, OSError or ssl.SSLError where the
    files cannot be used."""
    if not certificate_file and not key_file:
        return None
    if not certificate_file or not key_file:
        raise ValueError("gateway.tls_certificate_file and gateway.tls_key_file go together")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate_file, key_file)
    return Tls(certificate_file, key_file)


class HttpServer:
    """One uvicorn server, served by a task of the running loop."""

    def __init__(self, app: object, listener: socket.socket, tls: Tls | None = None) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=_Protocol,
            loop="none",
            ws=_WebSocket,
            ws_max_size=WEBSOCKET_BYTES_MAX,
            ws_ping_interval=PING_INTERVAL_S,
            ws_ping_timeout=PING_TIMEOUT_S,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ssl_certfile=None if tls is None else tls.certificate_file,
            ssl_keyfile=None if tls is None else tls.key_file,
        )
        self.url = url_of(listener, tls is not None)
        self._server = _Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))

    async def started(self) -> None:
        """Return once it accepts connections. Raises what made it fail."""
        while not self._server.started:
            if self._task.done():
                await self._task
                raise RuntimeError("the HTTP server stopped before it started")
            await asyncio.sleep(0.005)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._server.server_state.connections)

    async def stop(self) -> None:
        """Finish the requests at hand (up to STOP_TIMEOUT_S) and close the socket; idempotent."""
        self._server.should_exit = True
        await self._task
