"""schemathesis reads the OpenAPI document and asks everything it can think of: no 5xx, no answer off schema.

Bounded to a few examples a route; RAYCHAIN_SCHEMATHESIS_EXAMPLES=500 asks more, and RAYCHAIN_URL=http://...
asks a node that runs (its data directory should be one to throw away) instead of the one in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_fake_node import FakeNode
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from actors.gateway.api import create_app
from actors.gateway.server import HttpServer, bind
from actors.settings import GatewaySettings

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
EXAMPLES = int(os.environ.get("RAYCHAIN_SCHEMATHESIS_EXAMPLES", "4"))
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
        node = FakeNode()
        node.shards[0].pending = [node.transfer(who, 0) for who in range(8)]
        node.commit()
        options = GatewaySettings(client_rate_max=0)
        app = create_app(node.service, lambda *fault: FAULTS.append(fault), options)
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
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 20
    for operation in operations:
        ask_everything(operation)
    assert FAULTS == []


def ask_everything(operation: Any) -> None:
    """Both kinds of requests; that valid ones succeed is not asked, for nobody signs what is made up."""
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    quiet = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def ask(mode: Any) -> None:
        @quiet
        @given(case=operation.as_strategy(generation_mode=mode))
        def once(case: Any) -> None:
            case.call_and_validate(timeout=30, excluded_checks=[positive_data_acceptance])

        once()

    ask(schemathesis.GenerationMode.POSITIVE)
    # An operation without any input has no invalid requests.
    with contextlib.suppress(Unsatisfiable):
        ask(schemathesis.GenerationMode.NEGATIVE)
