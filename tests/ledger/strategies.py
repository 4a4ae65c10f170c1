"""Hypothesis strategies of transactions, shared by the tests of several rooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from actors.ledger.rows import KIND_TRANSFER, ROW_DTYPE, ROW_VERSION, Batch

CHAIN_TAG = 0x1122334455667788
KEYS = [bytes([number]) * 32 for number in range(1, 9)]
EDGES = [0, 1, 2, 5, 2**63, 2**64 - 2, 2**64 - 1]


@dataclass(frozen=True)
class RowPlan:
    """One unsigned row in words that shrink well."""

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


def rows_of(plans: list[RowPlan]) -> Batch:
    """The table of the plans; signatures and payloads are empty."""
    rows = np.zeros(len(plans), dtype=ROW_DTYPE)
    for row, plan in zip(rows, plans, strict=True):
        for field in ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height"):
            row[field] = getattr(plan, field)
        row["sender"] = np.frombuffer(plan.sender, dtype=np.uint8)
        row["recipient"] = np.frombuffer(plan.recipient, dtype=np.uint8)
    return Batch(rows, np.empty(0, dtype=np.uint8))


def mostly(usual: int, *others: int) -> st.SearchStrategy[int]:
    """Mostly the usual value."""
    return st.sampled_from([usual] * 12 + list(others))


row_plans = st.builds(
    RowPlan,
    version=mostly(ROW_VERSION, 0, 2),
    kind=mostly(KIND_TRANSFER, 0, 2, 255),
    flags=mostly(0, 1),
    chain_tag=mostly(CHAIN_TAG, 0, CHAIN_TAG + 1),
    nonce=st.one_of(st.integers(0, 4), st.sampled_from(EDGES)),
    amount=st.one_of(st.integers(0, 30), st.sampled_from(EDGES)),
    fee=st.one_of(st.integers(0, 3), st.sampled_from(EDGES)),
    expiry_height=st.sampled_from([4, 5, 6, 2**64 - 1, 2**64 - 1]),
    sender=st.sampled_from(KEYS),
    recipient=st.sampled_from(KEYS),
)
batches = st.lists(row_plans, max_size=40).map(rows_of)
