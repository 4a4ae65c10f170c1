"""Runs calls on a world: fetches what compiled code asks for; the tables keep what calls have changed.

A call that is found to need a key begins again when it is there. So one that needs many, each found by way of
those before it, would take time that grows with the square of them; after FETCHES_MAX of them the interpreter
runs it, on the same tables. It is the definition: the outcome is the same.
"""

from __future__ import annotations

from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result, call
from actors.contracts.native.calls import CallColumns, OutcomeColumns
from actors.contracts.native.layout import Stop
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.runs import NativeRun
from actors.contracts.native.tables import (
    AccountTable,
    EntryTable,
    account_value,
    balance_of,
    entry_of,
    entry_value,
)
from actors.contracts.verified import Verified
from actors.contracts.world import World

FETCHES_MAX = 64
"""Keys that are fetched one by one for a call."""


class TableWorld:
    """Tables as a world, filled from the one below, which is only read."""

    def __init__(self, entries: EntryTable, accounts: AccountTable, below: World) -> None:
        self.entries, self.accounts, self._below = entries, accounts, below

    def fetch_entry(self, key: bytes) -> None:
        """Have it known."""
        self.entries.put_entries({key: self._below.entry(key)})

    def fetch_balance(self, address: bytes) -> None:
        """Have it known."""
        self.accounts.put_balances({address: self._below.balance(address)})

    def _entry_slot(self, key: bytes) -> int:
        slot = self.entries.slot_of(key)
        if slot is None:
            slot = len(self.entries)
            self.fetch_entry(key)
        return slot

    def _account_slot(self, address: bytes) -> int:
        slot = self.accounts.slot_of(address)
        if slot is None:
            slot = len(self.accounts)
            self.fetch_balance(address)
        return slot

    def entry(self, key: bytes) -> bytes:
        """See EntryStore."""
        return entry_of(self.entries.value_at(self._entry_slot(key)))

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See EntryStore."""
        self.entries.change(self._entry_slot(key), entry_value(value))

    def balance(self, address: bytes) -> int:
        """See World."""
        return balance_of(self.accounts.value_at(self._account_slot(address)))

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """See World."""
        for who, change in ((sender, -amount), (recipient, amount)):
            value = account_value(0, self.balance(who) + change)
            self.accounts.change(self._account_slot(who), value)

    def program(self, address: bytes) -> Verified | None:
        """See World."""
        return self._below.program(address)


def run_calls(
    linked: LinkedContracts,
    function: int,
    calls: CallColumns,
    entries: EntryTable,
    accounts: AccountTable,
    below: World,
) -> OutcomeColumns:
    """What came of the calls, whose contract is linked. The tables hold all that they have changed."""
    world, run = TableWorld(entries, accounts, below), NativeRun(linked, function, calls, (entries, accounts))
    program = linked.programs[calls.contract].verified
    row, fetches = 0, 0
    while (stopped := run.go_on()) is not None:
        fetches = fetches + 1 if run.next_row == row else 1
        row = run.next_row
        if fetches > FETCHES_MAX:
            run.put(interpret(program, function, calls, row, world))
        elif stopped.why is Stop.MISSING_ENTRY:
            world.fetch_entry(stopped.key)
        else:
            world.fetch_balance(stopped.key)
    return run.outcomes


def interpret(program: Verified, function: int, calls: CallColumns, row: int, world: World) -> Result:
    """What the loop does for one call: its coins are moved, and are moved back if it fails."""
    context, data = calls.context(row), calls.arguments[row].tobytes()
    called = program.functions[function].function
    if context.amount and called.accepts_coins:
        if world.balance(context.sender) < context.amount:
            return Result(failure=Failure.INSUFFICIENT_COINS, gas_used=0)
        world.move(context.sender, context.contract, context.amount)
    result = call(program, function, data, context, world, int(calls.gas[row]))
    if result.failure is not None and context.amount and called.accepts_coins:
        world.move(context.contract, context.sender, context.amount)
    return result
