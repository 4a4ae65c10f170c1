"""A contract as the state has it, ready to be described and run. Needs nothing of the web."""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.verified import Verified
from actors.ledger.contract_state import Origin, head_key, piece_key
from actors.ledger.hashing import DIGEST_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class KnownContract:
    """A contract. head: what its head entry holds. static: numbers of the public functions whose rows all
    follow from the transaction."""

    address: bytes
    program: bytes
    head: bytes
    origin: Origin
    verified: Verified
    static: frozenset[int]

    @property
    def program_hash(self) -> bytes:
        """Of the bytes of its program."""
        return self.head[:DIGEST_BYTES]

    @property
    def source_hash(self) -> bytes:
        """Of the source that it was compiled of."""
        return self.head[DIGEST_BYTES:]

    def entries(self) -> dict[bytes, bytes]:
        """What the state holds of the contract itself: its head, and its program in pieces."""
        pieces = range(0, len(self.program), ENTRY_BYTES_MAX)
        kept = {
            piece_key(self.address, at // ENTRY_BYTES_MAX): self.program[at : at + ENTRY_BYTES_MAX]
            for at in pieces
        }
        end = {piece_key(self.address, len(pieces)): b""}
        return kept | end | {head_key(self.address): self.head}
