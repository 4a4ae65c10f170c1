"""The actor's class without a cluster: handles are stand-ins whose methods answer or fail as Ray's do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError

from actors.gateway import actor, server
from actors.gateway.actor import OPTIONS, Gateway
from actors.gateway.server import bind
from actors.ledger.delta import Delta
from actors.ledger.verdict import Verdict
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import AsyncClient
from actors.settings import GatewaySettings, LogSettings
from actors.shell import ActorContext
from tests.gateway.gateway_fake_node import FakeNode


class Handle:
    """`handle.method.remote(...)` over an object's async methods; raises `failure` while it is set."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return _Method(self, getattr(self._target, name))


class _Method:
    def __init__(self, handle: Handle, function: Any) -> None:
        self._handle, self._function = handle, function

    def remote(self, *arguments: Any) -> Any:
        """An awaitable, or as Ray does for several returns, a list of them."""
        if self._function.__name__ == "dropped":
            return [self._call(arguments, part) for part in range(3)]
        return self._call(arguments, None)

    async def _call(self, arguments: tuple[Any, ...], part: int | None) -> Any:
        if self._handle.failure is not None:
            raise self._handle.failure
        answer = await self._function(*arguments)
        return answer if part is None else answer[part]


class NodeHandles:
    """Handles over a node in memory, and the gateways built on them."""

    def __init__(self, folder: Path) -> None:
        self.node = FakeNode(shards=1)
        self.lost: list[tuple[bytes, int]] = []
        shard = SimpleNamespace(admit=self.admit, dropped=self.dropped, near_line=self.near_line)
        self.shard, self.storage = Handle(shard), Handle(self.node)
        self.consensus = Handle(SimpleNamespace(status=self.node.status_of_node))
        self._folder = folder

    async def admit(self, *arguments: Any) -> Any:
        return await self.node.shards[0](*arguments[:5])  # not whether it is relayed

    async def near_line(self) -> str:
        return ""

    async def dropped(self, since: int, wait_s: float) -> tuple[int, Any, Any]:
        assert wait_s > 1  # or the two would spend their time asking
        while since == len(self.lost):
            await asyncio.sleep(0.001)
        lost = self.lost[since:]
        ids = np.frombuffer(b"".join(tx_id for tx_id, _ in lost), dtype=np.uint8).reshape(-1, 32)
        return len(self.lost), ids, np.array([code for _, code in lost], dtype=np.uint8)

    def gateway(self, number: int = 0, **settings: Any) -> Gateway:
        context = ActorContext("node-0", f"gateway-{number}", str(self._folder), LogSettings())
        return Gateway(
            context,
            GatewaySettings(**{"port": 0, "single_wait_ms": 0, **settings}),
            self.node.genesis,
            number,
            [self.shard],
            self.storage,
            self.consensus,
            None,
        )

    def delta(self, height: int) -> Delta:
        return self.node.delta(height)


async def served(url: object) -> bool:
    async with httpx.AsyncClient(base_url=str(url)) as http:
        return (await http.get("/v1/health")).status_code == 200


def test_start_commit_health_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "DROPS_PAUSE_S", 0.001)

    async def scenario() -> None:
        handles = NodeHandles(tmp_path)
        gateway = handles.gateway()
        url = (await gateway.start())["url"]
        assert await gateway.start() == {"url": url}
        async with AsyncClient(str(url)) as client:
            waiting = asyncio.ensure_future(client.submit_one(handles.node.transfer(0, 0), "committed"))
            while not handles.node.shards[0].pending:
                await asyncio.sleep(0)
            handles.node.commit(publish=False)
            await gateway.committed(handles.delta(1))
            assert (await waiting)["height"] == 1
            batch = handles.node.transfer(0, 1)
            waiting = asyncio.ensure_future(client.submit_one(batch, "committed"))
            while not handles.node.shards[0].pending:
                await asyncio.sleep(0)
            handles.lost.append((batch.ids()[0].tobytes(), Verdict.POOL_FULL))
            with pytest.raises(UnavailableApiError):
                await waiting
        health = await gateway.health()
        assert health["url"] == url
        assert health["rows"]["committed"] == 1  # type: ignore[index]
        await gateway.stop()
        await gateway.stop()
        with pytest.raises(httpx.ConnectError):
            await served(url)

    asyncio.run(scenario())


def test_the_constructor_alone_serves_again_on_the_same_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        handles = NodeHandles(tmp_path)
        first = handles.gateway()
        url = (await first.start())["url"]
        await first.stop()
        second = handles.gateway()
        while (await second.health())["url"] is None:
            await asyncio.sleep(0.001)
        assert (await second.health())["url"] == url
        assert await served(url)
        await second.stop()

    asyncio.run(scenario())


def test_a_remembered_port_that_somebody_took_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REBIND_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        taken = await bind("127.0.0.1", 0, 1.0)
        (tmp_path / "gateway-0.port").write_text(str(taken.getsockname()[1]))
        gateway = NodeHandles(tmp_path).gateway()
        url = str((await gateway.start())["url"])
        assert not url.endswith(f":{taken.getsockname()[1]}")
        assert await served(url)
        await gateway.stop()
        taken.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"\xff", b"", b"99999999", b"-1", "１".encode()])
def test_a_damaged_port_file_is_ignored(content: bytes, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "gateway-0.port").write_bytes(content)
        gateway = NodeHandles(tmp_path).gateway()
        assert await served((await gateway.start())["url"])
        await gateway.stop()

    asyncio.run(scenario())


def test_every_failure_of_ray_is_an_absence(tmp_path: Path) -> None:
    async def scenario() -> None:
        handles = NodeHandles(tmp_path)
        gateway = handles.gateway()
        url = str((await gateway.start())["url"])
        failures = [
            ActorUnavailableError("restarting", None),
            RayTaskError("admit", "a traceback", ValueError("a fault")),
        ]
        async with AsyncClient(url) as client:
            for failure in failures:
                handles.shard.failure = handles.storage.failure = failure
                for call in (client.submit_one(handles.node.transfer(0, 0)), client.account(bytes(32))):
                    with pytest.raises(UnavailableApiError) as caught:
                        await call
                    assert caught.value.status == 503
            handles.shard.failure = handles.storage.failure = None
            assert (await client.submit_one(handles.node.transfer(0, 0)))["status"] == "accepted"
        await gateway.stop()

    asyncio.run(scenario())


def test_the_options_make_it_restart_forever_and_never_repeat_a_call() -> None:
    assert OPTIONS["max_restarts"] == -1
    assert OPTIONS["max_task_retries"] == 0
