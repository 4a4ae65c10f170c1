"""Reads of committed state through Storage, with a bounded cache of what is final.

A block at a height never changes once it is committed, so its bytes and its certificate are kept, the least
recently used leaving first, bounded in entries and in bytes. Readers of the same missing value share one
call. At most READS_INFLIGHT_MAX calls to Storage are open at a time, beyond that a read raises BusyError; a
call that takes longer than READ_TIMEOUT_S raises UnavailableError.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from actors.gateway.backend import BusyError, UnavailableError
from actors.ledger.delta import AccountState, ChainHead
from actors.storage.interface import StorageFace

READS_INFLIGHT_MAX = 512
READ_TIMEOUT_S = 10.0
CACHE_BYTES_MAX = 128 << 20
HEIGHT_MAX = 2**63 - 1

Fetch = Callable[[int], Awaitable[bytes | None]]
T = TypeVar("T")


class FinalCache:
    """Least recently used values leave first when there are too many or they are too large in sum."""

    def __init__(self, entries_max: int, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._entries: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self.bytes = self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: tuple[str, int]) -> bytes | None:
        """The value, now the most recently used, or None."""
        value = self._entries.get(key)
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return value

    def put(self, key: tuple[str, int], value: bytes) -> None:
        """Keep a value; one that is larger than the whole cache is not kept."""
        self.bytes -= len(self._entries.pop(key, b""))
        if len(value) > self._bytes_max:
            return
        self._entries[key] = value
        self.bytes += len(value)
        while len(self._entries) > self._entries_max or self.bytes > self._bytes_max:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= len(oldest)


class SharedCalls:
    """Callers that ask for the same thing at the same time share one call."""

    def __init__(self) -> None:
        self._open: dict[object, asyncio.Future[Any]] = {}

    async def call(self, key: object, start: Callable[[], Awaitable[Any]]) -> Any:
        """Join the open call of `key`, or start one. One caller that goes away does not end it."""
        task = self._open.get(key)
        if task is None:
            task = asyncio.ensure_future(start())
            self._open[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: object, done: asyncio.Future[Any]) -> None:
        del self._open[key]
        if not done.cancelled():
            done.exception()  # Retrieved here, should every caller be gone.


class Reads:
    """Bounded, cached reads over one Storage."""

    def __init__(self, storage: StorageFace, cache_blocks: int) -> None:
        self._storage = storage
        self.blocks, self.certificates = FinalCache(cache_blocks), FinalCache(cache_blocks)
        self._shared = SharedCalls()
        self.inflight = 0

    async def head(self) -> ChainHead:
        """Storage's committed head."""
        return await self._bounded(self._storage.head)

    async def account(self, key: bytes) -> AccountState:
        """An account at Storage's head."""
        return await self._bounded(self._storage.account, key)

    async def locate(self, tx_id: bytes) -> dict[str, Any] | None:
        """Height and position of a committed transaction."""
        return await self._bounded(self._storage.locate, tx_id)

    async def transaction(self, tx_id: bytes) -> dict[str, Any] | None:
        """Row, payload, receipt, height and position."""
        return await self._bounded(self._storage.transaction, tx_id)

    async def inclusion_proof(self, tx_id: bytes) -> dict[str, Any] | None:
        """What proves that a transaction is in its block, and that the block is final."""
        return await self._bounded(self._storage.inclusion_proof, tx_id)

    async def state_proof(self, key: bytes, height: int | None) -> dict[str, Any]:
        """Proof of an account at a height, or which heights are `retained`."""
        bounded = None if height is None else min(height, HEIGHT_MAX)
        return await self._bounded(self._storage.state_proof, key, bounded)

    async def block(self, height: int) -> bytes | None:
        """Bytes of a committed block."""
        return await self._final("block", height, self._storage.block, self.blocks)

    async def certificate(self, height: int) -> bytes | None:
        """Bytes of a committed block's certificate."""
        return await self._final("certificate", height, self._storage.certificate, self.certificates)

    async def receipts(self, height: int) -> bytes | None:
        """Receipts of a committed block's transactions, 32 bytes each."""
        return await self._bounded(self._storage.receipts, height) if 0 < height <= HEIGHT_MAX else None

    async def _bounded(self, read: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        if self.inflight >= READS_INFLIGHT_MAX:
            raise BusyError("reads of storage", READS_INFLIGHT_MAX)
        self.inflight += 1
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                return await read(*arguments)
        except TimeoutError:
            raise UnavailableError("storage") from None
        finally:
            self.inflight -= 1

    async def _final(self, kind: str, height: int, fetch: Fetch, cache: FinalCache) -> bytes | None:
        if not 0 <= height <= HEIGHT_MAX:
            return None
        key = (kind, height)
        if (known := cache.get(key)) is not None:
            return known
        value: bytes | None = await self._shared.call(key, lambda: self._bounded(fetch, height))
        if value is not None:
            cache.put(key, value)
        return value
