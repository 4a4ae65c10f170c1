"""Calls that are only tried: what the chain would do, on nobody's account, and never too much at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from actors.contracts.failures import Failure
from actors.contracts.limits import ARGUMENTS_BYTES_MAX
from actors.gateway import simulator as simulator_module
from actors.gateway.backend import ShareError, UnavailableError
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.problem import ProblemError
from actors.gateway.simulation import SimulatedCall, SimulationOutcome
from actors.gateway.simulator import Simulator
from actors.storage.interface import RetainedHeights, StateValues
from tests.gateway.gateway_contracts import (
    ALICE,
    BOB,
    COUNTER,
    SUPPLY,
    TOKEN,
    deploy,
    deploy_source,
    node_with_contracts,
)
from tests.gateway.gateway_fake_node import FakeNode, until
from tests.gateway.test_gateway_api import problem_of, talk
from tests.gateway.test_gateway_contracts import ROUNDS, path
from tests.ledger.contract_transactions import example

Body = dict[str, Any]


async def simulate(http: httpx.AsyncClient, contract: bytes, function: Any, **fields: Any) -> httpx.Response:
    return await http.post(path(contract, "simulate"), json={"function": function, **fields})


def test_a_view_answers_by_name_and_costs_nothing() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        for arguments in ({"who": ALICE.hex()}, [ALICE.hex()], ALICE.hex()):
            for sender in ({}, {"sender": "99" * 32}, {"sender": BOB.hex()}):
                found = (await simulate(http, TOKEN, "balance_of", arguments=arguments, **sender)).json()
                assert (found["status"], found["failure"], found["height"]) == (0, None, 3)
                assert found["results"] == {"value": SUPPLY}
                assert found["results_bytes"] == SUPPLY.to_bytes(8, "little").hex()
                assert (found["changes"], found["events"], found["static"]) == ([], [], True)
        supply = next(each.number for each in compiled_token() if each.function.name == "total_supply")
        assert (await simulate(http, TOKEN, supply)).json()["results"] == {"value": SUPPLY}
        earlier = (await simulate(http, TOKEN, "balance_of", arguments=[BOB.hex()], height=1)).json()
        assert (earlier["results"], earlier["height"]) == ({"value": 0}, 1)

    talk(scenario, node_with_contracts())


def compiled_token() -> Any:
    return example("token")[2].functions


def test_an_entry_says_what_it_would_change_emit_and_cost() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        wanted = {"arguments": {"to": BOB.hex(), "amount": 30}, "sender": ALICE.hex()}
        found = (await simulate(http, TOKEN, "transfer", **wanted)).json()
        assert (found["status"], found["results"], found["results_bytes"]) == (0, {"value": True}, "01")
        assert (found["entries_created"], found["entries_removed"], found["deposit"]) == (1, 0, 1)
        assert found["fee"] == -(-found["gas"] // 100) + 1
        (event,) = found["events"]
        assert (event["contract"], event["name"], event["number"]) == (TOKEN.hex(), "Transfer", 0)
        assert event["fields"] == {"sender": ALICE.hex(), "recipient": BOB.hex(), "amount": 30}
        assert event["bytes"] == ALICE.hex() + BOB.hex() + (30).to_bytes(8, "little").hex()
        after = {each["after"] for each in found["changes"]}
        assert after == {(30).to_bytes(8, "little").hex(), (SUPPLY - 30).to_bytes(8, "little").hex()}
        assert node.height == 3
        failed = (await simulate(http, TOKEN, "transfer", **{**wanted, "sender": BOB.hex()})).json()
        assert (failed["status"], failed["failure"]) == (Failure.REQUIREMENT, "REQUIREMENT")
        assert (failed["message"], failed["results"], failed["changes"]) == ("more than the balance", {}, [])
        short = (await simulate(http, TOKEN, "transfer", **wanted, gas=10)).json()
        assert (short["failure"], short["gas"]) == ("OUT_OF_GAS", 10)

    talk(scenario, node_with_contracts())


def test_coins_are_those_of_the_sender_and_a_call_of_nobody_is_free() -> None:
    node = node_with_contracts()
    escrow = deploy(node, 2, "escrow")

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        opened = {"arguments": [1, BOB.hex(), 99], "sender": ALICE.hex()}
        found = (await simulate(http, escrow, "open", **opened, amount=5)).json()
        assert (found["status"], found["entries_created"]) == (0, 1)
        held = node.state[ALICE].balance
        too_much = problem_of(await simulate(http, escrow, "open", **opened, amount=held + 1), 409)
        assert (too_much["verdict"], too_much["field"]) == ("INSUFFICIENT_BALANCE", "amount")
        assert "fee" not in too_much
        for amount, verdict, status in (
            (held, "SENDER_BELOW_MINIMUM", 422),  # would be left without any
            (held - 1, "INSUFFICIENT_BALANCE", 409),  # has that, and not the fee
        ):
            refused = problem_of(await simulate(http, escrow, "open", **opened, amount=amount), status)
            assert refused["verdict"] == verdict
        assert refused["fee"] > 1
        poor = {**opened, "sender": "77" * 32}
        assert problem_of(await simulate(http, escrow, "open", **poor), 409)["verdict"]
        nobodys = {"arguments": opened["arguments"]}
        assert problem_of(await simulate(http, escrow, "open", **nobodys, amount=1), 409)["verdict"]
        for sender in ({}, {"sender": "00" * 32}):
            dry = (await simulate(http, escrow, "open", **nobodys, **sender)).json()
            assert dry["message"] == "no coins came along"
        coins = (await simulate(http, COUNTER, "add", arguments=[1], sender=BOB.hex(), amount="5")).json()
        assert coins["failure"] == "TAKES_NO_COINS"

    talk(scenario, node)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "function"),
        ({"function": "start"}, 422, "function"),
        ({"function": "_move"}, 422, "function"),
        ({"function": 99}, 422, "function"),
        ({"function": -1}, 422, "function"),
        ({"function": True}, 422, "function"),
        ({"function": "x" * 49}, 422, "function"),
        ({"function": "balance_of"}, 422, "arguments.who"),
        ({"function": "balance_of", "arguments": {"who": 5}}, 422, "arguments.who"),
        ({"function": "balance_of", "arguments": {"whom": ALICE.hex()}}, 422, "arguments"),
        ({"function": "balance_of", "arguments": [1, 2]}, 422, "arguments"),
        ({"function": "balance_of", "arguments": 5}, 422, "arguments"),
        ({"function": "balance_of", "arguments": "zz"}, 422, "arguments"),
        ({"function": "balance_of", "arguments": "ab cd "}, 422, "arguments"),
        ({"function": "balance_of", "arguments": "ab" * (ARGUMENTS_BYTES_MAX + 1)}, 422, "arguments"),
        ({"function": "total_supply", "gas": 1_000_001}, 422, "gas"),
        ({"function": "total_supply", "gas": -1}, 422, "gas"),
        ({"function": "total_supply", "amount": 2**64}, 422, "amount"),
        ({"function": "total_supply", "sender": "12"}, 422, "sender"),
        ({"function": "total_supply", "sender": b"entry\0\0\0".hex() + "00" * 24}, 422, "sender"),
        ({"function": "total_supply", "sender": TOKEN.hex()}, 422, "sender"),
        ({"function": "total_supply", "height": 4}, 404, "height"),
        ({"function": "total_supply", "height": 2**64 - 1}, 404, "height"),
        ({"function": "total_supply", "height": 0}, 404, "address"),
        ({"function": "total_supply", "nonsense": 1}, 422, "nonsense"),
    ],
)
def test_what_cannot_be_simulated_names_its_field(body: Body, status: int, field: str) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        problem = problem_of(await http.post(path(TOKEN, "simulate"), json=body), status)
        assert problem["field"] == field
        assert ALICE.hex() not in problem["detail"]

    talk(scenario, node_with_contracts())


def test_greatest_values_of_parameters_hold_and_bytes_are_passed_on() -> None:
    node = node_with_contracts()
    rounds = deploy_source(node, 2, ROUNDS)

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        most = {"rounds": 16, "start": ["5", 0]}
        assert (await simulate(http, rounds, "count", arguments=most)).json()["results"] == {"value": 21}
        problem = problem_of(await simulate(http, rounds, "count", arguments={**most, "rounds": 17}), 422)
        assert (problem["field"], problem["limit"]) == ("arguments.rounds", 16)
        as_bytes = (17).to_bytes(8, "little").hex() + "00" * 16
        for data in (as_bytes, as_bytes[:-2], ""):
            assert (await simulate(http, rounds, "count", arguments=data)).json()[
                "failure"
            ] == "BAD_ARGUMENTS"
        start = {"rounds": 0, "start": [2**63, 0]}
        large = (await simulate(http, rounds, "count", arguments=start)).json()
        assert large["results"] == {"value": str(2**63)}

    talk(scenario, node)


class SlowNode(FakeNode):
    """A node that answers what threads of simulations ask when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.asked = asyncio.Event(), 0

    async def state_values(
        self, keys: list[bytes], height: int | None = None
    ) -> StateValues | RetainedHeights:
        if len(keys) == 1:
            self.asked += 1
            await self.gate.wait()
        return await super().state_values(keys, height)


