"""Contracts in both state transitions: columns and jobs equal the plain rules, and undo restores all."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.encoding import encode_program
from actors.contracts.failures import Failure
from actors.contracts.language.compiler import compile_source
from actors.execution import interpreted
from actors.execution.job import EngineError, Job, JobOutcome
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, state_root, supply
from actors.ledger.contract_payloads import DEPOSITS_KEY, Deployment, contract_address, encode_call
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256_rows
from actors.ledger.output_columns import outputs_of
from actors.ledger.prices import Prices
from actors.ledger.receipt_columns import ReceiptColumns
from actors.ledger.receipts import RECEIPT_BYTES, Receipts
from actors.ledger.rows import KIND_TRANSFER, Batch
from actors.ledger.verdict import Verdict
from actors.storage.accounts import Accounts
from actors.storage.contract_jobs import JobEngine
from actors.storage.contract_programs import ProgramShelf
from actors.storage.state import build_tree
from actors.storage.transition import Applied, apply_batch, undo_batch
from tests.ledger.contract_transactions import Fields, batch_of_fields, call, deploy, payload_of
from tests.storage.storage_batches import accounts_of, entries_of, key, state_of

TAG, PRICES = 77, Prices(1, 5)
ALICE, BOB, PROPOSER = key(0), key(1), key(2)
COUNTER = contract_address(ALICE, 0)
START: State = {ALICE: Account(0, 100_000), BOB: Account(0, 50_000), PROPOSER: Account(0, 1_000)}


def both(state: State, entries: Entries, rows: list[Fields], height: int = 1) -> rules.Outcome:
    """Apply rows by the plain rules, to `state` and `entries`, and hold the columns against them."""
    batch, env = batch_of_fields(rows, TAG), Environment(TAG, height, PROPOSER, PRICES, time_ms=height)
    columns = accounts_of(state, entries=entries)
    before, kept = copy.deepcopy((state, entries)), columns.entries.used
    applied = apply_batch(columns, batch, env)
    twice = accounts_of(state, entries=entries)
    outcome = rules.apply_batch(state, batch, env, entries)
    assert applied.verdicts.tolist() == outcome.verdicts
    assert applied.fees == outcome.fees
    assert state_of(columns) == state
    assert entries_of(columns) == entries
    assert columns.entries.used == kept + sum(
        1 for slot in columns.entry_slots(applied.undo.slots) if columns.balances[slot]
    )
    rows_32 = applied.receipts.view("u1").reshape(-1, RECEIPT_BYTES)
    columns_of_receipts = ReceiptColumns(rows_32, applied.outputs)
    receipts = Receipts(rows_32, tuple(outputs_of(applied.outputs)))
    assert b"".join(columns_of_receipts.encode()) == b"".join(receipts.encode())
    assert (
        columns_of_receipts.root(sha256_rows)
        == receipts.root(sha256_rows)
        == rules.receipts_root(outcome.receipts)
    )
    if state:
        assert build_tree(columns.columns()).root == state_root(state, entries)
    undo_batch(columns, applied.undo)
    _by_jobs(columns, batch, env, applied, (state, entries))
    assert (state_of(columns), entries_of(columns)) == before
    assert columns.entries.used == kept
    assert apply_batch(twice, batch, env).receipts.tobytes() == applied.receipts.tobytes()
    return outcome


def _by_jobs(
    columns: Accounts, batch: Batch, env: Environment, plain: Applied, after: tuple[State, Entries]
) -> None:
    """The same by jobs, whole and in parts, and by the interpreter where these are lost."""

    def run(jobs: list[Job]) -> list[JobOutcome]:
        return [interpreted.run(job) for job in jobs]

    def lose(jobs: list[Job]) -> list[JobOutcome]:
        raise EngineError("it was killed")

    told = list[str]()
    for run_all, parts in ((run, 1), (run, 3), (lose, 2)):
        engine = JobEngine(
            run_all, lambda *_, parts=parts: parts, sha256_rows, 1, ProgramShelf(), told.append
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("actors.storage.contract_jobs.CALLS_MIN", 1)
            applied = apply_batch(columns, batch, env, engine)
        assert applied.verdicts.tolist() == plain.verdicts.tolist()
        assert applied.receipts.tobytes() == plain.receipts.tobytes()
        assert (outputs_of(applied.outputs), applied.fees) == (outputs_of(plain.outputs), plain.fees)
        assert (state_of(columns), entries_of(columns)) == after
        undo_batch(columns, applied.undo)
    assert set(told) <= {"it was killed"}


def test_a_contract_is_deployed_and_called_and_pays_for_what_it_uses() -> None:
    state, entries = dict(START), Entries()
    rows = [
        deploy(ALICE, 0, "counter"),
        call(BOB, 0, COUNTER, payload_of("counter", "add", 3)),
        call(BOB, 1, COUNTER, payload_of("counter", "add", 4)),
        {"kind": KIND_TRANSFER, "sender": BOB, "recipient": ALICE, "nonce": 2, "amount": 7, "fee": 1},
        call(ALICE, 1, COUNTER, payload_of("counter", "value")),
    ]
    outcome = both(state, entries, rows)
    assert outcome.verdicts == [Verdict.OK] * 5
    assert [applied.status for applied in outcome.applied] == [0] * 5
    assert outcome.applied[-1].results == (7).to_bytes(8, "little")
    assert [event[2][-8:] for applied in outcome.applied for event in applied.events] == [
        (3).to_bytes(8, "little"),
        (4).to_bytes(8, "little"),
    ]
    assert supply(state) == supply(START)
    assert state[DEPOSITS_KEY].balance == len(entries) * PRICES.entry_deposit


def test_a_call_that_fails_pays_and_changes_nothing_else() -> None:
    state, entries = dict(START), Entries()
    both(state, entries, [deploy(ALICE, 0, "counter")])
    before = dict(entries)
    wrong: list[tuple[bytes, dict[str, Any], Failure]] = [
        (payload_of("counter", "add", 0), {}, Failure.REQUIREMENT),
        (payload_of("counter", "add", 1), {"fee": 2}, Failure.OUT_OF_GAS),
        (payload_of("counter", "add", 1), {"amount": 5}, Failure.TAKES_NO_COINS),
        (b"\x00\x01", {}, Failure.BAD_ARGUMENTS),
        (b"\xff", {}, Failure.UNKNOWN_FUNCTION),
        (payload_of("counter", "add", 1), {"recipient": BOB}, Failure.MISSING_CONTRACT),
        (payload_of("counter", "add", 1), {"fee": 5}, Failure.DEPOSIT),
    ]
    rows = [call(BOB, nonce, COUNTER, payload, **fields) for nonce, (payload, fields, _) in enumerate(wrong)]
    outcome = both(state, entries, rows, height=2)
    assert outcome.verdicts == [Verdict.OK] * len(wrong)
    assert [applied.status for applied in outcome.applied] == [failure for *_, failure in wrong]
    assert outcome.applied[0].message == "a step is 1 to 1000"
    assert entries == before
    assert state[BOB] == Account(len(wrong), START[BOB].balance - sum(a.fee for a in outcome.applied))
    assert supply(state) == supply(START)


def test_a_deployment_that_is_none_pays_for_having_been_looked_at() -> None:
    state, entries = dict(START), Entries()
    broken = deploy(ALICE, 0, "counter")
    broken["payload"] = broken["payload"][:8] + b"\xc1" + broken["payload"][9:]
    outcome = both(
        state, entries, [broken, deploy(ALICE, 1, "counter", fee=20), deploy(ALICE, 2, "counter", b"\x00")]
    )
    assert [applied.status for applied in outcome.applied] == [
        Failure.BAD_PROGRAM,
        Failure.OUT_OF_GAS,
        Failure.BAD_ARGUMENTS,
    ]
    assert not entries


def test_what_keeps_a_row_of_a_contract_out_of_a_block() -> None:
    state, entries = dict(START), Entries()
    both(state, entries, [deploy(ALICE, 0, "counter")])
    add = payload_of("counter", "add", 1)
    rows = [
        call(BOB, 1, COUNTER, add),
        call(BOB, 0, COUNTER, add, fee=0),
        call(BOB, 0, COUNTER, b""),
        call(BOB, 0, COUNTER, add, fee=50_000),
        call(BOB, 0, COUNTER, add, fee=49_999),
        call(BOB, 0, COUNTER, add, fee=12_000),
        call(BOB, 1, COUNTER, add, fee=12_000),
        deploy(ALICE, 1, "counter", recipient=BOB),
        call(BOB, 1, COUNTER, add, recipient=b"entry\x00\x00\x00" + bytes(24)),
        call(key(9), 0, COUNTER, add),
    ]
    outcome = both(state, entries, rows, height=2)
    assert outcome.verdicts == [
        Verdict.NONCE_GAP,
        Verdict.FEE_BELOW_MINIMUM,
        Verdict.BAD_PAYLOAD,
        Verdict.SENDER_BELOW_MINIMUM,
        Verdict.SENDER_BELOW_MINIMUM,
        Verdict.OK,
        Verdict.BLOCK_GAS,
        Verdict.WRONG_ADDRESS,
        Verdict.RESERVED_KEY,
        Verdict.NONCE_REUSED,
    ]


PAYER = """
from raychain import Address, contract, ctx, entry, send

