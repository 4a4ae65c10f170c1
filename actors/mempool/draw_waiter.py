"""How a draw waits for rows: asked once, answered when there are some, instead of asked again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.pending import DrawSummary
from actors.ledger.rows import empty_batch

WAIT_MAX_S = 10.0


class DrawWaiter:
    """Wakes who waits for something to draw, or sends all who wait away."""

    def __init__(self, has_rows: Callable[[], bool]) -> None:
        self._has_rows = has_rows
        self._rung = asyncio.Event()
        self._dismissals = 0

    def ring(self) -> None:
        """Something has changed: look again."""
        self._rung.set()

    def dismiss(self) -> None:
        """Whoever waits now shall draw nothing: what it was asked for is over."""
        self._dismissals += 1
        self._rung.set()

    async def wait(self, wait_s: float) -> bool:
        """Until there are rows or `wait_s`, at most WAIT_MAX_S, is over. False for who was dismissed."""
        dismissals = self._dismissals
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, WAIT_MAX_S)):
                while not self._has_rows() and dismissals == self._dismissals:
                    self._rung.clear()
                    await self._rung.wait()
        return dismissals == self._dismissals


def nothing_drawn() -> tuple[DrawSummary, NDArray[Any], NDArray[np.uint8]]:
    """What a draw answers that took no rows."""
    batch = empty_batch()
    return DrawSummary(0, 0, np.empty(0, dtype=np.uint64)), batch.rows, batch.payloads
