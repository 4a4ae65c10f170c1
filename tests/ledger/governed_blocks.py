"""Blocks of a governed function and its effects for tests: unsigned rows, but signed by their governors."""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.ledger.effects import BalanceEffects
from actors.ledger.governed_payloads import GovernedCall, Governors, Statement
from actors.ledger.rows import KIND_EFFECTS, KIND_GOVERNED, NEVER_EXPIRES_HEIGHT, Batch, concatenate
from actors.ledger.signing import Signer
from tests.ledger.contract_transactions import batch_of_fields

SIGNERS = [Signer(bytes([number]) * 32) for number in (201, 202, 203)]
GOVERNORS = Governors(tuple(signer.public_key for signer in SIGNERS), 2)
LOCK = bytes(32)


def statement(chain_tag: int, sender: bytes, treasury: bytes, nonce: int = 0, **fields: Any) -> Statement:
    """A statement of a function that nobody runs, unless its bytes are given."""
    known = {"expiry_height": NEVER_EXPIRES_HEIGHT, "python_minor": 11, "lock": LOCK, "function": b"function"}
    return Statement(chain_tag, sender, nonce, treasury, **{**known, **fields})


def payload_of(said: Statement, signers: tuple[int, ...] = (0, 2)) -> bytes:
    """The payload that these of the governors have signed."""
    approvals = tuple((number, SIGNERS[number].sign(said.encode())) for number in signers)
    return GovernedCall(said.python_minor, said.lock, said.function, said.arguments, approvals).encode()


def function_row(said: Statement, payload: bytes | None = None, **fields: Any) -> Batch:
    """The row of a function."""
    own = {"kind": KIND_GOVERNED, "nonce": said.nonce, "sender": said.sender, "recipient": said.treasury}
    found = payload_of(said) if payload is None else payload
    return batch_of_fields([{**own, "fee": 1, "payload": found, **fields}], said.chain_tag)


def with_effects(
    function: Batch, proposer: bytes, effects: BalanceEffects | bytes, chain_tag: int, **fields: Any
) -> Batch:
    """Both rows."""
    payload = effects if isinstance(effects, bytes) else effects.encode()
    parties = {"sender": proposer, "recipient": function.ids()[0].tobytes()}
    row = {"kind": KIND_EFFECTS, "payload": payload, **parties, **fields}
    return concatenate([function, batch_of_fields([row], chain_tag)])


def effects_of(changes: dict[int, int]) -> BalanceEffects:
    """Effects by rank."""
    ranks = sorted(changes)
    values = [changes[rank] for rank in ranks]
    return BalanceEffects(np.array(ranks, dtype=np.int64), np.array(values, dtype=np.int64))
