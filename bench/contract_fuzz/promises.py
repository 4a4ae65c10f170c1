"""What holds for any bytes: a typed refusal, or a program that keeps to what the verifier said of it."""

from __future__ import annotations

from random import Random

from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.errors import ProgramError
from actors.contracts.failures import Failure
from actors.contracts.interpreter import call, run_init
from actors.contracts.ir import FunctionKind
from actors.contracts.limits import STEPS_MAX
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import PEOPLE, random_arguments
from bench.contract_fuzz.mutants import mutate_bytes

GAS = 20_000


class BrokenPromiseError(Exception):
    """A program did what none may."""


def _promise(kept: bool, what: str) -> None:
    if not kept:
        raise BrokenPromiseError(what)


def ready_or_refused(data: bytes) -> Verified | None:
    """The verified program of these bytes, or None. Raises BrokenPromiseError."""
    try:
        program = decode_program(data)
        _promise(encode_program(program) == data, "a program has two forms")
        return verify(program)
    except ProgramError:
        return None


def call_all(random: Random, ready: Verified) -> None:
    """Call each function, with good arguments and bad ones. Raises BrokenPromiseError."""
    world = MemoryWorld()
    world.balances = dict.fromkeys(PEOPLE, 100)
    for each in ready.functions:
        data = random_arguments(random, each.function.params)
        data = random.choice((data, data, mutate_bytes(random, data)))
        context = CallContext(
            sender=PEOPLE[0], contract=PEOPLE[1], origin=PEOPLE[2], amount=random.choice((0, 5))
        )
        before = world.entries.copy(), world.balances.copy()
        if each.function.kind is FunctionKind.INIT:
            result = run_init(ready, data, context, world, GAS)
        else:
            result = call(ready, each.number, data, context, world, GAS)
        within = result.gas_used <= min(GAS, each.worst.gas) or result.failure is Failure.OUT_OF_GAS
        _promise(within, "more gas than at worst")
        _promise(each.worst.steps <= STEPS_MAX, "too many steps")
        unchanged = result.failure is not None or each.function.kind is FunctionKind.VIEW
        same = (world.entries, world.balances) == before
        _promise(same or not unchanged, "a failed call or a view changed something")
        _promise(sum(world.balances.values()) == 100 * len(PEOPLE), "coins out of nothing")
