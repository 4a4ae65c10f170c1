"""A call that needs many keys that its job does not know costs no more than its gas to find them all."""

from __future__ import annotations

import pytest

from actors.execution import interpreted
from actors.execution.job import Job, StateSlice
from actors.ledger.accounts import Transaction
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.rows import KIND_CALL
from bench.attack.contract_bombs import writes
from tests.execution.jobs import PRICES, TAG
from tests.ledger.contract_transactions import batch_of_fields

SENDER, CONTRACT = bytes([1]) * 32, bytes([3]) * 32


def test_a_row_is_begun_twice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"kind": KIND_CALL, "sender": SENDER, "recipient": CONTRACT, "fee": 12_000, "payload": b"\0"}
    accounts = {SENDER: (0, 1 << 40), CONTRACT: (0, 0), DEPOSITS_KEY: (0, 0)}
    known = StateSlice.of({}, accounts)
    job = Job(batch_of_fields([call], TAG), 2, 1, PRICES, PRICES.block_gas_max, {CONTRACT: writes()}, known)
    begun, row = list[Transaction](), interpreted._Running.row

    def counted(running: interpreted._Running, tx: Transaction) -> None:
        begun.append(tx)
        row(running, tx)

    monkeypatch.setattr(interpreted._Running, "row", counted)
    outcome = interpreted.run(job)
    assert len(outcome.verdicts) == 0
    assert len({key.tobytes() for key in outcome.missing}) == len(outcome.missing) >= 1024
    assert len(begun) == 2
