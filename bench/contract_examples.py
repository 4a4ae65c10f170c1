"""Example contracts as one account deploys them with its first transactions, so that all know where they are.

The deployer has all tokens, and opens the exchange with some of them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from actors.contracts import examples
from actors.contracts.encoding import encode_program
from actors.contracts.language import compile_source
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.types import Slot
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from actors.ledger.contract_payloads import Deployment, contract_address, encode_call
from actors.ledger.contract_rules import DEPLOY_CHUNK_GAS
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY
from actors.ledger.signing import Transfer

EXAMPLES = ("counter", "token", "exchange", "registry", "escrow")
SUPPLY, RESERVE = 1 << 48, 1 << 24
CALL_GAS, CALL_ENTRIES = 2_000, 4
"""What no call of these examples exceeds."""
_ENTRIES_BESIDES = 8
_TOKEN_OF_THE_EXAMPLE = b"token".ljust(32, b"\x00")


class ExampleProgram(NamedTuple):
    """An example, compiled."""

    program: bytes
    source: bytes
    verified: Verified

    def function(self, name: str) -> VerifiedFunction:
        """The function of this name. Raises LookupError."""
        if (called := self.verified.named(name)) is None:
            raise LookupError(f"{self.verified.program.name} has no {name}")
        return called

    def payload(self, function: str, *slots: Slot) -> bytes:
        """Of a call."""
        called = self.function(function)
        return encode_call(called.number, called.params.encode(slots))

    def deployment(self, *slots: Slot) -> bytes:
        """The payload that deploys it."""
        init = self.verified.init
        return Deployment(self.program, self.source, init.params.encode(slots) if init else b"").encode()


@cache
def example_program(name: str, token: bytes = _TOKEN_OF_THE_EXAMPLE) -> ExampleProgram:
    """An example; the exchange trades the token at this address."""
    text = (Path(examples.__file__).parent / f"{name}.py").read_text()
    text = text.replace(_TOKEN_OF_THE_EXAMPLE.hex(), token.hex())
    program = compile_source(text, f"{name}.py").program
    return ExampleProgram(encode_program(program), text.encode(), verify(program))


def call_fee(prices: Prices) -> int:
    """What a call offers that needs CALL_GAS and CALL_ENTRIES."""
    return prices.fee_min + -(-CALL_GAS // prices.gas_per_unit) + CALL_ENTRIES * prices.entry_deposit


def deploy_fee(payload: bytes, prices: Prices) -> int:
    """What a deployment offers; its program has fewer entries than its payload has pieces."""
    pieces = -(-len(payload) // ENTRY_BYTES_MAX)
    gas = DEPLOY_CHUNK_GAS * pieces + CALL_GAS
    deposit = (pieces + _ENTRIES_BESIDES) * prices.entry_deposit
    return prices.fee_min + -(-gas // prices.gas_per_unit) + deposit


class Catalog:
    """Where the examples of a deployer are. opening: what it does first, with the nonces from 0 on."""

    def __init__(self, deployer: bytes, prices: Prices) -> None:
        self.prices, self.deployer = prices, deployer
        self.addresses = {name: contract_address(deployer, nonce) for nonce, name in enumerate(EXAMPLES)}

    def program(self, name: str) -> ExampleProgram:
        """What is deployed under a name."""
        return example_program(name, self.addresses["token"])

    def opening(self) -> list[Transfer]:
        """Deployments of all, and what opens the exchange."""
        steps = [self._deployment(nonce, name) for nonce, name in enumerate(EXAMPLES)]
        approve = self.program("token").payload("approve", self.addresses["exchange"], SUPPLY)
        provide = self.program("exchange").payload("provide", RESERVE, 0)
        for name, payload, coins in (("token", approve, 0), ("exchange", provide, RESERVE)):
            fee = call_fee(self.prices)
            steps.append(
                Transfer(self.addresses[name], coins, len(steps), fee, payload=payload, kind=KIND_CALL)
            )
        return steps

    def _deployment(self, nonce: int, name: str) -> Transfer:
        payload = self.program(name).deployment(*([SUPPLY] if name == "token" else []))
        fee = deploy_fee(payload, self.prices)
        return Transfer(self.addresses[name], 0, nonce, fee, payload=payload, kind=KIND_DEPLOY)
