"""A small job that takes every way through an engine, so that what is imported or opened on first use is
there before a cell gives up its means."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from actors.contracts import ir
from actors.contracts.encoding import encode_program
from actors.contracts.types import BOOL, HASH
from actors.execution.cells.outcome_checks import check_outcome
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.prices import FREE
from actors.ledger.rows import (
    KIND_CALL,
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)

_SENDER, _OTHER, _CONTRACT = (bytes((number,)) * KEY_BYTES for number in (1, 2, 3))
_COINS, _MESSAGE = 1 << 30, "no"


def warm_up(run: Callable[[Job], JobOutcome]) -> None:
    """Run the job to its end; what it misses is absent. Raises RuntimeError if it does not end well."""
    absent: dict[bytes, bytes] = {}
    while len((outcome := run(job := _warm_up_job(absent))).missing):
        absent |= dict.fromkeys(map(bytes, outcome.missing), b"")
    check_outcome(job, outcome)
    if outcome.outputs.texts != ("", _MESSAGE):
        raise RuntimeError("the job that warms an engine up had another outcome")


def _warm_up_job(absent: Mapping[bytes, bytes]) -> Job:
    """A transfer, and a call that hashes and then fails with a message."""
    rows = np.zeros(2, dtype=ROW_DTYPE)
    rows["version"], rows["expiry_height"] = ROW_VERSION, NEVER_EXPIRES_HEIGHT
    rows["kind"], rows["nonce"], rows["amount"] = (KIND_TRANSFER, KIND_CALL), (0, 1), (1, 0)
    rows["fee"], rows["payload_bytes"] = 1_000, (0, 1)
    rows["sender"] = np.frombuffer(_SENDER, dtype=np.uint8)
    rows["recipient"] = np.frombuffer(_OTHER + _CONTRACT, dtype=np.uint8).reshape(2, KEY_BYTES)
    accounts = {_SENDER: (0, _COINS), _OTHER: (0, _COINS), _CONTRACT: (0, 0), DEPOSITS_KEY: (0, 0)}
    batch = Batch(rows, np.zeros(1, dtype=np.uint8))
    programs = {_CONTRACT: encode_program(_PROGRAM)}
    return Job(batch, 1, 1, FREE, FREE.block_gas_max, programs, StateSlice.of(absent, accounts))


_FUNCTION = ir.Function(
    "fail",
    ir.FunctionKind.ENTRY,
    False,
    (),
    (ir.Shape(HASH), ir.Shape(BOOL)),
    (),
    (ir.Hash(0, (0,)), ir.Require(1, 1)),
)
_PROGRAM = ir.Program(ir.IR_VERSION, "WarmUp", (), (), (), ("", _MESSAGE), (_FUNCTION,))
