"""State that costs nothing to make, as strangers would make it, against mempool, transition and tree."""

from __future__ import annotations

import numpy as np
import pytest

from actors.ledger.delta import AccountStates
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices, first_nonce
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.ledger.verdict import Verdict
from actors.mempool.pool import Pool, PoolBounds
from actors.storage.accounts import Accounts, funded
from actors.storage.state import State

PRICES = Prices(fee_min=1, balance_min=10)
TAG = 7
PROPOSER = b"p" * 32


def numbered(count: int, first: int = 0) -> np.ndarray:
    """(count, 32) distinct keys."""
    keys = np.zeros((count, 4), dtype=np.uint64)
    keys[:, 1] = np.arange(first + 1, first + 1 + count)
    return keys.view(np.uint8).reshape(-1, 32)


def transfers(senders: np.ndarray, recipients: np.ndarray, amount: int, fee: int, nonce: object = 0) -> Batch:
    rows = np.zeros(len(recipients), dtype=ROW_DTYPE)
    rows["version"] = rows["kind"] = 1
    rows["chain_tag"], rows["expiry_height"] = TAG, 2**64 - 1
    rows["amount"], rows["fee"], rows["nonce"] = amount, fee, nonce
    rows["sender"], rows["recipient"] = senders, recipients
    return Batch(rows, np.empty(0, dtype=np.uint8))


def state_of(keys: np.ndarray, balance: int) -> State:
    accounts = Accounts(16, 1)
    balances = np.full(len(keys), balance, dtype=np.uint64)
    accounts.put(funded(keys, balances))
    return State(accounts, 0)


def execute(state: State, batch: Batch) -> np.ndarray:
    """Verdicts of the rows of the next block, which is committed without those that fail."""
    done = state.execute(batch, Environment(TAG, state.height + 1, PROPOSER, PRICES), False, lambda: 0)
    state.commit()
    return done.verdicts


@pytest.mark.parametrize("fee", [0, 1])
def test_transfers_of_nothing_from_nobody_are_taken_nowhere(fee: int) -> None:
    """60,000 of these once made 60,000 accounts for good."""
    batch = transfers(numbered(60_000), numbered(60_000, 100_000), amount=0, fee=fee)
    pool = Pool(PoolBounds(100_000, 1_000, 64), TAG, 1, PRICES)
    verdicts = pool.static(batch)
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts)
    assert set(verdicts) == {Verdict.INSUFFICIENT_BALANCE if fee else Verdict.FEE_BELOW_MINIMUM}
    assert pool.depth == 0
    assert pool.memory()["sender_bytes"] < 1 << 20
    state = state_of(numbered(1, 500_000), 1_000)
    root, slots = state.tree.root, state.accounts.count
    assert execute(state, batch).all()
    assert (state.tree.root, state.accounts.count) == (root, slots)


def test_what_the_funded_make_costs_a_deposit_each() -> None:
    """One who pays fees can make accounts, but no more than there are deposits."""
    rich = numbered(1)
    state = state_of(rich, 1_000)
    batch = transfers(rich, numbered(200, 10), amount=1, fee=1, nonce=np.arange(200))
    verdicts = execute(state, batch)
    assert set(verdicts) == {Verdict.RECIPIENT_BELOW_MINIMUM, Verdict.NONCE_GAP}
    batch = transfers(rich, numbered(200, 10), amount=PRICES.balance_min, fee=1, nonce=np.arange(200))
    passed = int((execute(state, batch) == 0).sum())
    assert 80 <= passed <= 1_000 // PRICES.balance_min
    assert state.committed_existing() <= 1_000 // PRICES.balance_min + 2
    assert state.committed_supply() == 1_000


def test_a_deposit_that_wanders_leaves_no_leaf_behind() -> None:
    """The same deposit through 300 accounts, one after the other: one of them exists at a time."""
    keys = numbered(301)
    state = state_of(keys[:1], 1_000)
    for number in range(300):
        height = state.height + 1
        nonce = first_nonce(height - 1) if number else 0
        left = 1_000 - number
        batch = transfers(keys[number : number + 1], keys[number + 1 : number + 2], left - 1, 1, nonce)
        assert not execute(state, batch).any()
        assert state.committed_existing() == 2
    assert state.committed_supply() == 1_000
    assert len(state.tree.locate(bytes(32))[0]) <= 1


def test_the_row_that_emptied_an_account_never_empties_it_again() -> None:
    alice, bob = numbered(2)[:1], numbered(2)[1:]
    state = state_of(np.concatenate((alice, bob)), 1_000)
    emptying = transfers(alice, bob, amount=999, fee=1)
    assert not execute(state, emptying).any()
    assert not execute(state, transfers(bob, alice, amount=1_000, fee=1)).any()
    assert state.committed_account(alice.tobytes()) == (2, first_nonce(2), 1_000)
    assert list(execute(state, emptying)) == [Verdict.NONCE_REUSED]
    assert state.committed_account(alice.tobytes())[2] == 1_000


def test_a_mempool_lets_go_of_all_that_a_removed_account_sent() -> None:
    alice, bob = numbered(2)[:1], numbered(2)[1:]
    pool = Pool(PoolBounds(100, 10, 64), TAG, 1, PRICES)
    one = np.ones(1, dtype=np.uint64)
    pool.settle(AccountStates(1, alice, one - one, one * np.uint64(1_000)))
    batch = transfers(alice, bob.repeat(5, axis=0), amount=10, fee=1, nonce=np.arange(5))
    verdicts = pool.static(batch)
    pool.insert(batch, verdicts)
    assert not verdicts.any()
    drawn = pool.draw(2, 1_000, 2)
    assert len(drawn.batch) == 2
    # The first row was committed, and then the account emptied elsewhere.
    pool.settle(AccountStates(2, alice, one, one - one))
    assert (pool.depth, pool.inflight, pool.committed) == (0, 0, 1)
    rows, lost = pool.take_lost()
    assert set(lost) == {Verdict.INSUFFICIENT_BALANCE}
    assert sorted(rows["nonce"]) == [1, 2, 3, 4]
    pool.resolve(drawn.draw, np.zeros(2, dtype=np.uint8))
    again = transfers(alice, np.concatenate((bob, bob)), amount=10, fee=1, nonce=np.arange(2))
    verdicts = pool.static(again)
    pool.screen(again, verdicts)
    assert list(verdicts) == [Verdict.NONCE_REUSED, Verdict.INSUFFICIENT_BALANCE]
    pool.settle(AccountStates(3, alice, one * np.uint64(first_nonce(3)), one * np.uint64(100)))
    batch = transfers(alice, bob, amount=10, fee=1, nonce=first_nonce(3))
    verdicts = pool.static(batch)
    pool.insert(batch, verdicts)
    assert (pool.depth, list(verdicts)) == (1, [Verdict.OK])


def test_a_mempool_says_at_once_that_a_transfer_would_leave_too_little() -> None:
    alice, bob = numbered(2)[:1], numbered(2)[1:]
    pool = Pool(PoolBounds(100, 10, 64), TAG, 1, PRICES)
    one = np.ones(1, dtype=np.uint64)
    pool.settle(AccountStates(1, alice, one - one, one * np.uint64(100)))
    for amount, verdict in ((95, Verdict.SENDER_BELOW_MINIMUM), (99, Verdict.OK), (89, Verdict.OK)):
        batch = transfers(alice, bob, amount=amount, fee=1)
        verdicts = pool.static(batch)
        pool.screen(batch, verdicts)
        assert list(verdicts) == [verdict]
