"""Probes of gas: each is a contract, its calls succeed, and a unit of it weighs what its operations weigh."""

from __future__ import annotations

from typing import Any

import pytest

from actors.contracts.gas import WEIGHTS, Weights
from actors.contracts.verifier import verify
from bench.contract_speed.gas import MANY, measure_gas, measure_probe
from bench.contract_speed.probes import PROBES, Probe

BY_NAME = {probe.name: probe for probe in PROBES}
W = WEIGHTS


def test_names_are_of_one_probe_each_and_every_weight_has_one() -> None:
    assert len(BY_NAME) == len(PROBES)
    measured = {probe.weight for probe in PROBES} - {"read and write"}
    assert set(Weights.__struct_fields__) - measured == {"operand", "chunk", "hash_chunk", "round"}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_every_probe_is_a_contract(probe: Probe) -> None:
    assert verify(probe.program(MANY)).named("run")


@pytest.mark.parametrize(
    ("name", "gas"),
    [
        ("add u64", W.simple),
        ("divide u128", W.divide),
        ("hash of 64 bytes", W.hash + 2 * W.operand + W.hash_chunk),
        ("read", W.simple + 2 * W.operand + W.read),
        ("write of 512 bytes", W.simple + W.element + 2 * W.operand + 8 * W.write),
        ("emit", W.simple + W.emit + W.operand + W.chunk),
        ("call of a contract with coins", W.call_contract + 2 * W.operand + W.chunk),
    ],
)
def test_what_a_unit_weighs(name: str, gas: int) -> None:
    assert measure_probe(BY_NAME[name], 0.0).gas == gas


def test_what_it_tells() -> None:
    result: Any = measure_gas(0.0, (BY_NAME["add u64"], BY_NAME["balance"]))
    assert set(result["probes"]) == {"add u64", "balance"}
    assert set(result["weights"]) == set(result["proposed"]) == {"simple", "balance"}
    assert result["slowest_over_fastest"] >= 1
