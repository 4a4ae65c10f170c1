"""The genesis: what all nodes of a network agree on before the first block.

The document is JSON that people read; its hash (over a canonical form) names the network, its first eight
bytes are the chain tag in every transaction. Allocations are columns; the document binds them by the state
root, so a light client needs the document alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.contracts.gas import WEIGHTS, Weights
from actors.contracts.limits import ENTRY_TAG
from actors.ledger.governed_payloads import GOVERNORS_MAX, Governors
from actors.ledger.hashing import sha256
from actors.ledger.prices import BLOCK_TRANSACTIONS_MAX, FREE, PRICE_MAX, Prices
from actors.ledger.rows import FormatError
from actors.ledger.signing import KEY_BYTES

GENESIS_VERSION = 3
MEMBERS_MAX = 1024
GENESIS_BYTES_MAX = 1 << 20
ALLOCATIONS_MAX = 1 << 26
_DOMAIN = b"raychain/genesis/3"
_ALLOCATION_HEADER = struct.Struct("<4sIQ")
_ALLOCATION_MAGIC = b"RCA1"
_SUPPLY_MAX = 2**64 - 1


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organisation's node: identity is its Ed25519 public key in hex."""

    name: str
    identity: str
    address: str = ""


class _Versioned(msgspec.Struct, frozen=True):
    version: int


_OTHER_VERSION = (
    f"{GENESIS_VERSION}, which this release reads: keep running that network with the release that founded "
    "it, or found a new one in an empty --data-dir"
)


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """supply: sum of the allocated balances. state_root: hex, of the state after allocation.

    fee_min, balance_min and what follows them: see prices.py; in smallest units. governors: Ed25519 public
    keys in hex, of which `governors_needed` approve a governed function (governed_payloads.py). A network
    without them has the document that it had before there were any, and runs no such functions.
    """

    version: int
    network: str
    created_ms: int
    members: list[Member]
    accounts: int
    supply: int
    state_root: str
    block_transactions_max: int
    block_payload_bytes_max: int
    fee_min: int
    balance_min: int
    gas_per_unit: int = FREE.gas_per_unit
    entry_deposit: int = FREE.entry_deposit
    block_gas_max: int = FREE.block_gas_max
    weights: Weights = WEIGHTS
    governors: list[str] = []
    governors_needed: int = 0

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces; without what concerns governors where there are none."""
        fields = msgspec.structs.asdict(self)
        if not self.governors:
            del fields["governors"], fields["governors_needed"]
        return msgspec.json.encode(fields, order="sorted")

    def hash(self) -> bytes:
        """32 bytes; names the network and is the parent of block 1."""
        return sha256(_DOMAIN + self.encode())

    @property
    def chain_tag(self) -> int:
        """The tag that binds a transaction to this network."""
        return int.from_bytes(self.hash()[:8], "little")

    @property
    def prices(self) -> Prices:
        """What transactions and accounts cost."""
        return Prices(
            self.fee_min,
            self.balance_min,
            self.gas_per_unit,
            self.entry_deposit,
            self.block_gas_max,
            self.weights,
        )

    @property
    def governed_by(self) -> Governors:
        """Who approves governed functions."""
        return Governors(tuple(map(bytes.fromhex, self.governors)), self.governors_needed)

    @property
    def member_keys(self) -> list[bytes]:
        """Identities of the members, as 32-byte keys."""
        return [bytes.fromhex(member.identity) for member in self.members]


def decode_genesis(data: bytes) -> Genesis:
    """Raises FormatError naming what is wrong."""
    if len(data) > GENESIS_BYTES_MAX:
        raise FormatError("genesis", f"{len(data)} bytes", f"at most {GENESIS_BYTES_MAX} bytes")
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != GENESIS_VERSION:
            raise FormatError("genesis.version", version, _OTHER_VERSION)
        genesis = msgspec.json.decode(data, type=Genesis)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError("genesis", str(error), "the genesis document") from error
    if not 0 < len(genesis.members) <= MEMBERS_MAX:
        raise FormatError("genesis.members", len(genesis.members), f"1 to {MEMBERS_MAX}")
    for member in genesis.members:
        if not _is_hex(member.identity, KEY_BYTES) or member.identity.startswith(ENTRY_TAG.hex()):
            raise FormatError(f"genesis.members[{member.name}].identity", member.identity, "64 hex digits")
    if len({member.identity for member in genesis.members}) != len(genesis.members):
        raise FormatError("genesis.members", "an identity twice", "distinct identities")
    if not _is_hex(genesis.state_root, 32):
        raise FormatError("genesis.state_root", genesis.state_root, "64 hex digits")
    governors = len(genesis.governors)
    for name, value, least, most in (
        ("supply", genesis.supply, 0, _SUPPLY_MAX),
        ("block_transactions_max", genesis.block_transactions_max, 1, BLOCK_TRANSACTIONS_MAX),
        ("fee_min", genesis.fee_min, 0, PRICE_MAX),
        ("balance_min", genesis.balance_min, 1, PRICE_MAX),
        ("gas_per_unit", genesis.gas_per_unit, 1, PRICE_MAX),
        ("entry_deposit", genesis.entry_deposit, 0, PRICE_MAX),
        ("block_gas_max", genesis.block_gas_max, 1, PRICE_MAX),
        ("governors", governors, 0, GOVERNORS_MAX),
        ("governors_needed", genesis.governors_needed, min(governors, 1), governors),
    ):
        if not least <= value <= most:
            raise FormatError(f"genesis.{name}", value, f"{least} to {most}")
    _check_governors(genesis.governors)
    return genesis


def _check_governors(keys: list[str]) -> None:
    for at, key in enumerate(keys):
        if not _is_hex(key, KEY_BYTES):
            raise FormatError(f"genesis.governors[{at}]", key, "64 hex digits")
    if len(set(keys)) != len(keys):
        raise FormatError("genesis.governors", "a key twice", "distinct keys")


def _is_hex(text: str, size: int) -> bool:
    try:
        return len(text) == 2 * size and len(bytes.fromhex(text)) == size and text == text.lower()
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Accounts at the start. keys: (n, 32) uint8, distinct. balances: (n,) uint64, none zero."""

    keys: NDArray[np.uint8]
    balances: NDArray[np.uint64]

    def supply(self) -> int:
        """Sum of the balances; raises FormatError above 2^64-1."""
        high, low = divmod_sum(self.balances)
        total = (high << 32) + low
        if total > _SUPPLY_MAX:
            raise FormatError("allocation.supply", total, "at most 2^64-1")
        return total

    def encode(self) -> bytes:
        """Magic, count, supply, keys, balances."""
        head = _ALLOCATION_HEADER.pack(_ALLOCATION_MAGIC, len(self.keys), self.supply())
        return head + self.keys.tobytes() + self.balances.tobytes()


