"""Before the API: caching of final answers, compression, request ids, limits, keys, origins, metrics."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gateway import metrics
from actors.gateway.api import Api, create_app
from actors.gateway.final_answers import FinalAnswer, answer_cache
from actors.gateway.limits import ApiKeys, ClientLimits, read_api_keys
from actors.gateway.roles import AccessRole
from actors.ledger.rows import FormatError, encode_batch
from actors.sdk.answers import NETWORK_HEADER, network_mark
from actors.sdk.requests import transaction_json
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import FakeNode, until

Scenario = Callable[[httpx.AsyncClient, FakeNode, Api], Awaitable[None]]


def talk(scenario: Scenario, keys: ApiKeys | None = None, **settings: Any) -> None:
    async def run() -> None:
        node, faults = FakeNode(), []
        api = create_app(node.service, lambda *fault: faults.append(fault), GatewaySettings(**settings), keys)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://localhost") as http:
            await scenario(http, node, api)
        assert faults == []

    asyncio.run(run())


def with_blocks(node: FakeNode, count: int = 1) -> str:
    """Blocks of four transactions; the id of one of them."""
    for nonce in range(count):
        node.shards[0].pending = [node.transfer(who, nonce) for who in range(4)]
        block = node.commit()
    return str(block.batch.ids()[0].tobytes().hex())


def test_a_fault_of_the_gate_itself_is_told_and_answered_as_others_are() -> None:
    async def run() -> None:
        node, faults = FakeNode(), []
        api = create_app(node.service, lambda *fault: faults.append(fault), GatewaySettings())
        api.gate.edge = None  # type: ignore[assignment]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://localhost") as http:
            answer = await http.get("/v1/status")
        assert (answer.status_code, answer.json()["type"]) == (500, "urn:raychain:problem:internal")
        assert answer.headers[NETWORK_HEADER] == network_mark(node.genesis)
        assert [what for what, _ in faults] == ["GET /v1/status"]

    asyncio.run(run())


def test_final_answers_are_cached_tagged_and_not_sent_twice() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, api: Api) -> None:
        tx_id = with_blocks(node)
        for path in (
            "/v1/blocks/1",
            "/v1/blocks/1/raw",
            "/v1/blocks/1/certificate",
            f"/v1/transactions/{tx_id}",
            f"/v1/transactions/{tx_id}/proof",
            "/v1/genesis",
        ):
            first = await http.get(path)
            assert "immutable" in first.headers["cache-control"], path
            reads = node.reads
            again = await http.get(path)
            assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
            same = await http.get(path, headers={"if-none-match": first.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
            other = await http.get(path, headers={"if-none-match": '"something else"'})
            assert other.status_code == 200
            assert node.reads == reads
        assert api.gate.answers.hits == 18

    talk(scenario)


def test_what_may_change_is_never_cached() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        missing = f"/v1/transactions/{node.transfer(0, 0).ids()[0].tobytes().hex()}"
        assert (await http.get("/v1/blocks/1")).status_code == 404
        assert (await http.get(missing)).status_code == 404
        with_blocks(node, 2)
        assert (await http.get("/v1/blocks/1")).status_code == 200
        assert (await http.get(missing)).status_code == 200
        for path in ("/v1/blocks/latest", "/v1/status", f"/v1/accounts/{'0' * 64}"):
            response = await http.get(path)
            assert response.status_code == 200
            assert "etag" not in response.headers, path

    talk(scenario)


def test_json_is_compressed_for_those_who_take_it() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        with_blocks(node)
        for path in ("/v1/blocks/1", "/v1/blocks/latest"):
            plain = await http.get(path, headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers
            async with http.stream("GET", path, headers={"accept-encoding": "br, gzip"}) as response:
                raw = b"".join([part async for part in response.aiter_raw()])
            assert response.headers["content-encoding"] == "gzip"
            assert int(response.headers["content-length"]) == len(raw) < len(plain.content)
            assert gzip.decompress(raw) == plain.content
            refused = await http.get(path, headers={"accept-encoding": "gzip;q=0"})
            assert "content-encoding" not in refused.headers

    talk(scenario)


def test_every_answer_carries_a_request_id() -> None:
    async def scenario(http: httpx.AsyncClient, _node: FakeNode, _api: Api) -> None:
        own = await http.get("/v1/nothing", headers={"x-request-id": "order-7.a_b"})
        assert own.headers["x-request-id"] == "order-7.a_b"
        given_ids = {(await http.get("/v1/health")).headers["x-request-id"] for _ in range(3)}
        assert len(given_ids) == 3
        odd = await http.get("/v1/health", headers={"x-request-id": "a b\x7f" + "c" * 100})
        assert re.fullmatch(r"[0-9a-f-]+", odd.headers["x-request-id"])

    talk(scenario)


def test_a_client_above_its_rate_is_told_to_come_back_and_liveness_is_exempt() -> None:
    async def scenario(http: httpx.AsyncClient, _node: FakeNode, api: Api) -> None:
        now = 100.0
        api.gate._clock = lambda: now
        answers = [(await http.get("/v1/genesis")).status_code for _ in range(5)]
        assert answers == [200, 200, 200, 429, 429]
        refused = await http.get("/v1/genesis")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["limit"] == 3
        assert (await http.get("/v1/health")).status_code == 200
        now += 0.4
        assert [(await http.get("/v1/genesis")).status_code for _ in range(2)] == [200, 429]

    talk(scenario, client_rate_max=3)


def test_open_requests_are_bounded() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, api: Api) -> None:
        body = transaction_json(node.transfer(0, 0))
        waiting = asyncio.ensure_future(http.post("/v1/transactions?wait=committed", json=body))
        await until(lambda: node.shards[0].pending or node.shards[1].pending)
        refused = await http.get("/v1/status")
        assert (refused.status_code, refused.json()["limit"]) == (503, 1)
        node.commit()
        assert (await waiting).status_code == 200
        assert (await http.get("/v1/status")).status_code == 200
        assert api.gate.figures()["requests_inflight"] == 0

    talk(scenario, client_inflight_max=1)


def test_keys_and_roles() -> None:
    lines = [
        f"{hashlib.sha256(f'secret-{role}'.encode()).hexdigest()} {role} {role}-er"
        for role in ("read", "submit")
    ]
    keys = read_api_keys("# who may do what\n\n" + "\n".join(lines))

    async def scenario(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        def key(role: str) -> dict[str, str]:
            return {"authorization": f"Bearer secret-{role}"}

        for wrong in (
            {},
            {"authorization": "Basic secret-read"},
            key("other"),
            {"authorization": "Bearer ÿ"},
        ):
            refused = await http.get(
                "/v1/status", headers=[(k.encode(), v.encode("latin-1")) for k, v in wrong.items()]
            )
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        body = transaction_json(node.transfer(0, 0))
        assert (await http.get("/v1/status", headers=key("read"))).status_code == 200
        assert (await http.post("/v1/transactions", json=body, headers=key("read"))).status_code == 403
        assert (await http.post("/v1/transactions", json=body, headers=key("submit"))).status_code == 202
        assert set().union(*(shard.sources for shard in node.shards)) == {"known:submit-er"}
        batch = encode_batch(node.transfer(1, 0))
        binary = {"content-type": "application/octet-stream"}
        refused = await http.post("/v1/transactions/batch", content=batch, headers={**binary, **key("read")})
        assert refused.status_code == 403
        assert (await http.get("/v1/health")).status_code == 200

    talk(scenario, keys)


def test_only_an_administrator_scales() -> None:
    lines = [
        f"{hashlib.sha256(f'secret-{role}'.encode()).hexdigest()} {role} {role}-er"
        for role in ("submit", "admin")
    ]

    async def with_keys(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        for role, status in (("submit", 403), ("admin", 200)):
            key = {"authorization": f"Bearer secret-{role}"}
            answer = await http.post("/v1/validators", json={"validators": 3}, headers=key)
            assert answer.status_code == status
        assert node.validators == 3

    talk(with_keys, read_api_keys("\n".join(lines)))

    async def without_keys(http: httpx.AsyncClient, node: FakeNode, api: Api) -> None:
        elsewhere = httpx.ASGITransport(app=api, client=("203.0.113.7", 1))
        async with httpx.AsyncClient(transport=elsewhere, base_url="http://localhost") as stranger:
            assert (await stranger.post("/v1/validators", json={"validators": 1})).status_code == 403
        lured = await http.post(
            "/v1/validators", json={"validators": 1}, headers={"origin": "https://e.example"}
        )
        assert (lured.status_code, lured.json()["field"]) == (403, "origin")
        for wrong in ({"validators": 0}, {"validators": 257}, {"validators": "2"}, {}, {"workers": 2}):
            assert (await http.post("/v1/validators", json=wrong)).status_code == 422
        assert node.validators == 2
        answer = await http.post("/v1/validators", json={"validators": 1})
        assert answer.json() == {"validators": 1, "added": [], "removed": ["validator-1"]}
        assert (await http.get("/v1/validators")).json()["validators"] == 1
        node.away = True
        assert (await http.post("/v1/validators", json={"validators": 2})).status_code == 503

    talk(without_keys)


@pytest.mark.parametrize("line", ["x", "0" * 64 + " read", "0" * 64 + " king bob", "G" * 64 + " read bob"])
def test_a_bad_line_of_the_key_file_is_named(line: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_api_keys("# first\n" + line)
    assert caught.value.field == "api_keys_file line 2"


def test_who_has_no_key_is_named_by_address() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        binary = {"content-type": "application/octet-stream"}
        batch = encode_batch(node.transfer(1, 0))
        assert (await http.post("/v1/transactions/batch", content=batch, headers=binary)).status_code == 200
        await http.post("/v1/transactions", json=transaction_json(node.transfer(0, 0)))
        assert set().union(*(shard.sources for shard in node.shards)) == {"anonymous:127.0.0.1"}

    talk(scenario)


def test_other_origins_read_only_if_they_are_allowed() -> None:
    async def scenario(http: httpx.AsyncClient, _node: FakeNode, _api: Api) -> None:
        for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
            response = await http.get("/v1/genesis", headers={"origin": origin})
            assert (response.headers.get("access-control-allow-origin") == origin) == allowed
            before = await http.options("/v1/transactions", headers={"origin": origin})
            assert before.status_code == (204 if allowed else 405)

    talk(scenario, allowed_origins=["https://app.example"])


def test_metrics_are_prometheus_text_also_while_the_node_is_away() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode, _api: Api) -> None:
        await http.get("/v1/genesis")
        text = (await http.get("/metrics")).text
        assert 'raychain_http_requests{kind="genesis 200"} 1' in text
        assert "raychain_up 1" in text
        assert 'raychain_gateway_rows{outcome="accepted"} 0' in text
        sample = re.compile(
            r'^([a-zA-Z_][a-zA-Z0-9_]*(\{[a-z]+="[^"\n]*"\})? -?[0-9.e+-]+|# TYPE \S+ (gauge|counter))$'
        )
        assert [line for line in text.splitlines() if not sample.match(line)] == []
        node.away = True
        assert "raychain_up 0" in (await http.get("/metrics")).text

    talk(scenario)


@given(
    st.dictionaries(
        st.text(max_size=8), st.one_of(st.text(max_size=5), st.floats(0, 9), st.integers(0, 9)), max_size=5
    )
)
def test_labels_of_any_text_stay_on_their_line(rows: dict[str, Any]) -> None:
    text = metrics.exposition({"rows": rows})
    numbers = [value for value in rows.values() if not isinstance(value, str)]
    assert sum(not line.startswith("#") for line in text.split("\n") if line) == len(numbers)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 400)), max_size=60))
def test_the_cache_of_answers_stays_within_its_bounds(steps: list[tuple[str, int]]) -> None:
    cache, kept = answer_cache(3, 2000), {}
    for name, size in steps:
        answer = FinalAnswer(b"", b"", bytes(size), None)
        cache.put((name, b""), answer)
        kept[name] = answer
        assert len(cache) <= 3
        assert cache.bytes <= 2000
    for name, answer in kept.items():
        assert cache.get((name, b"")) in (answer, None)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 2)), max_size=80))
def test_no_client_gets_more_than_its_rate_and_burst(calls: list[tuple[str, float]]) -> None:
    limits, now, taken = ClientLimits(5, 1000, 1000), 0.0, {"a": 0, "b": 0}
    for name, later in calls:
        now += later
        if limits.enter(name, now) is None:
            taken[name] += 1
            limits.leave(name)
        assert all(count <= 5 + 5 * now + 1e-6 for count in taken.values())
    assert limits.inflight == 0
    assert AccessRole.READ < AccessRole.SUBMIT < AccessRole.ADMIN
