"""The serial rules themselves, by example and by invariant; and the key index."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import rules
from actors.ledger.accounts import Account, State, supply
from actors.ledger.environment import Environment
from actors.ledger.index import KeyIndex, key_words
from actors.ledger.prices import FREE, first_nonce
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from tests.ledger.strategies import CHAIN_TAG, KEYS, RowPlan, batches, rows_of

A, B, PROPOSER = KEYS[0], KEYS[1], KEYS[7]
FIRST = first_nonce(1)


def transfer(nonce: int, amount: int, fee: int = 0, sender: bytes = A, recipient: bytes = B) -> RowPlan:
    return RowPlan(1, 1, 0, CHAIN_TAG, nonce, amount, fee, 2**64 - 1, sender, recipient)


def apply(state: State, *plans: RowPlan) -> rules.Outcome:
    return rules.apply_batch(state, rows_of(list(plans)), Environment(CHAIN_TAG, 1, PROPOSER))


def test_a_transfer_moves_the_amount_and_pays_the_fee_to_the_proposer() -> None:
    state = {A: Account(0, 10)}
    outcome = apply(state, transfer(0, 6, 1))
    assert outcome.verdicts == [Verdict.OK]
    assert state == {A: Account(1, 3), B: Account(FIRST, 6), PROPOSER: Account(FIRST, 1)}


def test_each_refusal_leaves_the_state_alone() -> None:
    for plan, verdict in (
        (transfer(4, 1), Verdict.NONCE_REUSED),
        (transfer(6, 1), Verdict.NONCE_GAP),
        (transfer(5, 11), Verdict.INSUFFICIENT_BALANCE),
        (transfer(5, 10, 1), Verdict.INSUFFICIENT_BALANCE),
        (transfer(5, 5, recipient=KEYS[2]), Verdict.BALANCE_OVERFLOW),
        (transfer(0, 1, sender=KEYS[3]), Verdict.NONCE_REUSED),
        (transfer(FIRST, 1, sender=KEYS[3]), Verdict.INSUFFICIENT_BALANCE),
    ):
        state = {A: Account(5, 10), KEYS[2]: Account(0, 2**64 - 3)}
        before = dict(state)
        assert apply(state, plan).verdicts == [verdict]
        assert state == before


def test_a_self_transfer_costs_the_fee_and_a_nonce() -> None:
    state = {A: Account(0, 10)}
    apply(state, transfer(0, 10, recipient=A))
    assert state == {A: Account(1, 10)}


def test_an_account_cannot_be_made_of_nothing_and_one_that_is_emptied_is_gone() -> None:
    state = {A: Account(0, 1)}
    assert apply(state, transfer(0, 0)).verdicts == [Verdict.RECIPIENT_BELOW_MINIMUM]
    assert state == {A: Account(0, 1)}
    apply(state, transfer(0, 1))
    assert state == {B: Account(FIRST, 1)}


def test_chains_within_a_block_see_what_came_before() -> None:
    state = {A: Account(0, 5)}
    outcome = apply(state, transfer(0, 5), transfer(FIRST, 5, sender=B, recipient=KEYS[2]), transfer(1, 1))
    assert outcome.verdicts == [Verdict.OK, Verdict.OK, Verdict.NONCE_REUSED]
    assert state == {KEYS[2]: Account(FIRST, 5)}


small_states = st.dictionaries(
    st.sampled_from(KEYS), st.builds(Account, st.integers(0, 3), st.integers(0, 2**60)), max_size=8
)


@given(small_states, batches)
def test_supply_is_conserved_whatever_comes(state: State, batch: Batch) -> None:
    before = supply(state)
    outcome = rules.apply_batch(state, batch, Environment(CHAIN_TAG, 5, PROPOSER, FREE))
    assert supply(state) == before
    assert len(outcome.receipts) == outcome.verdicts.count(Verdict.OK)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=60), st.integers(0, 2**64 - 1))
def test_the_key_index_is_a_dictionary_in_order_of_insertion(keys: list[bytes], seed: int) -> None:
    index = KeyIndex(16, seed)
    expected: dict[bytes, int] = {}
    for at in range(0, len(keys), 7):
        part = keys[at : at + 7]
        words = key_words(np.frombuffer(b"".join(part), dtype=np.uint8).reshape(-1, 32))
        for key in part:
            expected.setdefault(key, len(expected))
        assert list(index.insert(words)) == [expected[key] for key in part]
    everything = np.frombuffer(b"".join([*keys, b"\xff" * 32]), dtype=np.uint8).reshape(-1, 32)
    found = index.find(key_words(everything))
    assert list(found) == [expected.get(key, -1) for key in [*keys, b"\xff" * 32]]
    assert index.count == len(expected)
    assert index.keys[: index.count].tobytes() == b"".join(expected)
