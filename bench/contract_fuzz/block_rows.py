"""Rows of random blocks: transfers and calls that are statically valid; the state refuses some of them.

Each row is drawn for the state that those before it leave: so most have the nonce that their sender has, some
offer exactly what they cost, or one less, and some leave their sender with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from actors.contracts.ir import FunctionKind
from actors.contracts.types import ADDRESS
from actors.contracts.verified import Verified, VerifiedFunction
from actors.ledger import rules
from actors.ledger.accounts import Entries, State, account_at, payload_hash, unpack
from actors.ledger.contract_payloads import DEPOSITS_KEY, encode_call
from actors.ledger.environment import Environment
from actors.ledger.rows import (
    KIND_CALL,
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)
from bench.contract_fuzz.arguments import PEOPLE, encode, random_slot

ROWS = (1, 2, 5, 15, 16, 17, 40)
"""Of a block: compiled code looks 16 ahead."""
GAS = (0, 10, 100, 1_000, 10_000, 10_000, 30_000)
"""That a call's fee buys."""
DEPOSITS = (0, 3, 30)
"""That it offers besides."""
CROWD = tuple(bytes([letter]) * 32 for letter in b"klmnopqrs")
"""People whom no argument names."""
PROBE_FEE = 50_000
PUBLIC = (FunctionKind.ENTRY, FunctionKind.VIEW)
_U64_MAX = 2**64 - 1


@dataclass(frozen=True)
class PlannedRow:
    """What differs between rows."""

    kind: int
    sender: bytes
    recipient: bytes
    nonce: int
    amount: int
    fee: int
    payload: bytes = b""


