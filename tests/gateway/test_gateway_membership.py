"""Members over HTTP and in the SDK: who they are now, and changes that consensus allows or refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.gateway.api import create_app
from actors.gateway.server import HttpServer, bind
from actors.sdk.answers import ApiError
from actors.sdk.client import AsyncClient
from tests.gateway.gateway_fake_node import FakeNode, membership_of


def served(scenario: Any, with_consensus: bool = True) -> None:
    async def whole() -> None:
        node = FakeNode()
        membership = membership_of(node.genesis) if with_consensus else None
        app = create_app(node.service, lambda *fault: pytest.fail(str(fault)), membership=membership)
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0))
        await server.started()
        try:
            async with AsyncClient(server.url) as client:
                await scenario(client, node.genesis.members[0].name)
        finally:
            await server.stop()

    asyncio.run(whole())


def test_members_are_listed_with_what_they_are_now() -> None:
    async def scenario(client: AsyncClient, name: str) -> None:
        answer = await client.members()
        assert [(row["name"], row["role"], row["leader"]) for row in answer["members"]] == [
            (name, "voter", True)
        ]
        assert answer["majority"] == 1

    served(scenario)


def test_a_change_is_begun_or_refused_with_its_reason() -> None:
    async def scenario(client: AsyncClient, name: str) -> None:
        assert (await client.change_member("transfer", name))["term"] == 2
        for action, member, status in (
            ("remove", name, 409),
            ("transfer", "stranger", 409),
            ("demote", name, 422),
            ("add", "", 422),
        ):
            with pytest.raises(ApiError) as refusal:
                await client.change_member(action, member)
            assert refusal.value.status == status

    served(scenario)


def test_a_node_without_consensus_says_that_it_is_unavailable() -> None:
    async def scenario(client: AsyncClient, name: str) -> None:
        for call in (client.members(), client.change_member("transfer", name)):
            with pytest.raises(ApiError) as refusal:
                await call
            assert refusal.value.status == 503

    served(scenario, with_consensus=False)
