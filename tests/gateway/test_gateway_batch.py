"""The binary batch route: verdicts a row, both answers, every bound, and strangers' bytes."""

from __future__ import annotations

import asyncio
import functools
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.gateway import body
from actors.gateway.api import create_app
from actors.gateway.backend import BusyError
from actors.gateway.problem import ProblemError
from actors.ledger.rows import Batch, concatenate, encode_batch
from actors.ledger.verdict import Verdict
from tests.gateway.gateway_fake_node import SENDERS, FakeNode, until
from tests.gateway.test_gateway_api import problem_of, talk

PATH = "/v1/transactions/batch"
BINARY = {"content-type": "application/octet-stream"}


def broken(batch: Batch, **fields: Any) -> Batch:
    rows = batch.rows.copy()
    for field, value in fields.items():
        rows[field] = value
    return Batch(rows, batch.payloads)


def test_each_bad_row_is_named_and_the_others_are_unharmed() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        rows = [
            (node.transfer(0, 0), Verdict.OK),
            (broken(node.transfer(1, 0), version=2), Verdict.BAD_VERSION),
            (broken(node.transfer(1, 0), kind=9), Verdict.UNKNOWN_KIND),
            (broken(node.transfer(1, 0), chain_tag=1), Verdict.WRONG_CHAIN),
            (node.transfer(0, 1), Verdict.OK),
            (broken(node.transfer(1, 0), amount=6), Verdict.BAD_SIGNATURE),
            (node.transfer(1, 2), Verdict.NONCE_GAP),
            (node.transfer(0, 0, amount=6), Verdict.NONCE_REUSED),
            (node.transfer(1, 0, amount=2**64 - 1, fee=1), Verdict.AMOUNT_OVERFLOW),
            (node.transfer(1, 0, expiry_height=0), Verdict.EXPIRED),
            (node.transfer(1, 0, payload=b"abc"), Verdict.OK),
        ]
        data = encode_batch(concatenate([batch for batch, _ in rows]))
        answer = await http.post(PATH, content=data, headers=BINARY)
        assert answer.status_code == 200
        document = answer.json()
        expected = {i: verdict for i, (_, verdict) in enumerate(rows) if verdict}
        assert {row["index"]: row["code"] for row in document["rejected"]} == expected
        assert all(row["field"] and row["advice"] and row["verdict"] for row in document["rejected"])
        assert (document["accepted"], document["wait"], document["height"]) == (3, "accepted", None)
        assert len(node.commit().batch) == 3

    talk(scenario)


def test_the_binary_answer_is_one_verdict_byte_a_row() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        batch = concatenate([node.transfer(0, 0), node.transfer(1, 5), node.transfer(2, 0)])
        headers = {**BINARY, "accept": "application/octet-stream"}
        request = asyncio.ensure_future(
            http.post(PATH + "?wait=committed", content=encode_batch(batch), headers=headers)
        )
        await until(lambda: sum(len(shard.pending) for shard in node.shards) == 2)
        node.commit()
        answer = await request
        assert answer.content == bytes([0, Verdict.NONCE_GAP, 0])
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["raychain-height"] == "1"

    talk(scenario)


def test_durable_and_empty_batches() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        await http.post(PATH + "?wait=durable", content=encode_batch(node.transfer(0, 0)), headers=BINARY)
        assert [call for shard in node.shards for call in shard.calls] == [(1, True)]
        empty = encode_batch(concatenate([]))
        answer = await http.post(PATH + "?wait=committed", content=empty, headers=BINARY)
        assert answer.json() == {
            "accepted": 0,
            "parked": [],
            "rejected": [],
            "wait": "committed",
            "height": None,
        }

    talk(scenario)


def test_a_commit_timeout_lists_what_is_pending() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.service._fates.timeout_s = 0.01
        batch = concatenate([node.transfer(0, 0), node.transfer(1, 5), node.transfer(2, 0)])
        answer = await http.post(PATH + "?wait=committed", content=encode_batch(batch), headers=BINARY)
        document = problem_of(answer, 504)
        assert (document["pending"], [row["index"] for row in document["rows"]]) == ([0, 2], [1])

    talk(scenario)


def test_an_absent_mempool_is_503_and_one_absent_shard_costs_its_rows_only() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        data = encode_batch(concatenate([node.transfer(who, 0) for who in range(len(SENDERS))]))
        node.shards[1].away = True
        rejected = (await http.post(PATH, content=data, headers=BINARY)).json()["rejected"]
        assert {row["verdict"] for row in rejected} == {"UNAVAILABLE"}
        assert 0 < len(rejected) < len(SENDERS)
        node.shards[0].away = True
        assert (
            problem_of(await http.post(PATH, content=data, headers=BINARY), 503)["verdict"] == "UNAVAILABLE"
        )

    talk(scenario)


