"""The state that random blocks begin with: people, random contracts, and some of the examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from actors.contracts import examples
from actors.contracts.encoding import encode_program
from actors.contracts.interpreter import run_init
from actors.contracts.language import compile_source
from actors.contracts.running import CallContext
from actors.contracts.touches import FunctionTouches, touches_of
from actors.contracts.types import ADDRESS
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from actors.ledger.accounts import Account, Entries, State
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, Batch
from bench.contract_fuzz.arguments import PEOPLE, encode, random_slot
from bench.contract_fuzz.sources import random_contracts

CHAIN_TAG = 77
PROPOSER = b"p" * 32
COINS_EACH = 1 << 40
FEW_COINS = 2_000
EXAMPLES_EACH = 2
DEPLOYMENTS_EACH = 4
HEIGHTS = (1, 200, 255, 2**32)
PRICES = (
    Prices(1, 5),
    Prices(0, 1),
    Prices(3, 40, gas_per_unit=1, entry_deposit=7),
    Prices(0, 1, gas_per_unit=7, entry_deposit=0, block_gas_max=4_000),
    Prices(2, 5, gas_per_unit=1_000_000, entry_deposit=3, block_gas_max=2**40),
)
GAS = 1 << 40
_NO_ORIGIN = Origin(0, 0, bytes(32))


@dataclass(frozen=True)
class DeployedContract:
    """encoded: its program. touches: what its functions touch, by their numbers."""

    encoded: bytes
    program: Verified
    touches: dict[int, FunctionTouches]


@cache
def _examples() -> tuple[DeployedContract, ...]:
    folder = Path(examples.__file__).parent
    sources = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    return tuple(_compiled(path.read_text(), path.name) for path in sources)


def _compiled(source: str, name: str) -> DeployedContract:
    program = compile_source(source, name).program
    return DeployedContract(encode_program(program), verify(program), touches_of(program))


class BlockWorld:
    """State after the blocks until now, and contracts by their addresses."""

    def __init__(self, random: Random) -> None:
        self.prices = random.choice(PRICES)
        self.height = random.choice(HEIGHTS)
        self.contracts: dict[bytes, DeployedContract] = {}
        world = MemoryWorld()
        for source in random_contracts(random):
            self._deploy(random, world, source.address, _compiled(source.text, f"{source.name}.py"))
        for each in random.sample(_examples(), EXAMPLES_EACH):
            self._deploy(random, world, sha256(each.encoded), each)
        self.entries: Entries = dict(world.entries)
        for address, contract in self.contracts.items():
            self.entries |= program_entries(address, contract.encoded, b"", _NO_ORIGIN)
        self.state: State = {
            who: Account(0, random.choice((COINS_EACH, COINS_EACH, FEW_COINS))) for who in PEOPLE
        }
        self.strangers = [random.randbytes(32) for _ in range(3)]

    def environment(self) -> Environment:
        """Of the next block."""
        return Environment(CHAIN_TAG, self.height, PROPOSER, self.prices, self.height // 3)

    def go_on(self, state: State, entries: Entries) -> None:
        """After a block."""
        self.state, self.entries = state, entries
        self.height += 1

    def programs(self, batch: Batch) -> dict[bytes, bytes]:
        """Of all contracts that these rows call, and of what they import; empty where there is none."""
        called = np.unique(batch.rows["recipient"][batch.rows["kind"] == KIND_CALL], axis=0)
        found, wanted = dict[bytes, bytes](), [key.tobytes() for key in called]
        while wanted:
            address = wanted.pop()
            contract = self.contracts.get(address)
            if address not in found and contract is not None:
                wanted += [each.address for each in contract.program.program.imports]
            found[address] = contract.encoded if contract else b""
        return found

    def arguments(self, random: Random, called: VerifiedFunction) -> bytes:
        """Of a function; of an UpTo, seldom one more than it takes."""
        data = b""
        for param in called.function.params:
            slot, single = random_slot(random, param.shape), not param.shape.count
            if param.max is not None:
                most = param.shape.type.range[1]
                slot = min(most, random.choice((0, param.max, param.max + 1, random.randint(0, param.max))))
            elif param.shape.type.is_integer and single and random.random() < 0.5:
                slot = random.randint(0, 20)
            elif param.shape.type == ADDRESS and single and random.random() < 0.2:
                slot = random.choice((*self.contracts, DEPOSITS_KEY, PROPOSER))
            data += encode(param.shape, slot)
        return data

    def _deploy(self, random: Random, world: MemoryWorld, address: bytes, contract: DeployedContract) -> None:
        """Or not, if it does not start: then nobody is there."""
        init = contract.program.init
        for _ in range(DEPLOYMENTS_EACH):
            sender = random.choice(PEOPLE)
            context = CallContext(sender=sender, contract=address, origin=sender, amount=0, height=1)
            data = self.arguments(random, init) if init else b""
            if run_init(contract.program, data, context, world, GAS).failure is None:
                world.programs[address] = contract.program
                self.contracts[address] = contract
                return
