"""The consensus engine's and the pipeline's ways to the node's other actors.

Handles come from the shell; this file knows no Ray.

Every call into Storage carries the epoch, so that what a dead or replaced incarnation still has under way is
refused there. While the pipeline is built anew under a new epoch, commits and records wait at the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.consensus.pipeline import Sealed
from actors.faces import PeerFace
from actors.ledger.block import Header, sign_proposal
from actors.ledger.channels import CERTIFICATE_CHANNEL, CLOCK_CHANNEL, FUNCTION_METHOD, RAFT_CHANNEL
from actors.ledger.delta import NO_HEAD, ChainHead
from actors.ledger.signing import Signer
from actors.storage.interface import (
    BlockStore,
    Commit,
    Execute,
    Executed,
    FunctionTried,
    LogRecord,
    Persist,
    StorageFace,
    TryFunction,
)

SEEK_TIMEOUT_S = 5.0


class EpochGate:
    """Many may be inside, or one holds it closed."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0

    @asynccontextmanager
    async def passing(self) -> Any:
        """Inside the gate; waits while it is closed."""
        await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def closed(self) -> Any:
        """Close the gate and wait until nobody is inside."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()


@dataclass(slots=True)
class NodePorts:
    """Storage, Validators and the wire of one node.

    storage is the actor, store its calls for blocks. peer() answers the Peer, or None while there is none.
    published(header, digest, delta) tells the node's actors, after `head` has come to the block. network is
    the genesis hash. say(batch) has the Peer send (identity, channel, body), or drops them while it is away,
    as a network may. others() are the members to send to.
    """

    storage: StorageFace
    store: BlockStore
    pool: Any
    signer: Signer
    network: bytes
    peer: Callable[[], PeerFace | None]
    say: Callable[[list[tuple[bytes, str, bytes]]], object]
    published: Callable[[Header, bytes, Any], Awaitable[None]]
    others: Callable[[], list[bytes]]
    add_proof: Callable[[bytes, Header, bytes], None]
    show: Callable[[bytes], None]
    unreachable: tuple[type[Exception], ...]
    epoch: int = 0
    gate: EpochGate = field(default_factory=EpochGate)
    head: ChainHead = NO_HEAD
    persist_stage: Callable[[Sealed], Awaitable[None]] | None = None
    _headers: dict[int, Header] = field(default_factory=dict)

    # --- the pipeline's stages ----------------------------------------------------------------------------

    async def verify(self, parts: Sequence[Any], count: int) -> NDArray[np.bool_]:
        """Verdicts over the signatures of a block."""
        verdicts: NDArray[np.bool_] = await self.pool.verify(parts[0], count)
        return verdicts

    async def execute(self, request: Execute, parts: Sequence[Any]) -> Executed:
        """Execute on Storage's state."""
        return await self.store.execute(self.epoch, request, parts)

    async def try_function(self, request: TryFunction) -> FunctionTried:
        """Run a governed function on Storage's state."""
        return await self.storage.try_function(request)

    async def refuse_function(self, function: bytes, height: int, reason: str) -> None:
        """Have Storage remember that members do not agree on a function."""
        await self.storage.refuse_function(function, height, reason)

    async def ask_to_try(self, identity: bytes, request: bytes, deadline_s: float) -> bytes:
        """What another member's Consensus answers (`hear_function`); empty if it does not."""
        peer = self.peer()
        if peer is None:
            return b""
        try:
            return await peer.request(identity, FUNCTION_METHOD, request, deadline_s)
        except self.unreachable:
            return b""

    async def rollback(self, height: int) -> None:
        """Undo what was executed above a height."""
        await self.storage.rollback(self.epoch, height)

    def seal(self, header: Header) -> bytes:
        """The proposer's signature."""
        return sign_proposal(self.signer, self.network, header.hash())

    async def take_proven(self, sealed: Sealed) -> None:
        """An observer's persist stage: the certificate came with the block, which is committed at once."""
        header = sealed.header
        delta = await self._persist(sealed, sealed.certificate, None)
        await self._publish(header, sealed.digest, delta)

    async def persist(self, sealed: Sealed) -> None:
        """The stage `persist`, by whoever is in charge at the moment."""
        if self.persist_stage is None:
            raise RuntimeError("nobody takes blocks into the log")
        await self.persist_stage(sealed)

    # --- the engine's ports -------------------------------------------------------------------------------

    def send(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Replica messages, ahead of all other traffic."""
        self.say([(identity, RAFT_CHANNEL, body) for identity, body in messages])

    def push(self, sealed: Sealed) -> None:
        """A block of ours to all other members, by reference from Storage to Peer."""
        peer, others = self.peer(), self.others()
        if peer is not None and others:
            header = sealed.header
            body = self.storage.sealed_block(header.height, header.encode(), sealed.signature)
            peer.push_block(others, body)

    def announce(self, header: Header, certificate: bytes) -> None:
        """A certificate to all other members, with the header that it proves."""
        said = header.encode() + certificate
        self.say([(identity, CERTIFICATE_CHANNEL, said) for identity in self.others()])

    def tell_time(self, body: bytes) -> None:
        """What this member's clock says, to all other members."""
        if others := self.others():
            self.say([(identity, CLOCK_CHANNEL, body) for identity in others])

    async def write(self, sealed: Sealed | None, certificate: bytes, record: LogRecord | None) -> Any:
        """One synced write of a block and a record, or of one of them."""
        if sealed is None:
            if record is not None:
                async with self.gate.passing():
                    await self.store.append_record(self.epoch, record)
            return None
        self._headers[sealed.header.height] = sealed.header
        return await self._persist(sealed, certificate, record)

    async def _persist(self, sealed: Sealed, certificate: bytes, record: LogRecord | None) -> Any:
        header = sealed.header
        request = Persist(header.height, header.encode(), sealed.signature, certificate, record)
        return await self.store.persist(self.epoch, request, header.transaction_count)

    async def commit(self, height: int, certificate: bytes) -> Any:
        """Mark a durable block as committed."""
        rows = self._headers[height].transaction_count
        async with self.gate.passing():
            return await self.store.commit(self.epoch, Commit(height, certificate, sync=False), rows)

    async def compact(self, record: LogRecord) -> None:
        """Drop the log's oldest entries from the disk."""
        async with self.gate.passing():
            await self.storage.compact_log(self.epoch, record)

    async def publish(self, height: int, digest: bytes, delta: Any) -> None:
        """Bookkeeping and publication of a final block."""
        await self._publish(self._headers.pop(height), digest, delta)

    async def _publish(self, header: Header, digest: bytes, delta: Any) -> None:
        self.head = ChainHead(header.height, digest, header.state_root, header.time_ms)
        await self.published(header, digest, delta)

    def remember(self, header: Header) -> None:
        """A header of the log's tail, replayed from the disk."""
        self._headers[header.height] = header

    async def find_certificate(self, header: Header) -> None:
        """Ask every other member for its vote or the certificate."""
        peer = self.peer()
        if peer is None:
            await asyncio.sleep(0.1)
            return
        try:
            asked = peer.ask_proofs(self.others(), header.height, header.hash())
            for identity, answer in await asked:
                self.add_proof(identity, header, answer)
        except self.unreachable:
            await asyncio.sleep(0.1)

    async def seek_proof(self, height: int) -> None:
        """Have the others show what is certified at `height` and the next; nothing, if they do not answer."""
        peer = self.peer()
        if peer is None:
            return
        try:
            async with asyncio.timeout(SEEK_TIMEOUT_S):
                for sealed_header in await peer.ask_headers(self.others(), max(height, 1), 2):
                    self.show(sealed_header)
        except self.unreachable:
            return
        except TimeoutError:
            return
