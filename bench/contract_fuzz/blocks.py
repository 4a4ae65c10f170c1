"""Chains of random blocks: people, the examples, and random contracts. What their rows are: block_rows.py."""

from __future__ import annotations

from hashlib import sha256
from random import Random

from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.language import compile_source
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    KIND_CALL,
    Batch,
    concatenate,
)
from actors.ledger.signing import development_signer, sign_transfer
from bench.contract_examples import EXAMPLES, Catalog
from bench.contract_fuzz.arguments import PEOPLE
from bench.contract_fuzz.block_rows import CROWD, BlockRows, PlannedRow, batch_of
from bench.contract_fuzz.sources import random_contracts

TAG = 77
PROPOSER = bytes(32)
DEPLOYER_COINS = 1 << 40
COINS = (10_000_000, 10_000_000, 100_000, 2_000)
"""Of one of the people."""
RANDOM_GROUPS = 3
"""Of contracts that may call each other."""
DEPLOYER_FEE = 1_000
HEIGHTS = (1, 200, 254, 255, 2**32)
PRICES = (
    Prices(1, 5),
    Prices(0, 1),
    Prices(3, 40, gas_per_unit=1, entry_deposit=3),
    Prices(0, 1, gas_per_unit=7, entry_deposit=0, block_gas_max=4_000),
    Prices(2, 5, gas_per_unit=1_000_000, entry_deposit=3, block_gas_max=2**40),
    Prices(1, 5, entry_deposit=3, block_gas_max=20_000),
)


class BlockChain:
    """The state after some blocks, and contracts to call."""

    def __init__(self, random: Random) -> None:
        self.random, self.height = random, 1
        self.prices = random.choice(PRICES)
        self._all_gas = Prices(1, 5, 100, self.prices.entry_deposit, 10_000_000)
        self.state: State = {who: Account(0, random.choice(COINS)) for who in (*PEOPLE, *CROWD)}
        self.entries = Entries()
        self.programs = dict[bytes, bytes]()
        self._called = list[tuple[bytes, Verified]]()
        self._deploy_examples()
        for number in range(RANDOM_GROUPS):
            self._add_random(number)
        self.height = random.choice(HEIGHTS)
        self._rows = BlockRows(random, TAG, self._called)

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
        nonce = self.state[signer.public_key].nonce
        gifts = [
            PlannedRow(
                KIND_CALL, signer.public_key, token, nonce + place, 0, DEPLOYER_FEE,
                give.payload("transfer", who, 5_000),
            )
            for place, who in enumerate(PEOPLE)
        ]  # fmt: skip
        rules.apply_batch(self.state, batch_of(gifts, TAG), env, self.entries)

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
        return self._rows.batch(self.state, self.entries, self.environment())
