"""Bytes that storage writes. Values are sealed: the bytes, then a CRC-32 over column family, key and bytes.

The checksum covers the key, so that a value that ends up under another key is found out as well. Integers in
keys are big-endian, so that keys sort by height; integers in values are little-endian.

    meta          "network"    schema u32, genesis hash 32, network name        written last when made
                  "epoch"      u64                                              fencing
                  "head"       height u64, transactions u64, hash 32            last committed block
                  "checkpoint" height u64, accounts u64                         pages are at least this new
                  "base"       first height with a header u64, with a body u64  absent: 1 and 1
    headers       height       header 200, signature 64
    blocks        height       ledger.Block.encode()
    certificates  height       ledger.Certificate.encode(); present if and only if the block is committed
    receipts      height       32 bytes a transaction
    deltas        height       see `delta_parts`
    accounts      page u64     see `encode_page`
    history       height       account undo log, see remembering.py
    snapshots     see snapshot_store.py
    tx_index      run and page see tx_index.py
    raft          the replicated log, see raft_log.py
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from isal.isal_zlib import crc32
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.ledger.accounts import ACCOUNT_BYTES
from actors.ledger.delta import NO_IDS, AccountStates, Delta, StateEntryKind
from actors.ledger.rows import in_place
from actors.storage.accounts import StateColumns, entries_among
from actors.storage.errors import CorruptionError

SCHEMA_VERSION = 2
_CRC = struct.Struct("<I")
_HEIGHT_KEY = struct.Struct(">Q")
_NETWORK = struct.Struct("<I32s")
_HEAD = struct.Struct("<QQ32s")
_CHECKPOINT = struct.Struct("<QQ")
_BASE = struct.Struct("<QQ")
_DELTA = struct.Struct("<QQII32s32s")
_OF_ACCOUNTS, _OF_ENTRIES = 0, 1
_PAGE = struct.Struct("<I4x")
_ACCOUNT_BYTES = 48


def height_key(height: int) -> bytes:
    """8 bytes that sort by height."""
    return _HEIGHT_KEY.pack(height)


def height_of(key: bytes) -> int:
    """The height (or page number) of a key."""
    return int(_HEIGHT_KEY.unpack(key)[0])


def seal(family: str, key: bytes, *parts: bytes | memoryview) -> bytes:
    """Value bytes with their checksum."""
    crc = crc32(key, crc32(family.encode()))
    for part in parts:
        crc = crc32(part, crc)
    return b"".join((*parts, _CRC.pack(crc)))


def unseal(family: str, key: bytes, value: bytes) -> bytes:
    """The bytes that were sealed. Raises CorruptionError naming column family and key."""
    if len(value) < _CRC.size:
        raise CorruptionError(family, key.hex(), f"{len(value)} bytes, at least {_CRC.size} expected")
    body = value[: -_CRC.size]
    crc = crc32(body, crc32(key, crc32(family.encode())))
    if _CRC.pack(crc) != value[-_CRC.size :]:
        raise CorruptionError(family, key.hex(), "the checksum does not match")
    return body


def encode_network(genesis_hash: bytes, name: str, schema: int = SCHEMA_VERSION) -> bytes:
    """Schema version, genesis hash and network name."""
    return _NETWORK.pack(schema, genesis_hash) + name.encode()


def decode_network(body: bytes) -> tuple[int, bytes, str]:
    """(schema version, genesis hash, network name)."""
    schema, genesis_hash = _NETWORK.unpack_from(body)
    return schema, genesis_hash, body[_NETWORK.size :].decode()


@dataclass(frozen=True, slots=True)
class Head:
    """The last committed block; transactions: committed since the genesis. Height 0 is the genesis."""

    height: int
    transactions: int
    hash: bytes

    def encode(self) -> bytes:
        """48 bytes."""
        return _HEAD.pack(self.height, self.transactions, self.hash)


def decode_head(body: bytes) -> Head:
    """Inverse of `Head.encode`."""
    return Head(*_HEAD.unpack(body))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Pages hold accounts 0..accounts-1, each page as of `height` or of a later committed height."""

    height: int
    accounts: int

    def encode(self) -> bytes:
        """16 bytes."""
        return _CHECKPOINT.pack(self.height, self.accounts)


