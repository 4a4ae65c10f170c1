"""Reads of committed state through Storage, with a bounded cache of what is final.

A block at a height never changes once it is committed, so its bytes and its certificate are kept, the least
recently used leaving first, bounded in entries and in bytes. Readers of the same missing value share one
call. At most READS_INFLIGHT_MAX calls to Storage are open at a time, beyond that a read raises BusyError; a
call that takes longer than READ_TIMEOUT_S raises UnavailableError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from actors.gateway.backend import BusyError, UnavailableError
from actors.gateway.final_cache import FinalCache
from actors.ledger.block import HEADER_BYTES, Header, InclusionProof, decode_header
from actors.ledger.delta import AccountState, ChainHead
from actors.ledger.receipts import ReceiptProof
from actors.storage.interface import (
    AccountProof,
    FunctionRefusal,
    RetainedHeights,
    StateValues,
    StorageFace,
    StoredTransaction,
    TransactionPlace,
)

READS_INFLIGHT_MAX = 512
READ_TIMEOUT_S = 10.0
HEADERS_CACHED = 10_000
CACHE_BYTES_MAX, RECEIPTS_BYTES_MAX = 128 << 20, 32 << 20
HEIGHT_MAX = 2**63 - 1

Fetch = Callable[[int], Awaitable[bytes | None]]
T = TypeVar("T")


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
        self.blocks: FinalCache[int, bytes] = FinalCache(cache_blocks, CACHE_BYTES_MAX, len)
        self.certificates: FinalCache[int, bytes] = FinalCache(cache_blocks, CACHE_BYTES_MAX, len)
        self._headers: FinalCache[int, bytes] = FinalCache(HEADERS_CACHED, CACHE_BYTES_MAX, len)
        self._receipts: FinalCache[int, bytes] = FinalCache(cache_blocks, RECEIPTS_BYTES_MAX, len)
        self._shared = SharedCalls()
        self.inflight = 0

    async def head(self) -> ChainHead:
        """Storage's committed head."""
        return await self._bounded(self._storage.head)

    async def account(self, key: bytes) -> AccountState:
        """An account at Storage's head."""
        return await self._bounded(self._storage.account, key)

    async def locate(self, tx_id: bytes) -> TransactionPlace | None:
        """Height and position of a committed transaction."""
        return await self._bounded(self._storage.locate, tx_id)

    async def transaction(self, tx_id: bytes) -> StoredTransaction | None:
        """Row, payload, receipt, height and position."""
        return await self._bounded(self._storage.transaction, tx_id)

    async def inclusion_proof(self, tx_id: bytes) -> InclusionProof | None:
        """What proves that a transaction is in its block, and that the block is final."""
        return await self._bounded(self._storage.inclusion_proof, tx_id)

    async def receipt_proof(self, tx_id: bytes) -> ReceiptProof | None:
        """What proves what a transaction left, and that its block is final."""
        return await self._bounded(self._storage.receipt_proof, tx_id)

    async def state_proof(self, key: bytes, height: int | None) -> AccountProof | RetainedHeights:
        """Proof of an account or entry at a height, or which heights are `retained`."""
        bounded = None if height is None else min(height, HEIGHT_MAX)
        return await self._bounded(self._storage.state_proof, key, bounded)

    async def state_values(
        self, keys: list[bytes], height: int | None = None
    ) -> StateValues | RetainedHeights:
        """What keys hold, all at one height, or which heights are kept; VALUES_KEYS_MAX keys at most."""
        bounded = None if height is None else min(height, HEIGHT_MAX)
        return await self._bounded(self._storage.state_values, keys, bounded)

    async def refused_functions(self) -> list[FunctionRefusal]:
        """Governed functions that this member refused."""
        return await self._bounded(self._storage.refused_functions)

    async def header(self, height: int) -> Header | None:
        """The header of a committed block."""
        data = await self._final(height, self._sealed, self._headers) if height else None
        return None if data is None else decode_header(data)

    async def _sealed(self, height: int) -> bytes | None:
        sealed = await self._storage.sealed_headers(height, 1)
        return sealed[0][:HEADER_BYTES] if sealed else None

    async def block(self, height: int) -> bytes | None:
        """Bytes of a committed block."""
        return await self._final(height, self._storage.block, self.blocks)

    async def certificate(self, height: int) -> bytes | None:
        """Bytes of a committed block's certificate."""
        return await self._final(height, self._storage.certificate, self.certificates)

    async def receipts(self, height: int) -> bytes | None:
        """Receipts of a committed block's transactions, as `decode_receipts` reads them."""
        return await self._final(height, self._storage.receipts, self._receipts) if height else None

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

    async def _final(self, height: int, fetch: Fetch, cache: FinalCache[int, bytes]) -> bytes | None:
        if not 0 <= height <= HEIGHT_MAX:
            return None
        if (known := cache.get(height)) is not None:
            return known
        value: bytes | None = await self._shared.call((cache, height), lambda: self._bounded(fetch, height))
        if value is not None:
            cache.put(height, value)
        return value
