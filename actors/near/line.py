"""A caller's end of the line to an actor that serves near calls. Until there is a line, `begin` answers None,
and its caller takes Ray's way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from actors.near.call_line import CallLine
from actors.near.messages import NearError, NearFailure, NearRequest, decode_answer, error_of


class NearLine(CallLine):
    """find(): as of CallLine. away: what it raises."""

    def __init__(self, find: Callable[[], Awaitable[str]], away: tuple[type[Exception], ...]) -> None:
        broken = partial(NearError, "the line broke during the call")
        super().__init__(find, decode_answer, _error, broken)
        self._away = away
        self._kept: asyncio.Task[None] | None = None

    def begin(self, asked: Any) -> asyncio.Future[Any] | None:
        """A call's answer, or None if it cannot go this way now. The first call begins to look for a line."""
        if self._kept is None or self._kept.done():
            self._kept = asyncio.get_running_loop().create_task(self.keep(self._away))
        return self.send(lambda number: NearRequest(number, asked))

    def close(self) -> None:
        """Hang up for good."""
        if self._kept is not None:
            self._kept.cancel()


def _error(told: Any) -> Exception | None:
    return error_of(told) if isinstance(told, NearFailure) else None
