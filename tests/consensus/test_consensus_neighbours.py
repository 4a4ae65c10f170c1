"""Neighbours are found when they are there, once each, and whoever waits for the first look is not kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.consensus import actor_lookup as neighbours
from actors.consensus.actor_lookup import ActorLookup


def test_who_is_there_is_found_at_the_first_look_and_the_others_when_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(neighbours, "LOOK_EVERY_S", 0.001)
    there, found = {"peer": 1}, list[tuple[str, Any]]()
    failures = [OSError("the cluster does not answer")]

    def look(name: str) -> int:
        if name not in there:
            raise ValueError(name)
        if failures:
            raise failures.pop()
        return there[name]

    async def scenario() -> None:
        finder = ActorLookup(["gateway-0", "peer"], look, lambda *told: found.append(told), (OSError,))
        finding = asyncio.create_task(finder.find())
        async with asyncio.timeout(30):
            await finder.looked.wait()
            while not found:
                await asyncio.sleep(0.001)
            assert found == [("peer", 1)]
            there["gateway-0"] = 2
            await finding
        assert found == [("peer", 1), ("gateway-0", 2)]
        alone = ActorLookup([], look, lambda *_: None, ())
        await alone.find()
        assert alone.looked.is_set()

    asyncio.run(scenario())
