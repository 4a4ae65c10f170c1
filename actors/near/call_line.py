"""A caller's end of a line: it is kept, and so are the calls under way over it.

Whoever serves tells the name of its socket through Ray, since that is how it is found again after a restart.
A line that ends fails the calls under way, and another is sought, with pauses up to PAUSE_S_MAX. A call has a
number, and its answer the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.local_socket import Decode, LocalConnection, call

PAUSE_S_MIN, PAUSE_S_MAX = 0.02, 2.0


class CallLine:
    """To one actor. find() tells the name of its socket, empty if it serves none.

    decode: makes answers of frames, each with its `number` and what was `told`. error_of: the error that this
    stands for, if it does. broken: the error of a call that the end of a line cut off.
    """

    def __init__(
        self,
        find: Callable[[], Awaitable[str]],
        decode: Decode,
        error_of: Callable[[Any], Exception | None],
        broken: Callable[[], Exception],
    ) -> None:
        self._find, self._decode, self._error_of, self._broken = find, decode, error_of, broken
        self._line: LocalConnection | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self.connected = asyncio.Event()

    async def keep(self, away: tuple[type[Exception], ...]) -> None:
        """Have a line, and another one when it ends, until cancelled, or told that there is none. away: what
        find() raises."""
        gone: tuple[type[Exception], ...] = (*away, OSError)
        pause_s = PAUSE_S_MIN
        while True:
            try:
                if not (name := await self._find()):
                    return
                self._line = line = await call(name, self._heard, self._decode)
            except gone:
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            else:
                pause_s = PAUSE_S_MIN
                self.connected.set()
                try:
                    await line.ended.wait()
                finally:
                    self._end(line)
            await asyncio.sleep(pause_s)

    def send(self, request_of: Callable[[int], Any]) -> asyncio.Future[Any] | None:
        """The answer to a request, which is told its number; None if no line is there or it takes no more."""
        self._asked += 1
        if self._line is None or not self._line.send(request_of(self._asked)):
            return None
        answer = self._waiting[self._asked] = asyncio.get_running_loop().create_future()
        return answer

    def _end(self, line: LocalConnection) -> None:
        self._line = None
        self.connected.clear()
        line.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self._broken())
                future.exception()  # whoever awaits it is told; nobody may

    def _heard(self, answer: Any) -> None:
        future = self._waiting.pop(answer.number, None)
        if future is None or future.done():
            return
        if (error := self._error_of(answer.told)) is not None:
            future.set_exception(error)
        else:
            future.set_result(answer.told)
