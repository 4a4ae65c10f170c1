"""The benchmark of contracts: every example has a mix, no call of it fails, and it can be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.console import UserError
from actors.contracts import examples
from bench.contract_mixes import MIXES, ExampleDeployment, Mix
from bench.contract_speed.evm_calls import pyrevm_missing
from bench.contract_speed.workloads import WORKLOADS
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
    result: Any = command(accounts=1_000, rows=200, blocks=1)
    runs = {(run["workload"], run["validators"]): run for run in result["runs"]}
    assert set(runs) == {(workload.name, count) for workload in WORKLOADS for count in (1, 2)}
    for run in runs.values():
        assert run["calls_per_s"] >= run["calls_with_roots_per_s"] > 0
        assert run["ratio_to_serial"] > 0
        assert run["ratio_to_interpreter"] > 0
        assert {"plan", "read", "pack", "run", "write", "state_root"} <= set(run["stages_us_per_call"])
    assert runs["token", 1]["islands"] > 1
    assert runs["token", 2]["parts"] == 2
    assert runs["hot", 2]["islands"] == runs["hot", 2]["parts"] == 1
    assert (runs["token", 1]["ratio_to_pyrevm"] is None) is bool(pyrevm_missing())
    assert result["entries"] > result["accounts"]
    assert set(result["serial"]) == {workload.name for workload in WORKLOADS}


def test_what_it_tells_of_the_interpreter() -> None:
    result: Any = command(engine="interpreter", seconds=0.01)
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "jit"}, "no engine is called jit: there is chain, interpreter, native"),
        ({"validators": "1,none"}, "--validators 1,none: expected numbers, as in 1,2"),
        (
            {"workloads": "token,cold"},
            "--workloads token,cold: expected some of token,exchange,heavy,hot,chained",
        ),
    ],
)
def test_what_there_is_not(options: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        command(**options)  # type: ignore[arg-type]
