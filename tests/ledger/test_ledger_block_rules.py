"""The whole-block function: a block as its proposer makes it passes; what is changed in it is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.ledger import merkle, rules
from actors.ledger.accounts import Account, State, state_root, supply
from actors.ledger.block import Block, Header
from actors.ledger.environment import Environment
from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member
from actors.ledger.rows import Batch
from actors.ledger.succession import Parent, as_parent, genesis_as_parent
from tests.ledger.strategies import KEYS, RowPlan, rows_of

A, B, PROPOSER = KEYS[0], KEYS[1], KEYS[7]
BEFORE: State = {A: Account(0, 100)}
GENESIS = Genesis(
    version=GENESIS_VERSION,
    network="test",
    created_ms=1_000,
    members=[Member(name="a", identity=PROPOSER.hex())],
    accounts=len(BEFORE),
    supply=supply(BEFORE),
    state_root=state_root(BEFORE).hex(),
    block_transactions_max=3,
    block_payload_bytes_max=64,
    fee_min=0,
    balance_min=1,
)
FIRST = genesis_as_parent(GENESIS)


def batch_of(*amounts: int) -> Batch:
    """Transfers from A to B, the nonces in order."""
    plans = [
        RowPlan(1, 1, 0, GENESIS.chain_tag, nonce, amount, 1, 2**64 - 1, A, B)
        for nonce, amount in enumerate(amounts)
    ]
    return rows_of(plans)


def block_of(batch: Batch, parent: Parent = FIRST) -> Block:
    """What a correct proposer makes of these rows on BEFORE."""
    state, height = dict(BEFORE), parent.height + 1
    outcome = rules.apply_batch(
        state, batch, Environment(GENESIS.chain_tag, height, PROPOSER, GENESIS.prices)
    )
    header = Header(
        height=height,
        term=1,
        time_ms=parent.time_ms,
        transaction_count=len(batch),
        payload_bytes=len(batch.payloads),
        parent_hash=parent.hash,
        transaction_root=merkle.root(batch.ids()),
        state_root=state_root(state),
        receipts_root=rules.receipts_root(outcome.receipts),
        proposer=PROPOSER,
    )
    return Block(header, bytes(64), batch)


def test_a_proposers_block_applies() -> None:
    state, block = dict(BEFORE), block_of(batch_of(5, 6))
    outcome = rules.apply_block(state, FIRST, block, GENESIS)
    assert (outcome.fees, state_root(state)) == (2, block.header.state_root)
    assert as_parent(block.header) == Parent(1, block.header.hash(), 1_000)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"height": 2}, "height 2 does not follow 0"),
        ({"parent_hash": bytes(32)}, "its parent is"),
        ({"time_ms": 999}, "time 999 ms is before its parent's, 1000"),
        ({"proposer": A}, "the proposer is no member of the genesis"),
        ({"transaction_count": 1}, "it counts 1 transactions"),
        ({"payload_bytes": 1}, "it counts 2 transactions and 1 payload bytes"),
        ({"transaction_root": bytes(32)}, "transaction_root is 00"),
        ({"receipts_root": bytes(32)}, "receipts_root is 00"),
        ({"state_root": bytes(32)}, "state_root is 00"),
    ],
)
def test_what_is_changed_in_a_header_is_named(changes: dict[str, object], problem: str) -> None:
    block = block_of(batch_of(5, 6))
    false = Block(replace(block.header, **changes), block.signature, block.batch)  # type: ignore[arg-type]
    with pytest.raises(rules.InvalidBlockError, match=problem):
        rules.apply_block(dict(BEFORE), FIRST, false, GENESIS)


def test_a_block_with_a_row_that_fails_is_invalid() -> None:
    with pytest.raises(rules.InvalidBlockError, match="row 1 is INSUFFICIENT_BALANCE"):
        rules.apply_block(dict(BEFORE), FIRST, block_of(batch_of(5, 200)), GENESIS)


def test_a_block_beyond_the_bounds_of_the_genesis_is_invalid() -> None:
    with pytest.raises(rules.InvalidBlockError, match="larger than the genesis allows"):
        rules.apply_block(dict(BEFORE), FIRST, block_of(batch_of(1, 1, 1, 1)), GENESIS)


def test_a_walk_that_begins_in_the_middle_does_not_know_its_first_parent() -> None:
    block = block_of(batch_of(5), Parent(6, bytes(32), 2_000))
    rules.apply_block(dict(BEFORE), Parent(6, b"", 0), block, GENESIS)
