"""Native code of contracts on one core: what it takes to compile each example, and transfers of the token.

Keys: `runtime_ms` to compile what all programs share; for each of `examples`, `compile_ms` (of a core) and
`code_bytes`; and of transfers between `accounts` that all have tokens, each call with keys of its own to hash
and to find: `transfers_per_s`, `interpreter_per_s` on the same calls, and `ratio_to_interpreter`. No call
fails.
"""

from __future__ import annotations

import time

import numpy as np

from actors.contracts.interpreter import call
from actors.contracts.native.calls import CallColumns
from actors.contracts.native.driver import run_calls
from actors.contracts.native.linking import LinkedContracts
from actors.contracts.native.program import NativeProgram
from actors.contracts.native.runtime import runtime
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.contracts.verified import Verified
from actors.contracts.world import MemoryWorld
from bench.contract_mixes import GAS, MIXES, ExampleDeployment, address_of

ACCOUNTS, BATCH, SEED = 20_000, 20_000, 0x5EED
INTERPRETED_MAX = 2_000


def measure_native(seconds: float) -> dict[str, object]:
    """All of it."""
    compiled: dict[str, dict[str, float]] = {}
    began = time.process_time()
    runtime()
    shared = round(1_000 * (time.process_time() - began), 1)
    for mix in MIXES:
        program = ExampleDeployment(mix).world.programs[address_of(mix.name)]
        began = time.process_time()
        native = NativeProgram(program)
        taken = round(1_000 * (time.process_time() - began), 1)
        compiled[mix.name] = {"compile_ms": taken, "code_bytes": native.code_bytes}
    fast, slow = _transfers(seconds)
    return {
        "engine": "native",
        "runtime_ms": shared,
        "examples": compiled,
        "accounts": ACCOUNTS,
        "transfers_per_s": round(fast),
        "interpreter_per_s": round(slow),
        "ratio_to_interpreter": round(fast / slow, 1),
    }


def _transfers(seconds: float) -> tuple[float, float]:
    """Calls a second: natively, and interpreted."""
    mix = next(mix for mix in MIXES if mix.name == "token")
    world = ExampleDeployment(mix).world
    program = world.programs[address_of("token")]
    calls = _calls(program, world)
    called = program.named("transfer")
    if called is None:
        raise RuntimeError("the token has no transfer")
    linked = LinkedContracts([calls.contract], {calls.contract: NativeProgram(program)}.get)
    entries, accounts = EntryTable(SEED), AccountTable(SEED)
    run_calls(linked, called.number, calls, entries, accounts, world)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        outcomes = run_calls(linked, called.number, calls, entries, accounts, world)
        if outcomes.failures.any():
            raise RuntimeError("a transfer fails")
        done += len(calls)
    fast = done / (time.perf_counter() - began)
    rows, began = min(INTERPRETED_MAX, len(calls)), time.perf_counter()
    for row in range(rows):
        call(program, called.number, calls.arguments[row].tobytes(), calls.context(row), world, GAS)
    return fast, rows / (time.perf_counter() - began)


def _calls(program: Verified, world: MemoryWorld) -> CallColumns:
    """Transfers among all accounts, to which tokens are given first."""
    random = np.random.default_rng(SEED)
    people = random.integers(0, 256, (ACCOUNTS, 32), np.uint8)
    rows = next(table for table in program.tables if program.program.tables[table.number].name == "balances")
    for who in people:
        rows.write(world, rows.entry_keys(address_of("token"), [who.tobytes()]), [1 << 40])
    senders, recipients = (people[random.integers(0, ACCOUNTS, BATCH)] for _ in range(2))
    amounts = np.full((BATCH, 1), 3, np.uint64).view(np.uint8)
    return CallColumns(
        contract=address_of("token"),
        height=1,
        time_ms=1,
        arguments=np.ascontiguousarray(np.hstack([recipients, amounts])),
        senders=senders,
        origins=senders,
        amounts=np.zeros(BATCH, np.uint64),
        gas=np.full(BATCH, GAS, np.int64),
    )
