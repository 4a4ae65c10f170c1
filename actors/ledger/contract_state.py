"""Contracts in the state: their programs, which are entries like any others, and the world of a call.

A program's entries have the table number PROGRAM_TABLE, which no program's own table has. Chunk 0 is the
head: the hash of the program and of the source that it was compiled of, 64 bytes. Chunk 1 are its bytes, in
pieces of ENTRY_BYTES_MAX, each with its number (u16) as the row's key. Chunk 2 is its origin: the height of
the block that has its deployment, which has the source, and who deployed it with which nonce. So whatever
keeps, proves or sends the state has the programs as well, and they cost a deposit by their length.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from actors.contracts.encoding import decode_program, program_hash
from actors.contracts.entries import entry_key
from actors.contracts.gas import Weights
from actors.contracts.limits import ENTRY_BYTES_MAX, PROGRAM_BYTES_MAX
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.ledger.accounts import Account
from actors.ledger.hashing import DIGEST_BYTES, sha256
from actors.ledger.ledger_view import LedgerView

PROGRAM_TABLE = 255
_HEAD, _PIECES, _ORIGIN = 0, 1, 2
_PLACE = struct.Struct("<QQ32s")
_PROGRAMS_KEPT = 256
Read = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a contract comes from. height: of the block with its deployment. nonce: of that transaction."""

    height: int
    nonce: int
    deployer: bytes


def head_key(address: bytes) -> bytes:
    """Of the entry that says which program a contract has."""
    return entry_key(address, PROGRAM_TABLE, _HEAD, b"")


def piece_key(address: bytes, number: int) -> bytes:
    """Of one piece of its bytes."""
    return entry_key(address, PROGRAM_TABLE, _PIECES, number.to_bytes(2, "little"))


def origin_key(address: bytes) -> bytes:
    """Of the entry that says where a contract comes from."""
    return entry_key(address, PROGRAM_TABLE, _ORIGIN, b"")


def program_entries(address: bytes, program: bytes, source: bytes, origin: Origin) -> dict[bytes, bytes]:
    """What a deployment writes."""
    pieces = range(0, len(program), ENTRY_BYTES_MAX)
    kept = {piece_key(address, at // ENTRY_BYTES_MAX): program[at : at + ENTRY_BYTES_MAX] for at in pieces}
    kept[head_key(address)] = program_hash(program) + sha256(source)
    kept[origin_key(address)] = _PLACE.pack(origin.height, origin.nonce, origin.deployer)
    return kept


def read_origin(address: bytes, read: Read) -> Origin | None:
    """Where a contract comes from; None if there is none."""
    kept = read(origin_key(address))
    return Origin(*_PLACE.unpack(kept)) if kept else None


def program_keys(address: bytes) -> list[bytes]:
    """Of all entries that a contract's program may have, its head first."""
    pieces = -(-PROGRAM_BYTES_MAX // ENTRY_BYTES_MAX)
    return [head_key(address), *(piece_key(address, number) for number in range(pieces))]


def read_program(address: bytes, read: Read) -> bytes | None:
    """The bytes of a contract's program; None if there is no contract."""
    if not read(head_key(address)):
        return None
    pieces = list[bytes]()
    while len(pieces) <= PROGRAM_BYTES_MAX // ENTRY_BYTES_MAX and (
        piece := read(piece_key(address, len(pieces)))
    ):
        pieces.append(piece)
    return b"".join(pieces)


def find_program(address: bytes, read: Read, weights: Weights) -> Verified | None:
    """The contract at an address, ready to run. Those that ran last are kept, by their programs' hashes. Any
    thread."""
    named = read(head_key(address))[:DIGEST_BYTES], weights
    found = _kept.get(named)
    if found is None and named[0]:
        found = _kept[named] = verify(decode_program(read_program(address, read) or b""), weights)
        if len(_kept) > _PROGRAMS_KEPT:
            _kept.popitem(last=False)
    return found


_kept: OrderedDict[tuple[bytes, Weights], Verified] = OrderedDict()


class LedgerWorld:
    """The world of a call (actors/contracts/world.py) on the state."""

    def __init__(self, ledger: LedgerView, height: int, weights: Weights) -> None:
        self._ledger, self._height, self._weights = ledger, height, weights

    def entry(self, key: bytes) -> bytes:
        """See World."""
        return self._ledger.entry(key)

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See World."""
        self._ledger.set_entry(key, value)

    def balance(self, address: bytes) -> int:
        """See World."""
        return self._ledger.account(address, self._height).balance

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """See World."""
        for key, change in ((sender, -amount), (recipient, amount)):
            held = self._ledger.account(key, self._height)
            self._ledger.set_account(key, Account(held.nonce, held.balance + change))

    def program(self, address: bytes) -> Verified | None:
        """See World."""
        return find_program(address, self._ledger.entry, self._weights)
