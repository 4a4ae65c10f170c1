"""The compiled transition equals the plain rules on adversarial batches, and undo restores exactly."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger import rules
from actors.ledger.accounts import U64_MAX, Account, State, account_at, supply, unpack
from actors.ledger.environment import Environment
from actors.ledger.prices import FREE, Prices, first_nonce
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from actors.storage import transition
from actors.storage.accounts import Accounts
from tests.storage.storage_batches import CHAIN_TAG, Row, accounts_of, batch_of, key, state_of

Both: TypeAlias = tuple[rules.Outcome, transition.Applied, State, Accounts]
Step: TypeAlias = tuple[int, int, int | None, int, bool]
HEIGHT = 10
KEYS = [key(i) for i in range(6)]
FIRST = first_nonce(HEIGHT)
edges = st.sampled_from([0, 1, 2, 3, 5, U64_MAX, U64_MAX - 1, U64_MAX // 2, U64_MAX // 2 + 1])
row = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(KEYS),
        "recipient": st.sampled_from(KEYS),
        "nonce": st.sampled_from([0, 0, 0, 1, 1, 2, 3, FIRST, FIRST, FIRST + 1, U64_MAX - 1, U64_MAX]),
        "amount": st.one_of(edges, st.integers(0, 4)),
        "fee": st.one_of(st.integers(0, 2), edges),
        "expiry_height": st.sampled_from([HEIGHT - 1, HEIGHT, HEIGHT + 1, U64_MAX, U64_MAX]),
        "version": st.sampled_from([1] * 12 + [0]),
        "kind": st.sampled_from([1] * 12 + [2]),
        "flags": st.sampled_from([0] * 12 + [1]),
    }
)
account = st.builds(Account, st.sampled_from([0, 0, 1, U64_MAX - 1]), st.one_of(edges, st.integers(0, 9)))
any_prices = st.builds(Prices, st.integers(0, 2), st.integers(1, 5))
states = st.dictionaries(st.sampled_from(KEYS), account.filter(lambda a: a.balance > 0), max_size=6)


def run_both(state: State, batch: Batch, proposer: bytes, prices: Prices = FREE) -> Both | None:
    """Outcome of the rules and of the twin on equal states; None if they overflow, both of them."""
    plain, columns = copy.deepcopy(state), accounts_of(state)
    try:
        outcome = rules.apply_batch(plain, batch, Environment(CHAIN_TAG, HEIGHT, proposer, prices))
    except OverflowError:
        with pytest.raises(OverflowError):
            transition.apply_batch(columns, batch, Environment(CHAIN_TAG, HEIGHT, proposer, prices))
        assert state_of(columns) == state
        return None
    applied = transition.apply_batch(columns, batch, Environment(CHAIN_TAG, HEIGHT, proposer, prices))
    return outcome, applied, plain, columns


def both(state: State, batch: Batch, proposer: bytes, prices: Prices = FREE) -> Both:
    """The same where nothing overflows."""
    ran = run_both(state, batch, proposer, prices)
    assert ran is not None
    return ran


@settings(max_examples=50, deadline=None)
@given(states, st.lists(row, max_size=12), st.sampled_from(KEYS), any_prices)
def test_equals_the_rules_on_adversarial_batches(
    state: State, rows: list[Row], proposer: bytes, prices: Prices
) -> None:
    batch = batch_of(rows)
    ran = run_both(state, batch, proposer, prices)
    if ran is None:
        return
    outcome, applied, plain, columns = ran
    assert applied.verdicts.tolist() == outcome.verdicts
    assert applied.receipts.tobytes() == b"".join(outcome.receipts)
    assert applied.fees == outcome.fees
    assert state_of(columns) == plain
    table = columns.index.table.copy()
    transition.undo_batch(columns, applied.undo)
    assert state_of(columns) == state
    columns.index.rebuild()
    again = transition.apply_batch(columns, batch, Environment(CHAIN_TAG, HEIGHT, proposer, prices))
    assert state_of(columns) == plain
    assert np.array_equal(again.verdicts, applied.verdicts)
    assert np.array_equal(columns.index.table, table)


@settings(max_examples=40, deadline=None)
@given(states, st.lists(st.lists(row, max_size=6), min_size=1, max_size=4), st.sampled_from(KEYS), any_prices)
def test_blocks_undone_last_first_restore_every_state_between(
    state: State, blocks: list[list[Row]], proposer: bytes, prices: Prices
) -> None:
    columns, undone = accounts_of(state), []
    for rows in blocks:
        before = state_of(columns)
        try:
            applied = transition.apply_batch(
                columns, batch_of(rows), Environment(CHAIN_TAG, HEIGHT, proposer, prices)
            )
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


def chain(links: int) -> list[Row]:
    """Account i pays everything to i + 1, which exists only through that payment."""
    return [
        {"sender": key(i), "recipient": key(i + 1), "amount": 50, "nonce": FIRST if i else 0}
        for i in range(links)
    ]


def test_a_chain_of_dependent_spends_passes_in_order_only() -> None:
    state = {key(0): Account(0, 50)}
    outcome, applied, plain, columns = both(state, batch_of(chain(5)), key(9))
    assert applied.verdicts.tolist() == [0] * 5 == outcome.verdicts
    assert state_of(columns) == plain
    assert plain == {key(5): Account(FIRST, 50)}
    _, backwards, _, _ = both(state, batch_of(reversed(chain(5))), key(9))
    assert backwards.verdicts.tolist() == [Verdict.INSUFFICIENT_BALANCE] * 4 + [0]


def test_nothing_sent_by_nobody_is_refused() -> None:
    rows: list[Row] = [
        {"sender": key(1), "recipient": key(2), "nonce": nonce} for nonce in (0, FIRST, FIRST + 1)
    ]
    _, applied, plain, columns = both({}, batch_of(rows), key(9))
    assert applied.verdicts.tolist() == [Verdict.NONCE_REUSED] + 2 * [Verdict.INSUFFICIENT_BALANCE]
    assert state_of(columns) == plain == {}


def test_fees_reach_the_proposer_after_the_last_row() -> None:
    state = {key(1): Account(0, 10)}
    rows: list[Row] = [
        {"sender": key(1), "recipient": key(2), "amount": 1, "fee": 5},
        {"sender": key(9), "recipient": key(2), "amount": 5, "nonce": FIRST},
    ]
    _, applied, _, columns = both(state, batch_of(rows), key(9))
    assert applied.verdicts.tolist() == [0, Verdict.INSUFFICIENT_BALANCE]
    assert state_of(columns)[key(9)] == Account(FIRST, 5)


def test_growth_inside_many_blocks_is_undone_exactly() -> None:
    state = {key(0): Account(0, 10_000)}
    columns, logs = accounts_of(state), []
    for block in range(40):
        rows: list[Row] = [
            {"sender": key(0), "recipient": key(1 + 20 * block + i), "amount": 1, "nonce": 20 * block + i}
            for i in range(20)
        ]
        logs.append(
            transition.apply_batch(columns, batch_of(rows), Environment(CHAIN_TAG, HEIGHT, key(0), FREE)).undo
        )
    assert columns.count == 801
    for log in reversed(logs):
        transition.undo_batch(columns, log)
    assert state_of(columns) == state
    assert (columns.index.table >= 0).sum() == 1


def waves_of(rows: Sequence[Row]) -> list[int]:
    """The wave of each row by definition: one more than the latest earlier row that shares an account."""
    waves: list[int] = []
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
def test_conflicts_are_counted_as_the_definition_says(
    pairs: list[tuple[bytes, bytes]], proposer: bytes
) -> None:
    state = {each: Account(0, 1000) for each in KEYS}
    rows: list[Row] = []
    nonces = dict.fromkeys(KEYS, 0)
    for sender, recipient in pairs:
        rows.append({"sender": sender, "recipient": recipient, "amount": 1, "nonce": nonces[sender]})
        nonces[sender] += 1
    columns = accounts_of(state)
    applied = transition.apply_batch(columns, batch_of(rows), Environment(CHAIN_TAG, HEIGHT, proposer, FREE))
    waves = waves_of(rows)
    alone = sum(waves.count(wave) == 1 for wave in set(waves))
    assert applied.conflicts == transition.Conflicts(len(rows) - alone, alone, max(waves, default=0))
    assert not columns.waves.any()


def test_a_hot_account_leaves_nothing_to_run_beside_it() -> None:
    state = {key(i): Account(0, 50) for i in range(30)}
    rows: list[Row] = [{"sender": key(i), "recipient": key(99), "amount": 1} for i in range(30)]
    applied = transition.apply_batch(
        accounts_of(state), batch_of(rows), Environment(CHAIN_TAG, HEIGHT, key(0), FREE)
    )
    assert applied.conflicts == transition.Conflicts(0, 30, 30)


def histories() -> st.SearchStrategy[list[list[Step]]]:
    """Blocks of rows: (sender, recipient, amount or None for all, fee, whether its nonce was used before)."""
    amount = st.one_of(st.integers(0, 12), st.none())
    party = st.integers(0, 4)
    one = st.tuples(party, party, amount, st.integers(0, 3), st.sampled_from([False] * 5 + [True]))
    return st.lists(st.lists(one, max_size=8), min_size=1, max_size=12)


def rows_of_history(state: State, block: list[Step], height: int, used: list[Row]) -> list[Row]:
    """The rows of a block, each as if those before it passed; some repeat an earlier row as it was."""
    preview = copy.deepcopy(state)
    rows: list[Row] = []
    for sender, recipient, amount, fee, again in block:
        if again and used:
            rows.append(used[(sender + recipient) % len(used)])
            continue
        held = account_at(preview, KEYS[sender], height)
        sent = max(held.balance - fee, 0) if amount is None else amount
        fields = {"amount": sent, "fee": fee, "nonce": held.nonce}
        rows.append({"sender": KEYS[sender], "recipient": KEYS[recipient], **fields})
        for tx in unpack(batch_of(rows[-1:])):
            rules.apply_transaction(preview, tx, Environment(CHAIN_TAG, height, bytes(32), Prices(0, 1)))
    return rows


@settings(max_examples=80, deadline=None)
@given(histories(), st.builds(Prices, st.integers(0, 2), st.integers(1, 6)), st.integers(0, 5))
def test_accounts_come_and_go_alike_and_no_signed_row_passes_twice(
    blocks: list[list[Step]], prices: Prices, proposer: int
) -> None:
    """The oracle, the twin and its undo, over histories that make, empty and make again the same accounts."""
    state = {KEYS[0]: Account(0, 40), KEYS[1]: Account(0, 25)}
    columns, total = accounts_of(state), 65
    passed: set[tuple[tuple[str, int | bytes], ...]] = set()
    for height, block in enumerate(blocks, start=1):
        rows = rows_of_history(state, block, height, [dict(row) for row in sorted(passed, key=str)])
        batch, before = batch_of(rows), copy.deepcopy(state)
        outcome = rules.apply_batch(state, batch, Environment(CHAIN_TAG, height, KEYS[proposer], prices))
        applied = transition.apply_batch(
            columns, batch, Environment(CHAIN_TAG, height, KEYS[proposer], prices)
        )
        assert applied.verdicts.tolist() == outcome.verdicts
        assert applied.receipts.tobytes() == b"".join(outcome.receipts)
        assert state_of(columns) == state
        assert supply(state) == total
        below = [k for k, account in state.items() if account.balance < prices.balance_min]
        assert set(below) <= {KEYS[proposer]}
        for row, verdict in zip(rows, outcome.verdicts, strict=True):
            if verdict == Verdict.OK:
                signed = tuple(sorted(row.items()))
                assert signed not in passed
                passed.add(signed)
        transition.undo_batch(columns, applied.undo)
        assert state_of(columns) == before
        transition.apply_batch(columns, batch, Environment(CHAIN_TAG, height, KEYS[proposer], prices))
        assert state_of(columns) == state


def test_what_is_below_the_minimum_is_refused_and_says_which_side() -> None:
    prices, state = Prices(1, 10), {key(0): Account(0, 100), key(1): Account(0, 10)}

    def verdict(sender: int, recipient: int, amount: int, fee: int = 1) -> int:
        rows: list[Row] = [{"sender": key(sender), "recipient": key(recipient), "amount": amount, "fee": fee}]
        outcome, applied, _, _ = both(state, batch_of(rows), key(9), prices)
        assert applied.verdicts.tolist() == outcome.verdicts
        return outcome.verdicts[0]

    assert verdict(0, 1, 5, fee=0) == Verdict.FEE_BELOW_MINIMUM
    assert verdict(0, 2, 9) == Verdict.RECIPIENT_BELOW_MINIMUM
    assert verdict(0, 2, 0) == Verdict.RECIPIENT_BELOW_MINIMUM
    assert verdict(0, 2, 10) == Verdict.OK
    assert verdict(0, 1, 90) == Verdict.SENDER_BELOW_MINIMUM
    assert verdict(0, 1, 89) == Verdict.OK
    assert verdict(0, 1, 99) == Verdict.OK
    assert verdict(1, 1, 0) == Verdict.SENDER_BELOW_MINIMUM
    assert verdict(1, 1, 0, fee=10) == Verdict.OK
    assert verdict(1, 0, 9) == Verdict.OK


def test_an_account_made_twice_in_a_block_goes_on_with_its_nonces() -> None:
    """Otherwise the row that emptied it the first time could empty it again."""
    state = {key(0): Account(0, 100)}
    rows: list[Row] = [
        {"sender": key(0), "recipient": key(1), "amount": 20},
        {"sender": key(1), "recipient": key(0), "amount": 20, "nonce": FIRST},
        {"sender": key(0), "recipient": key(1), "amount": 20, "nonce": 1},
        {"sender": key(1), "recipient": key(0), "amount": 20, "nonce": FIRST},
        {"sender": key(1), "recipient": key(0), "amount": 20, "nonce": FIRST + 1},
    ]
    outcome, applied, plain, columns = both(state, batch_of(rows), key(9))
    assert applied.verdicts.tolist() == outcome.verdicts == [0, 0, 0, Verdict.NONCE_REUSED, 0]
    assert state_of(columns) == plain == {key(0): Account(2, 100)}
