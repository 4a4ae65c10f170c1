"""A kind that only these tests have, from the mempool to a proof: what the seam of kinds promises.

A `half` sends half of its amount, rounded down, needs a payload and costs twice the least fee.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.ledger import merkle, rules, smt
from actors.ledger.accounts import Account, State, Transaction, state_root, unpack
from actors.ledger.checks import static_verdicts
from actors.ledger.delta import AccountStates
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256_rows
from actors.ledger.kinds import KINDS, TRANSFER, CompiledRule, Kind
from actors.ledger.prices import FREE, Prices
from actors.ledger.rows import (
    PAYLOAD_BYTES_MAX,
    WORD_AMOUNT,
    Batch,
)
from actors.ledger.transfer import apply_transfer
from actors.ledger.transfer_columns import run_transfers
from actors.ledger.verdict import Verdict
from actors.mempool.pool import Pool, PoolBounds
from actors.storage.interface import Execute
from actors.storage.proofs import prove
from actors.storage.transition import apply_batch
from tests.ledger.contract_transactions import batch_of_fields
from tests.storage.storage_batches import accounts_of, key, state_of
from tests.storage.storage_network import BALANCE, SIGNER, Driver, done, make_genesis, open_chain

HALF = 9
TAG, HEIGHT, PRICES = 77, 10, Prices(1, 5)
KEYS = [key(i) for i in range(4)]


def check(tx: Transaction) -> Verdict:
    return Verdict.OK if tx.payload else Verdict.BAD_PAYLOAD


def check_rows(batch: Batch) -> NDArray[np.uint8]:
    return np.where(batch.rows["payload_bytes"] > 0, Verdict.OK, Verdict.BAD_PAYLOAD).astype(np.uint8)


def fee_min(tx: Transaction, prices: Prices) -> int:
    return 2 * prices.fee_min


def fee_min_rows(batch: Batch, prices: Prices) -> NDArray[np.uint64]:
    return np.full(len(batch), 2 * prices.fee_min, dtype=np.uint64)


def apply_half(state: State, tx: Transaction, env: Environment) -> Verdict:
    return apply_transfer(state, replace(tx, amount=tx.amount // 2), env)


def run_halves(c: Any, words: Any, verdicts: Any, homes: Any, first_nonce: Any, balance_min: Any) -> None:
    halved = words.copy()
    halved[:, WORD_AMOUNT] //= np.uint64(2)
    run_transfers(c, halved, verdicts, homes, first_nonce, balance_min)


TOY = Kind(
    HALF,
    "half",
    PAYLOAD_BYTES_MAX,
    check,
    check_rows,
    TRANSFER.touches,
    fee_min,
    fee_min_rows,
    CompiledRule(apply_half, run_halves),
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, HALF, TOY)


def batch_of(rows: list[dict[str, Any]], chain_tag: int = TAG) -> Batch:
    return batch_of_fields(rows, chain_tag)


def half(sender: int, recipient: int, amount: int, **fields: Any) -> dict[str, Any]:
    parties = {"sender": key(sender), "recipient": key(recipient)}
    return {"kind": HALF, "amount": amount, "fee": 2, "payload": b"half", **parties, **fields}


any_row = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([1, 1, HALF, HALF, HALF, 8]),
        "sender": st.sampled_from(KEYS),
        "recipient": st.sampled_from(KEYS),
        "nonce": st.sampled_from([0, 0, 1, 1, 2, 3]),
        "amount": st.integers(0, 30),
        "fee": st.integers(0, 3),
        "payload": st.sampled_from([b"", b"x", b"longer"]),
    }
)
any_state = st.dictionaries(st.sampled_from(KEYS), st.builds(Account, st.integers(0, 1), st.integers(5, 60)))


@given(any_state, st.lists(any_row, max_size=14))
def test_both_twins_execute_mixed_kinds_alike(state: State, rows: list[dict[str, Any]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, HALF, TOY)
        batch, plain, columns = batch_of(rows), copy.deepcopy(state), accounts_of(state)
        outcome = rules.apply_batch(plain, batch, Environment(TAG, HEIGHT, KEYS[0], PRICES))
        applied = apply_batch(columns, batch, Environment(TAG, HEIGHT, KEYS[0], PRICES))
    assert applied.verdicts.tolist() == outcome.verdicts
    assert applied.receipts.tobytes() == b"".join(outcome.receipts)
    assert applied.fees == outcome.fees
    assert state_of(columns) == plain


@given(st.lists(any_row, max_size=14), st.booleans())
def test_static_checks_of_one_row_and_of_all_agree(rows: list[dict[str, Any]], known: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if known:
            patch.setitem(KINDS, HALF, TOY)
        batch = batch_of(rows)
        env = Environment(TAG, HEIGHT, KEYS[0], PRICES)
        expected = [rules.static_verdict(tx, env) for tx in unpack(batch)]
        assert static_verdicts(batch, TAG, HEIGHT, PRICES).tolist() == expected
    assert known or all(
        v == Verdict.UNKNOWN_KIND for v, row in zip(expected, rows, strict=True) if row["kind"] != 1
    )


def admitted(rows: list[dict[str, Any]]) -> list[Verdict]:
    pool = Pool(PoolBounds(16, 4, 16), TAG, seed=1, prices=PRICES)
    keys = np.frombuffer(b"".join(KEYS), dtype=np.uint8).reshape(-1, 32)
    pool.settle(AccountStates(1, keys, np.zeros(4, np.uint64), np.full(4, 100, np.uint64)))
    batch = batch_of(rows)
    verdicts = pool.static(batch)
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts)
    assert len(pool.draw(16, 1 << 20, 2).batch) == verdicts.tolist().count(Verdict.OK)
    return [Verdict(int(verdict)) for verdict in verdicts]


@pytest.mark.usefixtures("registered")
def test_a_registered_kind_is_admitted_by_its_own_checks_and_fee() -> None:
    rows = [half(0, 1, 20), half(1, 0, 20, payload=b""), half(2, 0, 20, fee=1), half(3, 0, 98)]
    assert admitted(rows) == [Verdict.OK, Verdict.BAD_PAYLOAD, Verdict.FEE_BELOW_MINIMUM, Verdict.OK]


def test_a_kind_that_is_not_registered_is_refused_everywhere() -> None:
    state = {KEYS[0]: Account(0, 50)}
    batch, columns = batch_of([half(0, 1, 20)]), accounts_of(state)
    assert admitted([half(0, 1, 20)]) == [Verdict.UNKNOWN_KIND]
    applied = apply_batch(columns, batch, Environment(TAG, HEIGHT, KEYS[3], PRICES))
    assert applied.verdicts.tolist() == [Verdict.UNKNOWN_KIND]
    assert state_of(columns) == state
    assert rules.apply_batch(state, batch, Environment(TAG, HEIGHT, KEYS[3], PRICES)).verdicts == [
        Verdict.UNKNOWN_KIND
    ]


@pytest.mark.usefixtures("registered")
def test_what_a_registered_kind_did_is_in_the_roots_and_can_be_proven(tmp_path: Path) -> None:
    genesis, allocation = make_genesis(len(KEYS))
    chain = open_chain(tmp_path / "db", genesis, allocation)
    try:
        driver, batch = Driver(chain, len(KEYS)), batch_of([half(0, 1, 41)], genesis.chain_tag)
        executed = done(chain.execute(driver.epoch, Execute(1, True, SIGNER.public_key), batch))
        driver.persist(executed)
        state: State = {each: Account(0, BALANCE) for each in KEYS}
        rules.apply_batch(state, batch, Environment(genesis.chain_tag, 1, SIGNER.public_key, FREE))
        assert state[KEYS[1]].balance == BALANCE + 20
        assert executed.state_root == state_root(state)
        proven = prove(chain.state, KEYS[1], 1)
        assert smt.verify(executed.state_root, KEYS[1], state[KEYS[1]].encode(), proven.proof)
        leaves = batch.ids(sha256_rows)
        path = merkle.inclusion_proof(leaves, 0)
        assert merkle.verify_inclusion(leaves[0].tobytes(), 0, 1, path, merkle.root(leaves))
    finally:
        chain.disk.close()
