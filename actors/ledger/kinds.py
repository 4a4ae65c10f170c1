"""Kinds of transactions: all that a node must know of one, in one place.

The kind is a byte of the row. What is not in KINDS is refused everywhere by default, so that no row is ever
taken for another kind. To add one: write its plain rule and its compiled twin, declare them here, and the
static checks, the mempool, both state transitions and the words for people know it; property tests hold the
twins against each other (tests/storage/test_storage_kinds.py shows it with a toy).

What all kinds share: the sender signs, its nonce rises by one, and `amount + fee` is the most that a row
takes from it. A row that does not pass changes nothing. Of accounts a row whose kind is compiled touches only
those that it names; a call touches what its contract does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import State, Transaction, unpack
from actors.ledger.contract_payloads import (
    PAYLOAD_BYTES_MAX_OF,
    contract_address,
    decode_deployment,
)
from actors.ledger.contract_rules import RowApplied, apply_call, apply_deploy
from actors.ledger.environment import Environment
from actors.ledger.governed_payloads import EFFECTS_BYTES_MAX, decode_governed
from actors.ledger.ledger_view import LedgerView
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    KIND_CALL,
    KIND_DEPLOY,
    KIND_EFFECTS,
    KIND_GOVERNED,
    KIND_TRANSFER,
    WORD_RECIPIENT,
    WORD_SENDER,
    Batch,
)
from actors.ledger.transfer import apply_transfer
from actors.ledger.transfer_columns import run_transfers
from actors.ledger.verdict import Verdict

Run = Callable[[Any, NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint64], np.uint64, np.uint64], None]


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule with a twin. A row that passes takes its whole fee.

    apply       the rule itself, on statically valid rows (transfer.py is the model)
    run         its compiled twin over a span of rows of this kind (columns.py says how)
    """

    apply: Callable[[State, Transaction, Environment], Verdict]
    run: Run


@dataclass(frozen=True, slots=True)
class SerialRule:
    """A rule for one row after the other, wherever the state is kept (contract_rules.py).

    apply       the rule, on statically valid rows; the last argument is the gas that is left in the block
    """

    apply: Callable[[LedgerView, Transaction, Environment, int], RowApplied]


@dataclass(frozen=True, slots=True)
class PairedRule:
    """A rule for two rows that are a block together (governed_rules.py); elsewhere a row has this verdict."""

    elsewhere: Verdict


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. Pairs are twins: one transaction, and (n,) rows of this kind at once.

    number      1 .. 255, the byte in the row; name is for people
    payload     the bytes that it may carry at most
    check       its own static checks, after those that all kinds share
    touches     words of the row at which keys of accounts begin that it reads or writes, sender first; a
                receipt has the balances of the first two
    fee_min     the least fee that a row must offer
    rule        what it does to the state: CompiledRule, SerialRule, or PairedRule
    governed    it needs the approval of governors
    submitted   False for rows that only who proposes a block writes: no mempool takes them
    """

    number: int
    name: str
    payload_bytes_max: int
    check: Callable[[Transaction], Verdict]
    check_rows: Callable[[Batch], NDArray[np.uint8]]
    touches: tuple[int, ...]
    fee_min: Callable[[Transaction, Prices], int]
    fee_min_rows: Callable[[Batch, Prices], NDArray[np.uint64]]
    rule: CompiledRule | SerialRule | PairedRule
    governed: bool = False
    submitted: bool = True


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


def check_deploy(tx: Transaction) -> Verdict:
    """It goes to its contract's address, and its payload can be taken apart."""
    if tx.recipient != contract_address(tx.sender, tx.nonce):
        return Verdict.WRONG_ADDRESS
    return Verdict.OK if decode_deployment(tx.payload) else Verdict.BAD_PAYLOAD


def check_calls(batch: Batch) -> NDArray[np.uint8]:
    """(n,) uint8: the twin of `check_call`."""
    return np.where(batch.rows["payload_bytes"] > 0, Verdict.OK, Verdict.BAD_PAYLOAD).astype(np.uint8)


def check_call(tx: Transaction) -> Verdict:
    """It names a function."""
    return Verdict.OK if tx.payload else Verdict.BAD_PAYLOAD


def check_governed(tx: Transaction) -> Verdict:
    """It brings no coins, and its payload can be taken apart."""
    return Verdict.OK if not tx.amount and decode_governed(tx.payload) else Verdict.BAD_PAYLOAD


def check_effects(tx: Transaction) -> Verdict:
    """Nothing but effects, which whoever applies them takes apart."""
    return Verdict.BAD_EFFECTS if tx.amount or tx.fee or tx.nonce else Verdict.OK


def no_fee(tx: Transaction, prices: Prices) -> int:
    """Effects cost nothing."""
    del tx, prices
    return 0


def no_fee_rows(batch: Batch, prices: Prices) -> NDArray[np.uint64]:
    """(n,) uint64: the twin of `no_fee`."""
    del prices
    return np.zeros(len(batch), dtype=np.uint64)


def each_row(check: Callable[[Transaction], Verdict]) -> Callable[[Batch], NDArray[np.uint8]]:
    """A check of rows that come in small numbers."""
    return lambda batch: np.array([check(tx) for tx in unpack(batch)], dtype=np.uint8)


_TWO = (WORD_SENDER, WORD_RECIPIENT)
_FLAT = flat_fee, flat_fee_rows
TRANSFER = Kind(
    KIND_TRANSFER, "transfer", PAYLOAD_BYTES_MAX_OF[KIND_TRANSFER], no_check, no_check_rows, _TWO, *_FLAT,
    CompiledRule(apply_transfer, run_transfers),
)  # fmt: skip
DEPLOY = Kind(
    KIND_DEPLOY, "deploy", PAYLOAD_BYTES_MAX_OF[KIND_DEPLOY], check_deploy, each_row(check_deploy), _TWO,
    *_FLAT, SerialRule(apply_deploy),
)  # fmt: skip
CALL = Kind(
    KIND_CALL, "call", PAYLOAD_BYTES_MAX_OF[KIND_CALL], check_call, check_calls, _TWO,
    *_FLAT, SerialRule(apply_call),
)  # fmt: skip
GOVERNED = Kind(
    KIND_GOVERNED, "governed", PAYLOAD_BYTES_MAX_OF[KIND_GOVERNED], check_governed, each_row(check_governed),
    _TWO, *_FLAT, PairedRule(Verdict.NEEDS_EFFECTS), governed=True,
)  # fmt: skip
EFFECTS = Kind(
    KIND_EFFECTS, "effects", EFFECTS_BYTES_MAX, check_effects, each_row(check_effects), _TWO,
    no_fee, no_fee_rows, PairedRule(Verdict.BAD_EFFECTS), submitted=False,
)  # fmt: skip

KINDS: dict[int, Kind] = {kind.number: kind for kind in (TRANSFER, DEPLOY, CALL, GOVERNED, EFFECTS)}
"""By number. Filled here, at import, and nowhere else."""
