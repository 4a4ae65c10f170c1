"""Whole blocks between members: pushed by who proposed them, fetched by who missed one.

Rules
1. A block that arrives is checked for its form and its bounds here, and for everything else by Consensus: it
   is nobody's word, and its header's hash names it.
2. Malformed blocks cost their sender its good standing.
A column leaves this file as whatever `put` makes of it, a reference in a node; a short one as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.block import OfferedBlock, decode_block
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.peer import messages
from actors.peer.errors import ProtocolError, RequestError
from actors.peer.messages import Blobs, BlockWanted
from actors.peer.network import Network
from actors.peer.spread import BLOCK_METHOD

FETCH_METHOD = "stored_block"
INLINE_BYTES_MAX = 48 << 10
"""Shorter columns travel inside a call: below what Ray itself would put into its object store."""

Put = Callable[[NDArray[Any]], Any]
StoredBlock = Callable[[int, bytes], Awaitable[tuple[bytes, bytes] | None]]
"""(height, hash) -> bytes of the block and its certificate."""
Taker = Callable[[bytes, OfferedBlock], Awaitable[object]]
"""Takes the sender's identity and a block."""


class BlockExchange:
    """Takes and serves whole blocks on one network."""

    def __init__(self, genesis: Genesis, stored: StoredBlock, put: Put) -> None:
        self._genesis, self._stored, self._put = genesis, stored, put
        self.taker: Taker | None = None

    def serve(self, network: Network) -> None:
        """Answer members' pushes and fetches."""

        async def on_block(peer: bytes, body: bytes) -> bytes:
            if self.taker is None:
                raise RequestError("not_ready")
            try:
                block = self._offered(body, b"")
            except ProtocolError as error:
                network.links.penalise(peer, error.reason)
                raise
            await self.taker(peer, block)
            return b""

        async def on_fetch(_peer: bytes, body: bytes) -> bytes:
            wanted = messages.decode_block_wanted(body)
            found = await self._stored(wanted.height, wanted.hash)
            return messages.encode(Blobs([] if found is None else [found[1], found[0]]))

        network.register_method(BLOCK_METHOD, on_block, members_only=True)
        network.register_method(FETCH_METHOD, on_fetch, members_only=True, long_answers=True)

    async def fetch(
        self, network: Network, peer: bytes, height: int, digest: bytes, deadline_s: float | None
    ) -> OfferedBlock | None:
        """Ask `peer` for a block; None if it has none of this height and hash.

        Raises `NotConnectedError`, `RequestError`, or `ProtocolError` for a malformed or another block.
        """
        wanted = messages.encode(BlockWanted(height, digest))
        try:
            items = messages.decode_blobs(await network.request(peer, FETCH_METHOD, wanted, deadline_s)).items
            if not items:
                return None
            if len(items) != 2:
                raise ProtocolError("block_form", f"{len(items)} parts, expected 2")
            block = self._offered(items[1], items[0])
            if block.header.hash() != digest:
                raise ProtocolError("block_hash", f"height {height}: another block than asked for")
        except ProtocolError as error:
            network.links.penalise(peer, error.reason)
            raise
        return block

    def _offered(self, body: bytes, certificate: bytes) -> OfferedBlock:
        genesis = self._genesis
        try:
            block = decode_block(body, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        except FormatError as error:
            raise ProtocolError("block_form", str(error)) from error
        rows, payloads = self._handed(block.batch.rows), self._handed(block.batch.payloads)
        return OfferedBlock(block.header, block.signature, certificate, rows, payloads)

    def _handed(self, column: NDArray[Any]) -> Any:
        """A short column as a copy, so that it does not keep the whole message alive."""
        return self._put(column) if column.nbytes > INLINE_BYTES_MAX else np.array(column)
