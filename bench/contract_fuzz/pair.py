"""A contract run twice from one source: compiled, by the interpreter, and as ordinary Python; and compared.

The source is executed: it must be our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.contracts.authoring import Address, CallFailedError, World
from actors.contracts.interpreter import Result, call, check_imports, run_init
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.sources import ContractSource

GAS = 1 << 40


@dataclass(frozen=True)
class PlannedCall:
    """One call. function: empty for the deployment."""

    address: bytes
    function: str
    arguments: bytes
    sender: bytes
    coins: int
    height: int

    def told(self) -> dict[str, object]:
        """For a report."""
        return {
            "contract": self.address.hex(),
            "function": self.function,
            "arguments": self.arguments.hex(),
            "sender": self.sender.hex(),
            "coins": self.coins,
            "height": self.height,
        }


@dataclass
class Observed:
    """What came of a call. failure: its number, 0 for none; balances: those that are not zero."""

    failure: int
    message: str = ""
    results: bytes = b""
    events: list[tuple[bytes, int, bytes]] = field(default_factory=list)
    entries: dict[bytes, bytes] = field(default_factory=dict)
    balances: dict[bytes, int] = field(default_factory=dict)

    def told(self) -> dict[str, object]:
        """For a report."""
        return {
            "failure": self.failure,
            "message": self.message,
            "results": self.results.hex(),
            "events": [[where.hex(), number, data.hex()] for where, number, data in self.events],
            "entries": {key.hex(): value.hex() for key, value in sorted(self.entries.items())},
            "balances": {who.hex(): coins for who, coins in sorted(self.balances.items())},
        }


class Pair:
    """Both worlds, with the same coins."""

    def __init__(self, balances: dict[bytes, int]) -> None:
        self.chain, self.python = MemoryWorld(), World()
        self.chain.balances = dict(balances)
        self._classes: dict[bytes, Any] = {}
        for who, coins in balances.items():
            self.python.fund(Address(who), coins)

    def deploy(
        self, source: ContractSource, program: Verified, made: PlannedCall
    ) -> tuple[Observed, Observed]:
        """What came of the deployment in each; it is there if it did not fail."""
        namespace: dict[str, Any] = {"__name__": source.name}
        exec(compile(source.text, f"{source.name}.py", "exec", dont_inherit=True), namespace)
        self._classes[source.address] = namespace[source.name]
        check_imports(program, self.chain)
        first = self._interpreted(program, made)
        if not first.failure:
            self.chain.programs[source.address] = program
        return first, self._executed(made)

    def call(self, made: PlannedCall) -> tuple[Observed, Observed]:
        """What came of a call in each."""
        return self._interpreted(self.chain.programs[made.address], made), self._executed(made)

    def _interpreted(self, program: Verified, made: PlannedCall) -> Observed:
        context = CallContext(
            sender=made.sender,
            contract=made.address,
            origin=made.sender,
            amount=made.coins,
            height=made.height,
            time_ms=made.height // 3,
        )
        self.chain.move(made.sender, made.address, made.coins)
        if made.function:
            result = call(program, made.function, made.arguments, context, self.chain, GAS)
        else:
            result = run_init(program, made.arguments, context, self.chain, GAS)
        if result.failure is not None:
            self.chain.move(made.address, made.sender, made.coins)
        self._check_worst(program, made, result)
        return Observed(
            result.failure or 0,
            result.message,
            result.results,
            list(result.events),
            dict(self.chain.entries),
            {who: coins for who, coins in self.chain.balances.items() if coins},
        )

    @staticmethod
    def _check_worst(program: Verified, made: PlannedCall, result: Result) -> None:
        """Raises ArithmeticError if a call used more gas than the verifier said."""
        called = program.named(made.function) if made.function else program.init
        if called is not None and not called.worst.contract_calls and result.gas_used > called.worst.gas:
            raise ArithmeticError(f"{result.gas_used} gas used, {called.worst.gas} at worst")

    def _executed(self, made: PlannedCall) -> Observed:
        self.python.height, self.python.time_ms = made.height, made.height // 3
        before = len(self.python.events)
        declaration = self._classes[made.address].__contract__
        declared = declaration.functions[made.function] if made.function else declaration.init
        values = () if declared is None else declared.params.decode(made.arguments)
        sender, results, failure, message = Address(made.sender), b"", 0, ""
        try:
            if made.function:
                given = self.python.call(
                    Address(made.address), made.function, *values, sender=sender, coins=made.coins
                )
                results = b"" if given is None else declared.results.encode(given)
            else:
                self.python.deploy(
                    self._classes[made.address],
                    sender=sender,
                    args=values,
                    coins=made.coins,
                    address=Address(made.address),
                )
        except CallFailedError as failed:
            failure = int(failed.failure)
            message = failed.message
        except Exception as error:  # noqa: BLE001  # a contract cannot raise another: it is what we look for
            failure, message = -1, f"{type(error).__name__}: {error}"
        events = [(bytes(each.contract), each.number, each.data) for each in self.python.events[before:]]
        entries = dict(self.python.entries)
        return Observed(failure, message, results, events, entries, self._balances())

    def _balances(self) -> dict[bytes, int]:
        known = (*self.chain.balances, *self._classes)
        coins = {who: self.python.balance(Address(who)) for who in known}
        return {who: amount for who, amount in coins.items() if amount}
