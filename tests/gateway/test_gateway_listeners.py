"""A thousand subscribers whom no block concerns, and one that never reads: that one lags, and is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.gateway import server as server_module
from actors.gateway.api import create_app
from actors.gateway.events import PENDING_MAX
from actors.gateway.server import HttpServer, bind
from actors.ledger.rows import PAYLOAD_BYTES_MAX
from actors.settings import GatewaySettings
from bench.listeners import listen, listen_many, may_open_files
from tests.gateway.gateway_fake_node import SENDERS, FakeNode, until

LISTENERS, BLOCKS_MAX = 1_000, 2_000


def test_one_that_never_reads_is_told_that_it_lagged_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "PING_TIMEOUT_S", 600.0)  # listeners answer no pings
    if not may_open_files(2 * LISTENERS + 500):
        pytest.skip(f"this system allows fewer than {2 * LISTENERS + 500} open files")

    async def scenario() -> None:
        node = FakeNode()
        app = create_app(node.service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        settings = GatewaySettings(client_streams_rate_max=2 * LISTENERS)
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0), None, settings)
        await server.started()
        idle = await listen_many(server.url, LISTENERS, keys=[bytes(32)])
        silent = await listen(server.url, accounts=[SENDERS[0].public_key], small_buffers=True)
        live = await listen(server.url, blocks=True)
        await until(lambda: len(app.events.hub) == LISTENERS + 2)
        heights = live.messages()
        assert (await anext(heights))["type"] == "hello"
        while not app.events.hub.lagged:
            assert node.height < BLOCKS_MAX, "buffers without a bound"
            payload = bytes(PAYLOAD_BYTES_MAX)
            node.shards[0].pending = [node.transfer(0, node.height, payload=payload)]
            app.events.published(node.delta(node.commit().header.height))
            assert (await anext(heights))["height"] == node.height
        assert node.height > PENDING_MAX
        assert app.events.hub.lagged == 1
        seen = [message["type"] async for message in _until_lagged(silent.messages())]
        assert seen[0] == "hello"
        assert set(seen[1:-1]) == {"transaction"}
        assert seen[-1] == "lagged"
        for listener in (*idle, silent, live):
            listener.close()
        await until(lambda: app.events.open == 0)
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 240))


def test_listeners_that_are_refused_at_their_rate_come_back() -> None:
    async def scenario() -> None:
        app = create_app(FakeNode().service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        settings = GatewaySettings(client_streams_rate_max=5)
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0), None, settings)
        await server.started()
        listeners = await listen_many(server.url, 12, keys=[bytes(32)])
        assert app.events.open == 12
        for listener in listeners:
            listener.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _until_lagged(messages: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for message in messages:
        yield message
        if message["type"] == "lagged":
            return
