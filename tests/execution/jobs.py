"""Jobs of plain states, for tests: with all that the state has known, or nothing."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

from hypothesis import strategies as st

from actors.execution.job import Job, JobOutcome, StateSlice
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, account_at
from actors.ledger.contract_payloads import DEPOSITS_KEY, contract_address
from actors.ledger.contract_rules import RowApplied
from actors.ledger.contract_state import read_program
from actors.ledger.environment import Environment
from actors.ledger.output_columns import outputs_of
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, KIND_TRANSFER
from actors.ledger.verdict import Verdict
from tests.ledger.contract_transactions import Fields, batch_of_fields, call, deploy, payload_of

TAG = 77
PRICES = Prices(1, 5)
PROPOSER = bytes(32)
PEOPLE = [bytes([number]) * 32 for number in range(1, 6)]
DEPLOYER = bytes([99]) * 32
NAMES = ("counter", "registry", "token")
CONTRACTS = {name: contract_address(DEPLOYER, number) for number, name in enumerate(NAMES)}


def environment(height: int) -> Environment:
    """Of a block that nobody proposes: jobs leave fees to others."""
    return Environment(TAG, height, PROPOSER, PRICES, time_ms=1_000 * height)


def start() -> tuple[State, Entries]:
    """People with coins and tokens, and the examples deployed."""
    state: State = {who: Account(0, 100_000) for who in PEOPLE}
    state[DEPLOYER] = Account(0, 1_000_000)
    entries = Entries()
    rows = [
        deploy(DEPLOYER, number, name, _INIT.get(name, b""), fee=3_000) for number, name in enumerate(NAMES)
    ]
    for number, who in enumerate(PEOPLE[:-1]):
        give = payload_of("token", "transfer", who, 2_000)
        rows.append(call(DEPLOYER, len(NAMES) + number, CONTRACTS["token"], give))
    outcome = rules.apply_batch(state, batch_of_fields(rows, TAG), environment(1), entries)
    assert [applied.status for applied in outcome.applied] == [0] * len(rows)
    return state, entries


_INIT = {"token": struct.pack("<Q", 1_000_000)}


def job_of(
    state: State, entries: Entries, fields: list[Fields], height: int = 2, known: set[bytes] | None = None
) -> Job:
    """These rows, all statically valid; what is known are these keys, or all that anybody may touch."""
    env, batch = environment(height), batch_of_fields(fields, TAG)
    called = {each["recipient"] for each in fields if each["kind"] == KIND_CALL}
    people = {each[who] for each in fields for who in ("sender", "recipient")} | {
        DEPOSITS_KEY,
        *PEOPLE,
        *state,
    }
    accounts = {key: account_at(state, key, height) for key in people}
    held = {key: (account.nonce, account.balance) for key, account in accounts.items()}
    values = dict(entries)
    if known is not None:
        values = {key: entries.get(key, b"") for key in known}
    programs = {
        address: read_program(address, lambda key: entries.get(key, b"")) or b"" for address in called
    }
    return Job(
        batch,
        height,
        env.time_ms,
        env.prices,
        env.prices.block_gas_max,
        programs,
        StateSlice.of(values, held),
    )


def run_to_the_end(run: Callable[[Job], JobOutcome], job: Job, entries: Entries) -> JobOutcome:
    """The outcome of all rows: what is missing is made known, and the job begins again."""
    known = job.known.entries()
    while len((outcome := run(job)).missing):
        for row in outcome.missing:
            assert row.tobytes() not in known
            known[row.tobytes()] = entries.get(row.tobytes(), b"")
        job = dataclasses.replace(job, known=StateSlice.of(known, job.known.accounts()))
    return outcome


def applied_of(outcome: JobOutcome) -> list[RowApplied]:
    """The rows that passed, as the rules tell them."""
    outputs = {output.position: output for output in outputs_of(outcome.outputs)}
    rows = list[RowApplied]()
    for place, (status, fee, *_) in enumerate(outcome.receipts.tolist()):
        output = outputs.get(place)
        if output is None:
            rows.append(RowApplied(Verdict.OK, fee, status))
        else:
            told = (output.gas, output.results, output.events, output.message)
            rows.append(RowApplied(Verdict.OK, fee, status, *told))
    return rows


Step = tuple[str, int, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["pay", "add", "register", "release", "give", "allow", "take", "wrong", "nobody"]),
        st.integers(0, len(PEOPLE) - 1),
        st.integers(0, len(PEOPLE) - 1),
        st.integers(0, 1_001),
        st.sampled_from([2, 5, 60, 100, 1_500]),
    ),
    max_size=16,
)
"""What is done, by whom, with whom, an amount, a fee."""


def rows_of(steps: list[Step], nonces: dict[bytes, int]) -> list[Fields]:
    """Rows in order; nonces rise as if all passed."""
    rows = list[Fields]()
    for what, one, other, amount, fee in steps:
        sender, to = PEOPLE[one], PEOPLE[other]
        rows.append(_row(what, sender, to, amount) | {"sender": sender, "nonce": nonces[sender], "fee": fee})
        nonces[sender] += 1
    return rows


def _row(what: str, sender: bytes, to: bytes, amount: int) -> Fields:
    thing = bytes([amount % 3]) * 32
    match what:
        case "pay":
            return {"kind": KIND_TRANSFER, "recipient": to, "amount": amount}
        case "nobody":
            return {"kind": KIND_CALL, "recipient": to, "amount": amount, "payload": b"\0"}
        case "wrong":
            name, payload = "token", bytes([amount % 256, 1])
        case "add":
            name, payload = "counter", payload_of("counter", "add", amount)
        case "register":
            name, payload = "registry", payload_of("registry", "register", thing, to)
        case "release":
            name, payload = "registry", payload_of("registry", "release", thing)
        case "give":
            name, payload = "token", payload_of("token", "transfer", to, amount)
        case "allow":
            name, payload = "token", payload_of("token", "approve", to, amount)
        case _:
            name, payload = "token", payload_of("token", "transfer_from", to, sender, amount)
    return {"kind": KIND_CALL, "recipient": CONTRACTS[name], "payload": payload}
