"""The other actors, as the engine sees them; `ports.py` has them as they are."""

from __future__ import annotations

from typing import Any, Protocol

from actors.consensus.pipeline import Sealed
from actors.ledger.block import Header
from actors.storage.interface import LogRecord


class EnginePorts(Protocol):
    """The other actors, as the engine sees them."""

    def send(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Hand (identity, body) pairs to the wire; nothing is promised."""
        ...

    def announce(self, header: Header, certificate: bytes) -> None:
        """Tell the other members of a certificate; nothing is promised."""
        ...

    async def write(self, sealed: Sealed | None, certificate: bytes, record: LogRecord | None) -> Any:
        """Make a block and a record, or one of them, durable; with a certificate the block is committed too.
        Answers a reference to the block's delta."""
        ...

    async def commit(self, height: int, certificate: bytes) -> Any:
        """Commit a durable block; answers a reference to its delta."""
        ...

    async def publish(self, height: int, digest: bytes, delta: Any) -> None:
        """Tell this node's actors that a block is final."""
        ...

    async def compact(self, record: LogRecord) -> None:
        """Drop from the disk what the log has forgotten."""
        ...

    async def find_certificate(self, header: Header) -> None:
        """Ask the other members for their votes, or for the certificate; answers go to the certifier."""
        ...
