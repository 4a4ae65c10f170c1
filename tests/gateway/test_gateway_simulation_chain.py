"""What a simulated call says is what the chain makes of it: status, gas, cost, results, events, entries."""

from __future__ import annotations

import copy
from typing import Any

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger import rules
from actors.ledger.contract_payloads import encode_call
from actors.ledger.environment import Environment
from actors.ledger.receipts import RECEIPT_BYTES
from actors.ledger.rows import KIND_CALL, Batch
from actors.ledger.verdict import Verdict
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
from tests.gateway.gateway_fake_node import BALANCE, PROPOSER, SENDERS, FakeNode
from tests.gateway.test_gateway_api import talk
from tests.gateway.test_gateway_simulation import simulate
from tests.ledger.contract_transactions import example

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
        source = self.source if name == "exchange" else example(name)[1].decode()
        called = compiled(source)[1].named(function)
        assert called is not None
        payload = encode_call(called.number, called.params.encode(arguments))
        return signed(self.node, who, KIND_CALL, self.at[name], payload, **fields)

    def applied(self, batch: Batch) -> tuple[rules.Outcome, dict[bytes, bytes]]:
        """What the plain rules make of the row as the next block, and the entries after it."""
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
