"""Signing what concerns governed functions: governors approve, and who proposes writes the effects."""

from __future__ import annotations

import numpy as np

from actors.ledger.governed_payloads import Governors, Statement
from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_EFFECTS, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch, FormatError
from actors.ledger.signing import Signer, sign_rows


def approve(statement: Statement, signer: Signer, governors: Governors) -> tuple[int, bytes]:
    """A governor's approval: its number, and its signature. Raises FormatError if the key governs nothing."""
    if signer.public_key not in governors.keys:
        raise FormatError("governor", signer.public_key.hex(), "one of the governors in the genesis")
    return governors.keys.index(signer.public_key), signer.sign(statement.encode())


def sign_effects(signer: Signer, chain_tag: int, function: Batch, effects: bytes) -> Batch:
    """The row of effects that stands behind the one row of `function`, signed by who proposes both."""
    row = np.zeros(1, dtype=ROW_DTYPE)
    row["version"], row["kind"], row["chain_tag"] = ROW_VERSION, KIND_EFFECTS, chain_tag
    row["expiry_height"], row["payload_bytes"] = NEVER_EXPIRES_HEIGHT, len(effects)
    row["sender"] = np.frombuffer(signer.public_key, dtype=np.uint8)
    row["recipient"], row["payload_hash"] = function.ids()[0], np.frombuffer(sha256(effects), dtype=np.uint8)
    sign_rows(row, [signer], np.zeros(1, dtype=np.int64))
    return Batch(row, np.frombuffer(effects, dtype=np.uint8))
