"""Calls that are only tried: what the chain would do, on nobody's account, and never too much at a time."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.contracts.failures import Failure
from actors.contracts.limits import ARGUMENTS_BYTES_MAX
from actors.gateway import simulator as simulator_module
from actors.gateway.backend import ShareError, UnavailableError
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.problem import ProblemError
from actors.gateway.simulation import SimulatedCall, SimulationOutcome
from actors.gateway.simulator import Simulator
from actors.ledger import rules
from actors.ledger.environment import Environment
from actors.ledger.receipts import RECEIPT_BYTES
from actors.ledger.rows import KIND_CALL, Batch
from actors.ledger.verdict import Verdict
from actors.storage.interface import RetainedHeights, StateValues
from tests.gateway.gateway_contracts import (
    ALICE,
    BOB,
    COUNTER,
    SUPPLY,
    TOKEN,
    call,
    commit,
    compiled,
    deploy,
    deploy_source,
    exchange_of,
    node_with_contracts,
    signed,
)
from tests.gateway.gateway_fake_node import BALANCE, PROPOSER, SENDERS, FakeNode, until
from tests.gateway.test_gateway_api import problem_of, talk
from tests.gateway.test_gateway_contracts import ROUNDS, path

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
    from tests.ledger.contract_transactions import example

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


SMALL = st.integers(0, 60)
AMOUNTS = SMALL | SMALL | SMALL | st.integers(0, 2 * SUPPLY)
COINS = SMALL | st.integers(1, 2 * SUPPLY) | st.sampled_from((0, BALANCE))
NUMBERS = st.integers(0, 1)
WHO = st.sampled_from((ALICE, BOB))


def calls(contract: str, function: str, *arguments: Any, coins: Any = st.just(0)) -> Any:
    return st.tuples(st.just(contract), st.just(function), st.tuples(*arguments), coins)


CALLS = st.one_of(
    calls("counter", "add", AMOUNTS, coins=st.sampled_from((0, 0, 0, 5))),
    calls("token", "transfer", WHO, AMOUNTS),
    calls("token", "approve", WHO | st.just(b"exchange"), AMOUNTS),
    calls("token", "transfer_from", WHO, WHO, AMOUNTS),
    calls("escrow", "open", NUMBERS, WHO, st.integers(0, 20), coins=COINS),
    calls("escrow", "release", NUMBERS),
    calls("escrow", "refund", WHO, NUMBERS),
    calls("exchange", "provide", AMOUNTS, st.just(0), coins=COINS),
    calls("exchange", "buy", st.just(0), coins=COINS),
    calls("exchange", "sell", AMOUNTS, st.just(0)),
    calls("exchange", "withdraw", AMOUNTS, st.just(0), st.just(0)),
    calls("exchange", "reserves"),
)
GAS = st.sampled_from((0, 100, 200, *[10_000] * 9))
STEPS = st.lists(st.tuples(st.integers(0, 1), CALLS, GAS), min_size=5, max_size=15)


class Market:
    """A node with contracts that call each other and send coins, and the chain's own word on each call."""

    def __init__(self) -> None:
        self.node = node_with_contracts()
        self.source = exchange_of(TOKEN)
        self.at = {
            "token": TOKEN,
            "counter": COUNTER,
            "escrow": deploy(self.node, 2, "escrow"),
            "exchange": deploy_source(self.node, 2, self.source),
        }
        call(self.node, 0, "token", TOKEN, "approve", self.at["exchange"], SUPPLY)
        commit(self.node, self.row(0, "exchange", "provide", (SUPPLY // 2, 0), amount=5_000, fee=2_000))

    def row(self, who: int, name: str, function: str, arguments: tuple[Any, ...], **fields: Any) -> Batch:
        verified = compiled(self.source)[1] if name == "exchange" else None
        called = verified.named(function) if verified else None
        if called is None:
            from tests.ledger.contract_transactions import payload_of

            payload = payload_of(name, function, *arguments)
        else:
            payload = bytes((called.number,)) + called.params.encode(arguments)
        return signed(self.node, who, KIND_CALL, self.at[name], payload, **fields)

    def applied(self, batch: Batch) -> tuple[rules.Outcome, dict[bytes, bytes]]:
        """What the plain rules make of the row as the next block, and entries before and after."""
        node = self.node
        state, entries = copy.deepcopy((node.state, node.entries))
        env = Environment(
            node.genesis.chain_tag, node.height + 1, PROPOSER.public_key, node.genesis.prices, node.time_ms
        )
        return rules.apply_batch(state, batch, env, entries), entries


@settings(max_examples=25)
@given(STEPS)
def test_the_chain_does_what_was_simulated(steps: list[Any]) -> None:
    market = Market()

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        for who, (name, function, arguments, amount), gas in steps:
            values = tuple(market.at["exchange"] if value == b"exchange" else value for value in arguments)
            given_values = [value.hex() if isinstance(value, bytes) else value for value in values]
            sender = SENDERS[who].public_key.hex()
            body = {"arguments": given_values, "sender": sender, "amount": amount, "gas": gas}
            answer = await simulate(http, market.at[name], function, **body)
            found = answer.json()
            # The most that its signer may pay buys the gas that was allowed, and the deposit.
            fee = max(found.get("fee", 0), gas // 100)
            batch = market.row(who, name, function, values, amount=amount, fee=fee)
            outcome, entries = market.applied(batch)
            if "verdict" in found:
                if fee == found.get("fee", 0):
                    assert outcome.verdicts[0].name == found["verdict"]
                continue
            assert answer.status_code == 200, found
            if outcome.verdicts != [Verdict.OK]:
                assert fee > found["fee"]  # nobody has so much
                continue
            (applied,) = outcome.applied
            assert (found["status"], found["message"]) == (applied.status, applied.message)
            assert (found["gas"], found["results_bytes"]) == (applied.gas, applied.results.hex())
            assert found["fee"] == applied.fee + max(0, found["deposit"])
            assert [(each["contract"], each["number"], each["bytes"]) for each in found["events"]] == [
                (contract.hex(), number, data.hex()) for contract, number, data in applied.events
            ]
            before = node.entries
            changed = {
                key.hex(): (before.get(key, b"").hex(), entries.get(key, b"").hex())
                for key in before.keys() | entries.keys()
                if before.get(key) != entries.get(key)
            }
            assert {each["key"]: (each["before"], each["after"]) for each in found["changes"]} == changed
            assert found["deposit"] == len(entries) - len(before)
            commit(node, batch)
            assert outcome.receipts[0][:RECEIPT_BYTES] == node.stored_receipts[node.height].rows[0].tobytes()

    talk(scenario, market.node)


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
