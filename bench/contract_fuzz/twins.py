"""Columns of calls by the interpreter and by native code, each on a world of its own; and compared.

1. The interpreter defines what is right. Both worlds begin alike; what native code asks for is told as it was
   when its tables were made.
2. Of each call the whole result is compared: failure, message, gas, results, events, entries created and
   removed. After each column entries and balances are, those that are marked as changed apart from all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result, call
from actors.contracts.native.calls import CallColumns
from actors.contracts.native.driver import run_calls
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.program import NativeProgram
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.world import MemoryWorld

TABLE_SEED = 0x5EED_0123_4567_89AB_CDEF


@dataclass(frozen=True)
class ColumnCall:
    """One call of a column. gas: its limit."""

    arguments: bytes
    context: CallContext
    gas: int

    def told(self) -> dict[str, object]:
        """For a report."""
        return {
            "arguments": self.arguments.hex(),
            "sender": self.context.sender.hex(),
            "origin": self.context.origin.hex(),
            "coins": self.context.amount,
            "height": self.context.height,
            "gas": self.gas,
        }


@dataclass(frozen=True)
class Difference:
    """Where the two differ. row: of the column, or None if it is what all calls have left."""

    row: int | None
    interpreter: dict[str, object]
    native: dict[str, object]


def copied(world: MemoryWorld) -> MemoryWorld:
    """Another one with the same in it."""
    other = MemoryWorld()
    other.entries, other.balances = dict(world.entries), dict(world.balances)
    other.programs = world.programs
    return other


def interpreted(world: MemoryWorld, program: Verified, name: str, made: ColumnCall) -> Result:
    """As native code moves coins: who has fewer fails where the body would begin, and pays no gas."""
    context = made.context
    lacking = world.balance(context.sender) < context.amount
    if not lacking:
        world.move(context.sender, context.contract, context.amount)
    below = copied(world) if lacking else world
    result = call(program, name, made.arguments, context, below, made.gas)
    refused = result.failure in (Failure.TAKES_NO_COINS, Failure.BAD_ARGUMENTS) and not result.gas_used
    if lacking and not refused:
        return Result(failure=Failure.INSUFFICIENT_COINS, gas_used=0)
    if result.failure is not None and not lacking:
        world.move(context.contract, context.sender, context.amount)
    return result


class Twins:
    """The interpreter's world, and tables for native code. find: the code of a program at an address."""

    def __init__(self, world: MemoryWorld, find: Callable[[bytes], NativeProgram | None]) -> None:
        self.world, self._find = world, find
        self.begin()

    def begin(self) -> None:
        """Forget what native code has done: it begins with the interpreter's world as it is."""
        self.before = copied(self.world)
        self.entries, self.accounts = EntryTable(TABLE_SEED), AccountTable(TABLE_SEED >> 1)

    def probe(self, program: Verified, name: str, made: ColumnCall) -> Result:
        """What would come of a call now."""
        return interpreted(copied(self.world), program, name, made)

    def native(self, called: VerifiedFunction, calls: list[ColumnCall]) -> list[Result]:
        """What comes of a column by native code."""
        contexts = [each.context for each in calls]
        columns = CallColumns.of([each.arguments for each in calls], contexts, [each.gas for each in calls])
        linked = LinkedContracts([columns.contract], self._find)
        came = run_calls(linked, called.number, columns, self.entries, self.accounts, self.before)
        return [came.result(row) for row in range(len(calls))]

    def compare(
        self, called: VerifiedFunction, calls: list[ColumnCall], expected: list[Result]
    ) -> Difference | None:
        """Run a column by native code. expected: by the interpreter, whose world has it behind it."""
        for row, (native, wanted) in enumerate(zip(self.native(called, calls), expected, strict=True)):
            if native != wanted:
                return _different(row, _told(wanted), _told(native))
        for changed_only in (False, True):
            left = self._left(changed_only)
            wanted_left = self.world.entries, _without_zeros(self.world.balances)
            if left != wanted_left:
                return _different(None, _state(*wanted_left), _state(*left))
        return None

    def _left(self, changed_only: bool) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
        entries = {**self.before.entries, **dict(self.entries.items(changed_only))}
        balances = {**self.before.balances, **dict(self.accounts.items(changed_only))}
        return {key: value for key, value in entries.items() if value}, _without_zeros(balances)


def _without_zeros(balances: dict[bytes, int]) -> dict[bytes, int]:
    return {who: coins for who, coins in balances.items() if coins}


def _told(result: Result) -> dict[str, object]:
    told: dict[str, Any] = {name: getattr(result, name) for name in result.__struct_fields__}
    told["failure"] = int(result.failure or 0)
    told["results"] = result.results.hex()
    told["events"] = [[where.hex(), number, data.hex()] for where, number, data in result.events]
    return told


def _state(entries: dict[bytes, bytes], balances: dict[bytes, int]) -> dict[str, object]:
    held: dict[str, object] = {key.hex(): value.hex() for key, value in entries.items()}
    return held | {who.hex(): coins for who, coins in balances.items()}


def _different(row: int | None, wanted: dict[str, object], native: dict[str, object]) -> Difference:
    names = [name for name in {**wanted, **native} if wanted.get(name) != native.get(name)]
    return Difference(
        row, {name: wanted.get(name) for name in names}, {name: native.get(name) for name in names}
    )
