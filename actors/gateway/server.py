"""uvicorn inside a running event loop: the listening socket, start and graceful stop.

What connections may cost is bounded in `listener.py` (how many a second), `connections.py` (how many, whose)
and `protocol.py` (heads, rates); what they ask for begins in the turn of its client (`shares.py`).
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

from actors.gateway.body import Receive, Scope, Send
from actors.gateway.connections import ConnectionTable
from actors.gateway.edge import EdgeRules, client_name
from actors.gateway.limits import ClientRates
from actors.gateway.listener import Acceptor, ConnectionTerms
from actors.gateway.problem import ProblemError
from actors.gateway.protocol import (
    HttpBounds,
    answer_without_request,
    http_protocol,
    websocket_protocol,
)
from actors.gateway.roles import STARTS_KEY, App
from actors.gateway.shares import FairStarts
from actors.settings import GatewaySettings

BACKLOG = 2048
BIND_RETRY_S = 0.1
BIND_TIMEOUT_S = 20.0
REBIND_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 5
WEBSOCKET_BYTES_MAX = 4096
PING_INTERVAL_S, PING_TIMEOUT_S = 20.0, 20.0
STARTS_EACH_PASS = 16
TLS_CONNECTION_COST = 4  # of a plain one: its handshake is a signature


class _Server(uvicorn.Server):
    """Has its connections from an acceptor, and leaves signals to the process it is a guest in."""

    def __init__(self, config: uvicorn.Config, acceptor: Acceptor) -> None:
        super().__init__(config)
        self._acceptor = acceptor

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 -- as there
        """As uvicorn does, without its own way of listening."""
        await super().startup(sockets=[])
        self._acceptor.start(self._new_connection)

    def _new_connection(self) -> asyncio.Protocol:
        protocol = self.config.http_protocol_class
        return protocol(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more; finish the requests at hand."""
        self._acceptor.close()
        await super().shutdown(sockets)

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
    """One uvicorn server, served by a task of the running loop.

    network: the mark that answers carry which no application makes (`answers.network_mark`).
    """

    def __init__(
        self,
        app: App,
        listener: socket.socket,
        tls: Tls | None = None,
        settings: GatewaySettings | None = None,
        network: str = "",
    ) -> None:
        settings = settings or GatewaySettings()
        self.table: ConnectionTable[asyncio.Transport] = ConnectionTable(settings.connections_max)
        self.starts, rules = FairStarts(STARTS_EACH_PASS), EdgeRules(settings)
        bounds = HttpBounds(
            self.table,
            rules,
            self.starts,
            ClientRates(settings.client_streams_rate_max),
            network,
            settings.head_timeout_s,
            settings.keep_alive_s,
            settings.transfer_bytes_per_s_min,
        )
        config = uvicorn.Config(
            _in_turn(app, rules, self.starts),
            http=http_protocol(bounds),
            loop="none",
            ws=websocket_protocol(bounds),
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
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            ssl_certfile=None if tls is None else tls.certificate_file,
            ssl_keyfile=None if tls is None else tls.key_file,
        )
        self.url = url_of(listener, tls is not None)
        rate = settings.client_connections_rate_max
        too_many = ProblemError("too-many-requests", "you open more connections a second", limit=rate)
        admission = ConnectionTerms(
            ClientRates(rate),
            lambda address: None if rules.is_proxy(address) else client_name(address),
            1 if tls is None else TLS_CONNECTION_COST,
            answer_without_request(too_many, network) if tls is None else b"",
        )
        config.load()
        self._acceptor = Acceptor(listener, admission, self.starts, config.ssl, settings.head_timeout_s)
        self._server = _Server(config, self._acceptor)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[]))

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
        return len(self.table)

    def figures(self) -> dict[str, int]:
        """Connections refused, for lack of room and by rate, and closed for others; TLS handshakes under way;
        starts that wait."""
        return {
            **self.table.figures(),
            "refused_by_rate": self._acceptor.refused,
            "handshakes_under_way": self._acceptor.handshakes,
            "starts_waiting": self.starts.waiting,
        }

    async def stop(self) -> None:
        """Finish the requests at hand (up to STOP_TIMEOUT_S) and close the socket; idempotent."""
        self._server.should_exit = True
        await self._task


def _in_turn(app: App, rules: EdgeRules, starts: FairStarts) -> App:
    """The application, each request of which begins in the turn of its client."""

    async def begin(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":  # a WebSocket had its turn before its handshake
            await starts.enter(client_name(rules.address(scope)), 1)
        scope[STARTS_KEY] = starts
        await app(scope, receive, send)

    return begin
