"""What runs: a call, in it a contract, and of that a function, which is the frame that operations work in."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.world import Overlay, World


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a contract knows of its surroundings (ir.Fact).

    amount: coins that came with the call; they are the contract's already.
    """

    sender: bytes
    contract: bytes
    origin: bytes
    amount: int = 0
    height: int = 0
    time_ms: int = 0


EmittedEvent = tuple[bytes, int, bytes]
"""The contract's address, the number of the event in its program, the bytes of its fields."""


class RunningCall:
    """What all contracts and functions of a call share."""

    def __init__(self, world: World, context: CallContext, gas: int) -> None:
        self.world = Overlay(world)
        self.gas, self.gas_left = gas, gas
        self.origin, self.height, self.time_ms = context.origin, context.height, context.time_ms
        self.events: list[EmittedEvent] = []

    def charge(self, gas: int) -> None:
        """Before what it is for. Raises CallFailedError."""
        self.gas_left -= gas
        if self.gas_left < 0:
            raise CallFailedError(Failure.OUT_OF_GAS)


class RunningContract:
    """One contract within a call. depth: of contracts that call contracts, the first counted."""

    __slots__ = ("address", "amount", "call", "depth", "program", "sender")

    def __init__(
        self, call: RunningCall, program: Verified, address: bytes, sender: bytes, amount: int, depth: int
    ) -> None:
        self.call, self.program, self.address = call, program, address
        self.sender, self.amount, self.depth = sender, amount, depth


class RunningFunction:
    """One function of it: a frame of registers."""

    __slots__ = ("call", "codecs", "contract", "ranges", "registers")

    def __init__(self, contract: RunningContract, function: VerifiedFunction, registers: list[Any]) -> None:
        self.contract, self.call = contract, contract.call
        self.codecs, self.ranges = function.registers, function.ranges
        self.registers = registers
