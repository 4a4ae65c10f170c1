"""Every answer has exactly the fields, of the types, that the OpenAPI document promises."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema

from actors.ledger.rows import concatenate, encode_batch
from actors.sdk.requests import transaction_json
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
        assert set(response.json()) == set(document["components"]["schemas"][name]["properties"])


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
