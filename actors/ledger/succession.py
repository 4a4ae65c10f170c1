"""What makes a block the next one: the rule of height, parent and time that everybody holds every chain to.

Voters, those who catch up, light clients and the checks of a disk ask this one function, so that no two of
them can differ about what a chain is. Storage compares a header with what it executed, field by field.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.ledger.block import Header
from actors.ledger.block_time import time_fault
from actors.ledger.genesis import Genesis


@dataclass(frozen=True, slots=True)
class Parent:
    """The block before. hash: 32 bytes, or b"" and time 0 where a walk begins after it and knows it not."""

    height: int
    hash: bytes
    time_ms: int


def genesis_as_parent(genesis: Genesis) -> Parent:
    """What block 1 follows."""
    return Parent(0, genesis.hash(), genesis.created_ms)


def as_parent(header: Header) -> Parent:
    """What the block after `header` follows. Hashes the header."""
    return Parent(header.height, header.hash(), header.time_ms)


def succession_fault(header: Header, parent: Parent) -> str:
    """Why `header` is not that of the next block after `parent`, or nothing."""
    if header.height != parent.height + 1:
        return f"height {header.height} does not follow {parent.height}"
    if parent.hash and header.parent_hash != parent.hash:
        return f"its parent is {header.parent_hash.hex()}, the block before it {parent.hash.hex()}"
    return time_fault(header.time_ms, parent.time_ms)
