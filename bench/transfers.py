"""Transfers among development accounts in turn, signed, as the load generator offers them."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION
from actors.ledger.signing import Signer, development_signer, sign_rows


class SignPlan(msgspec.Struct, tag="sign"):
    """Sign `count` transfers among `accounts` development accounts into `path`.

    Transfer i is sent by account first_account + i modulo `accounts` with nonce first_nonce + i // accounts.
    """

    path: str
    network: str
    chain_tag: int
    accounts: int
    start: int
    count: int
    first_nonce: int = 0
    first_account: int = 0


def build_transfers(plan: SignPlan) -> NDArray[Any]:
    """(count,) signed rows, deterministic in the plan."""
    rows, signers, sender = unsigned_transfers(plan)
    sign_rows(rows, signers, sender)
    return rows


def unsigned_transfers(plan: SignPlan) -> tuple[NDArray[Any], list[Signer], NDArray[np.int64]]:
    """(count,) rows that are yet to be signed, who may sign, and which of these each row is of."""
    index = np.arange(plan.start, plan.start + plan.count)
    sender = index % plan.accounts
    recipient = (sender * 7_919 + index // plan.accounts + 1) % plan.accounts
    signers = [development_signer(plan.network, plan.first_account + i) for i in range(plan.accounts)]
    keys = np.frombuffer(b"".join(s.public_key for s in signers), dtype=np.uint8).reshape(-1, 32)
    rows = np.zeros(plan.count, dtype=ROW_DTYPE)
    rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_TRANSFER, plan.chain_tag
    rows["nonce"] = plan.first_nonce + index // plan.accounts
    rows["amount"], rows["fee"] = 1 + index % 97, 1 + index % 5
    rows["expiry_height"] = NEVER_EXPIRES_HEIGHT
    rows["sender"], rows["recipient"] = keys[sender], keys[recipient]
    return rows, signers, sender
