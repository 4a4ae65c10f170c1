"""Blocks that other members proposed, large ones by reference, held until the log asks for them.

A body arrives unasked from the leader, or is fetched. It is kept under the hash of its header, which is
computed here, so a wrong body can never stand under another's name. At `BODIES_MAX` the oldest goes; what is
needed after all is fetched.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from actors.ledger.block import OfferedBlock

BODIES_MAX = 32


Fetch = Callable[[int, bytes, bytes], Awaitable[OfferedBlock | None]]
"""Asks for the block of this height and hash: its leader, else other members."""
ReadBody = Callable[[bytes], OfferedBlock | None]
"""Decodes one that rode on a message."""


class BlockBodyCache:
    """Bodies by header hash, and those who wait for one."""

    def __init__(self) -> None:
        self._held: OrderedDict[bytes, OfferedBlock] = OrderedDict()
        self._waiting: dict[bytes, asyncio.Event] = {}

    def put(self, digest: bytes, body: OfferedBlock) -> None:
        """Keep a body whose header hashes to `digest`, and wake who waits for it."""
        self._held[digest] = body
        while len(self._held) > BODIES_MAX:
            self._held.popitem(last=False)
        if digest in self._waiting:
            self._waiting[digest].set()

    def holds(self, digest: bytes) -> bool:
        """True if the body is at hand."""
        return digest in self._held

    async def take(self, digest: bytes, timeout_s: float) -> OfferedBlock | None:
        """Remove and return a body, waiting for it; None after `timeout_s`. One waiter a digest."""
        if digest not in self._held and timeout_s > 0:
            event = self._waiting[digest] = asyncio.Event()
            try:
                async with asyncio.timeout(timeout_s):
                    await event.wait()
            except TimeoutError:
                return None
            finally:
                del self._waiting[digest]
        return self._held.pop(digest, None)
