"""Lets readers of a log wait for what comes next, instead of asking again and again."""

from __future__ import annotations

import asyncio
import contextlib


class Notifier:
    """Wakes whoever waits; any number may. Lives inside one event loop."""

    def __init__(self) -> None:
        self._came = asyncio.Event()

    def tell(self) -> None:
        """There is something new."""
        self._came.set()

    async def wait(self, wait_s: float) -> None:
        """Return at the next news, or after `wait_s`. Whoever waits has seen what came before."""
        self._came.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), wait_s)
