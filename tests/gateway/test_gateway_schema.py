"""Every answer has exactly the fields, of the types, that the OpenAPI document promises."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema

from actors.ledger.rows import concatenate, encode_batch
from actors.sdk.requests import transaction_json
from tests.gateway.gateway_contracts import ALICE, BOB, COUNTER, TOKEN, call, node_with_contracts
from tests.gateway.gateway_fake_node import SENDERS, FakeNode
from tests.gateway.test_gateway_api import talk


def check(document: dict[str, Any], path: str, method: str, response: httpx.Response) -> None:
    """Status and media type are documented, and the body fits its schema with no field more."""
    documented = document["paths"][path][method]["responses"][str(response.status_code)]
    media = response.headers["content-type"]
    schema = {**documented["content"][media]["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.json())
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    if name and name != "ProblemOut":
        model, fields = document["components"]["schemas"][name], set(response.json())
        assert set(model["required"]) <= fields <= set(model["properties"])


def test_answers_about_contracts_fit_the_document() -> None:
    node = node_with_contracts()
    moved = call(node, 0, "token", TOKEN, "transfer", BOB, 2)
    failed = call(node, 1, "token", TOKEN, "transfer", BOB, 3)

    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        document = (await http.get("/v1/openapi.json")).json()
        one, row = "/v1/contracts/{address}", "/v1/contracts/{address}/tables/{table}"

        async def get(path: str, query: str = "", **names: str) -> None:
            check(document, path, "get", await http.get(path.format(**names) + query))

        async def simulate(**body: Any) -> None:
            path = one + "/simulate"
            check(document, path, "post", await http.post(path.format(address=TOKEN.hex()), json=body))

        for address in (TOKEN.hex(), COUNTER.hex(), "00" * 32, "x"):
            await get(one, address=address)
            await get(one + "/source", address=address)
            await get(row, address=address, table="total")
        for query in ("", f"?key={BOB.hex()}", "?key=1", f"?key={BOB.hex()}&height=9"):
            await get(row, query, address=TOKEN.hex(), table="balances")
        for tx_id in (moved, failed):
            await get("/v1/transactions/{id}", id=tx_id)
            await get("/v1/transactions/{id}/receipt", id=tx_id)
        for height in ("1", "4", "5", "latest", "9"):
            await get("/v1/blocks/{height}/receipts", height=height)
            await get("/v1/blocks/{height}", height=height)
        wanted = {"function": "transfer", "arguments": [BOB.hex(), 1]}
        for body in (
            {"function": "balance_of", "arguments": {"who": BOB.hex()}},
            {**wanted, "sender": ALICE.hex()},
            {**wanted, "sender": ALICE.hex(), "gas": 1},
            {**wanted, "sender": "99" * 32},
            {**wanted, "amount": 1},
            {**wanted, "arguments": {}},
            {**wanted, "height": 99},
        ):
            await simulate(**body)
        node.away = True
        await simulate(**wanted)
        await get(one, address="01" * 32)

    talk(scenario, node)


def test_answers_fit_the_document() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        document = (await http.get("/v1/openapi.json")).json()

        async def get(path: str, **names: str) -> None:
            check(document, path, "get", await http.get(path.format(**names)))

        async def post(path: str, **options: Any) -> None:
            check(document, path, "post", await http.post(path, **options))

        batch = node.transfer(0, 0)
        tx_id = batch.ids()[0].tobytes().hex()
        single, many = "/v1/transactions", "/v1/transactions/batch"
        binary = {"content-type": "application/octet-stream"}
        await post(single, json=transaction_json(batch))
        await post(single, json=transaction_json(batch))
        await post(single, json={"amount": "much"})
        await post(single, content=b"{", headers={"content-type": "application/json"})
        rows = encode_batch(concatenate([node.transfer(1, 0), node.transfer(2, 7)]))
        await post(many, content=rows, headers=binary)
        await post(many, content=rows[:-1], headers=binary)
        await post(many, content=rows)
        await get(single + "/{id}", id=tx_id)
        node.commit()
        await post(single, json=transaction_json(batch))
        await get(single + "/{id}", id=tx_id)
        await get(single + "/{id}/proof", id=tx_id)
        await get("/v1/accounts/{key}", key=SENDERS[0].public_key.hex())
        await get("/v1/accounts/{key}", key="x")
        for height in ("1", "latest", "9", "x"):
            await get("/v1/blocks/{height}", height=height)
            await get("/v1/blocks/{height}/certificate", height=height)
        await get(single + "/{id}/receipt", id=tx_id)
        await get(single + "/{id}/receipt/proof", id=tx_id)
        await get(single + "/{id}/receipt/proof", id="00" * 32)
        for path in ("status", "health", "ready", "genesis", "actors", "mempool", "peers", "validators"):
            await get(f"/v1/{path}")
        for path in ("blocks", "members"):
            await get(f"/v1/{path}")
        node.away = True
        for path in (
            "/v1/status",
            "/v1/ready",
            "/v1/accounts/{key}",
            "/v1/peers",
            "/v1/actors",
            "/v1/blocks",
        ):
            await get(path, key="0" * 64)
        node.shards[0].away = node.shards[1].away = True
        await post(single, json=transaction_json(node.transfer(3, 0)))
        await post(many, content=encode_batch(node.transfer(3, 0)), headers=binary)

    talk(scenario)
