"""EntryStore of the state: where a row of a table is kept, and as which bytes.

1. The value of a row is its columns' bytes, one after the other, cut into chunks of ENTRY_BYTES_MAX bytes.
2. Each chunk is an entry. Its key is ENTRY_TAG (8 bytes), and 24 bytes of SHA-256 of the contract's address
   (32 bytes), the table's number (1), the chunk's number (1) and the bytes of the row's keys, one after the
   other. No account has a key that begins so, and who would have two rows collide has to try 2^96 times.
3. A chunk whose bytes are all zero has no entry; where there is no entry, a chunk reads as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from actors.contracts.ir import Shape, Table
from actors.contracts.limits import ENTRY_BYTES_MAX, ENTRY_TAG
from actors.contracts.slots import SlotLayout
from actors.contracts.types import Slot, Value


class EntryStore(Protocol):
    """EntryStore of the state, by their keys."""

    def entry(self, key: bytes) -> bytes:
        """The bytes of an entry, or empty if there is none."""

    def set_entry(self, key: bytes, value: bytes) -> None:
        """Keep these bytes there; empty ones remove the entry."""


KEY_BYTES = 32


def entry_key(contract: bytes, table: int, chunk: int, row: bytes) -> bytes:
    """Where chunk number `chunk` of a row is kept; row: the bytes of its keys."""
    return ENTRY_TAG + sha256(contract + bytes((table, chunk)) + row).digest()[: KEY_BYTES - len(ENTRY_TAG)]


class RowLayout:
    """The rows of table number `number` of a program."""

    def __init__(self, number: int, table: Table) -> None:
        self.number = number
        self._keys = SlotLayout(Shape(kind) for kind in table.keys)
        self._columns = SlotLayout(column.shape for column in table.columns)
        starts = range(0, self._columns.width_bytes, ENTRY_BYTES_MAX)
        self._chunks = [slice(start, start + ENTRY_BYTES_MAX) for start in starts]
        self._numbers = range(len(self._chunks))
        self._zeros = [bytes(self._columns.width_bytes)[chunk] for chunk in self._chunks]

    @property
    def chunk_count(self) -> int:
        """How many entries a row has at most."""
        return len(self._chunks)

    def entry_keys(self, contract: bytes, keys: Sequence[Value]) -> list[bytes]:
        """Keys of the entries of one row, chunk by chunk."""
        row = self._keys.encode(keys)
        return [entry_key(contract, self.number, chunk, row) for chunk in self._numbers]

    def read(self, entries: EntryStore, at: Sequence[bytes]) -> list[Slot]:
        """The columns of the row that has these entries."""
        chunks = [entries.entry(key) or zero for key, zero in zip(at, self._zeros, strict=True)]
        return self._columns.decode(b"".join(chunks))

    def write(self, entries: EntryStore, at: Sequence[bytes], columns: Sequence[Slot]) -> None:
        """Set all columns of the row that has these entries."""
        value = self._columns.encode(columns)
        for key, chunk, zero in zip(at, self._chunks, self._zeros, strict=True):
            part = value[chunk]
            entries.set_entry(key, b"" if part == zero else part)
