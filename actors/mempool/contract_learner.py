"""Reads the programs of contracts that calls were drawn of, beside the draws."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from actors.ledger.contract_state import program_keys
from actors.mempool.contract_keys import ContractKeys
from actors.storage.interface import RetainedHeights, StateValues


class StateReader(Protocol):
    """What it reads of Storage."""

    def state_values(self, keys: list[bytes]) -> Awaitable[StateValues | RetainedHeights]:
        """The values of these keys, of one height."""


class ContractLearner:
    """What fails is met again by a later draw."""

    def __init__(
        self,
        contracts: ContractKeys,
        storage: StateReader,
        transient: tuple[type[Exception], ...],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._contracts, self._storage, self._transient, self._failed = contracts, storage, transient, failed
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There may be contracts to learn of; one is read at a time."""
        if self._contracts.wants and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._learn())

    def stop(self) -> None:
        """Leave it."""
        if self._task is not None:
            self._task.cancel()

    async def _learn(self) -> None:
        for address in self._contracts.wanted():
            keys = program_keys(address)
            try:
                state = await self._storage.state_values(keys)
            except self._transient as error:
                self._failed("program", error)
                return
            if isinstance(state, StateValues):
                self._contracts.learn(address, dict(zip(keys, state.values, strict=True)))
