"""Transactions of contracts for tests: unsigned rows with their payloads."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from actors.contracts import examples
from actors.contracts.encoding import encode_program
from actors.contracts.language.compiler import compile_source
from actors.contracts.types import Slot
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.ledger.accounts import payload_hash
from actors.ledger.contract_payloads import Deployment, contract_address, encode_call
from actors.ledger.rows import (
    KIND_CALL,
    KIND_DEPLOY,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)

Fields = dict[str, Any]


@cache
def example(name: str) -> tuple[bytes, bytes, Verified]:
    """(program, source, what may run) of an example."""
    source = (Path(examples.__file__).parent / f"{name}.py").read_text()
    program = compile_source(source, f"{name}.py").program
    return encode_program(program), source.encode(), verify(program)


def payload_of(name: str, function: str, *arguments: Slot) -> bytes:
    """The payload of a call."""
    called = example(name)[2].named(function)
    assert called is not None
    return encode_call(called.number, called.params.encode(arguments))


def deploy(sender: bytes, nonce: int, name: str, arguments: bytes = b"", **fields: Any) -> Fields:
    """A row that deploys an example."""
    program, source, _ = example(name)
    parties = {"sender": sender, "recipient": contract_address(sender, nonce)}
    payload = Deployment(program, source, arguments).encode()
    return {"kind": KIND_DEPLOY, "nonce": nonce, "fee": 1_000, "payload": payload, **parties, **fields}


def call(sender: bytes, nonce: int, contract: bytes, payload: bytes, **fields: Any) -> Fields:
    """A row that calls a contract."""
    parties = {"sender": sender, "recipient": contract}
    return {"kind": KIND_CALL, "nonce": nonce, "fee": 100, "payload": payload, **parties, **fields}


def batch_of_fields(rows: list[Fields], chain_tag: int) -> Batch:
    """Rows by their fields; a payload is given by its bytes."""
    table, payloads = np.zeros(len(rows), dtype=ROW_DTYPE), list[bytes]()
    for row, fields in zip(table, rows, strict=True):
        payload = fields.get("payload", b"")
        row["version"], row["chain_tag"], row["expiry_height"] = ROW_VERSION, chain_tag, NEVER_EXPIRES_HEIGHT
        row["payload_bytes"] = len(payload)
        row["payload_hash"] = np.frombuffer(payload_hash(payload), dtype=np.uint8)
        for name in ("kind", "nonce", "amount", "fee"):
            row[name] = fields.get(name, 0)
        for name in ("sender", "recipient"):
            row[name] = np.frombuffer(fields[name], dtype=np.uint8)
        payloads.append(payload)
    return Batch(table, np.frombuffer(b"".join(payloads), dtype=np.uint8))
