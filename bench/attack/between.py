"""What stands between clients and gateways: a proxy that passes requests on or answers itself."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 30.0
BODY_BYTES_MAX = 8 << 20
_BETWEEN_TWO = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. path: with its query."""

    method: str
    path: str
    body: bytes
    upgrades: bool


Answers = Callable[[Asked], bytes | None]


def http_answer(status: int, media: str, body: bytes, **headers: str) -> bytes:
    """An answer as bytes on the wire; `_` in a header's name stands for `-`."""
    fields = {"content-type": media, "content-length": str(len(body)), "connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Between:
    """An HTTP proxy on loopback before the gateway at `upstream`, with a thread for each connection.

    `answers` gives the bytes that are sent in place of the gateway's answer (the connection ends after them),
    or None for a request that is passed on, a WebSocket's too. It may be replaced at any time.
    """

    def __init__(self, upstream: str, answers: Answers = lambda _asked: None) -> None:
        self.upstream, self.answers = upstream, answers
        self.asked: list[Asked] = []
        self._spliced: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.cut()
        self._server.server_close()

    def cut(self) -> None:
        """End all WebSockets, as a balancer does that restarts."""
        for end in list(self._spliced):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        between = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = TIMEOUT_S

            def _handle(self) -> None:
                size = min(int(self.headers.get("content-length") or 0), BODY_BYTES_MAX)
                upgrades = "websocket" in self.headers.get("upgrade", "").lower()
                asked = Asked(self.command, self.path, self.rfile.read(size), upgrades)
                between.asked.append(asked)
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if (own := between.answers(asked)) is not None:
                        self.close_connection = True
                        self.wfile.write(own)
                    elif upgrades:
                        self.close_connection = True
                        between._splice(self)
                    else:
                        between._pass_on(self, asked)

            do_GET = do_POST = do_HEAD = _handle  # noqa: N815 -- names that http.server looks for

            def log_message(self, *_args: Any) -> None:
                """Stay silent."""

        return Handler

    def _pass_on(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
            connection.request(asked.method, asked.path, asked.body, headers)
            answer = connection.getresponse()
            body = answer.read()
        handler.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _BETWEEN_TWO:
                handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _splice(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(self.upstream)
        with socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT_S) as upstream:
            lines = [handler.requestline, *(f"{name}: {value}" for name, value in handler.headers.items())]
            upstream.sendall("\r\n".join([*lines, "", ""]).encode())
            upstream.settimeout(None)
            handler.connection.settimeout(None)
            self._spliced |= {upstream, handler.connection}
            back = threading.Thread(target=_pump, args=(upstream, handler.connection), daemon=True)
            back.start()
            _pump(handler.connection, upstream)
            back.join()
            self._spliced -= {upstream, handler.connection}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
