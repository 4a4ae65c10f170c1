"""Events of contracts over the WebSocket: which ones a subscriber gets, live and after the fact."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from actors.contracts.limits import EVENT_BYTES_MAX, EVENTS_MAX
from actors.gateway.contract_topics import ContractTopic, contract_topics
from actors.gateway.problem import ProblemError
from actors.ledger.rows import KIND_CALL
from tests.gateway.gateway_contracts import ALICE, BOB, COUNTER, SUPPLY, TOKEN, deploy, signed
from tests.gateway.gateway_fake_node import until
from tests.gateway.test_gateway_contract_requests import hold
from tests.gateway.test_gateway_events import Stream, serve, short, take
from tests.ledger.contract_transactions import payload_of

HEXES = st.binary(max_size=40).map(bytes.hex)


def with_contracts(stream: Stream) -> None:
    assert deploy(stream.node, 0, "token", SUPPLY) == TOKEN
    assert deploy(stream.node, 0, "counter") == COUNTER
    stream.api.events.published(stream.node.delta(2))


def call(stream: Stream, who: int, name: str, at: bytes, function: str, *arguments: object) -> str:
    payload = payload_of(name, function, *arguments)  # type: ignore[arg-type]
    batch = signed(stream.node, who, KIND_CALL, at, payload)
    stream.commit(batch)
    return str(batch.ids()[0].tobytes().hex())


def topic(*parts: object) -> str:
    return "contract=" + ".".join(map(str, parts))


def stream_of(stream: Stream, *query: str) -> connect:
    return connect(f"ws{stream.url.removeprefix('http')}/v1/events?{'&'.join(query)}", proxy=None)


def test_events_of_a_contract_arrive_live_with_their_names() -> None:
    async def scenario(stream: Stream) -> None:
        with_contracts(stream)
        async with stream_of(stream, topic(TOKEN.hex())) as connection:
            messages = connection.__aiter__()
            assert [short(m) for m in await take(messages, 1)] == [("hello", 2)]
            await until(lambda: len(stream.api.events.hub))
            stream.commit()
            call(stream, 1, "counter", COUNTER, "add", 5)
            call(stream, 1, "token", TOKEN, "transfer", ALICE, 1)  # Bob has none: it fails
            moved = call(stream, 0, "token", TOKEN, "transfer", BOB, 30)
            (event,) = await take(messages, 1)
            data = ALICE + BOB + (30).to_bytes(8, "little")
            assert event == {
                "type": "event",
                "height": 6,
                "transaction": moved,
                "position": 0,
                "contract": TOKEN.hex(),
                "event": 0,
                "name": "Transfer",
                "fields": {"sender": ALICE.hex(), "recipient": BOB.hex(), "amount": 30},
                "data": data.hex(),
            }
        await until(lambda: not len(stream.api.events.hub))

    serve(scenario)


def test_resuming_reads_the_events_that_were_missed() -> None:
    async def scenario(stream: Stream) -> None:
        with_contracts(stream)
        call(stream, 0, "token", TOKEN, "approve", BOB, 5)
        call(stream, 1, "token", TOKEN, "transfer_from", ALICE, BOB, 2)
        call(stream, 1, "counter", COUNTER, "add", 5)
        query = topic(TOKEN.hex()), topic(COUNTER.hex()), "from_height=1"
        async with stream_of(stream, *query) as connection:
            seen = await take(connection.__aiter__(), 5)
            assert [(m["height"], m.get("name")) for m in seen] == [
                (5, None),
                (1, "Transfer"),
                (3, "Approval"),
                (4, "Transfer"),
                (5, "Counted"),
            ]
            assert seen[1]["fields"]["sender"] == TOKEN.hex()
        async with stream_of(stream, *query, "topic=blocks", f"account={BOB.hex()}") as connection:
            seen = await take(connection.__aiter__(), 12)
            kinds = {height: [m["type"] for m in seen[1:] if m["height"] == height] for height in range(1, 6)}
            both = ["block", "transaction", "event"]
            assert kinds == {1: ["block", "event"], 2: ["block"], 3: ["block", "event"], 4: both, 5: both}
            assert seen[-2]["kind_name"] == "call"

    serve(scenario)


@pytest.mark.parametrize(
    ("parts", "heights"),
    [
        ((TOKEN.hex(), 0), [1, 4]),
        ((TOKEN.hex(), 1), [3]),
        ((TOKEN.hex().upper(), 1, ALICE.hex()), [3]),
        ((TOKEN.hex(), 0, ALICE.hex()), [4]),
        ((TOKEN.hex(), 0, TOKEN.hex()), [1]),
        ((TOKEN.hex(), 1, BOB.hex()), []),
        ((COUNTER.hex(), 0, BOB.hex()), [5]),
        ((bytes(32).hex(),), []),
    ],
)
def test_a_subscriber_gets_the_events_that_it_asks_for(parts: tuple[object, ...], heights: list[int]) -> None:
    async def scenario(stream: Stream) -> None:
        with_contracts(stream)
        call(stream, 0, "token", TOKEN, "approve", BOB, 5)
        call(stream, 1, "token", TOKEN, "transfer_from", ALICE, BOB, 2)
        call(stream, 1, "counter", COUNTER, "add", 5)
        async with stream_of(stream, topic(*parts), "topic=blocks", "from_height=1") as connection:
            seen = await take(connection.__aiter__(), 1 + 5 + len(heights))
            assert [m["height"] for m in seen if m["type"] == "event"] == heights

    serve(scenario)


def test_events_that_are_not_kept_are_told_as_lag() -> None:
    async def scenario(stream: Stream) -> None:
        with_contracts(stream)
        call(stream, 0, "token", TOKEN, "approve", BOB, 5)
        del stream.node.stored_receipts[1]
        async with stream_of(stream, topic(TOKEN.hex()), "from_height=1") as connection:
            seen = await take(connection.__aiter__(), 3)
            assert [short(m) for m in seen] == [("hello", 3), ("lagged", 1), ("event", 3)]

    serve(scenario)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "zz" * 32,
        f"{TOKEN.hex()}.",
        f"{TOKEN.hex()}.Transfer",
        f"{TOKEN.hex()}.{EVENTS_MAX}",
        f"{TOKEN.hex()}.-1",
        f"{TOKEN.hex()}.٣",
        f"{TOKEN.hex()}.0.",
        f"{TOKEN.hex()}.0.abc",
        f"{TOKEN.hex()}.0.zz",
        f"{TOKEN.hex()}.0.ab.cd",
        f"{TOKEN.hex()}.0." + "ab" * (EVENT_BYTES_MAX + 1),
        f" {TOKEN.hex()}",
    ],
)
def test_what_names_no_events_is_refused(text: str) -> None:
    with pytest.raises(ProblemError) as caught:
        contract_topics([TOKEN.hex(), text])
    assert (caught.value.status, caught.value.document["field"]) == (422, "contract")


def test_too_many_and_bad_ones_are_refused_before_the_stream_begins() -> None:
    async def scenario(stream: Stream) -> None:
        many = [topic(f"{number:064x}") for number in range(65)]
        for query in ([topic("12")], many, [*many[:32], *(f"key={number:064x}" for number in range(33))]):
            with pytest.raises(InvalidStatus) as caught:
                await stream_of(stream, *query)
            assert caught.value.response.status_code == 422
            assert json.loads(caught.value.response.body)["type"].endswith(":invalid")

    serve(scenario)


@given(
    st.lists(
        st.text(max_size=80) | st.lists(HEXES | st.text(max_size=3), max_size=4).map(".".join), max_size=3
    )
)
def test_any_text_is_a_topic_or_refused_by_name(texts: list[str]) -> None:
    try:
        topics = contract_topics(texts)
    except ProblemError as error:
        hold(error, 422, "contract")
        return
    assert all(len(each.address) == 32 for each in topics)


@given(
    st.binary(min_size=32, max_size=32),
    st.none() | st.integers(0, EVENTS_MAX - 1),
    st.binary(max_size=EVENT_BYTES_MAX),
    st.binary(max_size=EVENT_BYTES_MAX),
)
def test_what_a_topic_says_is_read_back(address: bytes, event: int | None, first: bytes, data: bytes) -> None:
    first = b"" if event is None else first
    parts = [address.hex(), *([] if event is None else [str(event)]), *([first.hex()] if first else [])]
    (read,) = contract_topics([".".join(parts)])
    assert read == ContractTopic(address, event, first)
    assert read.takes((address, event or 0, first + data))
    assert not read.takes((bytes(32) if any(address) else bytes([1] * 32), event or 0, first + data))
    assert read.takes((address, event or 0, data)) == data.startswith(first)
    assert event is None or not read.takes((address, event + 1, first + data))
