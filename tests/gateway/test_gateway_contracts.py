"""Contracts over HTTP: what one is, its source, rows of its tables, and what receipts say of calls."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from actors.contracts.encoding import decode_program, program_hash
from actors.gateway import known_contracts, render
from actors.gateway.known_contracts import KnownContracts
from actors.ledger.contract_state import program_entries
from actors.ledger.hashing import sha256
from actors.ledger.kinds import KINDS
from tests.gateway.gateway_contracts import (
    ALICE,
    BOB,
    COUNTER,
    SUPPLY,
    TOKEN,
    call,
    deploy,
    deploy_source,
    exchange_of,
    node_with_contracts,
)
from tests.gateway.gateway_fake_node import FakeNode
from tests.gateway.test_gateway_api import problem_of, talk
from tests.ledger.contract_transactions import example


def path(contract: bytes, *rest: str) -> str:
    return "/".join(("/v1/contracts", contract.hex(), *rest))


def test_a_contract_says_what_can_be_called_read_and_followed() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        found = (await http.get(path(TOKEN))).json()
        program, source, _ = example("token")
        assert decode_program(bytes.fromhex(found["program"])).name == found["name"] == "Token"
        assert found["program_hash"] == program_hash(program).hex()
        assert found["source_hash"] == sha256(source).hex()
        assert (found["height"], found["deployed_height"], found["nonce"]) == (3, 1, 0)
        assert found["deployer"] == ALICE.hex()
        functions = {each["name"]: each for each in found["functions"]}
        assert "_move" not in functions
        assert {each["name"]: each["kind"] for each in found["functions"]} == {
            "start": "init",
            **dict.fromkeys(("transfer", "approve", "transfer_from"), "entry"),
            **dict.fromkeys(("total_supply", "balance_of", "allowance"), "view"),
        }
        transfer = functions["transfer"]
        assert transfer["params"] == [{"name": "to", "type": "Address"}, {"name": "amount", "type": "u64"}]
        assert transfer["results"] == [{"name": "value", "type": "bool"}]
        assert (transfer["accepts_coins"], transfer["contract_calls"], transfer["static"]) == (False, 0, True)
        assert transfer["gas_max"] > functions["balance_of"]["gas_max"] > 0
        assert found["tables"][2] == {
            "number": 2,
            "name": "allowances",
            "keys": ["Address", "Address"],
            "columns": [{"name": "value", "type": "u64"}],
        }
        assert [each["name"] for each in found["events"]] == ["Transfer", "Approval"]
        assert found["imports"] == []

    talk(scenario, node_with_contracts())


ROUNDS = '''
"""A contract with what the examples do not have."""

from raychain import Array, UpTo, contract, range, u64, view


@contract
class Rounds:
    """Counts."""

    @view
    def count(self, rounds: UpTo[u64, 16], start: Array[u64, 2]) -> u64:
        """Add one in each round."""
        total = start[0]
        for i in range(rounds):
            total += 1
        return total
'''


def test_imports_arrays_and_greatest_values_are_named() -> None:
    node = node_with_contracts()
    exchange, rounds = deploy_source(node, 2, exchange_of(TOKEN)), deploy_source(node, 2, ROUNDS)

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        found = (await http.get(path(exchange))).json()
        imported = {"address": TOKEN.hex(), "contract": "Token"}
        assert {"function": "transfer_from", **imported} in found["imports"]
        buy = next(each for each in found["functions"] if each["name"] == "buy")
        assert (buy["accepts_coins"], buy["contract_calls"], buy["static"]) == (True, 1, False)
        found = (await http.get(path(rounds))).json()
        assert found["functions"][0]["params"] == [
            {"name": "rounds", "type": "u64", "max": 16},
            {"name": "start", "type": "Array[u64, 2]"},
        ]

    talk(scenario, node)


def test_the_source_is_that_of_the_deployment() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        found = (await http.get(path(COUNTER, "source"))).json()
        assert found["source"].encode() == example("counter")[1]
        assert (found["address"], found["height"]) == (COUNTER.hex(), 2)
        assert found["transaction"] == node.blocks[2].batch.ids()[0].tobytes().hex()
        again = await http.get(path(COUNTER, "source"))
        assert "immutable" in again.headers["cache-control"]
        del node.blocks[1]
        pruned = problem_of(await http.get(path(TOKEN, "source")), 404)
        assert "block 1" in pruned["detail"]
        assert pruned["limit"] == 1

    talk(scenario, node_with_contracts())


@pytest.mark.parametrize(
    ("where", "row", "exists"),
    [
        (f"balances?key={ALICE.hex()}", {"value": SUPPLY}, True),
        (f"balances?key={ALICE.hex().upper()}", {"value": SUPPLY}, True),
        (f"1?key={ALICE.hex()}", {"value": SUPPLY}, True),
        (f"balances?key={BOB.hex()}", {"value": 0}, False),
        (f"balances?key={ALICE.hex()}&height=1", {"value": SUPPLY}, True),
        (f"balances?key={ALICE.hex()}&height=0", {"value": 0}, False),
        (f"allowances?key={ALICE.hex()}&key={BOB.hex()}", {"value": 0}, False),
        ("supply", {"value": SUPPLY}, True),
        ("0?height=latest", {"value": SUPPLY}, True),
    ],
)
def test_rows_are_read_by_their_keys(where: str, row: dict[str, Any], exists: bool) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        found = (await http.get(path(TOKEN, "tables", where))).json()
        assert (found["row"], found["exists"]) == (row, exists)
        height = 3 if "height=latest" in where or "height" not in where else int(where[-1])
        assert found["height"] == height
        for entry in found["entries"]:
            assert node.history[height].get(bytes.fromhex(entry["key"]), b"").hex() == entry["value"]

    talk(scenario, node_with_contracts())


@pytest.mark.parametrize(
    ("where", "status", "field"),
    [
        ("balances", 422, "key"),
        (f"balances?key={ALICE.hex()}&key={ALICE.hex()}", 422, "key"),
        ("balances?key=12", 422, "key.0"),
        (f"supply?key={ALICE.hex()}", 422, "key"),
        ("nothing", 404, "table"),
        ("3", 404, "table"),
        ("-1", 422, "table"),
        ("supply?height=9", 404, "height"),
        ("supply?height=x", 422, "height"),
        ("balances?" + "&".join(["key=1"] * 9), 422, "key"),
        ("balances?key=" + "1" * 300, 422, "key.0"),
    ],
)
def test_what_is_no_row_is_refused_by_name(where: str, status: int, field: str) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        problem = problem_of(await http.get(path(TOKEN, "tables", where)), status)
        assert problem["field"] == field

    talk(scenario, node_with_contracts())


def test_what_is_no_contract_is_not_found() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        for other in (bytes(32), ALICE):
            for rest in ("", "/source", "/tables/balances"):
                assert problem_of(await http.get(path(other) + rest), 404)["field"] == "address"
            body = {"function": "add"}
            assert problem_of(await http.post(path(other, "simulate"), json=body), 404)["field"] == "address"
        assert problem_of(await http.get("/v1/contracts/12"), 422)["field"] == "address"
        later = deploy(node, 3, "counter")
        assert (await http.get(path(later))).status_code == 200

    talk(scenario, node_with_contracts())


def test_receipts_say_what_a_call_left_and_nothing_more_of_transfers() -> None:
    node = node_with_contracts()
    moved = call(node, 0, "token", TOKEN, "transfer", BOB, 30)
    failed = call(node, 1, "token", TOKEN, "transfer", ALICE, 31)
    node.shards[0].pending = [node.transfer(2, 0), node.transfer(3, 0)]
    plain = node.commit().batch.ids()[0].tobytes().hex()

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        record = (await http.get(f"/v1/transactions/{moved}")).json()
        receipt = record["receipt"]
        assert (record["kind"], record["kind_name"]) == (3, "call")
        assert (receipt["status"], receipt["failure"], receipt["message"]) == (0, None, "")
        assert receipt["results"] == "01"
        assert receipt["gas"] > 0
        (event,) = receipt["events"]
        assert (event["contract"], event["number"], event["name"]) == (TOKEN.hex(), 0, "Transfer")
        assert event["fields"] == {"sender": ALICE.hex(), "recipient": BOB.hex(), "amount": 30}
        assert event["data"] == ALICE.hex() + BOB.hex() + (30).to_bytes(8, "little").hex()
        assert (await http.get(f"/v1/transactions/{moved}/receipt")).json() == receipt
        page = (await http.get("/v1/blocks/4/receipts")).json()
        assert page == {"height": 4, "total": 1, "offset": 0, "receipts": [receipt]}
        receipt = (await http.get(f"/v1/transactions/{failed}/receipt")).json()
        assert (receipt["status"], receipt["failure"]) == (6, "REQUIREMENT")
        assert (receipt["message"], receipt["events"]) == ("more than the balance", [])
        deployed = (await http.get("/v1/blocks/1/receipts")).json()["receipts"][0]
        assert [each["name"] for each in deployed["events"]] == ["Transfer"]
        record = (await http.get(f"/v1/transactions/{plain}")).json()
        assert record["kind_name"] == "transfer"
        assert set(record["receipt"]) == {"status", "fee", "sender_balance", "recipient_balance"}
        page = (await http.get("/v1/blocks/6/receipts?offset=1&limit=5")).json()
        assert (page["total"], page["offset"], len(page["receipts"])) == (2, 1, 1)
        block = (await http.get("/v1/blocks/4")).json()
        assert block["transactions"][0]["kind_name"] == "call"
        for height in ("0", "9", "99999999999999999999"):
            problem_of(await http.get(f"/v1/blocks/{height}/receipts"), 404)

    talk(scenario, node)


def test_a_contract_is_read_once_and_forgotten_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        contracts = KnownContracts(node.service)
        first = await contracts.get(TOKEN)
        before = node.reads
        assert await contracts.get(TOKEN) is first
        assert set(await contracts.find_all([TOKEN, COUNTER, bytes(32), TOKEN])) == {TOKEN, COUNTER}
        assert node.reads == before + 3
        expected = program_entries(TOKEN, first.program, example("token")[1], first.origin)
        kept = {key: value for key, value in first.entries().items() if value}
        assert kept.items() <= expected.items()
        assert len(expected) == len(kept) + 1  # its origin
        monkeypatch.setattr(known_contracts, "NAMED_MAX", 1)
        assert set(await contracts.find_all([COUNTER, TOKEN])) == {COUNTER}
        node.away = True
        assert await contracts.find(TOKEN) is first
        problem_of(await http.get(path(COUNTER, "tables", "total")), 503)

    talk(scenario, node_with_contracts())


def test_kinds_are_named_as_the_ledger_names_them() -> None:
    assert {number: kind.name for number, kind in KINDS.items()} == render.KIND_NAMES
