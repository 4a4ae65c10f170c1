"""A fake node behind a real HTTP server, in a loop of a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from actors.gateway.api import create_app
from actors.gateway.limits import ApiKeys
from actors.gateway.server import HttpServer, bind
from actors.ledger.delta import Delta
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import FakeNode, until


class Served:
    """A node and its HTTP server in a loop of its own thread, so that a plain client may block."""

    def __init__(self, node: FakeNode, keys: ApiKeys | None = None) -> None:
        self.node, self._keys = node, keys
        self.faults: list[Exception] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server = self.call(self._serve)
        self.url = self.server.url

    async def _serve(self, port: int = 0) -> HttpServer:
        settings = GatewaySettings(allowed_hosts=["gateway.example"])
        faults = self.faults
        app = create_app(self.node.service, lambda _what, error: faults.append(error), settings, self._keys)
        committed = self.node.service.committed

        def published(delta: Delta) -> None:
            committed(delta)
            app.events.published(delta)

        self.node.service.committed = published  # type: ignore[method-assign]
        server = HttpServer(app, await bind("127.0.0.1", port, 20.0))
        await server.started()
        return server

    def replace(self, node: FakeNode) -> None:
        """Have another node at the same address."""
        self.call(self.server.stop)
        self.node = node
        self.server = self.call(lambda: self._serve(int(self.url.rsplit(":", 1)[1])))

    def call(self, function: Callable[[], Any]) -> Any:
        """Await `function()` in the server's loop, from the test's thread."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(20)

    def commit_when_pending(self, rows: int) -> None:
        """Commit a block as soon as `rows` transactions are pending."""

        async def run() -> None:
            await until(lambda: sum(len(shard.pending) for shard in self.node.shards) >= rows)
            self.node.commit()

        asyncio.run_coroutine_threadsafe(run(), self._loop)

    @contextlib.contextmanager
    def making_blocks(self) -> Iterator[None]:
        """Commit a block as soon as anything is pending, for as long as this is open."""

        async def run() -> None:
            while True:
                await asyncio.sleep(0.005)
                if any(shard.pending for shard in self.node.shards):
                    self.node.commit()

        blocks = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            yield
        finally:
            blocks.cancel()

    def stop(self) -> None:
        self.call(self.server.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
