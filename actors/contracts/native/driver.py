"""Runs calls on a world: fetches what the compiled code asks for, and writes back what calls have changed."""

from __future__ import annotations

from actors.contracts.native.calls import CallColumns, OutcomeColumns
from actors.contracts.native.layout import Stop
from actors.contracts.native.program import NativeProgram
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.contracts.world import World

FETCHES_MAX = 64
"""Keys that are fetched one by one for a call, each of which has it run again from its beginning."""


def run_calls(
    program: NativeProgram,
    function: int,
    calls: CallColumns,
    entries: EntryTable,
    accounts: AccountTable,
    world: World,
) -> OutcomeColumns:
    """What came of the calls. The tables hold all that they have changed; the world is only read."""
    run = program.run(function, calls, entries, accounts)
    row, fetches = 0, 0
    while (stopped := run.go_on()) is not None:
        fetches = fetches + 1 if run.next_row == row else 1
        row = run.next_row
        if stopped.why is Stop.MISSING_ENTRY:
            entries.put_entries({stopped.key: world.entry(stopped.key)})
        else:
            accounts.put_balances({stopped.key: world.balance(stopped.key)})
    return run.outcomes
