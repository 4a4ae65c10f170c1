"""The node's chain as the peer room sees it: what it serves to others, and how it takes theirs.

Rules
1. A header is believed for its proposer's signature and its certificate of a majority of the genesis members,
   a body for the counts and the transaction root in its header. Nothing is believed for its sender.
2. What passes goes to Consensus in order and is validated there again by this node's own computation.
3. An announcement is a sealed header; it is relayed only if it proves itself and is higher than all before:
   neither noise travels, nor what was true long ago, nor a second certificate of the same block.
This file knows no Ray.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from actors.ledger import merkle
from actors.ledger.block import BlockOutcome, BlockRefused, SealedHeader, decode_sealed_header
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import Hasher
from actors.ledger.rows import Batch, FormatError, decode_batch
from actors.ledger.succession import Parent, succession_fault
from actors.peer.catchup import ANSWER_BYTES_MAX
from actors.peer.errors import ProtocolError
from actors.peer.sync import VerifiedHeader
from actors.storage.interface import StorageFace

Append = Callable[[list[tuple[SealedHeader, Batch]]], Awaitable[list[BlockOutcome]]]
"""Takes blocks in order, and answers what became of each."""


class ChainRefusedError(RuntimeError):
    """Consensus refused a block that peers hold proven: this node must stop following, loudly."""


class NodeChain:
    """`ChainSource` and `ChainSink` over this node's Storage and Consensus."""

    def __init__(self, genesis: Genesis, storage: StorageFace, append: Append, hash_rows: Hasher) -> None:
        self._genesis, self._storage, self._append, self._hash_rows = genesis, storage, append, hash_rows
        self._network, self._members = genesis.hash(), genesis.member_keys
        self.served_headers = self.served_bodies = 0
        self._announced = 0

    # what others are served

    async def tip_height(self) -> int:
        """Height of the last committed block."""
        return (await self._storage.head()).height

    async def headers(self, start: int, count: int) -> list[bytes]:
        """Sealed headers from `start` on."""
        found = await self._storage.sealed_headers(start, count)
        self.served_headers += len(found)
        return found

    async def bodies(self, start: int, count: int) -> list[bytes]:
        """Encoded batches from `start` on."""
        found = await self._storage.bodies(start, count, ANSWER_BYTES_MAX)
        self.served_bodies += len(found)
        return found

    # what is taken from others

    async def tip(self) -> VerifiedHeader:
        """The last block committed here; the genesis if there is none."""
        head = await self._storage.head()
        return VerifiedHeader(head.height, head.hash, b"", b"", head.time_ms)

    def verify_header(self, parent: VerifiedHeader, encoded: bytes) -> VerifiedHeader:
        """Check form, link, time, signature and certificate. Raises ProtocolError naming what fails."""
        sealed = self.proven(encoded)
        header = sealed.header
        if fault := succession_fault(header, Parent(parent.height, parent.hash, parent.time_ms)):
            raise ProtocolError("header_succession", f"height {header.height}: {fault}")
        return VerifiedHeader(header.height, header.hash(), header.parent_hash, encoded, header.time_ms)

    def proven(self, encoded: bytes) -> SealedHeader:
        """Read a sealed header that proves itself. Raises ProtocolError."""
        try:
            sealed = decode_sealed_header(encoded)
        except FormatError as error:
            raise ProtocolError("header_form", str(error)) from error
        if wrong := sealed.verify(self._network, self._members):
            raise ProtocolError(f"header_{wrong}", f"height {sealed.header.height}")
        return sealed

    def is_news(self, encoded: bytes) -> bool:
        """Whether an announcement is higher than all that proved themselves before; only then it is verified.

        Raises ProtocolError for one that does not prove itself.
        """
        try:
            height = decode_sealed_header(encoded).header.height
        except FormatError as error:
            raise ProtocolError("header_form", str(error)) from error
        if height <= self._announced:
            return False
        self._announced = self.proven(encoded).header.height
        return True

    def verify_body(self, header: VerifiedHeader, body: bytes) -> bool:
        """Whether counts and transaction root are those of the header."""
        sealed = decode_sealed_header(header.encoded).header
        try:
            batch = self._decoded(body)
        except FormatError:
            return False
        counts = (sealed.transaction_count, sealed.payload_bytes) == (len(batch), len(batch.payloads))
        return counts and merkle.root(batch.ids(self._hash_rows), self._hash_rows) == sealed.transaction_root

    async def append(self, blocks: Sequence[tuple[VerifiedHeader, bytes]]) -> None:
        """Have Consensus validate and commit. Raises ChainRefusedError when it refuses one."""
        taken = [(decode_sealed_header(header.encoded), self._decoded(body)) for header, body in blocks]
        for answer in await self._append(taken):
            if isinstance(answer, BlockRefused):
                raise ChainRefusedError(f"block {answer.height}: {answer.reason}")

    def _decoded(self, body: bytes) -> Batch:
        genesis = self._genesis
        return decode_batch(body, genesis.block_transactions_max, genesis.block_payload_bytes_max)
