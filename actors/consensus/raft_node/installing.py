"""Beginning the log at a snapshot's block: taking proven blocks up to it, with nothing else on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.consensus.pipeline import Pipeline, Sealed
from actors.consensus.ports import NodePorts
from actors.consensus.raft_node.engine import Engine, OvertakenError
from actors.consensus.setbacks import RETRY_PAUSE_S


async def catch_up_until(
    reached: asyncio.Event, pipeline: Pipeline, catch_up: Callable[[], Awaitable[None]]
) -> None:
    """Take what others prove until `reached`, or until they have no more. Raises PipelineBrokenError."""
    catching = asyncio.ensure_future(catch_up())
    reaching = asyncio.ensure_future(reached.wait())
    try:
        ends: list[asyncio.Future[Any]] = [catching, reaching, pipeline.broken]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if pipeline.broken.done() and not reached.is_set():
            pipeline.broken.result()
        if catching.done() and not reached.is_set():
            catching.result()
            await asyncio.sleep(RETRY_PAUSE_S)
    finally:
        catching.cancel()
        reaching.cancel()
        await asyncio.gather(catching, reaching, return_exceptions=True)


class Until:
    """A persist stage that takes proven blocks up to one, which `reached` tells of, and none after it."""

    def __init__(self, ports: NodePorts, last: bytes) -> None:
        self._ports, self._last = ports, last
        self.reached = asyncio.Event()

    async def __call__(self, sealed: Sealed) -> None:
        if self.reached.is_set():
            raise OvertakenError("the log goes on from here")
        await self._ports.take_proven(sealed)
        if sealed.digest == self._last:
            self.reached.set()


async def drained(engine: Engine) -> None:
    """Wait until all that was handed to the disk is on it. Raises what ended the engine, if it has ended."""
    drained = asyncio.ensure_future(engine.drained.wait())
    ends: list[asyncio.Future[Any]] = [drained, engine.failed]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if engine.failed.done():
            engine.failed.result()
    finally:
        drained.cancel()
        await asyncio.gather(drained, return_exceptions=True)
