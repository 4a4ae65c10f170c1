"""Building and signing rows: what wallets, tools and load generators do before they submit.

Secrets stay inside `Signer`; its repr shows the public key alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair
from numpy.typing import NDArray

from actors.ledger.contract_payloads import PAYLOAD_BYTES_MAX_OF
from actors.ledger.hashing import sha256
from actors.ledger.rows import (
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_BYTES,
    ROW_DTYPE,
    ROW_VERSION,
    SIGNATURE_AT_BYTE,
    SIGNED_BYTES,
    Batch,
    FormatError,
    row_matrix,
)

SEED_BYTES = KEY_BYTES = 32
SIGNATURE_BYTES = 64


class Signer:
    """An Ed25519 key pair (RFC 8032) made from its 32-byte seed."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise FormatError("seed", f"{len(seed)} bytes", f"{SEED_BYTES} bytes")
        self.public_key: bytes
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def __repr__(self) -> str:
        return f"Signer({self.public_key.hex()})"

    def sign(self, message: bytes) -> bytes:
        """64-byte Ed25519 signature of `message`."""
        signed: bytes = crypto_sign(message, self._secret)
        return signed[:SIGNATURE_BYTES]


def development_signer(network: str, number: int) -> Signer:
    """The `number`-th publicly known development key of a network: anyone can derive it, so no real value."""
    return Signer(hashlib.sha256(f"raychain/development/{network}/{number}".encode()).digest())


@dataclass(frozen=True, slots=True)
class Transfer:
    """What a person says of one transfer before it is a row. Units: smallest units of the currency.

    kind: of rows.py; what calls and deployments say as payload: contract_payloads.py.
    """

    recipient: bytes
    amount: int
    nonce: int
    fee: int = 1
    expiry_height: int = NEVER_EXPIRES_HEIGHT
    payload: bytes = b""
    kind: int = KIND_TRANSFER


def sign_transfer(signer: Signer, chain_tag: int, transfer: Transfer) -> Batch:
    """A signed batch of one row. Raises FormatError naming the field that is out of range."""
    for field in ("amount", "nonce", "fee", "expiry_height"):
        value = getattr(transfer, field)
        if not 0 <= value < 2**64:
            raise FormatError(field, value, "0 to 2^64-1")
    if len(transfer.recipient) != KEY_BYTES:
        raise FormatError("recipient", f"{len(transfer.recipient)} bytes", f"{KEY_BYTES} bytes")
    bytes_max = PAYLOAD_BYTES_MAX_OF.get(transfer.kind)
    if bytes_max is None:
        raise FormatError("kind", transfer.kind, f"one of {sorted(PAYLOAD_BYTES_MAX_OF)}")
    if len(transfer.payload) > bytes_max:
        raise FormatError("payload", f"{len(transfer.payload)} bytes", f"at most {bytes_max} bytes")
    return signed_row(signer, chain_tag, transfer)


def signed_row(signer: Signer, chain_tag: int, transfer: Transfer) -> Batch:
    """The same of what is known to be in range, whatever its kind."""
    row = np.zeros(1, dtype=ROW_DTYPE)
    row["version"], row["kind"], row["chain_tag"] = ROW_VERSION, transfer.kind, chain_tag
    row["nonce"], row["amount"], row["fee"] = transfer.nonce, transfer.amount, transfer.fee
    row["expiry_height"], row["payload_bytes"] = transfer.expiry_height, len(transfer.payload)
    row["sender"] = np.frombuffer(signer.public_key, dtype=np.uint8)
    row["recipient"] = np.frombuffer(transfer.recipient, dtype=np.uint8)
    if transfer.payload:
        row["payload_hash"] = np.frombuffer(sha256(transfer.payload), dtype=np.uint8)
    sign_rows(row, [signer], np.zeros(1, dtype=np.int64))
    return Batch(row, np.frombuffer(transfer.payload, dtype=np.uint8))


def sign_rows(rows: NDArray[np.void], signers: list[Signer], signer_of_row: NDArray[np.int64]) -> None:
    """Fill the signature column in place; row i is signed by signers[signer_of_row[i]] (its sender)."""
    raw = rows.tobytes()
    signatures = [
        signers[who].sign(raw[at : at + SIGNED_BYTES])
        for who, at in zip(signer_of_row, range(0, len(raw), ROW_BYTES), strict=True)
    ]
    table = row_matrix(rows)
    table[:, SIGNATURE_AT_BYTE:] = np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(
        -1, SIGNATURE_BYTES
    )
