"""Streams by the API key that opened them, so that they end when the key does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from actors.gateway.body import Receive
from actors.gateway.limits import ApiKeys

REVOKED = "raychain.revoked"
"""Type of the message that a stream receives in place of its client's when its key is gone."""


class KeyedStreams:
    """Open streams; each is told once that its key does not count any more."""

    def __init__(self) -> None:
        self._ends: dict[str, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def of_key(self, digest: str, receive: Receive) -> Iterator[Receive]:
        """Open a stream under a key: `receive` for it, which also says REVOKED."""
        ended = asyncio.Event()
        self._ends.setdefault(digest, set()).add(ended)

        async def until_revoked() -> Any:
            message, end = asyncio.ensure_future(receive()), asyncio.ensure_future(ended.wait())
            try:
                await asyncio.wait({message, end}, return_when=asyncio.FIRST_COMPLETED)
                return {"type": REVOKED} if ended.is_set() else message.result()
            finally:
                message.cancel()
                end.cancel()

        try:
            yield until_revoked
        finally:
            self._ends[digest].discard(ended)
            if not self._ends[digest]:
                del self._ends[digest]

    def end_without(self, keys: ApiKeys) -> None:
        """Tell the streams whose key is not among these."""
        for digest, ends in self._ends.items():
            if keys.find(digest) is None:
                for ended in ends:
                    ended.set()
