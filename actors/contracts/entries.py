"""Entries of the state: where a row of a table is kept, and as which bytes.

1. The value of a row is its columns' bytes, one after the other, cut into chunks of ENTRY_BYTES_MAX bytes.
2. Each chunk is an entry. Its key is SHA-256 of the contract's address (32 bytes), the table's number (1),
   the chunk's number (1) and the bytes of the row's keys, one after the other.
3. A chunk whose bytes are all zero has no entry; where there is no entry, a chunk reads as zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from actors.contracts.ir import Shape, Table
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.slots import Codec, codec, decode_slots, encode_slots
from actors.contracts.types import Slot, Value


class Entries(Protocol):
    """Entries of the state, by their keys."""

    def entry(self, key: bytes) -> bytes:
        """The bytes of an entry, or empty if there is none."""

    def set_entry(self, key: bytes, value: bytes) -> None:
        """Keep these bytes there; empty ones remove the entry."""


def entry_key(contract: bytes, table: int, chunk: int, row: bytes) -> bytes:
    """Where chunk number `chunk` of a row is kept; row: the bytes of its keys."""
    return sha256(contract + bytes((table, chunk)) + row).digest()


def chunk_count(table: Table) -> int:
    """How many entries a row of this table has at most."""
    return -(-table.value_bytes // ENTRY_BYTES_MAX)


class RowLayout:
    """The rows of table number `number` of a program."""

    def __init__(self, number: int, table: Table) -> None:
        self.number, self.table = number, table
        self.keys: tuple[Codec, ...] = tuple(codec(Shape(kind)) for kind in table.keys)
        self.columns: tuple[Codec, ...] = tuple(codec(column.shape) for column in table.columns)
        self.chunk_bytes: tuple[int, ...] = tuple(
            min(ENTRY_BYTES_MAX, table.value_bytes - start)
            for start in range(0, table.value_bytes, ENTRY_BYTES_MAX)
        )

    def entry_keys(self, contract: bytes, keys: Sequence[Value]) -> list[bytes]:
        """Keys of the entries of one row, chunk by chunk."""
        row = encode_slots(self.keys, keys)
        return [entry_key(contract, self.number, chunk, row) for chunk in range(len(self.chunk_bytes))]

    def read(self, entries: Entries, contract: bytes, keys: Sequence[Value]) -> list[Slot]:
        """The columns of one row."""
        at = self.entry_keys(contract, keys)
        chunks = [entries.entry(key) or bytes(size) for key, size in zip(at, self.chunk_bytes, strict=True)]
        return decode_slots(self.columns, b"".join(chunks))

    def write(
        self, entries: Entries, contract: bytes, keys: Sequence[Value], columns: Sequence[Slot]
    ) -> None:
        """Set all columns of one row."""
        value = encode_slots(self.columns, columns)
        for chunk, key in enumerate(self.entry_keys(contract, keys)):
            part = value[chunk * ENTRY_BYTES_MAX : (chunk + 1) * ENTRY_BYTES_MAX]
            entries.set_entry(key, part if any(part) else b"")
