"""schemathesis reads the OpenAPI document and asks everything it can think of: no 5xx, no answer off schema.

Bounded to a few examples a route; RAYCHAIN_SCHEMATHESIS_EXAMPLES=500 asks more, and RAYCHAIN_URL=http://...
asks a node that runs (its data directory should be one to throw away) instead of the one in memory.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.gateway.api import create_app
from actors.gateway.server import HttpServer, bind
from actors.settings import GatewaySettings
from tests.gateway.gateway_contracts import node_with_contracts
from tests.gateway.gateway_fake_node import membership_of
from tests.gateway.openapi_questions import ask_everything

EXAMPLES = int(os.environ.get("RAYCHAIN_SCHEMATHESIS_EXAMPLES", "3"))
FAULTS: list[Any] = []


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A node that runs, or one in memory behind a real server in a thread."""
    if running := os.environ.get("RAYCHAIN_URL"):
        yield running
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve() -> HttpServer:
        node = node_with_contracts()
        node.shards[0].pending = [node.transfer(who, 0) for who in range(2, 8)]
        node.commit()
        options = GatewaySettings(client_rate_max=0)
        members = membership_of(node.genesis)
        app = create_app(node.service, lambda *fault: FAULTS.append(fault), options, membership=members)
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0))
        await server.started()
        return server

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result(20)
    yield server.url
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_every_operation_answers_as_the_document_says(url: str) -> None:
    ask_everything(url, EXAMPLES)
    assert FAULTS == []
