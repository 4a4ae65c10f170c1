"""The example contracts by native code, as their mixes call them, and with calls that fail."""

from __future__ import annotations

from itertools import groupby

import pytest

from actors.contracts.failures import Failure
from actors.contracts.running import CallContext
from bench.contract_mixes import ALICE, BOB, CAROL, GAS, MIXES, ExampleDeployment, Mix, address_of
from tests.contracts.native.beside import Beside


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_an_example_does_what_the_interpreter_says(mix: Mix) -> None:
    deployment = ExampleDeployment(mix)
    beside = Beside(deployment.world)
    for _ in range(3):
        for (name, _), steps in groupby(deployment.steps, key=lambda step: (step[1], step[3].height)):
            calls = list(steps)
            program = calls[0][0]
            data = [call[2] for call in calls] * 3
            contexts = [call[3] for call in calls] * 3
            beside.run(program, name, data, contexts, [GAS] * len(data))
            beside.run(program, name, data, contexts, range(0, 40 * len(data), 40))


def test_many_transfers_among_few() -> None:
    mix = next(mix for mix in MIXES if mix.name == "token")
    deployment = ExampleDeployment(mix)
    program = deployment.world.programs[address_of("token")]
    beside, people = Beside(deployment.world), (ALICE, BOB, CAROL)
    called = program.named("transfer")
    assert called is not None
    data, contexts = [], []
    for number in range(2_000):
        to, amount = people[number % 3], (number * 7919) % (1 << (number % 41))
        data.append(called.params.encode((to, amount)))
        sender = people[number * 31 // 7 % 3]
        contexts.append(CallContext(sender=sender, contract=address_of("token"), origin=sender, height=1))
    results = beside.run(program, "transfer", data, contexts, [GAS] * len(data))
    failures = [result.failure for result in results]
    assert set(failures) <= {None, Failure.REQUIREMENT}
    assert failures.count(None) > 1_000
