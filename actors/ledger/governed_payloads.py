"""What governed functions carry: a Python function of which governors of the genesis have signed the bytes.

    governed   version u8, python minor u8, approvals u8, 0 u8, function_bytes u32, arguments_bytes u32,
               lock 32, then for each approval the governor's number u8 and a signature 64, the function, and
               its arguments
    effects    what it does to balances (effects.py)

A function is bytes that cloudpickle has made of it. They are loaded in a cell alone, and by nobody before the
signatures are verified: as many different governors as the genesis asks for, in order of their numbers, each
over the same statement of 205 bytes:

    "raychain/governed/1", chain_tag u64, sender 32, nonce u64, treasury 32, expiry_height u64, version u8,
    python minor u8, lock 32, SHA-256 of the function, SHA-256 of the arguments

The treasury is the row's recipient. Sender and nonce are signed, so that a statement is good for one row.
lock is what the function was tried with: SHA-256 over the versions of the libraries that it may use.

The row of effects is written by who proposes the block, and stands directly behind the function's: its sender
is the proposer, its recipient the id of the function's row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from actors.ledger.accounts import Transaction
from actors.ledger.hashing import sha256

GOVERNORS_MAX = 16
FUNCTION_BYTES_MAX = 64 * 1024
FUNCTION_ARGUMENTS_BYTES_MAX = 16 * 1024
GOVERNED_VERSION = 1
_HEAD = struct.Struct("<BBBBII32s")
_APPROVAL = struct.Struct("<B64s")
GOVERNED_BYTES_MAX = (
    _HEAD.size + GOVERNORS_MAX * _APPROVAL.size + FUNCTION_BYTES_MAX + FUNCTION_ARGUMENTS_BYTES_MAX
)
EFFECTS_BYTES_MAX = 64 << 20
"""As much as a genesis may allow a block; what it does allow is less."""
_DOMAIN = b"raychain/governed/1"
_STATEMENT = struct.Struct("<Q32sQ32sQBB32s32s32s")

LOCKED_LIBRARIES = ("cloudpickle", "numpy")
"""What the bytes of a function, and what it computes, depend on besides Python."""


def lock_of(version: Callable[[str], str]) -> bytes:
    """The lock of these versions: SHA-256 over lines of name==version. version: of a library."""
    return sha256("".join(f"{name}=={version(name)}\n" for name in LOCKED_LIBRARIES).encode())


@dataclass(frozen=True, slots=True)
class Governors:
    """keys: Ed25519 public keys, none twice. needed: how many of them have to sign; 0 if there are none."""

    keys: tuple[bytes, ...] = ()
    needed: int = 0


NO_GOVERNORS = Governors()
"""Of a network that runs no governed functions."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What governors sign. treasury: the account that pays the sum of all changes, or gets it.

    lock: 32 bytes. function: as cloudpickle has it. arguments: bytes that the function is given.
    """

    chain_tag: int
    sender: bytes
    nonce: int
    treasury: bytes
    expiry_height: int
    python_minor: int
    lock: bytes
    function: bytes
    arguments: bytes = b""

    def encode(self) -> bytes:
        """The bytes that are signed."""
        return _DOMAIN + _STATEMENT.pack(
            self.chain_tag,
            self.sender,
            self.nonce,
            self.treasury,
            self.expiry_height,
            GOVERNED_VERSION,
            self.python_minor,
            self.lock,
            sha256(self.function),
            sha256(self.arguments),
        )


@dataclass(frozen=True, slots=True)
class GovernedCall:
    """The payload of a governed function. approvals: (number of the governor, signature), in their order."""

    python_minor: int
    lock: bytes
    function: bytes
    arguments: bytes
    approvals: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        """The payload."""
        head = _HEAD.pack(
            GOVERNED_VERSION,
            self.python_minor,
            len(self.approvals),
            0,
            len(self.function),
            len(self.arguments),
            self.lock,
        )
        signed = b"".join(_APPROVAL.pack(number, signature) for number, signature in self.approvals)
        return head + signed + self.function + self.arguments


def decode_governed(payload: bytes) -> GovernedCall | None:
    """Inverse of `GovernedCall.encode`; None if it is none, or a part exceeds its bound."""
    if not _HEAD.size <= len(payload) <= GOVERNED_BYTES_MAX:
        return None
    version, minor, approvals, zero, function_bytes, arguments_bytes, lock = _HEAD.unpack_from(payload)
    begin = _HEAD.size + approvals * _APPROVAL.size
    within = (
        (version, zero) == (GOVERNED_VERSION, 0)
        and 0 < approvals <= GOVERNORS_MAX
        and 0 < function_bytes <= FUNCTION_BYTES_MAX
        and arguments_bytes <= FUNCTION_ARGUMENTS_BYTES_MAX
        and len(payload) == begin + function_bytes + arguments_bytes
    )
    if not within:
        return None
    signed = tuple(_APPROVAL.iter_unpack(payload[_HEAD.size : begin]))
    numbers = [number for number, _ in signed]
    if numbers != sorted(set(numbers)):
        return None
    return GovernedCall(
        minor, lock, payload[begin : begin + function_bytes], payload[begin + function_bytes :], signed
    )


def statement_of(tx: Transaction, call: GovernedCall) -> Statement:
    """What the governors of this transaction must have signed."""
    return Statement(
        tx.chain_tag,
        tx.sender,
        tx.nonce,
        tx.recipient,
        tx.expiry_height,
        call.python_minor,
        call.lock,
        call.function,
        call.arguments,
    )


def is_approved(tx: Transaction, governors: Governors) -> bool:
    """Whether exactly as many governors as are needed have signed it. The first false signature ends it."""
    call = decode_governed(tx.payload)
    if call is None or not governors.needed or len(call.approvals) != governors.needed:
        return False
    if call.approvals[-1][0] >= len(governors.keys):
        return False
    message = statement_of(tx, call).encode()
    return all(_signed(governors.keys[number], message, signature) for number, signature in call.approvals)


def _signed(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True
