"""An actor's end: any of this user's processes may call, each over a line of its own.

A call begins in the order in which it came, as one through Ray does, and runs beside others. CALLS_MAX may be
under way at once; what comes beyond is answered as failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from actors.local_socket import LocalConnection, bound_socket, forget, new_name
from actors.near.messages import NearAnswer, NearCallError, NearRequest, decode_request, failed

CALLS_MAX = 4096
Run = Callable[[Any], Awaitable[Any]]


class NearServer:
    """Serves until `close`. run: carries out a call, and answers what crosses back."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lines: set[LocalConnection] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._name, self._closed = "", False

    async def name(self) -> str:
        """Of the socket; listens from the first time on."""
        if not self._name:
            self._name = new_name()
            own = bound_socket(self._name)
            self._server = await asyncio.get_running_loop().create_unix_server(self._line, sock=own)
        return self._name

    def close(self) -> None:
        """Listen no more, and hang up."""
        self._closed = True
        if self._server is not None:
            self._server.close()
            forget(self._name)
        for line in list(self._lines):
            line.close()

    def _line(self) -> LocalConnection:
        def heard(request: NearRequest) -> None:
            task = asyncio.get_running_loop().create_task(self._answer(line, request))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        line = LocalConnection(heard, decode_request, welcome=self._welcome)
        return line

    def _welcome(self, line: LocalConnection) -> None:
        self._lines = {each for each in self._lines if not each.ended.is_set()} | {line}
        if self._closed:
            line.close()  # it was on its way in

    async def _answer(self, line: LocalConnection, request: NearRequest) -> None:
        try:
            if len(self._under_way) > CALLS_MAX:
                raise NearCallError(f"{CALLS_MAX} calls are under way")
            told = await self._run(request.call)
        except Exception as error:  # noqa: BLE001 - told to whoever called
            told = failed(error)
        if not line.send(NearAnswer(request.number, told)):
            line.close()  # an answer that cannot go leaves its caller waiting: it is told by the end
