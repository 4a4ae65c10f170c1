"""Signing what concerns governed functions: governors approve, and who proposes writes the effects."""

from __future__ import annotations

from actors.ledger.governed_payloads import Governors, Statement
from actors.ledger.rows import KIND_EFFECTS, Batch, FormatError
from actors.ledger.signing import Signer, Transfer, signed_row


def approve(statement: Statement, signer: Signer, governors: Governors) -> tuple[int, bytes]:
    """A governor's approval: its number, and its signature. Raises FormatError if the key governs nothing."""
    if signer.public_key not in governors.keys:
        raise FormatError("governor", signer.public_key.hex(), "one of the governors in the genesis")
    return governors.keys.index(signer.public_key), signer.sign(statement.encode())


def sign_effects(signer: Signer, chain_tag: int, function: Batch, effects: bytes) -> Batch:
    """The row of effects that stands behind the one row of `function`, signed by who proposes both."""
    recipient = function.ids()[0].tobytes()
    return signed_row(signer, chain_tag, Transfer(recipient, 0, 0, 0, payload=effects, kind=KIND_EFFECTS))
