"""The benchmark of contracts: every example has a mix, no call of it fails, and it can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.console import UserError
from actors.contracts import examples
from bench.contract_mixes import MIXES, ExampleDeployment, Mix
from bench.contracts import command

EXAMPLES = {path.stem for path in Path(examples.__file__).parent.glob("[a-z]*.py")}


def test_every_example_is_measured() -> None:
    assert sorted(mix.name for mix in MIXES) == sorted(EXAMPLES)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_a_mix_can_be_repeated(mix: Mix) -> None:
    deployment = ExampleDeployment(mix)
    gas = []
    for _ in range(2):
        deployment.again()
        gas.append([deployment.run(step).gas_used for step in deployment.steps])
    assert gas[0] == gas[1]
    assert all(gas[0])


def test_what_it_tells() -> None:
    result: Any = command(seconds=0.01)
    assert set(result["examples"]) == EXAMPLES
    assert all(
        set(each) == {"calls_per_s", "us_per_call", "gas_per_call", "ratio_to_plain_python"}
        for each in result["examples"].values()
    )
    assert result["slowest"]["name"] in EXAMPLES


def test_what_it_tells_of_native_code() -> None:
    result: Any = command(engine="native", seconds=0.01)
    assert set(result["examples"]) == EXAMPLES
    assert all(each["code_bytes"] > 0 for each in result["examples"].values())
    assert result["transfers_per_s"] > 0


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no engine is called jit: there is interpreter, native"):
        command(engine="jit")
