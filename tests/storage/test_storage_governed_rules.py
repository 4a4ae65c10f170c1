"""Blocks of governed functions in both state transitions: columns equal the plain rules, undo restores."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import rules
from actors.ledger.accounts import Account, State, state_root, supply
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.effects import BalanceEffects
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256, sha256_rows
from actors.ledger.prices import Prices
from actors.ledger.receipt_columns import ReceiptColumns
from actors.ledger.receipts import RECEIPT_BYTES
from actors.ledger.rows import KIND_EFFECTS, Batch, concatenate
from actors.ledger.verdict import Verdict
from actors.storage.state import build_tree
from actors.storage.transition import apply_batch, undo_batch
from tests.ledger.governed_blocks import (
    GOVERNORS,
    effects_of,
    function_row,
    payload_of,
    statement,
    with_effects,
)
from tests.storage.storage_batches import accounts_of, batch_of, entries_of, key, state_of

TAG, PRICES, HEIGHT = 77, Prices(1, 5), 3
KEYS = sorted(key(number) for number in range(8))
SENDER, TREASURY, PROPOSER = key(0), key(1), key(2)
START: State = {one: Account(7 if one == SENDER else 0, 1_000) for one in KEYS}
ENTRIES = {b"entry\0\0\0" + b"x" * 24: b"value"}
ENV = Environment(TAG, HEIGHT, PROPOSER, PRICES, 5, GOVERNORS)


def both(state: State, batch: Batch) -> rules.Outcome:
    """Apply by the plain rules, to `state`, and hold the columns against them."""
    columns, before = accounts_of(state, entries=ENTRIES), copy.deepcopy(state)
    applied = apply_batch(columns, batch, ENV)
    outcome = rules.apply_batch(state, batch, ENV, dict(ENTRIES))
    assert applied.verdicts.tolist() == outcome.verdicts
    assert applied.fees == outcome.fees
    assert state_of(columns) == state
    receipts = ReceiptColumns(applied.receipts.view("u1").reshape(-1, RECEIPT_BYTES), applied.outputs)
    assert receipts.root(sha256_rows) == rules.receipts_root(outcome.receipts)
    assert build_tree(columns.columns()).root == state_root(state, ENTRIES)
    assert supply(state) == supply(before)
    undo_batch(columns, applied.undo)
    assert state_of(columns) == before
    assert entries_of(columns) == ENTRIES
    assert not columns.waves.any()
    return outcome


def block(effects: BalanceEffects | bytes, **fields: Any) -> Batch:
    said = statement(TAG, SENDER, fields.pop("treasury", TREASURY), fields.pop("nonce", 7))
    function = function_row(said, **fields.pop("function", {}))
    return with_effects(function, fields.pop("proposer", PROPOSER), effects, TAG, **fields)


def test_interest_is_paid_by_the_treasury() -> None:
    state = copy.deepcopy(START)
    effects = effects_of(dict.fromkeys(range(7), 10))
    batch = block(effects)
    outcome = both(state, batch)
    assert outcome.verdicts == [Verdict.OK, Verdict.OK]
    assert outcome.applied[0].results == sha256(effects.encode())
    assert state[TREASURY] == Account(0, 1_000 - 70)
    assert state[SENDER] == Account(8, 1_000 + 10 - 1)
    assert state[PROPOSER] == Account(0, 1_000 + 10 + 1)
    assert all(state[one].balance == 1_010 for one in KEYS if one not in (TREASURY, SENDER, PROPOSER))


ranks = st.integers(0, 8)
amounts = st.integers(-1_100, 1_100).filter(bool) | st.sampled_from([-(2**63), 2**63 - 1, 2**63 - 500])


@given(
    st.dictionaries(ranks, amounts, max_size=7),
    st.sampled_from([TREASURY, SENDER, PROPOSER, key(99), DEPOSITS_KEY]),
    st.sampled_from([7, 7, 7, 6, 8]),
    st.integers(0, 1_001),
    st.sampled_from([1_000, 5, 6, 2**64 - 6_100]),
)
def test_both_twins_apply_governed_blocks_alike(
    changes: dict[int, int], treasury: bytes, nonce: int, fee: int, riches: int
) -> None:
    state = copy.deepcopy(START)
    state[KEYS[4]] = Account(1, riches)
    state[DEPOSITS_KEY] = Account(0, 50)
    batch = block(effects_of(changes), treasury=treasury, nonce=nonce, function={"fee": fee})
    outcome = both(state, batch)
    assert outcome.verdicts in ([0, 0], [Verdict.NEEDS_EFFECTS, Verdict.BAD_EFFECTS]) or outcome.verdicts[0]


def test_neither_row_passes_without_the_other() -> None:
    good = block(effects_of({0: 10}))
    function, effects = good.take(np.array([0])), good.take(np.array([1]))
    transfer = batch_of([{"sender": SENDER, "recipient": TREASURY, "nonce": 7, "amount": 9, "fee": 1}], TAG)
    refused = [Verdict.NEEDS_EFFECTS, Verdict.BAD_EFFECTS]
    assert both(copy.deepcopy(START), function).verdicts == refused[:1]
    assert both(copy.deepcopy(START), effects).verdicts == refused[1:]
    assert both(copy.deepcopy(START), concatenate([effects, function])).verdicts == refused[::-1]
    assert both(copy.deepcopy(START), concatenate([good, transfer])).verdicts == [*refused, Verdict.OK]
    assert both(copy.deepcopy(START), concatenate([transfer, good])).verdicts == [Verdict.OK, *refused]


def test_effects_are_those_of_the_proposer_and_of_this_function() -> None:
    refused = [Verdict.NEEDS_EFFECTS, Verdict.BAD_EFFECTS]
    for bad in (
        block(effects_of({0: 10}), proposer=SENDER),
        block(effects_of({0: 10}), recipient=bytes(32)),
        block(b"nonsense"),
        block(effects_of({7: 10})),
        block(effects_of({0: -996})),
        block(effects_of({0: 996})),
        block(effects_of({0: 10}), fee=1),
        block(effects_of({0: 10}), amount=1),
    ):
        assert both(copy.deepcopy(START), bad).verdicts == refused
    unsigned = function_row(
        statement(TAG, SENDER, TREASURY, 7), payload_of(statement(TAG, SENDER, TREASURY, 6))
    )
    outcome = both(copy.deepcopy(START), with_effects(unsigned, PROPOSER, effects_of({0: 1}), TAG))
    assert outcome.verdicts == [Verdict.NOT_APPROVED, Verdict.BAD_EFFECTS]
    assert int(with_effects(unsigned, PROPOSER, b"", TAG).rows["kind"][1]) == KIND_EFFECTS


def test_no_change_is_an_effect_too() -> None:
    state = copy.deepcopy(START)
    assert both(state, block(effects_of({}))).verdicts == [Verdict.OK, Verdict.OK]
    assert state[SENDER] == Account(8, 999)
