"""A caller's end: a line that is kept, and the calls under way over it.

Whoever serves tells the name of its socket through Ray, since that is how it is found again after a restart.
A line that ends fails the calls under way with NearError, and another is sought, with pauses up to
PAUSE_S_MAX; until there is one, `begin` answers None, and its caller takes Ray's way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.local_socket import LocalConnection, call
from actors.near.messages import NearAnswer, NearError, NearFailure, NearRequest, decode_answer, error_of

PAUSE_S_MIN, PAUSE_S_MAX = 0.02, 2.0


class NearLine:
    """To one actor. find() tells the name of its socket, empty if it serves none; away: what it raises."""

    def __init__(self, find: Callable[[], Awaitable[str]], away: tuple[type[Exception], ...]) -> None:
        self._find, self._away = find, away
        self._line: LocalConnection | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._kept: asyncio.Task[None] | None = None

    def begin(self, asked: Any) -> asyncio.Future[Any] | None:
        """A call's answer, or None if it cannot go this way now. The first call begins to look for a line."""
        if self._kept is None or self._kept.done():
            self._kept = asyncio.get_running_loop().create_task(self._keep())
        self._asked += 1
        if self._line is None or not self._line.send(NearRequest(self._asked, asked)):
            return None
        answer = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        return answer

    def close(self) -> None:
        """Hang up for good."""
        if self._kept is not None:
            self._kept.cancel()

    async def _keep(self) -> None:
        gone: tuple[type[Exception], ...] = (*self._away, OSError)
        pause_s = PAUSE_S_MIN
        while True:
            try:
                name = await self._find()
                if not name:
                    return
                self._line = line = await call(name, self._heard, decode_answer)
            except gone:
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            else:
                pause_s = PAUSE_S_MIN
                try:
                    await line.ended.wait()
                finally:
                    self._end(line)
            await asyncio.sleep(pause_s)

    def _end(self, line: LocalConnection) -> None:
        self._line = None
        line.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NearError("the line broke during the call"))
                future.exception()  # whoever awaits it is told; nobody may

    def _heard(self, answer: NearAnswer) -> None:
        future = self._waiting.pop(answer.number, None)
        if future is None or future.done():
            return
        if isinstance(answer.told, NearFailure):
            future.set_exception(error_of(answer.told))
        else:
            future.set_result(answer.told)
