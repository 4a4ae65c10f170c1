"""A real server over a node in memory, which tests attack. Clients are told apart by their address in
127.0.0.0/8.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import uvloop

from actors.gateway.api import Api, create_app
from actors.gateway.limits import ApiKeys, read_api_keys
from actors.gateway.server import HttpServer, bind
from actors.sdk.answers import network_mark
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import FakeNode, membership_of

BATCH, BINARY = "/v1/transactions/batch", {"content-type": "application/octet-stream"}
ATTACKER, HONEST = "127.0.0.2", "127.0.0.3"
ROLES = ("read", "submit", "admin")


class Edge:
    """A node and its server."""

    def __init__(self, node: FakeNode, api: Api, server: HttpServer) -> None:
        self.node, self.api, self.server, self.url = node, api, server, server.url
        host, port = server.url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        self.host = f"{host}:{port}"

    def http(self, source: str = HONEST, **options: Any) -> httpx.AsyncClient:
        """A client at an address of its own."""
        transport = httpx.AsyncHTTPTransport(local_address=source)
        return httpx.AsyncClient(transport=transport, base_url=self.url, timeout=20, **options)

    async def open(self, source: str = ATTACKER) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, local_addr=(source, 0))

    async def say(self, text: bytes, source: str = ATTACKER) -> bytes:
        """What the server answers to these bytes before it closes."""
        reader, writer = await self.open(source)
        writer.write(text)
        with_eof = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return with_eof

    async def path(self, raw: str, method: str = "GET", head: str = "", content: bytes = b"") -> int:
        """The status of a request whose path nobody has tidied up."""
        lines = f"{method} {raw} HTTP/1.1\r\nhost: {self.host}\r\nconnection: close\r\n{head}"
        length = f"content-length: {len(content)}\r\n" if content else ""
        answer = await self.say(f"{lines}{length}\r\n".encode("latin-1") + content)
        return int(answer.split(b" ")[1])


def serve(
    scenario: Callable[[Edge], Awaitable[None]],
    keys: ApiKeys | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    **settings: Any,
) -> None:
    """Run a scenario against a server on the loop that gateways run on, or another one."""

    async def run() -> None:
        node, faults = FakeNode(), []
        chosen = GatewaySettings(**settings)
        membership = membership_of(node.genesis)
        api = create_app(node.service, lambda *fault: faults.append(fault), chosen, keys, membership)
        server = HttpServer(api, await bind("127.0.0.1", 0, 1.0), None, chosen, network_mark(node.genesis))
        await server.started()
        try:
            await asyncio.wait_for(scenario(Edge(node, api, server)), 60)
        finally:
            await server.stop()
        assert faults == []

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


def keys_of_all_roles() -> ApiKeys:
    lines = [f"{hashlib.sha256(role.encode()).hexdigest()} {role} the-{role}" for role in ROLES]
    return read_api_keys("\n".join(lines))


def bearer(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {role}"}