def slow_market() -> tuple[SlowNode, SimulatedCall]:
    node = SlowNode()
    assert deploy(node, 0, "token", SUPPLY) == TOKEN
    assert deploy(node, 0, "counter") == COUNTER
    add = SimulatedCall(COUNTER, 0, (3).to_bytes(8, "little"), BOB, 0, 10_000, True, 2, 1)
    return node, add


def run_slowly(scenario: Any) -> None:
    async def run() -> None:
        node, add = slow_market()
        await asyncio.wait_for(scenario(node, Simulator(node.service, KnownContracts(node.service)), add), 30)

    asyncio.run(run())


def test_two_run_at_a_time_and_of_one_client_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_module, "OPEN_MAX", 6)

    async def scenario(node: SlowNode, simulator: Simulator, add: SimulatedCall) -> None:
        running = [asyncio.ensure_future(simulator.run(client, add)) for client in "aaab"]
        await until(lambda: node.asked == 2)
        assert (simulator.running, simulator.open) == (2, 4)
        assert simulator.figures() == {"simulations": 2, "simulations_waiting": 2}
        with pytest.raises(ShareError):
            await simulator.run("a", add)
        running.append(asyncio.ensure_future(simulator.run("c", add)))
        await until(lambda: simulator.open == 5)
        assert simulator.running == 2
        node.gate.set()
        for done in await asyncio.gather(*running):
            assert isinstance(done, SimulationOutcome)
            assert done.applied.status == 0
        await until(lambda: simulator.open == 0)
        assert simulator.running == 0

    run_slowly(scenario)


