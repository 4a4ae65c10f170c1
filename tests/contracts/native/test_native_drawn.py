"""Drawn programs by native code and by the interpreter: all that comes of their calls is the same."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import PEOPLE, random_arguments
from tests.contracts.native.beside import Beside
from tests.contracts.programs import random_program

ROUNDS, CALLS = 4, 6
LIMITS = (0, 30, 200, 1_000, 1 << 40)
HEIGHTS = (1, 255, 2**63)


def calls_of_all(random: Random, program: Verified, beside: Beside) -> int:
    """Some calls of each public function, in turn; how many went through."""
    public = [
        each
        for each in program.functions
        if each.function.kind in (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
    ]
    went = 0
    for _ in range(ROUNDS):
        for function in public:
            went += calls_of_one(random, program, function, beside)
    return went


def calls_of_one(random: Random, program: Verified, function: VerifiedFunction, beside: Beside) -> int:
    """Some in one block."""
    height = random.choice(HEIGHTS)
    arguments, contexts, gas = [], [], []
    for _ in range(CALLS):
        data = bytearray(random_arguments(random, function.function.params))
        if data and random.random() < 0.1:
            data[random.randrange(len(data))] = random.randrange(256)
        amount = random.choice((0, 0, 1, 5, 2_000)) if random.random() < 0.5 else 0
        context = CallContext(
            sender=random.choice(PEOPLE),
            contract=PEOPLE[1],
            origin=random.choice(PEOPLE),
            amount=amount,
            height=height,
            time_ms=height // 3,
        )
        arguments.append(bytes(data))
        contexts.append(context)
        gas.append(random.choice(LIMITS))
    results = beside.run(program, function.function.name, arguments, contexts, gas)
    return sum(result.failure is None for result in results)


@settings(max_examples=8)
@given(st.integers(0, 2**64 - 1))
def test_drawn_programs_do_what_the_interpreter_says(seed: int) -> None:
    random = Random(seed)
    program = verify(decode_program(encode_program(random_program(random, operations=25))))
    world = MemoryWorld()
    world.balances = dict.fromkeys(PEOPLE, 1_000)
    calls_of_all(random, program, Beside(world))
