"""Contracts that a benchmark deploys, and calls of them as rows, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.contracts.encoding import encode_program
from actors.contracts.language import compile_source
from actors.contracts.types import Slot
from actors.contracts.verified import VerifiedFunction
from actors.contracts.verifier import verify
from actors.execution.planning import entry_keys
from actors.ledger.contract_payloads import contract_address
from actors.ledger.hashing import Hasher
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    KIND_CALL,
    KIND_DEPLOY,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)
from actors.ledger.signing import Transfer
from bench.chains import earlier_uses
from bench.contract_examples import ExampleProgram, deploy_fee, example_program
from bench.contract_workload import unsigned

SUPPLY = 1 << 62
IMPORTED_GAS, NEW_ENTRIES_MAX = 1_000, 4
"""Of what a call may need besides its own function's gas."""
DEPLOYER = 0
"""The account that deploys."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract at its address."""

    address: bytes
    program: ExampleProgram

    def entry_keys(self, table: str, rows: NDArray[np.uint8], hash_rows: Hasher) -> NDArray[np.uint8]:
        """(n, 32) keys in the state of rows of a table that have one entry each. rows: (n, width), the bytes
        of their keys."""
        number = [each.name for each in self.program.verified.program.tables].index(table)
        head = np.frombuffer(self.address + bytes((number, 0)), dtype=np.uint8)
        messages = np.concatenate([np.broadcast_to(head, (len(rows), len(head))), rows], axis=1)
        return entry_keys(messages, hash_rows)


@cache
def measured_program(name: str) -> ExampleProgram:
    """One of contract_speed/programs, compiled."""
    text = (Path(__file__).parent / "programs" / f"{name}.py").read_text()
    program = compile_source(text, f"{name}.py").program
    return ExampleProgram(encode_program(program), text.encode(), verify(program))


def call_fee_of(function: VerifiedFunction, prices: Prices, entries: int = NEW_ENTRIES_MAX) -> int:
    """What a call offers: its worst case, that of a contract that it calls, and deposits of new entries."""
    gas = function.worst.gas + IMPORTED_GAS * (function.worst.contract_calls > 0)
    return prices.fee_min - (-gas // prices.gas_per_unit) + entries * prices.entry_deposit


class CallMaker:
    """Rows of accounts, with their nonces. keys: (n, 32) uint8; the first account deploys. rows_max: of a
    block."""

    def __init__(
        self, keys: NDArray[np.uint8], rows_max: int, prices: Prices, chain_tag: int, hash_rows: Hasher
    ) -> None:
        self.keys, self.rows_max, self.prices = keys, rows_max, prices
        self.nonces = np.zeros(len(keys), dtype=np.uint64)
        self._chain_tag, self._hash_rows = chain_tag, hash_rows
        self._deployments = list[Transfer]()

    def deploy(self, program: ExampleProgram, *slots: Slot) -> Deployed:
        """Where a contract is once `deployments` are in a block."""
        nonce, payload = int(self.nonces[DEPLOYER]), program.deployment(*slots)
        address = contract_address(self.keys[DEPLOYER].tobytes(), nonce)
        self._deployments.append(
            Transfer(address, 0, nonce, deploy_fee(payload, self.prices), payload=payload, kind=KIND_DEPLOY)
        )
        self.nonces[DEPLOYER] += np.uint64(1)
        return Deployed(address, program)

    def deploy_example(self, name: str, *slots: Slot, token: bytes | None = None) -> Deployed:
        """Likewise, one of actors/contracts/examples."""
        return self.deploy(example_program(name) if token is None else example_program(name, token), *slots)

    def deployments(self) -> Batch:
        """Rows of what is to be deployed by now."""
        rows, self._deployments = self._deployments, []
        return unsigned(rows, self.keys[DEPLOYER].tobytes(), self._chain_tag)

    def calls(
        self,
        contract: Deployed,
        function: str,
        who: NDArray[np.int64],
        arguments: Sequence[NDArray[np.uint8]],
        coins: int = 0,
        at: NDArray[np.uint8] | None = None,
    ) -> Batch:
        """Calls of accounts `who`, in this order. arguments: (n, width) uint8 each. at: (n, 32) addresses of
        contracts of the same program, if they are not this one."""
        called = contract.program.function(function)
        number = np.full((len(who), 1), called.number, dtype=np.uint8)
        payloads = np.concatenate([number, *arguments], axis=1)
        rows = np.zeros(len(who), dtype=ROW_DTYPE)
        rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_CALL, self._chain_tag
        rows["expiry_height"], rows["amount"] = NEVER_EXPIRES_HEIGHT, coins
        rows["fee"] = call_fee_of(called, self.prices)
        rows["nonce"] = self.nonces[who] + earlier_uses(who)
        np.add.at(self.nonces, who, np.uint64(1))
        rows["sender"] = self.keys[who]
        rows["recipient"] = np.frombuffer(contract.address, dtype=np.uint8) if at is None else at
        rows["payload_bytes"], rows["payload_hash"] = payloads.shape[1], self._hash_rows(payloads)
        return Batch(rows, payloads.reshape(-1))


def numbers(values: NDArray[np.uint64] | int, count: int) -> NDArray[np.uint8]:
    """(n, 8) numbers of 64 bits as arguments."""
    column = np.broadcast_to(np.asarray(values, dtype=np.uint64), count)
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1, 8)


def part_of(batch: Batch, start: int, stop: int) -> Batch:
    """Rows from `start` to `stop`, or to the end."""
    offsets, stop = batch.payload_offsets, min(stop, len(batch))
    return Batch(batch.rows[start:stop], batch.payloads[offsets[start] : offsets[stop]])


Draw = Callable[[int], Batch]
"""Makes a block of so many rows."""
