"""Answers that many peers ask for alike: prepared once, and held once while they are asked for.

Nodes that catch up ask for the same spans of the chain, mostly at the same time. An answer that cannot
change any more is kept, and every queue that it waits in holds the same bytes (see `wire.budget`); at
`bytes_max` the one asked for longest ago is forgotten. Who asks for what is being prepared waits for that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from actors.peer.errors import RequestError

Prepare = Callable[[], Awaitable[tuple[bytes, bool]]]
"""-> the answer, and whether it will be the same whenever it is asked for."""


class SharedAnswers:
    """Answers by method and body of the request."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._preparing: dict[tuple[str, bytes], asyncio.Future[bytes]] = {}

    async def get(self, method: str, asked: bytes, prepare: Prepare) -> bytes:
        """The answer; `prepare` makes it unless it is kept or under way. Raises what `prepare` raises."""
        key = (method, asked)
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        if (other := self._preparing.get(key)) is not None:
            return await asyncio.shield(other)
        mine = self._preparing[key] = asyncio.get_running_loop().create_future()
        try:
            answer, lasting = await prepare()
        except BaseException as error:
            # Whoever waits for this one is not cancelled with it, and may ask again.
            failure = error if isinstance(error, Exception) else RequestError("busy")
            mine.set_exception(failure)
            mine.exception()  # marks it retrieved: perhaps nobody waits
            raise
        finally:
            del self._preparing[key]
        mine.set_result(answer)
        if lasting:
            self._keep(key, answer)
        return answer

    def _keep(self, key: tuple[str, bytes], answer: bytes) -> None:
        if len(answer) > self._bytes_max:
            return
        self._kept[key] = answer
        self._bytes += len(answer)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._kept.popitem(last=False)[1])
