"""Transfers of a token among development accounts, signed, as pools for the load generator."""

from __future__ import annotations

import msgspec
import numpy as np

from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import KIND_CALL
from actors.ledger.signing import sign_rows
from bench.transfers import SignPlan, unsigned_transfers
from bench.workload import VALID, SignedPool


class TokenPlan(msgspec.Struct, tag="tokens"):
    """The transfers of a plan as calls of a token. token: its address, in hex. function: the number of its
    `transfer`. fee: what each call offers."""

    transfers: SignPlan
    token: str
    function: int
    fee: int


def build_token_calls(plan: TokenPlan) -> SignedPool:
    """Signed calls, deterministic in the plan."""
    rows, signers, sender = unsigned_transfers(plan.transfers)
    amounts = np.ascontiguousarray(rows["amount"]).view(np.uint8).reshape(-1, 8)
    function = np.full((len(rows), 1), plan.function, dtype=np.uint8)
    payloads = np.concatenate([function, rows["recipient"], amounts], axis=1)
    rows["kind"], rows["amount"], rows["fee"] = KIND_CALL, 0, plan.fee
    rows["recipient"] = np.frombuffer(bytes.fromhex(plan.token), dtype=np.uint8)
    rows["payload_bytes"], rows["payload_hash"] = payloads.shape[1], sha256_rows(payloads)
    sign_rows(rows, signers, sender)
    return SignedPool(rows, payloads.reshape(-1), np.full(len(rows), VALID, dtype=np.uint8))