def test_one_that_takes_too_long_is_told_so_and_its_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator_module, "SIMULATION_TIMEOUT_S", 0.01)

    async def scenario(node: SlowNode, simulator: Simulator, add: SimulatedCall) -> None:
        with pytest.raises(ProblemError) as caught:
            await simulator.run("a", add)
        assert (caught.value.status, caught.value.document["field"]) == (503, "gas")
        assert simulator.running == 1  # until it is over
        asked = node.asked
        node.gate.set()
        await until(lambda: simulator.open == 0)
        assert (simulator.running, node.asked) == (0, asked)

    run_slowly(scenario)


def test_who_goes_away_leaves_no_thread_behind() -> None:
    async def scenario(node: SlowNode, simulator: Simulator, add: SimulatedCall) -> None:
        running = [asyncio.ensure_future(simulator.run(client, add)) for client in "abc"]
        await until(lambda: node.asked == 2)
        for task in running:
            task.cancel()
        assert all(
            isinstance(each, asyncio.CancelledError)
            for each in await asyncio.gather(*running, return_exceptions=True)
        )
        assert (simulator.running, simulator.open) == (2, 2)
        node.gate.set()
        await until(lambda: simulator.open == 0)
        assert (simulator.running, node.asked) == (0, 2)

    run_slowly(scenario)


def test_a_node_that_stops_answering_ends_the_simulation() -> None:
    async def scenario(node: SlowNode, simulator: Simulator, add: SimulatedCall) -> None:
        running = asyncio.ensure_future(simulator.run("a", add))
        await until(lambda: node.asked == 1)
        node.away = True
        node.gate.set()
        with pytest.raises(UnavailableError):
            await running
        await until(lambda: simulator.open == 0)
        node.away = False
        del node.history[2]
        with pytest.raises(ProblemError, match="no state at height 2"):
            await simulator.run("a", add)
        assert (simulator.running, simulator.open) == (0, 0)

    run_slowly(scenario)