def decode_checkpoint(body: bytes) -> Checkpoint:
    """Inverse of `Checkpoint.encode`."""
    return Checkpoint(*_CHECKPOINT.unpack(body))


@dataclass(frozen=True, slots=True)
class Base:
    """The first heights kept: of headers and certificates, and of bodies and all that goes with them."""

    headers: int = 1
    bodies: int = 1

    def encode(self) -> bytes:
        """16 bytes."""
        return _BASE.pack(self.headers, self.bodies)


def decode_base(body: bytes) -> Base:
    """Inverse of `Base.encode`."""
    return Base(*_BASE.unpack(body))


def delta_parts(delta: Delta) -> tuple[bytes | memoryview, ...]:
    """Height, time, count, form, hash, state root; keys, kinds, widths and values of its entries, in place.

    That is form 1. Form 0, which is read as well, has columns of accounts: keys, nonces, balances.
    """
    facts = delta.height, delta.time_ms, len(delta.keys), _OF_ENTRIES, delta.hash, delta.state_root
    columns = delta.keys, delta.kinds, delta.widths, delta.values
    return _DELTA.pack(*facts), *(in_place(column) for column in columns)


def decode_delta(body: bytes, ids: NDArray[np.uint8] = NO_IDS) -> Delta:
    """Inverse of `delta_parts`; ids are its rows'. Raises CorruptionError where length and count disagree."""
    if len(body) < _DELTA.size:
        raise CorruptionError("deltas", "", f"{len(body)} bytes, at least {_DELTA.size} expected")
    height, time_ms, count, form, block_hash, state_root = _DELTA.unpack_from(body)
    entries = np.frombuffer(body, dtype=np.uint8, offset=_DELTA.size)
    if form == _OF_ACCOUNTS and len(entries) == count * _ACCOUNT_BYTES:
        states = AccountStates(height, *_account_columns(body, _DELTA.size, count))
        return Delta.of_accounts(states, time_ms, block_hash, state_root, ids)
    keys, kinds, widths, values = np.split(entries, np.array([32, 33, 34]) * count)
    whole = len(widths) == count and len(values) == widths.sum(dtype=np.int64)
    accounts = kinds == StateEntryKind.ACCOUNT
    fit = whole and (widths[accounts] == ACCOUNT_BYTES).all() and (widths[~accounts] <= ENTRY_BYTES_MAX).all()
    if form != _OF_ENTRIES or not fit:
        raise CorruptionError("deltas", height_key(height).hex(), f"{len(body)} bytes for {count} entries")
    return Delta(height, keys.reshape(-1, 32), kinds, widths, values, time_ms, block_hash, state_root, ids)


def encode_page(columns: StateColumns) -> bytes:
    """A checkpoint page: count u32, then the columns of consecutive slots, values of entries last."""
    return b"".join((_PAGE.pack(len(columns.keys)), *(column.tobytes() for column in columns)))


def decode_page(page: int, body: bytes) -> StateColumns:
    """Inverse of `encode_page`. Raises CorruptionError when length, count and widths disagree."""
    if len(body) < _PAGE.size:
        raise CorruptionError("accounts", height_key(page).hex(), f"{len(body)} bytes")
    (count,) = _PAGE.unpack_from(body)
    of_entries = len(body) - _PAGE.size - count * _ACCOUNT_BYTES
    if of_entries >= 0:
        keys, nonces, balances = _account_columns(body, _PAGE.size, count)
        widths = balances[entries_among(keys)]
        if widths.max(initial=0) <= ENTRY_BYTES_MAX and of_entries == widths.sum(dtype=np.int64):
            values = np.frombuffer(body, dtype=np.uint8, offset=len(body) - of_entries)
            return StateColumns(keys, nonces, balances, values)
    raise CorruptionError("accounts", height_key(page).hex(), f"{len(body)} bytes for {count} accounts")


def _account_columns(
    body: bytes, at: int, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    keys = np.frombuffer(body, dtype=np.uint8, count=32 * count, offset=at).reshape(count, 32)
    nonces = np.frombuffer(body, dtype=np.uint64, count=count, offset=at + 32 * count)
    balances = np.frombuffer(body, dtype=np.uint64, count=count, offset=at + 40 * count)
    return keys, nonces, balances
