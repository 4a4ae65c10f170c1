"""The typed surface over a node in memory: what each route answers, and each error's form."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from actors.gateway.api import JSON_BODY_BYTES_MAX, TRANSACTION_BODY_BYTES_MAX, create_app
from actors.ledger.genesis import decode_genesis
from actors.ledger.verdict import Verdict
from actors.sdk.answers import PROBLEM_TYPE
from actors.sdk.requests import transaction_json
from tests.gateway.gateway_fake_node import BALANCE, SENDERS, FakeNode, until

Talk = Callable[[httpx.AsyncClient, FakeNode], Awaitable[None]]


def unexpected(what: str, error: Exception) -> None:
    raise AssertionError(f"{what}: {error!r}") from error


def talk(scenario: Talk, node: FakeNode | None = None) -> None:
    async def run() -> None:
        served = node or FakeNode()
        transport = httpx.ASGITransport(create_app(served.service, unexpected))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            await scenario(http, served)

    asyncio.run(run())


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["type"].startswith("urn:raychain:problem:")
    assert document["title"]
    assert "detail" in document
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return document


def test_a_transaction_is_accepted_then_read_with_its_receipt() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        batch = node.transfer(0, 0, amount=7, fee=2, payload=b"hello")
        answer = await http.post("/v1/transactions", json=transaction_json(batch))
        tx_id = batch.ids()[0].tobytes().hex()
        assert answer.status_code == 202
        answered = {"id": tx_id, "status": "accepted", "height": None}
        assert answer.json() == {**answered, "state": "pending", "waits_for_nonce": None}
        problem_of(await http.get(f"/v1/transactions/{tx_id}"), 404)
        node.commit()
        record = (await http.get(f"/v1/transactions/{tx_id}")).json()
        assert record["amount"] == 7
        assert record["payload"] == b"hello".hex()
        assert (record["height"], record["position"], record["id"]) == (1, 0, tx_id)
        assert record["receipt"] == {
            "status": 0,
            "fee": 2,
            "sender_balance": BALANCE - 9,
            "recipient_balance": BALANCE + 7,
        }
        account = (await http.get(f"/v1/accounts/{SENDERS[0].public_key.hex()}")).json()
        assert (account["nonce"], account["balance"], account["height"]) == (1, BALANCE - 9, 1)

    talk(scenario)


def test_waiting_for_the_commit_answers_200_with_the_height() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        body = transaction_json(node.transfer(0, 0))
        request = asyncio.ensure_future(http.post("/v1/transactions?wait=committed", json=body))
        await until(lambda: any(shard.pending for shard in node.shards))
        node.commit()
        answer = await request
        assert answer.status_code == 200
        assert answer.json()["status"] == "committed"
        assert answer.json()["height"] == 1
        again = await http.post("/v1/transactions", json=body)
        assert (again.status_code, again.json()["height"]) == (200, 1)

    talk(scenario)


def test_durable_submissions_ask_the_shard_for_durability() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        body = transaction_json(node.transfer(0, 0))
        answer = await http.post("/v1/transactions?wait=durable", json=body)
        assert (answer.status_code, answer.json()["status"]) == (202, "durable")
        assert [call for shard in node.shards for call in shard.calls] == [(1, True)]

    talk(scenario)


@pytest.mark.parametrize(
    ("change", "status", "verdict"),
    [
        ({"version": 9}, 422, Verdict.BAD_VERSION),
        ({"kind": 77}, 422, Verdict.UNKNOWN_KIND),
        ({"flags": 1}, 422, Verdict.BAD_FLAGS),
        ({"chain_tag": 1}, 422, Verdict.WRONG_CHAIN),
        ({"expiry_height": 0}, 409, Verdict.EXPIRED),
        ({"amount": 2**64 - 1, "fee": 1}, 422, Verdict.AMOUNT_OVERFLOW),
        ({"payload": "00"}, 422, Verdict.BAD_PAYLOAD),
        ({"nonce": 2**64 - 1}, 422, Verdict.NONCE_LIMIT),
        ({"amount": 6}, 422, Verdict.BAD_SIGNATURE),
    ],
)
def test_a_refused_transaction_names_field_and_verdict(
    change: dict[str, Any], status: int, verdict: Verdict
) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        body = {**transaction_json(node.transfer(0, 0)), **change}
        document = problem_of(await http.post("/v1/transactions", json=body), status)
        assert (document["verdict"], document["code"]) == (verdict.name, verdict.value)
        assert document["field"]

    talk(scenario)


def test_asking_again_for_the_same_transaction_answers_where_it_stands() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        body = transaction_json(node.transfer(0, 0))
        first, again = [await http.post("/v1/transactions", json=body) for _ in range(2)]
        assert (first.status_code, again.status_code) == (202, 202)
        pending = {"status": "accepted", "height": None, "state": "pending", "waits_for_nonce": None}
        assert first.json() == again.json() == {"id": first.json()["id"], **pending}
        node.commit()
        done = await http.post("/v1/transactions", json=body)
        assert (done.status_code, done.json()["state"], done.json()["height"]) == (200, "committed", 1)

    talk(scenario)


def test_a_transaction_behind_a_gap_says_which_nonce_it_waits_for() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        for shard in node.shards:
            shard.parks = True
        ahead = transaction_json(node.transfer(0, 2))
        taken = (await http.post("/v1/transactions", json=ahead)).json()
        assert (taken["state"], taken["waits_for_nonce"]) == ("parked", 0)
        late = await http.post("/v1/transactions?wait=committed", json=ahead)
        problem = problem_of(late, 409)
        assert problem["type"].endswith(":parked")
        assert (problem["verdict"], problem["waits_for_nonce"], problem["id"]) == ("PARKED", 0, taken["id"])
        account = SENDERS[0].public_key.hex()
        listed = (await http.get(f"/v1/accounts/{account}/pending")).json()
        assert (listed["nonce"], listed["next_nonce"], listed["transactions"]) == (0, 0, [])
        await http.post("/v1/transactions", json=transaction_json(node.transfer(0, 0)))
        (row,) = (await http.get(f"/v1/accounts/{account}/pending")).json()["transactions"]
        assert (row["nonce"], row["amount"], row["state"]) == (0, 5, "ready")

    talk(scenario)


def test_conflicts_with_the_state_are_409() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        gap = problem_of(await http.post("/v1/transactions", json=transaction_json(node.transfer(0, 3))), 409)
        assert gap["verdict"] == "NONCE_GAP"
        body = transaction_json(node.transfer(0, 0))
        assert (await http.post("/v1/transactions", json=body)).status_code == 202
        other = transaction_json(node.transfer(0, 0, amount=6))
        assert problem_of(await http.post("/v1/transactions", json=other), 409)["verdict"] == "NONCE_REUSED"

    talk(scenario)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"nonce": -1}, "nonce"),
        ({"amount": 2**64}, "amount"),
        ({"amount": 1.0}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": "１"}, "amount"),
        ({"amount": "1" * 21}, "amount"),
        ({"sender": "ab"}, "sender"),
        ({"signature": "g" * 128}, "signature"),
        ({"payload": "0" * 8194}, "payload"),
        ({"payload": "0"}, "payload"),
        ({"kind": 3, "payload": "0" * 2 * 2050}, "payload"),
        ({"kind": 2, "payload": "0" * 2 * 100_400}, "payload"),
        ({"kind": 9, "payload": "0" * 8194}, "payload"),
        ({"version": "1"}, "version"),
        ({"nonsense": 1}, "nonsense"),
        ({"ключ": 1}, "ключ"),
    ],
)
def test_a_value_out_of_range_names_its_field(change: dict[str, Any], field: str) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        body = {**transaction_json(node.transfer(0, 0)), **change}
        assert problem_of(await http.post("/v1/transactions", json=body), 422)["field"] == field

    talk(scenario)


def test_amounts_may_be_decimal_strings_and_come_back_exactly() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        largest = 2**64 - 1
        batch = node.transfer(0, 0, amount=3, expiry_height=largest - 1)
        body = transaction_json(batch)
        texts = {key: str(body[key]) for key in ("nonce", "amount", "fee", "expiry_height", "chain_tag")}
        answer = await http.post("/v1/transactions", json={**body, **texts})
        assert answer.status_code == 202
        node.commit()
        record = (await http.get(f"/v1/transactions/{answer.json()['id']}")).json()
        assert record["expiry_height"] == largest - 1
        assert record["chain_tag"] == node.genesis.chain_tag

    talk(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 20_000, b"nul", b'{"a":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        headers = {"content-type": "application/json"}
        answer = await http.post("/v1/transactions", content=body, headers=headers)
        assert answer.status_code in (400, 422)
        problem_of(answer, answer.status_code)

    talk(scenario)


def test_a_json_body_above_the_bound_is_413() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        headers = {"content-type": "application/json"}
        for path, limit in (
            ("/v1/transactions", TRANSACTION_BODY_BYTES_MAX),
            (f"/v1/contracts/{'00' * 32}/simulate", JSON_BODY_BYTES_MAX),
        ):
            answer = await http.post(path, content=b" " * (limit + 1), headers=headers)
            assert problem_of(answer, 413)["limit"] == limit

    talk(scenario)


def test_a_shard_that_is_away_is_503_and_others_go_on() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.shards[0].away = True
        answers = [
            (await http.post("/v1/transactions", json=transaction_json(node.transfer(who, 0)))).status_code
            for who in range(len(SENDERS))
        ]
        assert set(answers) == {202, 503}

    talk(scenario)


def test_a_commit_that_does_not_come_is_504_and_says_it_is_pending() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.service._fates.timeout_s = 0.01
        body = transaction_json(node.transfer(0, 0))
        document = problem_of(await http.post("/v1/transactions?wait=committed", json=body), 504)
        assert len(document["id"]) == 64
        assert len(node.service._waits) == 0

    talk(scenario)


def test_blocks_by_height_and_latest_with_pages_and_raw_bytes() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        problem_of(await http.get("/v1/blocks/latest"), 404)
        for who in range(4):
            body = transaction_json(node.transfer(who, 0))
            await http.post("/v1/transactions", json=body)
        block = node.commit()
        latest = (await http.get("/v1/blocks/latest")).json()
        assert latest["header"]["hash"] == block.header.hash().hex()
        assert len(latest["transactions"]) == 4
        page = (await http.get("/v1/blocks/1?offset=3&limit=2")).json()
        assert [entry["position"] for entry in page["transactions"]] == [3]
        assert (await http.get("/v1/blocks/1?offset=9")).json()["transactions"] == []
        raw = await http.get("/v1/blocks/1/raw")
        assert raw.content == block.encode()
        votes = (await http.get("/v1/blocks/latest/certificate")).json()
        assert bytes.fromhex(votes["certificate"]) == node.votes[1]
        assert votes["votes"][0]["member"] == block.header.proposer.hex()
        for missing in ("0", "2", "18446744073709551616", "99999999999999999999"):
            problem_of(await http.get(f"/v1/blocks/{missing}"), 404)
            problem_of(await http.get(f"/v1/blocks/{missing}/certificate"), 404)
        for wrong in ("-1", "x", "1.0", "latest2"):
            assert problem_of(await http.get(f"/v1/blocks/{wrong}"), 422)["field"] == "height"

    talk(scenario)


def test_final_blocks_are_read_from_storage_once() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.commit()
        before = node.reads
        await asyncio.gather(*(http.get("/v1/blocks/1/raw") for _ in range(10)))
        assert node.reads == before + 1

    talk(scenario)


def test_status_genesis_health_and_readiness() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        status = (await http.get("/v1/status")).json()
        assert status["chain_id"] == node.genesis.hash().hex()
        assert status["chain_tag"] == node.genesis.chain_tag
        assert status["limits"]["batch_rows_max"] == node.settings.batch_rows_max
        assert status["head"]["height"] == 0
        genesis = decode_genesis((await http.get("/v1/genesis")).content)
        assert genesis.hash() == node.genesis.hash()
        assert (await http.get("/v1/ready")).json() == {
            "ready": True,
            "parts": {"storage": True, "consensus": True},
            "reasons": [],
        }
        node.away = True
        ready = await http.get("/v1/ready")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert (await http.get("/v1/health")).json() == {"status": "ok"}
        degraded = (await http.get("/v1/status")).json()
        assert degraded["node"] == {"peers": [], "away": ["consensus", "peer", "storage"]}
        assert degraded["head"]["height"] == 0
        assert "raychain_up 0" in (await http.get("/metrics")).text
        problem_of(await http.get("/v1/validators"), 503)
        problem_of(await http.get(f"/v1/accounts/{'0' * 64}"), 503)

    talk(scenario)


def test_unknown_paths_and_methods_are_problems_too() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        problem_of(await http.get("/v2/anything"), 404)
        answer = await http.delete("/v1/transactions")
        problem_of(answer, 405)
        assert answer.headers["allow"] == "POST"
        problem_of(await http.get("/v1/transactions/xyz"), 422)

    talk(scenario)


def test_the_openapi_document_has_every_route_and_resolves_every_reference() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        document = (await http.get("/v1/openapi.json")).json()
        assert set(document["paths"]) == {
            "/v1/transactions",
            "/v1/transactions/batch",
            "/v1/transactions/{id}/receipt",
            "/v1/blocks",
            "/v1/members",
            "/v1/maintenance",
            "/v1/functions/refused",
            "/v1/actors",
            "/v1/mempool",
            "/v1/peers",
            "/v1/validators",
            "/v1/transactions/{id}",
            "/v1/transactions/{id}/proof",
            "/v1/transactions/{id}/receipt/proof",
            "/v1/accounts/{key}",
            "/v1/accounts/{key}/pending",
            "/v1/accounts/{key}/proof",
            "/v1/contracts/{address}",
            "/v1/contracts/{address}/simulate",
            "/v1/contracts/{address}/source",
            "/v1/contracts/{address}/tables/{table}",
            "/v1/entries/{key}/proof",
            "/v1/blocks/{height}",
            "/v1/blocks/{height}/header",
            "/v1/blocks/{height}/raw",
            "/v1/blocks/{height}/certificate",
            "/v1/blocks/{height}/receipts",
            "/v1/genesis",
            "/v1/status",
            "/v1/health",
            "/v1/ready",
        }
        assert all(f"| {verdict.name} |" in document["info"]["description"] for verdict in list(Verdict)[1:])
        schemas = document["components"]["schemas"]
        missing = [name for name in references(document) if name not in schemas]
        assert missing == []
        batch = document["paths"]["/v1/transactions/batch"]["post"]["responses"]
        assert {"200", "400", "413", "415", "422", "503", "504"} <= set(batch)

    talk(scenario)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"].rsplit("/", 1)[1]] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in references(value)]
    if isinstance(node, list):
        return [name for value in node for name in references(value)]
    return []


def test_a_key_that_is_no_text_is_refused_without_an_echo() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        headers = {"content-type": "application/json"}
        answer = await http.post("/v1/transactions", content=b'{"\\ud800": 1}', headers=headers)
        problem_of(answer, 422)

    talk(scenario)