def test_rows_beyond_what_may_be_in_flight_are_503() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        data = encode_batch(concatenate([node.transfer(who, 0) for who in range(3)]))
        assert problem_of(await http.post(PATH, content=data, headers=BINARY), 503)["limit"] == 2

    talk(scenario, FakeNode(inflight_rows_max=2))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda data: b"", "batch.header"),
        (lambda data: data[:15], "batch.header"),
        (lambda data: b"RCB2" + data[4:], "batch.magic"),
        (lambda data: data[:-1], "batch.length"),
        (lambda data: data + b"\0", "batch.length"),
        (lambda data: data[:4] + struct.pack("<I", 2**32 - 1) + data[8:], "batch.count"),
        (lambda data: data[:8] + struct.pack("<Q", 2**64 - 1) + data[16:], "batch.payload_bytes"),
        (lambda data: data[:20] + struct.pack("<I", 7) + data[24:], "rows.payload_bytes"),
    ],
)
def test_a_batch_that_cannot_be_read_names_its_field(change: Callable[[bytes], bytes], field: str) -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        data = change(encode_batch(node.transfer(0, 0)))
        document = problem_of(await http.post(PATH, content=data, headers=BINARY), 400)
        assert document["field"] == field
        assert document["limit"]

    talk(scenario)


def test_wrong_media_type_and_wait() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        data = encode_batch(node.transfer(0, 0))
        problem_of(await http.post(PATH, content=data), 415)
        for wait in ("soon", "", "&".join(f"a{i}=1" for i in range(50))):
            answer = await http.post(f"{PATH}?wait={wait}", content=data, headers=BINARY)
            assert problem_of(answer, 422)["field"] == "wait"
        answer = await http.get(PATH)
        problem_of(answer, 405)
        assert answer.headers["allow"] == "POST"

    talk(scenario)


