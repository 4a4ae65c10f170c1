"""Kinds of transactions: all that a node must know of one, in one place.

The kind is a byte of the row. What is not in KINDS is refused everywhere by default, so that no row is ever
taken for another kind. To add one: write its plain rule and its compiled twin, declare them here, and the
static checks, the mempool, both state transitions and the words for people know it; property tests hold the
twins against each other (tests/storage/test_storage_kinds.py shows it with a toy).

What all kinds share: the sender signs and pays `fee`, its nonce rises by one, and `amount + fee` is the most
that a row takes from it. A row that fails changes nothing. No account but those named is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import State, Transaction
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_TRANSFER, WORD_RECIPIENT, WORD_SENDER, Batch
from actors.ledger.transfer import apply_transfer
from actors.ledger.transfer_columns import run_transfers
from actors.ledger.verdict import Verdict

Run = Callable[[Any, NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint64], np.uint64, np.uint64], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. Pairs are twins: one transaction, and (n,) rows of this kind at once.

    number      1 .. 255, the byte in the row; name is for people
    check       its own static checks, after those that all kinds share
    touches     words of the row at which keys of accounts begin that it reads or writes, sender first; a
                receipt has the balances of the first two
    fee_min     the least fee that a row must offer
    apply       the rule itself, on statically valid rows (transfer.py is the model)
    run         its compiled twin over a span of rows of this kind (columns.py says how)
    """

    number: int
    name: str
    check: Callable[[Transaction], Verdict]
    check_rows: Callable[[Batch], NDArray[np.uint8]]
    touches: tuple[int, ...]
    fee_min: Callable[[Transaction, Prices], int]
    fee_min_rows: Callable[[Batch, Prices], NDArray[np.uint64]]
    apply: Callable[[State, Transaction, int, Prices], Verdict]
    run: Run


def no_check(tx: Transaction) -> Verdict:
    """For a kind that has no static checks of its own."""
    del tx
    return Verdict.OK


def no_check_rows(batch: Batch) -> NDArray[np.uint8]:
    """(n,) zeros: the twin of `no_check`."""
    return np.zeros(len(batch), dtype=np.uint8)


def flat_fee(tx: Transaction, prices: Prices) -> int:
    """The network's least fee, whatever the row does."""
    del tx
    return prices.fee_min


def flat_fee_rows(batch: Batch, prices: Prices) -> NDArray[np.uint64]:
    """(n,) uint64: the twin of `flat_fee`."""
    return np.full(len(batch), prices.fee_min, dtype=np.uint64)


TRANSFER = Kind(
    KIND_TRANSFER,
    "transfer",
    no_check,
    no_check_rows,
    (WORD_SENDER, WORD_RECIPIENT),
    flat_fee,
    flat_fee_rows,
    apply_transfer,
    run_transfers,
)

KINDS: dict[int, Kind] = {TRANSFER.number: TRANSFER}
"""By number. Filled here, at import, and nowhere else."""
