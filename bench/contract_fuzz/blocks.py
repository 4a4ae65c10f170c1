"""Random blocks of transfers and calls on a chain of their own: of the examples, and of random contracts.

Rows are statically valid, and often fail otherwise: with too few coins, another nonce, too little gas, or
arguments that no function takes. Who appears is one of few, so rows touch what others have touched.
"""

from __future__ import annotations

from hashlib import sha256
from random import Random
from typing import Any

import numpy as np

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.language import compile_source
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, account_at, payload_hash, unpack
from actors.ledger.contract_payloads import DEPOSITS_KEY, encode_call
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    KIND_CALL,
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
    concatenate,
)
from actors.ledger.signing import development_signer, sign_transfer
from bench.contract_examples import EXAMPLES, Catalog
from bench.contract_fuzz.arguments import PEOPLE, random_arguments
from bench.contract_fuzz.mutants import mutate_bytes
from bench.contract_fuzz.sources import random_contracts

TAG = 77
PROPOSER = bytes(32)
DEPLOYER_COINS, COINS_EACH = 1 << 40, 100_000
RANDOM_GROUPS = 3
"""Of contracts that may call each other."""
ROWS_MAX = 10
PUBLIC = (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
Fields = dict[str, Any]


class BlockChain:
    """The state after some blocks, and contracts to call."""

    def __init__(self, random: Random) -> None:
        self.random, self.height = random, 1
        gas_max = random.choice((1_000_000, 1_000_000, 20_000, 2_000))
        self._all_gas = Prices(1, 5, 100, random.choice((0, 1, 3)), 10_000_000)
        self.prices = Prices(1, 5, 100, self._all_gas.entry_deposit, gas_max)
        self.state: State = {who: Account(0, COINS_EACH) for who in PEOPLE}
        self.entries = Entries()
        self.programs = dict[bytes, bytes]()
        self._called = list[tuple[bytes, Verified]]()
        self._deploy_examples()
        for number in range(RANDOM_GROUPS):
            self._add_random(number)

    def environment(self) -> Environment:
        """Of the next block."""
        return Environment(TAG, self.height + 1, PROPOSER, self.prices, time_ms=1_000 * self.height)

    def _deploy_examples(self) -> None:
        signer = development_signer("fuzz", 1)
        self.state[signer.public_key] = Account(0, DEPLOYER_COINS)
        catalog = Catalog(signer.public_key, self._all_gas)
        batch = concatenate([sign_transfer(signer, TAG, said) for said in catalog.opening()])
        env = Environment(TAG, self.height, PROPOSER, self._all_gas, time_ms=1)
        rows = concatenate([batch])
        outcome = rules.apply_batch(self.state, rows, env, self.entries)
        if any(outcome.verdicts) or any(applied.status for applied in outcome.applied):
            raise RuntimeError(f"the examples are refused: {outcome.verdicts}")
        for name in EXAMPLES:
            self._known(catalog.addresses[name], catalog.program(name).program)
        token = catalog.addresses["token"]
        give = catalog.program("token")
        rows = self.batch(
            [
                {
                    "kind": KIND_CALL, "sender": signer.public_key, "recipient": token, "fee": 1_000,
                    "nonce": self.state[signer.public_key].nonce + place,
                    "payload": give.payload("transfer", who, 5_000),
                }
                for place, who in enumerate(PEOPLE)
            ]
        )  # fmt: skip
        rules.apply_batch(self.state, rows, env, self.entries)

    def _add_random(self, number: int) -> None:
        """Contracts that are there without a deployment, each at an address of its own."""
        sources = random_contracts(self.random)
        addresses = {each.address: sha256(b"%d" % number + each.address).digest() for each in sources}
        for source in sources:
            text = source.text
            for old, new in addresses.items():
                text = text.replace(old.hex(), new.hex())
            program = encode_program(compile_source(text, f"{source.name}.py").program)
            address = addresses[source.address]
            self.entries |= program_entries(address, program, b"", Origin(0, 0, PEOPLE[0]))
            self._known(address, program)

    def _known(self, address: bytes, program: bytes) -> None:
        self.programs[address] = program
        self._called.append((address, verify(decode_program(program), self.prices.weights)))

    def block(self) -> Batch:
        """The next one's rows: statically valid ones."""
        nonces = dict[bytes, int]()
        rows = [self._row(nonces) for _ in range(self.random.randint(1, ROWS_MAX))]
        batch, env = self.batch(rows), self.environment()
        valid = [not rules.static_verdict(tx, env) for tx in unpack(batch)]
        return batch.take(np.array(valid, dtype=np.bool_))

    def _row(self, nonces: dict[bytes, int]) -> Fields:
        random, sender = self.random, self.random.choice(PEOPLE)
        nonce = nonces.setdefault(sender, account_at(self.state, sender, self.height + 1).nonce)
        if random.random() < 0.95:
            nonces[sender] += 1
        fields = self._transfer() if random.random() < 0.3 else self._call()
        fee = random.choice((1, 2, 5, 20, 60, 60, 60, 400))
        return {"sender": sender, "nonce": nonce, "fee": fee, **fields}

    def _transfer(self) -> Fields:
        random = self.random
        strangers = (random.randbytes(32), PROPOSER, DEPOSITS_KEY, random.choice(self._called)[0])
        to = random.choice(PEOPLE) if random.random() < 0.7 else random.choice(strangers)
        amount = random.choice((0, 1, 4, 5, 6, 100, 2_000, COINS_EACH))
        return {"kind": KIND_TRANSFER, "recipient": to, "amount": amount}

    def _call(self) -> Fields:
        random = self.random
        address, program = random.choice(self._called)
        functions = [each for each in program.functions if each.function.kind in PUBLIC]
        if not functions or random.random() < 0.02:
            return {"kind": KIND_CALL, "recipient": random.choice((*PEOPLE, address)), "payload": b"\0"}
        called = random.choice(functions)
        payload = encode_call(called.number, random_arguments(random, called.function.params))
        if random.random() < 0.03:
            payload = mutate_bytes(random, payload) or b"\1"
        amount = 0
        if random.random() < (0.6 if called.function.accepts_coins else 0.03):
            amount = random.choice((1, 5, 200, 3_000, COINS_EACH))
        return {"kind": KIND_CALL, "recipient": address, "amount": amount, "payload": payload}

    def batch(self, rows: list[Fields]) -> Batch:
        """Rows by their fields."""
        table, payloads = np.zeros(len(rows), dtype=ROW_DTYPE), list[bytes]()
        for row, fields in zip(table, rows, strict=True):
            payload = fields.get("payload", b"")
            row["version"], row["chain_tag"], row["expiry_height"] = ROW_VERSION, TAG, NEVER_EXPIRES_HEIGHT
            row["payload_bytes"] = len(payload)
            row["payload_hash"] = np.frombuffer(payload_hash(payload), dtype=np.uint8)
            for name in ("kind", "nonce", "amount", "fee"):
                row[name] = fields.get(name, 0)
            for name in ("sender", "recipient"):
                row[name] = np.frombuffer(fields[name], dtype=np.uint8)
            payloads.append(payload)
        return Batch(table, np.frombuffer(b"".join(payloads), dtype=np.uint8))