def call_raw(node: FakeNode, headers: list[tuple[bytes, bytes]], messages: list[dict[str, Any]]) -> list[Any]:
    """The application at the level of ASGI; `messages` are received in order, an extra receive fails."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not messages:
            raise AssertionError("read more of the body than it may")
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": [(b"content-type", b"application/octet-stream"), *headers],
    }

    def report(what: str, error: Exception) -> None:
        raise error

    asyncio.run(create_app(node.service, report)(scope, receive, send))
    return sent


def test_a_declared_length_above_the_bound_is_refused_before_a_byte_is_read() -> None:
    for length in (b"100000000", b"9" * 40):
        sent = call_raw(FakeNode(), [(b"content-length", length)], [])
        assert sent[0]["status"] == 413
        assert (b"connection", b"close") in sent[0]["headers"]


def test_a_streamed_body_stops_at_the_bound() -> None:
    node = FakeNode(batch_rows_max=2, batch_payload_bytes_max=0)
    chunk = {"type": "http.request", "body": b"x" * 300, "more_body": True}
    messages = [dict(chunk) for _ in range(10)]
    assert call_raw(node, [], messages)[0]["status"] == 413
    assert len(messages) == 8


def test_a_client_that_leaves_is_not_answered() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert call_raw(FakeNode(), [], messages) == []


def test_a_body_that_does_not_arrive_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.01)

    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("never reached")

    async def scenario() -> None:
        with pytest.raises(ProblemError) as caught:
            await body.read_body(never, 10, 1)
        assert caught.value.status == 408

    asyncio.run(scenario())


class Fuzzed:
    """One node, API and loop for all fuzzed requests: to build them takes longer than the requests."""

    def __init__(self) -> None:
        self.runner, self.node = asyncio.Runner(), FakeNode()
        self.node.service._fates.timeout_s = 0.001
        self.faults: list[Any] = []
        app = create_app(self.node.service, lambda *fault: self.faults.append(fault))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@functools.cache
def fuzzed() -> Fuzzed:
    return Fuzzed()


@pytest.fixture(scope="module", autouse=True)
def _fuzzed_is_closed() -> Iterator[None]:
    yield
    if fuzzed.cache_info().currsize:
        fuzzed().runner.run(fuzzed().http.aclose())
        fuzzed().runner.close()
        fuzzed.cache_clear()


def exchange(requests: Callable[[httpx.AsyncClient, FakeNode], Awaitable[httpx.Response]]) -> None:
    """One request that may be anything: the answer is documented, and never an undocumented 5xx."""
    one = fuzzed()

    async def scenario() -> None:
        for shard in one.node.shards:
            shard.pending.clear()
        answer = await requests(one.http, one.node)
        assert answer.status_code < 500 or answer.status_code in (503, 504), answer.text
        if answer.status_code >= 400:
            problem_of(answer, answer.status_code)
        assert one.node.service.inflight_rows == 0
        assert one.faults == []

    one.runner.run(scenario())


@given(st.binary(max_size=700), st.sampled_from(["", "accepted", "committed", "durable", "\x00"]))
@example(b"RCB1" + bytes(12), "committed")
@settings(max_examples=40, deadline=None)
def test_fuzz_any_bytes(data: bytes, wait: str) -> None:
    exchange(lambda http, _: http.post(PATH, params={"wait": wait}, content=data, headers=BINARY))


@given(st.lists(st.tuples(st.integers(16, 3 * 208 + 15), st.integers(0, 255)), max_size=6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_fuzz_a_good_batch_with_bytes_changed(changes: list[tuple[int, int]], committed: bool) -> None:
    async def request(http: httpx.AsyncClient, node: FakeNode) -> httpx.Response:
        good = [node.transfer(0, 0), node.transfer(1, 0, payload=b"xy"), node.transfer(2, 0)]
        data = bytearray(encode_batch(concatenate(good)))
        for at, value in changes:
            data[at] = value
        wait = "committed" if committed else "accepted"
        return await http.post(f"{PATH}?wait={wait}", content=bytes(data), headers=BINARY)

    exchange(request)


KEYS = [
    "version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height",
    "sender", "recipient", "payload", "payload_hash", "signature",
]  # fmt: skip
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["0" * 64, "f" * 128, "ab"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), JSON_VALUES, max_size=4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_fuzz_json(changes: dict[str, Any], committed: bool) -> None:
    from actors.sdk.requests import transaction_json

    async def request(http: httpx.AsyncClient, node: FakeNode) -> httpx.Response:
        document = {**transaction_json(node.transfer(0, 0)), **changes}
        wait = "committed" if committed else "accepted"
        return await http.post(f"/v1/transactions?wait={wait}", json=document)

    exchange(request)


@given(st.binary(max_size=200))
@settings(max_examples=40, deadline=None)
def test_fuzz_json_any_bytes(data: bytes) -> None:
    headers = {"content-type": "application/json"}
    exchange(lambda http, _: http.post("/v1/transactions", content=data, headers=headers))


@given(
    st.sampled_from(["accounts", "transactions", "blocks"]),
    st.text(st.characters(codec="ascii", exclude_characters="/?#\\"), min_size=1, max_size=70),
    st.sampled_from(["", "/proof", "/raw", "/certificate", "?offset=-1", "?limit=99999999999999999999"]),
)
@settings(max_examples=40, deadline=None)
def test_fuzz_paths(kind: str, name: str, suffix: str) -> None:
    from urllib.parse import quote

    exchange(lambda http, _: http.get(f"/v1/{kind}/{quote(name, safe='')}{suffix}"))


def test_verdict_bytes_are_what_the_rows_got() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        batch = concatenate([node.transfer(who, who % 2) for who in range(len(SENDERS))])
        headers = {**BINARY, "accept": "application/octet-stream"}
        answer = await http.post(PATH, content=encode_batch(batch), headers=headers)
        verdicts = np.frombuffer(answer.content, dtype=np.uint8)
        assert verdicts.tolist() == [Verdict.OK, Verdict.NONCE_GAP] * (len(SENDERS) // 2)

    talk(scenario)


def test_bodies_held_at_a_time_are_bounded_in_sum() -> None:
    budget = body.BodyBudget(12, 1)

    def sent(size: int) -> Any:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": bytes(size), "more_body": False}

        return receive

    async def scenario() -> None:
        async with budget.body(sent(6), 12, "a"):
            with pytest.raises(BusyError):
                async with budget.body(sent(1), 12, "a"):
                    pytest.fail("held more than his share")
            async with budget.body(sent(3), 12, "b"):
                assert budget.held_bytes == 9
                with pytest.raises(BusyError):
                    async with budget.body(sent(2), 12, "b"):
                        pytest.fail("held more than his share")
        assert budget.held_bytes == 0

    asyncio.run(scenario())


def test_a_body_longer_than_it_declares_is_refused() -> None:
    messages = [{"type": "http.request", "body": b"x" * 21, "more_body": False}]
    assert call_raw(FakeNode(), [(b"content-length", b"20")], messages)[0]["status"] == 413