def divmod_sum(values: NDArray[np.uint64]) -> tuple[int, int]:
    """Exact sum of up to 2^32 uint64 values as (sum of high halves, sum of low halves)."""
    high = int((values >> np.uint64(32)).sum(dtype=np.uint64))
    low = int((values & np.uint64(0xFFFFFFFF)).sum(dtype=np.uint64))
    return high, low


def exact_sum(values: NDArray[np.uint64]) -> int:
    """Exact sum of a uint64 column as a Python integer."""
    high, low = divmod_sum(values)
    return (high << 32) + low


def decode_allocation(data: bytes) -> Allocation:
    """Raises FormatError on a wrong length, an account twice, a zero balance or too great a supply."""
    if len(data) < _ALLOCATION_HEADER.size:
        raise FormatError("allocation", f"{len(data)} bytes", f"at least {_ALLOCATION_HEADER.size} bytes")
    magic, count, supply = _ALLOCATION_HEADER.unpack_from(data)
    if magic != _ALLOCATION_MAGIC:
        raise FormatError("allocation.magic", magic.hex(), _ALLOCATION_MAGIC.hex())
    if count > ALLOCATIONS_MAX:
        raise FormatError("allocation.count", count, f"at most {ALLOCATIONS_MAX}")
    expected = _ALLOCATION_HEADER.size + count * (KEY_BYTES + 8)
    if len(data) != expected:
        raise FormatError("allocation", f"{len(data)} bytes", f"{expected} bytes for {count} accounts")
    at = _ALLOCATION_HEADER.size
    keys = np.frombuffer(data, dtype=np.uint8, count=count * KEY_BYTES, offset=at).reshape(count, KEY_BYTES)
    balances = np.frombuffer(data, dtype=np.uint64, offset=at + count * KEY_BYTES)
    allocation = Allocation(keys, balances)
    if len(np.unique(keys.view("V32"))) != count:
        raise FormatError("allocation.keys", "an account twice", "distinct accounts")
    if (keys[:, : len(ENTRY_TAG)] == np.frombuffer(ENTRY_TAG, dtype=np.uint8)).all(axis=1).any():
        raise FormatError("allocation.keys", "a key of contracts' entries", "keys of accounts")
    if count and not balances.all():
        raise FormatError("allocation.balances", 0, "at least 1")
    if allocation.supply() != supply:
        raise FormatError("allocation.supply", supply, f"{allocation.supply()} as the balances add up")
    return allocation
