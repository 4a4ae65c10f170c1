"""`ValidatorScaler` adds and removes a node's Validators while they work, as asked or by load within bounds.

Added ones are detached: they serve on while the actor that made them starts again, and end with the node,
which stops all that bear its name. One that is to go is left out by every pool first, then finishes what it
has in hand, then ends. So no work is lost to a change, and none is done twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from actors.settings import WORKERS_MAX, ValidatorSettings
from actors.shell import ActorContext, first_line
from actors.validator.actor import NAME, Validator, ValidatorPool, ValidatorsUnavailableError, validators_of
from actors.validator.scaling import LoadScaler

if TYPE_CHECKING:
    from loguru import Logger

_ANSWER_TIMEOUT_S = 30.0
_PAUSE_S = 0.05


class ValidatorScaler:
    """The Validators of one node; lives inside its Consensus, and tells the pools of `shards` of changes."""

    def __init__(
        self, context: ActorContext, log: Logger, pool: ValidatorPool, shards: Sequence[Any]
    ) -> None:
        self._context, self._log, self._pool, self._shards = context, log, pool, list(shards)
        self._one_at_a_time = asyncio.Lock()
        self._by_load: asyncio.Task[None] | None = None
        if pool.settings.workers_max:
            self._by_load = asyncio.create_task(self._follow_load(pool.settings))

    async def scale(self, count: int) -> dict[str, Any]:
        """Have `count` Validators. Returns their number as `validators`, and who was `added` and `removed`.

        Raises ValueError for a count out of bounds, TimeoutError or RayError if one does not start.
        """
        if not 1 <= count <= WORKERS_MAX:
            raise ValueError(f"validators: {count} is not from 1 to {WORKERS_MAX}")
        async with self._one_at_a_time:
            have = validators_of(self._pool.node)
            names = [f"{NAME}{number}" for number in range(len(have), count)]
            added = await self._add(names)
            removed = dict(list(have.items())[count:])
            await self._tell([*list(have.values())[:count], *added])
            await asyncio.gather(*map(self._remove, removed.values()))
            await self._until_gone(list(removed))
        if names or removed:
            self._log.info("validators: {} before, added {}, removed {}", len(have), names, list(removed))
        return {"validators": count, "added": names, "removed": list(removed)}

    async def _add(self, names: list[str]) -> list[Any]:
        """Start Validators of these names: all of them, or if one does not start, none."""
        settings, workers = self._pool.settings, []
        for name in names:
            context = replace(self._context, actor=name, niceness=settings.niceness)
            naming = {"name": f"{self._pool.node}/{name}", "lifetime": "detached"}
            actor = ray.remote(**self._pool.options)(Validator).options(**naming)
            workers.append(actor.remote(context, settings))
        try:
            starts = asyncio.gather(*(worker.start.remote() for worker in workers))
            await asyncio.wait_for(starts, _ANSWER_TIMEOUT_S)
        except (RayError, TimeoutError):
            for worker in workers:
                ray.kill(worker)
            raise
        return workers

    async def _tell(self, workers: list[Any]) -> None:
        """Have every pool of the node serve with these. A shard that is away looks at the names later."""
        self._pool.set_workers(workers)
        await asyncio.gather(*(_answer(shard.set_validators(workers)) for shard in self._shards))

    async def _remove(self, worker: Any) -> None:
        await _answer(worker.stop.remote())
        ray.kill(worker)

    async def _until_gone(self, names: Sequence[str]) -> None:
        """Wait until the names are free, so that they can be given again."""
        until_s = time.monotonic() + _ANSWER_TIMEOUT_S
        while still := [name for name in names if self._exists(name)]:
            if time.monotonic() > until_s:
                raise ValidatorsUnavailableError(f"still there after {_ANSWER_TIMEOUT_S} s: {still}")
            await asyncio.sleep(_PAUSE_S)

    def _exists(self, name: str) -> bool:
        try:
            ray.get_actor(f"{self._pool.node}/{name}")
        except ValueError:
            return False
        return True

    async def _follow_load(self, settings: ValidatorSettings) -> None:
        """Scale by the share of the time that the Validators worked from one look to the next."""
        scaler = LoadScaler(settings.workers_min, settings.workers_max)
        busy_s: dict[str, float] = {}
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(settings.scale_interval_s)
            workers = validators_of(self._pool.node)
            answers = await asyncio.gather(*(_answer(worker.health.remote()) for worker in workers.values()))
            before, busy_s = busy_s, {n: a["busy_s"] for n, a in zip(workers, answers, strict=True) if a}
            elapsed_s, looked_s = time.monotonic() - looked_s, time.monotonic()
            shares = [(busy_s[name] - before[name]) / elapsed_s for name in busy_s if name in before]
            if not shares:
                continue
            wanted = scaler.wanted(sum(shares) / len(shares), len(workers))
            if wanted == len(workers):
                continue
            try:
                await self.scale(wanted)
            except (RayError, TimeoutError, ValidatorsUnavailableError) as error:
                self._log.warning("validators stay {}: {}", len(workers), first_line(error))


async def _answer(call: Any) -> Any:
    """The answer, or None of an actor that is away or silent."""
    try:
        return await asyncio.wait_for(call, _ANSWER_TIMEOUT_S)
    except (RayError, TimeoutError):
        return None
