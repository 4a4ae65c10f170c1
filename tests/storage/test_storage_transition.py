"""The compiled transition equals the plain rules on adversarial batches, and undo restores exactly."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage_batches import CHAIN_TAG, accounts_of, batch_of, key, state_of

from actors.ledger import rules
from actors.ledger.rules import U64_MAX, Account
from actors.ledger.verdict import Verdict
from actors.storage import transition

HEIGHT = 10
KEYS = [key(i) for i in range(6)]
edges = st.sampled_from([0, 1, 2, 3, 5, U64_MAX, U64_MAX - 1, U64_MAX // 2, U64_MAX // 2 + 1])
row = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(KEYS),
        "recipient": st.sampled_from(KEYS),
        "nonce": st.sampled_from([0, 0, 0, 1, 1, 2, 3, U64_MAX - 1, U64_MAX]),
        "amount": st.one_of(edges, st.integers(0, 4)),
        "fee": st.one_of(st.integers(0, 2), edges),
        "expiry_height": st.sampled_from([HEIGHT - 1, HEIGHT, HEIGHT + 1, U64_MAX, U64_MAX]),
        "version": st.sampled_from([1] * 12 + [0]),
        "kind": st.sampled_from([1] * 12 + [2]),
        "flags": st.sampled_from([0] * 12 + [1]),
    }
)
account = st.builds(Account, st.sampled_from([0, 0, 1, U64_MAX - 1]), st.one_of(edges, st.integers(0, 9)))
states = st.dictionaries(st.sampled_from(KEYS), account.filter(lambda a: a != Account()), max_size=6)


def run_both(state, batch, proposer):
    """Outcome of the rules (None if they overflow) and of the twin on equal states."""
    plain, columns = copy.deepcopy(state), accounts_of(state)
    try:
        outcome = rules.apply_batch(plain, batch, CHAIN_TAG, HEIGHT, proposer)
    except OverflowError:
        with pytest.raises(OverflowError):
            transition.apply_batch(columns, batch, CHAIN_TAG, HEIGHT, proposer)
        assert state_of(columns) == state
        return None, None, plain, columns
    return outcome, transition.apply_batch(columns, batch, CHAIN_TAG, HEIGHT, proposer), plain, columns


@settings(max_examples=50, deadline=None)
@given(states, st.lists(row, max_size=12), st.sampled_from(KEYS))
def test_equals_the_rules_on_adversarial_batches(state, rows, proposer):
    batch = batch_of(rows)
    outcome, applied, plain, columns = run_both(state, batch, proposer)
    if outcome is None:
        return
    assert applied.verdicts.tolist() == outcome.verdicts
    assert applied.receipts.tobytes() == b"".join(outcome.receipts)
    assert applied.fees == outcome.fees
    assert state_of(columns) == plain
    table = columns.index.table.copy()
    transition.undo_batch(columns, applied.undo)
    assert state_of(columns) == state
    columns.index.rebuild()
    again = transition.apply_batch(columns, batch, CHAIN_TAG, HEIGHT, proposer)
    assert state_of(columns) == plain
    assert np.array_equal(again.verdicts, applied.verdicts)
    assert np.array_equal(columns.index.table, table)


@settings(max_examples=40, deadline=None)
@given(states, st.lists(st.lists(row, max_size=6), min_size=1, max_size=4), st.sampled_from(KEYS))
def test_blocks_undone_last_first_restore_every_state_between(state, blocks, proposer):
    columns, undone = accounts_of(state), []
    for rows in blocks:
        before = state_of(columns)
        try:
            applied = transition.apply_batch(columns, batch_of(rows), CHAIN_TAG, HEIGHT, proposer)
        except OverflowError:
            assert state_of(columns) == before
            continue
        undone.append((applied.undo, before))
    for undo, before in reversed(undone):
        transition.undo_batch(columns, undo)
        assert state_of(columns) == before
    assert not columns.nonces[columns.count :].any()
    assert not columns.balances[columns.count :].any()
    assert not columns.waves.any()


def chain(links):
    """Account i pays everything to i + 1, which exists only through that payment."""
    return [{"sender": key(i), "recipient": key(i + 1), "amount": 50} for i in range(links)]


def test_a_chain_of_dependent_spends_passes_in_order_only():
    state = {key(0): Account(0, 50)}
    outcome, applied, plain, columns = run_both(state, batch_of(chain(5)), key(9))
    assert applied.verdicts.tolist() == [0] * 5 == outcome.verdicts
    assert state_of(columns) == plain
    assert plain[key(5)] == Account(0, 50)
    _, backwards, _, _ = run_both(state, batch_of(reversed(chain(5))), key(9))
    assert backwards.verdicts.tolist() == [Verdict.INSUFFICIENT_BALANCE] * 4 + [0]


def test_nothing_sent_by_nobody_makes_the_sender_exist_and_not_the_recipient():
    _, applied, plain, columns = run_both({}, batch_of([{"sender": key(1), "recipient": key(2)}]), key(9))
    assert applied.verdicts.tolist() == [0]
    assert state_of(columns) == plain == {key(1): Account(1, 0)}


def test_fees_reach_the_proposer_after_the_last_row():
    state = {key(1): Account(0, 10)}
    rows = [
        {"sender": key(1), "recipient": key(2), "amount": 1, "fee": 5},
        {"sender": key(9), "recipient": key(2), "amount": 5},
    ]
    _, applied, _, columns = run_both(state, batch_of(rows), key(9))
    assert applied.verdicts.tolist() == [0, Verdict.INSUFFICIENT_BALANCE]
    assert state_of(columns)[key(9)] == Account(0, 5)


def test_growth_inside_many_blocks_is_undone_exactly():
    state = {key(0): Account(0, 10_000)}
    columns, logs = accounts_of(state), []
    for block in range(40):
        rows = [
            {"sender": key(0), "recipient": key(1 + 20 * block + i), "amount": 1, "nonce": 20 * block + i}
            for i in range(20)
        ]
        logs.append(transition.apply_batch(columns, batch_of(rows), CHAIN_TAG, HEIGHT, key(0)).undo)
    assert columns.count == 801
    for log in reversed(logs):
        transition.undo_batch(columns, log)
    assert state_of(columns) == state
    assert (columns.index.table >= 0).sum() == 1


def waves_of(rows):
    """The wave of each row by definition: one more than the latest earlier row that shares an account."""
    waves = []
    for i, mine in enumerate(rows):
        shared = [
            waves[j]
            for j, other in enumerate(rows[:i])
            if {mine["sender"], mine["recipient"]} & {other["sender"], other["recipient"]}
        ]
        waves.append(1 + max(shared, default=0))
    return waves


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)), max_size=14), st.sampled_from(KEYS))
def test_conflicts_are_counted_as_the_definition_says(pairs, proposer):
    state = {each: Account(0, 1000) for each in KEYS}
    rows, nonces = [], dict.fromkeys(KEYS, 0)
    for sender, recipient in pairs:
        rows.append({"sender": sender, "recipient": recipient, "amount": 1, "nonce": nonces[sender]})
        nonces[sender] += 1
    columns = accounts_of(state)
    applied = transition.apply_batch(columns, batch_of(rows), CHAIN_TAG, HEIGHT, proposer)
    waves = waves_of(rows)
    alone = sum(waves.count(wave) == 1 for wave in set(waves))
    assert applied.conflicts == transition.Conflicts(len(rows) - alone, alone, max(waves, default=0))
    assert not columns.waves.any()


def test_a_hot_account_leaves_nothing_to_run_beside_it():
    state = {key(i): Account(0, 50) for i in range(30)}
    rows = [{"sender": key(i), "recipient": key(99), "amount": 1} for i in range(30)]
    applied = transition.apply_batch(accounts_of(state), batch_of(rows), CHAIN_TAG, HEIGHT, key(0))
    assert applied.conflicts == transition.Conflicts(0, 30, 30)