@contract
class Payer:
    @entry(accepts_coins=True)
    def pay(self, to: Address) -> None:
        send(to, ctx.amount)
"""
KEEPER = """
from raychain import Table, contract, entry, u64

@contract
class Keeper:
    rows: Table[u64, u64]

    @entry
    def put(self, at: u64) -> None:
        self.rows[at] = u64(1)

    @entry
    def drop(self, at: u64) -> None:
        self.rows[at] = u64(0)
"""
BROKER = """
from raychain import contract, entry, interface, u64

@interface("{address}")
class Keeper:
    @entry
    def put(self, at: u64) -> None: ...

@contract
class Broker:
    @entry
    def put(self, at: u64) -> None:
        Keeper.put(at)
"""


def deploy_source(nonce: int, source: str) -> Fields:
    """Alice deploys what this compiles to."""
    program = encode_program(compile_source(source, "source.py").program)
    payload = Deployment(program, source.encode()).encode()
    return deploy(ALICE, nonce, "counter", payload=payload)


def test_a_contract_sends_no_coins_to_a_key_of_entries() -> None:
    """Columns would take the account for an entry."""
    state, entries = dict(START), Entries()
    both(state, entries, [deploy_source(0, PAYER)])
    for number, amount in enumerate((37, 0)):
        payload = encode_call(0, b"entry\x00\x00\x00" + bytes(24))
        outcome = both(state, entries, [call(BOB, number, COUNTER, payload, amount=amount)], height=2)
        assert [applied.status for applied in outcome.applied] == [Failure.RESERVED_ADDRESS]
    assert supply(state) == supply(START)


def test_deposits_come_back_however_entries_were_made() -> None:
    """In one contract by way of another, and removed without it."""
    state, entries = dict(START), Entries()
    broker = contract_address(ALICE, 1)
    both(state, entries, [deploy_source(0, KEEPER), deploy_source(1, BROKER.format(address=COUNTER.hex()))])
    programs = len(entries)
    for number, (contract, function) in enumerate([(broker, 0)] * 20 + [(COUNTER, 1)] * 20):
        payload = encode_call(function, (number % 20).to_bytes(8, "little"))
        outcome = both(state, entries, [call(BOB, number, contract, payload, fee=500)], height=2)
        assert [applied.status for applied in outcome.applied] == [0]
        assert state[DEPOSITS_KEY].balance == len(entries) * PRICES.entry_deposit
    assert len(entries) == programs
    assert supply(state) == supply(START)


Step = tuple[str, int, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["transfer", "add", "add", "register", "release", "wrong", "deploy"]),
        st.integers(0, 1),
        st.integers(0, 1_001),
        st.sampled_from([2, 5, 60, 1_500]),
    ),
    max_size=12,
)


def row_of(step: Step, nonces: list[int], contracts: dict[str, bytes]) -> Fields:
    what, who, number, fee = step
    sender, nonce = (ALICE, BOB)[who], nonces[who]
    fields: dict[str, Any] = {"fee": fee}
    if what == "transfer":
        return {
            "kind": 1,
            "sender": sender,
            "recipient": (BOB, ALICE)[who],
            "nonce": nonce,
            "amount": 5 + number,
            **fields,
        }
    if what == "deploy":
        return deploy(sender, nonce, "registry", **fields)
    if what in {"register", "release"}:
        name = bytes([number % 3]) * 32
        arguments = (name, name) if what == "register" else (name,)
        return call(sender, nonce, contracts["registry"], payload_of("registry", what, *arguments), **fields)
    payload = payload_of("counter", "add", number) if what == "add" else bytes([number % 256, 1])
    return call(sender, nonce, contracts["counter"], payload, **fields)


@given(st.lists(steps, min_size=1, max_size=4))
def test_both_twins_execute_contracts_alike_and_no_coin_is_lost(
    blocks: list[list[tuple[str, int, int, int]]],
) -> None:
    state, entries = dict(START), Entries()
    both(state, entries, [deploy(ALICE, 0, "counter"), deploy(ALICE, 1, "registry")])
    contracts = {"counter": COUNTER, "registry": contract_address(ALICE, 1)}
    for height, block in enumerate(blocks, start=2):
        nonces, rows = [state[ALICE].nonce, state[BOB].nonce], list[Fields]()
        for step in block:
            rows.append(row_of(step, nonces, contracts))
            nonces[step[1]] += 1
        both(state, entries, rows, height)
        assert supply(state) == supply(START)
        assert state[DEPOSITS_KEY].balance == len(entries) * PRICES.entry_deposit
