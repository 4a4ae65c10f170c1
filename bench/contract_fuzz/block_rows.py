"""Rows of random blocks: transfers and calls that are statically valid; the state refuses some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from actors.contracts.verified import VerifiedFunction
from actors.ledger import rules
from actors.ledger.accounts import Entries, State, account_at, payload_hash, unpack
from actors.ledger.contract_payloads import DEPOSITS_KEY, encode_call
from actors.ledger.rows import (
    KIND_CALL,
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)
from bench.contract_fuzz.arguments import PEOPLE
from bench.contract_fuzz.block_worlds import CHAIN_TAG, COINS_EACH, FEW_COINS, PROPOSER, BlockWorld

ROWS = (1, 2, 5, 15, 16, 17, 40)
"""Of a block: compiled code looks 16 ahead."""
FEES = (0, 1, 10, 100, 1_000, 20_000, 20_000, 20_000)
"""Of calls, above the least."""
PROBE_FEE = 50_000
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
    """Rows of one block after the other, from the state that the world then has."""

    def __init__(self, random: Random, world: BlockWorld) -> None:
        self.random, self.world = random, world
        self._drawn: dict[tuple[bytes, int], list[bytes]] = {}
        self._state: State = {}
        self._entries: Entries = {}

    def batch(self) -> Batch:
        """Of the next block. Each row is drawn for the state that those before it leave."""
        world, env = self.world, self.world.environment()
        self._state, self._entries = dict(world.state), dict(world.entries)
        rows, gas_used = list[PlannedRow](), 0
        for _ in range(self.random.choice(ROWS)):
            row = self._row()
            (tx,) = unpack(batch_of([row]))
            if not rules.static_verdict(tx, env):
                rows.append(row)
                gas_used += rules.apply_transaction(self._state, tx, env, self._entries, gas_used).gas
        return batch_of(rows)

    def _row(self) -> PlannedRow:
        """With the nonce that its sender has; seldom with that before it, or after."""
        random, world = self.random, self.world
        sender = random.choice(world.strangers if random.random() < 0.05 else PEOPLE)
        nonce = account_at(self._state, sender, world.height).nonce
        if random.random() < 0.04:
            nonce = max(0, nonce + random.choice((-1, 1)))
        if random.random() < 0.3:
            return self._transfer(sender, nonce)
        row = self._call(sender, nonce)
        return replace(row, fee=self._near_what_it_costs(row)) if random.random() < 0.2 else row

    def _transfer(self, sender: bytes, nonce: int) -> PlannedRow:
        random, prices, world = self.random, self.world.prices, self.world
        recipient = random.choice((*PEOPLE, *world.strangers, *world.contracts, DEPOSITS_KEY, PROPOSER))
        least = prices.balance_min
        few = (0, 1, least - 1, least, 500, FEW_COINS - 2 * least)
        amounts = few if random.random() < 0.9 else (COINS_EACH, COINS_EACH // 2, _U64_MAX - 1_000)
        fee = prices.fee_min + random.choice((0, 0, 1, 5))
        return PlannedRow(KIND_TRANSFER, sender, recipient, nonce, random.choice(amounts), fee)

    def _call(self, sender: bytes, nonce: int) -> PlannedRow:
        random, prices = self.random, self.world.prices
        address = random.choice([*list(self.world.contracts) * 4, PEOPLE[0]])
        contract = self.world.contracts.get(address)
        called = random.choice(contract.program.functions) if contract else None
        payload = b"\0" if called is None else encode_call(called.number, self._near(address, called))
        if random.random() < 0.03:
            payload = random.choice((payload + b"\0", payload[:-1], random.randbytes(len(payload)), b""))
        amount = 0
        if random.random() < (0.6 if called is not None and called.function.accepts_coins else 0.03):
            amount = random.choice((1, prices.balance_min - 1, prices.balance_min, 10, 3_000))
        fee = prices.fee_min + random.choice(FEES)
        if random.random() < 0.005:
            fee = _U64_MAX - amount
        return PlannedRow(KIND_CALL, sender, address, nonce, amount, fee, payload)

    def _near_what_it_costs(self, row: PlannedRow) -> int:
        """A fee that is as much as the call takes, or nearly."""
        env = self.world.environment()
        (tx,) = unpack(batch_of([replace(row, fee=env.prices.fee_min + PROBE_FEE)]))
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
        data = bytearray(self.world.arguments(random, called))
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


def batch_of(planned: list[PlannedRow]) -> Batch:
    """Unsigned rows."""
    table = np.zeros(len(planned), dtype=ROW_DTYPE)
    for row, fields in zip(table, planned, strict=True):
        row["version"], row["chain_tag"], row["expiry_height"] = ROW_VERSION, CHAIN_TAG, NEVER_EXPIRES_HEIGHT
        row["payload_bytes"] = len(fields.payload)
        row["payload_hash"] = np.frombuffer(payload_hash(fields.payload), dtype=np.uint8)
        row["kind"], row["nonce"], row["amount"], row["fee"] = (
            fields.kind, fields.nonce, fields.amount, fields.fee,
        )  # fmt: skip
        row["sender"] = np.frombuffer(fields.sender, dtype=np.uint8)
        row["recipient"] = np.frombuffer(fields.recipient, dtype=np.uint8)
    return Batch(table, np.frombuffer(b"".join(each.payload for each in planned), dtype=np.uint8))
