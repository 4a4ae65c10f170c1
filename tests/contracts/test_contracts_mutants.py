"""Whatever bytes come: a typed refusal, or a program that keeps to what the verifier said of it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

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
from tests.contracts.mutants import mutate_bytes, mutate_program
from tests.contracts.programs import PEOPLE, random_arguments, random_program

GAS = 20_000


def ready_or_refused(data: bytes) -> Verified | None:
    """The verified program of these bytes, or None."""
    try:
        program = decode_program(data)
        assert encode_program(program) == data
        return verify(program)
    except ProgramError:
        return None


def run_all(random: Random, ready: Verified) -> None:
    """Call each function, with good arguments and bad ones."""
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
        assert result.gas_used <= min(GAS, each.worst.gas) or result.failure is Failure.OUT_OF_GAS
        assert each.worst.steps <= STEPS_MAX
        if result.failure is not None or each.function.kind is FunctionKind.VIEW:
            assert (world.entries, world.balances) == before
        assert sum(world.balances.values()) == 100 * len(PEOPLE)


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    ready_or_refused(data)


@given(st.integers(0, 2**64))
@settings(max_examples=100)
def test_bytes_near_those_of_a_program(seed: int) -> None:
    random = Random(seed)
    data = encode_program(random_program(random, operations=12))
    for _ in range(10):
        if ready := ready_or_refused(mutate_bytes(random, data)):
            run_all(random, ready)


@given(st.integers(0, 2**64))
@settings(max_examples=100)
def test_programs_near_one_that_is_accepted(seed: int) -> None:
    random = Random(seed)
    program = random_program(random, operations=12)
    for _ in range(10):
        if ready := ready_or_refused(mutate_program(random, program)):
            run_all(random, ready)