class BlockRows:
    """Rows of the blocks of one chain. contracts: those that are called."""

    def __init__(self, random: Random, tag: int, contracts: Sequence[tuple[bytes, Verified]]) -> None:
        self.random, self._tag, self._contracts = random, tag, contracts
        self._strangers = [random.randbytes(32) for _ in range(3)]
        self._drawn: dict[tuple[bytes, int], list[bytes]] = {}
        self._state: State = {}
        self._entries: Entries = {}
        self._env = Environment(tag, 0, bytes(32))

    def batch(self, state: State, entries: Mapping[bytes, bytes], env: Environment) -> Batch:
        """Of the next block, on this state."""
        self._state, self._entries, self._env = dict(state), dict(entries), env
        rows, gas_used = list[PlannedRow](), 0
        for _ in range(self.random.choice(ROWS)):
            row = self._row()
            (tx,) = unpack(batch_of([row], self._tag))
            if not rules.static_verdict(tx, env):
                rows.append(row)
                gas_used += rules.apply_transaction(self._state, tx, env, self._entries, gas_used).gas
        return batch_of(rows, self._tag)

    def _row(self) -> PlannedRow:
        """With the nonce that its sender has; seldom with that before it, or after."""
        random = self.random
        sender = random.choice((*PEOPLE, *CROWD))
        if random.random() < 0.03:
            sender = random.choice(self._strangers)
        nonce = account_at(self._state, sender, self._env.height).nonce
        if random.random() < 0.04:
            nonce = max(0, nonce + random.choice((-1, 1)))
        if random.random() < 0.3 or not self._contracts:
            return self._transfer(sender, nonce)
        row = self._call(sender, nonce)
        return replace(row, fee=self._near_what_it_costs(row)) if random.random() < 0.2 else row

    def _transfer(self, sender: bytes, nonce: int) -> PlannedRow:
        random, prices = self.random, self._env.prices
        contract = random.choice(self._contracts)[0] if self._contracts else sender
        recipient = random.choice(
            (*PEOPLE, *PEOPLE, *self._strangers, contract, DEPOSITS_KEY, self._env.proposer)
        )
        fee, least = prices.fee_min + random.choice((0, 0, 1, 5)), prices.balance_min
        has = account_at(self._state, sender, self._env.height).balance
        amount = random.choice((0, 1, least - 1, least, 500, 500))
        if random.random() < 0.1:
            left = random.choice((0, 0, 1, least - 1, least, -1))
            amount = max(0, has - fee - left)
        if random.random() < 0.01:
            amount = _U64_MAX - random.choice((fee, fee + 1, 1_000))
        return PlannedRow(KIND_TRANSFER, sender, recipient, nonce, amount, fee)

    def _call(self, sender: bytes, nonce: int) -> PlannedRow:
        random, prices = self.random, self._env.prices
        address, program = random.choice(self._contracts)
        public = [each for each in program.functions if each.function.kind in PUBLIC]
        called = random.choice(public if public and random.random() < 0.97 else program.functions)
        payload = encode_call(called.number, self._near(address, called))
        if random.random() < 0.03:
            payload = random.choice((payload + b"\0", payload[:-1], random.randbytes(len(payload)), b""))
        if random.random() < 0.03:
            address = random.choice((sender, *PEOPLE, DEPOSITS_KEY))
        amount = 0
        if random.random() < (0.6 if called.function.accepts_coins else 0.03):
            amount = random.choice((1, prices.balance_min - 1, prices.balance_min, 10, 3_000))
        fee = prices.fee_min - (-random.choice(GAS) // prices.gas_per_unit) + random.choice(DEPOSITS)
        has = account_at(self._state, sender, self._env.height).balance
        if random.random() < 0.03:
            fee = max(0, has - amount - random.choice((0, 1, prices.balance_min - 1, prices.balance_min)))
        if random.random() < 0.005:
            fee = _U64_MAX - amount
        return PlannedRow(KIND_CALL, sender, address, nonce, amount, fee, payload)

    def _near_what_it_costs(self, row: PlannedRow) -> int:
        """A fee that is as much as the call takes, or nearly."""
        env = self._env
        (tx,) = unpack(batch_of([replace(row, fee=env.prices.fee_min + PROBE_FEE)], self._tag))
        if rules.static_verdict(tx, env):
            return row.fee
        state = dict(self._state)
        before = account_at(state, DEPOSITS_KEY, env.height).balance
        applied = rules.apply_transaction(state, tx, env, dict(self._entries))
        deposit = account_at(state, DEPOSITS_KEY, env.height).balance - before
        return max(0, applied.fee + deposit + self.random.choice((-1, 0, 0, 1)))

    def _near(self, address: bytes, called: VerifiedFunction) -> bytes:
        """Arguments; often those of an earlier call, or some of them. Seldom such as nobody takes."""
        random, drawn = self.random, self._drawn.setdefault((address, called.number), [])
        data = bytearray(self._arguments(called))
        if drawn and random.random() < 0.5:
            before, at = random.choice(drawn), 0
            for param in called.function.params:
                width = param.shape.width_bytes
                if random.random() < 0.7:
                    data[at : at + width] = before[at : at + width]
                at += width
        drawn.append(bytes(data))
        if data and random.random() < 0.03:
            data[random.randrange(len(data))] = random.choice((2, 255))
        return bytes(data)

    def _arguments(self, called: VerifiedFunction) -> bytes:
        """Of a function; of an UpTo, seldom one more than it takes."""
        random, data = self.random, b""
        for param in called.function.params:
            slot, single = random_slot(random, param.shape), not param.shape.count
            if param.max is not None:
                most = param.shape.type.range[1]
                slot = min(most, random.choice((0, param.max, param.max + 1, random.randint(0, param.max))))
            elif param.shape.type.is_integer and single and random.random() < 0.6:
                slot = random.choice((random.randint(0, 20), random.randint(0, 2_000)))
                slot = min(slot, param.shape.type.range[1])
            elif param.shape.type == ADDRESS and single and random.random() < 0.2:
                slot = random.choice((random.choice(self._contracts)[0], DEPOSITS_KEY, self._env.proposer))
            data += encode(param.shape, slot)
        return data


def batch_of(planned: Sequence[PlannedRow], tag: int) -> Batch:
    """Unsigned rows."""
    table = np.zeros(len(planned), dtype=ROW_DTYPE)
    for row, fields in zip(table, planned, strict=True):
        row["version"], row["chain_tag"], row["expiry_height"] = ROW_VERSION, tag, NEVER_EXPIRES_HEIGHT
        row["payload_bytes"] = len(fields.payload)
        row["payload_hash"] = np.frombuffer(payload_hash(fields.payload), dtype=np.uint8)
        row["kind"], row["nonce"], row["amount"], row["fee"] = (
            fields.kind, fields.nonce, fields.amount, fields.fee,
        )  # fmt: skip
        row["sender"] = np.frombuffer(fields.sender, dtype=np.uint8)
        row["recipient"] = np.frombuffer(fields.recipient, dtype=np.uint8)
    return Batch(table, np.frombuffer(b"".join(each.payload for each in planned), dtype=np.uint8))
