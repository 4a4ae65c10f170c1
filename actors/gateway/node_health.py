"""What the other actors of the node say of themselves, asked all at once and bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.gateway.backend import UnavailableError

ANSWER_TIMEOUT_S = 2.0
Health = Callable[[], Awaitable[dict[str, Any]]]
Peers = Callable[[], Awaitable[list[dict[str, Any]]]]
Scale = Callable[[int], Awaitable[dict[str, Any]]]
Coming = Callable[[], Awaitable[Mapping[str, Health]]]
"""Actors that come and go, asked for each time."""


class NodeHealth:
    """`health` of each actor by its name, peers, and Validators and their number, given as plain calls."""

    def __init__(
        self,
        health: Mapping[str, Health],
        peers: Peers | None,
        scale: Scale | None = None,
        validators: Coming | None = None,
    ) -> None:
        self._health, self._peers, self._scale = dict(health), peers, scale
        self._validators = validators

    def asking(self, name: str) -> Health | None:
        """How one actor's health is asked for; None for one that is not known."""
        return self._health.get(name)

    async def actors(self) -> dict[str, dict[str, Any] | None]:
        """Health of every actor; None for one that does not answer within ANSWER_TIMEOUT_S."""
        every = self._health | dict(await self._validators() if self._validators else {})
        answers = await asyncio.gather(*(self._ask(health) for health in every.values()))
        return dict(zip(every, answers, strict=True))

    async def _ask(self, health: Health) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await health()
        except (UnavailableError, TimeoutError):
            return None

    async def peers(self) -> list[dict[str, Any]]:
        """What Peer says of the others. Raises UnavailableError when it does not answer in time."""
        if self._peers is None:
            return []
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._peers()
        except TimeoutError:
            raise UnavailableError("peer") from None

    async def scale_validators(self, count: int) -> dict[str, Any]:
        """Have so many Validators: what Consensus says of it. Raises UnavailableError if it cannot now."""
        if self._scale is None:
            raise UnavailableError("consensus")
        return await self._scale(count)
