"""Accounts as the plain rules see them, and transactions as objects: for the reference and for people."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from actors.ledger import smt
from actors.ledger.hashing import sha256
from actors.ledger.prices import first_nonce
from actors.ledger.rows import Batch

U64_MAX = 2**64 - 1
RECEIPT_WORDS = 4
_ACCOUNT = struct.Struct("<QQ")
ACCOUNT_BYTES = _ACCOUNT.size


@dataclass(frozen=True, slots=True)
class Account:
    """nonce: the nonce that the account's next transaction must carry."""

    nonce: int = 0
    balance: int = 0

    def encode(self) -> bytes:
        """16 bytes: the value in the state tree."""
        return _ACCOUNT.pack(self.nonce, self.balance)


State = dict[bytes, Account]
Entries = dict[bytes, bytes]
"""Contracts' entries: 1 to ENTRY_BYTES_MAX bytes under keys that begin with ENTRY_TAG."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row, unpacked."""

    version: int
    kind: int
    flags: int
    chain_tag: int
    nonce: int
    amount: int
    fee: int
    expiry_height: int
    sender: bytes
    recipient: bytes
    payload_hash: bytes
    payload: bytes


def unpack(batch: Batch) -> list[Transaction]:
    """The rows of a batch as objects."""
    offsets = batch.payload_offsets
    return [
        Transaction(
            int(row["version"]),
            int(row["kind"]),
            int(row["flags"]),
            int(row["chain_tag"]),
            int(row["nonce"]),
            int(row["amount"]),
            int(row["fee"]),
            int(row["expiry_height"]),
            row["sender"].tobytes(),
            row["recipient"].tobytes(),
            row["payload_hash"].tobytes(),
            batch.payloads[offsets[i] : offsets[i + 1]].tobytes(),
        )
        for i, row in enumerate(batch.rows)
    ]


def payload_hash(payload: bytes) -> bytes:
    """SHA-256 of a payload; 32 zero bytes stand for no payload."""
    return sha256(payload) if payload else bytes(32)


def account_at(state: State, key: bytes, height: int) -> Account:
    """The account of a key in the block at `height`; one that does not exist holds nothing.

    Within a block an emptied account stands in the state with balance 0, so that its nonces go on.
    """
    held = state.get(key, Account())
    return held if held.balance else Account(max(held.nonce, first_nonce(height)), 0)


def remove_empty(state: State) -> None:
    """An account that holds nothing does not exist."""
    for key in [key for key, account in state.items() if not account.balance]:
        del state[key]


def state_root(state: State, entries: Mapping[bytes, bytes] = MappingProxyType({})) -> bytes:
    """Root of the state tree."""
    return smt.root({key: account.encode() for key, account in state.items()} | dict(entries))


def supply(state: State) -> int:
    """Sum of all balances: the same after every block."""
    return sum(account.balance for account in state.values())
