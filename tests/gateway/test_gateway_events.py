"""The stream of events: who is told what, resuming, and readers that are too slow or never read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.gateway import events as events_module
from actors.gateway import events_route, protocol
from actors.gateway.api import Api, create_app
from actors.gateway.contract_topics import ContractTopic
from actors.gateway.events import PENDING_MAX, EventHub, Subscription, Topics
from actors.gateway.server import HttpServer, bind
from actors.ledger.delta import AccountStates, Delta
from actors.sdk.answers import ApiError
from actors.sdk.subscribe import events_url, follow
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import SENDERS, FakeNode, until

ALICE, BOB, CAROL = (signer.public_key for signer in SENDERS[:3])
BLOCKS = Topics(True, frozenset(), frozenset())


class Stream:
    """A node, its server, and what a test does to both."""

    def __init__(self, node: FakeNode, api: Api, url: str) -> None:
        self.node, self.api, self.url = node, api, url

    def commit(self, *batches: Any, publish: bool = True) -> None:
        """A block of these transactions, or of a new one of account 4."""
        nonce = self.node.state[SENDERS[4].public_key].nonce
        self.node.shards[0].pending = list(batches) or [self.node.transfer(4, nonce)]
        block = self.node.commit()
        if publish:
            self.api.events.published(self.node.delta(block.header.height))

    def connect(self, **options: Any) -> Any:
        return connect(events_url(self.url, **{"blocks": False, **options}), proxy=None)


def serve(scenario: Callable[[Stream], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        node, faults = FakeNode(), []
        api = create_app(node.service, lambda *fault: faults.append(fault), GatewaySettings(**settings))
        running = HttpServer(api, await bind("127.0.0.1", 0, 1.0))
        await running.started()
        try:
            await asyncio.wait_for(scenario(Stream(node, api, running.url)), 30)
        finally:
            await running.stop()
        assert faults == []
        assert api.events.open == 0

    asyncio.run(run())


async def take(connection: AsyncIterator[Any], count: int) -> list[dict[str, Any]]:
    return [json.loads(await anext(connection)) for _ in range(count)]


def short(message: dict[str, Any]) -> tuple[Any, ...]:
    return message["type"], message["height"]


def test_blocks_transactions_and_states_arrive_live_in_order() -> None:
    async def scenario(stream: Stream) -> None:
        node = stream.node
        async with stream.connect(blocks=True, accounts=[ALICE], keys=[BOB]) as connection:
            messages = connection.__aiter__()
            assert [short(m) for m in await take(messages, 2)] == [("hello", 0), ("state", 0)]
            await until(lambda: len(stream.api.events.hub))
            transfer = node.transfer(0, 0, amount=5)
            stream.commit(node.transfer(4, 0), transfer)
            block, moved, state = await take(messages, 3)
            assert short(block) == ("block", 1)
            assert block["hash"] == node.blocks[1].header.hash().hex()
            assert (block["transactions"], block["time_ms"]) == (2, node.blocks[1].header.time_ms)
            assert (moved["type"], moved["position"], moved["amount"]) == ("transaction", 1, 5)
            assert moved["id"] == transfer.ids()[0].tobytes().hex()
            assert state["key"] == BOB.hex()
            assert state["balance"] == node.state[BOB].balance
            stream.commit()
            assert [short(m) for m in await take(messages, 1)] == [("block", 2)]
        await until(lambda: not len(stream.api.events.hub))

    serve(scenario)


def test_who_watches_a_quiet_account_is_not_woken() -> None:
    async def scenario(stream: Stream) -> None:
        async with stream.connect(accounts=[CAROL]) as connection:
            messages = connection.__aiter__()
            await take(messages, 1)
            await until(lambda: len(stream.api.events.hub))
            for _ in range(20):
                stream.commit()
            assert stream.api.events.sent == 1
            stream.commit(stream.node.transfer(2, 0))
            assert [short(m) for m in await take(messages, 1)] == [("transaction", 21)]

    serve(scenario)


def test_resuming_reads_missed_blocks_and_then_goes_on_live() -> None:
    async def scenario(stream: Stream) -> None:
        stream.commit(stream.node.transfer(0, 0), publish=False)
        for _ in range(4):
            stream.commit(publish=False)
        async with stream.connect(blocks=True, accounts=[ALICE], from_height=1) as connection:
            messages = connection.__aiter__()
            seen = await take(messages, 7)
            expected = [("hello", 5), ("block", 1), ("transaction", 1), *(("block", h) for h in range(2, 6))]
            assert [short(m) for m in seen] == expected
            await until(lambda: len(stream.api.events.hub))
            stream.commit(publish=False)  # this delta gets lost: the next one shows that it is missing
            stream.commit()
            assert [short(m) for m in await take(messages, 2)] == [("block", 6), ("block", 7)]

    serve(scenario)


def test_resuming_too_far_back_is_told_as_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_route, "RESUME_MAX", 2)

    async def scenario(stream: Stream) -> None:
        for _ in range(5):
            stream.commit()
        async with stream.connect(blocks=True, from_height=0) as connection:
            seen = await take(connection.__aiter__(), 5)
            assert (seen[1]["type"], seen[1]["from_height"], seen[1]["to_height"]) == ("lagged", 1, 2)
            assert [short(m) for m in seen[2:]] == [("block", 3), ("block", 4), ("block", 5)]

    serve(scenario)


def test_a_reader_that_stops_reading_delays_nobody_and_is_told_that_it_lagged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "WEBSOCKET_BUFFER_BYTES", 2048)
    monkeypatch.setattr(events_module, "PENDING_MAX", 10)

    async def scenario(stream: Stream) -> None:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.setblocking(False)
        host, port = stream.url.removeprefix("http://").split(":")
        await asyncio.get_running_loop().sock_connect(slow, (host, int(port)))
        async with (
            connect(events_url(stream.url, True), sock=slow, max_queue=1, proxy=None) as stuck,
            stream.connect(blocks=True) as quick,
        ):
            messages = quick.__aiter__()
            await take(messages, 1)
            await until(lambda: len(stream.api.events.hub) == 2)
            while not stream.api.events.hub.lagged:
                stream.commit()
                assert (await take(messages, 1))[0]["height"] == stream.node.height
            last = stream.node.height
            heights: list[int] = []
            lags: list[tuple[int, int]] = []
            async for text in stuck:
                message = json.loads(text)
                if message["type"] == "lagged":
                    lags.append((message["from_height"], message["to_height"]))
                elif message["type"] == "block":
                    heights.append(message["height"])
                if message["height"] == last:
                    break
            lost = {height for low, high in lags for height in range(low, high + 1)}
            assert lags
            assert sorted([*heights, *lost]) == list(range(1, last + 1))

    serve(scenario)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("topic=everything", 422),
        ("topic=blocks&other=1", 422),
        ("account=12", 422),
        ("key=" + "zz" * 32, 422),
        ("topic=blocks&from_height=-1", 422),
        ("&".join(f"key={n:064x}" for n in range(65)), 422),
        ("&".join("topic=blocks" for _ in range(200)), 422),
    ],
)
def test_bad_subscriptions_are_refused_with_problem_details(query: str, status: int) -> None:
    async def scenario(stream: Stream) -> None:
        address = f"ws{stream.url.removeprefix('http')}/v1/events?{query}"
        with pytest.raises(InvalidStatus) as caught:
            await connect(address, proxy=None)
        assert caught.value.response.status_code == status
        assert json.loads(caught.value.response.body)["type"].startswith("urn:raychain:problem:")

    serve(scenario)


def test_pages_of_other_origins_wrong_paths_and_too_many_are_refused() -> None:
    async def scenario(stream: Stream) -> None:
        address = events_url(stream.url, True)
        own = stream.url
        async with connect(address, origin=own, proxy=None) as first:  # type: ignore[arg-type]
            await take(first.__aiter__(), 1)
            for wrong, options, status in (
                (address, {"origin": "http://elsewhere.example"}, 403),
                (address.replace("events", "nothing"), {}, 404),
                (address, {}, 503),
            ):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(wrong, proxy=None, **options)  # type: ignore[arg-type]
                assert caught.value.response.status_code == status

    serve(scenario, subscribers_max=1)


def test_whoever_talks_to_the_stream_is_disconnected() -> None:
    async def scenario(stream: Stream) -> None:
        async with stream.connect(blocks=True) as connection:
            await connection.send("hello?")
            with pytest.raises(ConnectionClosed) as caught:
                await take(connection.__aiter__(), 3)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1008

    serve(scenario)


def test_a_node_that_stops_answering_ends_the_stream() -> None:
    async def scenario(stream: Stream) -> None:
        stream.commit(publish=False)
        stream.node.away = True
        async with stream.connect(blocks=True, from_height=1) as connection:
            with pytest.raises(ConnectionClosed) as caught:
                await take(connection.__aiter__(), 3)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1011

    serve(scenario)


def test_following_goes_on_after_the_connection_was_lost() -> None:
    async def scenario(stream: Stream) -> None:
        stream.commit()
        events = follow(stream.url, from_height=1)
        assert [short(await anext(events)) for _ in range(2)] == [("hello", 1), ("block", 1)]
        stream.node.away = True
        await until(lambda: len(stream.api.events.hub))
        stream.commit(publish=False)
        stream.commit()  # block 2 has to be read, the node is away: the stream breaks
        await until(lambda: stream.api.events.open == 0)
        stream.node.away = False
        seen = []
        while ("block", 3) not in seen:
            seen.append(short(await anext(events)))
        assert ("block", 2) in seen
        await events.aclose()  # type: ignore[attr-defined]
        with pytest.raises(ApiError) as caught:
            await anext(follow(stream.url, blocks=False))
        assert caught.value.status == 422

    serve(scenario)


KEYS = [bytes([n]) * 32 for n in range(5)]


@given(st.lists(st.tuples(st.integers(1, 3), st.sets(st.sampled_from(KEYS))), max_size=60))
def test_each_subscription_gets_exactly_what_concerns_it(blocks: list[tuple[int, set[bytes]]]) -> None:
    hub, watched = EventHub(1), frozenset(KEYS[:2])
    everything, some = Subscription(BLOCKS), Subscription(Topics(False, watched, frozenset()))
    contracts = frozenset({ContractTopic(bytes(32))})
    emitted = Subscription(Topics(False, frozenset(), frozenset(), contracts))
    for subscription in (everything, some, emitted):
        hub.add(subscription)
    height, expected_all, expected_some, expected_emitted = 0, [], [], []
    for step, touched in blocks:
        skipped = list(range(height + 1, height + step))
        height += step
        keys = np.frombuffer(b"".join(sorted(touched)), dtype=np.uint8).reshape(-1, 32)
        counts = np.arange(len(keys), dtype=np.uint64)
        ids = np.zeros((step - 1, 32), dtype=np.uint8)
        accounts = AccountStates(height, keys, counts, counts)
        delta = Delta.of_accounts(accounts, 1, bytes(32), bytes(32), ids)
        woken = hub.publish(delta)
        expected_all += [*skipped, height]
        expected_some += [*skipped, *([height] if touched & watched else [])]
        expected_emitted += [*skipped, *([height] if len(ids) else [])]
        assert (some in woken) == bool(skipped or touched & watched)
        assert (emitted in woken) == bool(skipped or len(ids))
        assert hub.publish(delta) == []
        facts = hub.facts(height)
        assert facts is not None
        assert set(facts.touched) == touched & watched
    for subscription, expected in (
        (everything, expected_all),
        (some, expected_some),
        (emitted, expected_emitted),
    ):
        pending = subscription.take()
        assert pending.heights == expected[-PENDING_MAX:]
        assert (pending.lagged is not None) == (len(expected) > PENDING_MAX)
        assert subscription.take().heights == []
        hub.remove(subscription)
        hub.remove(subscription)
    assert len(hub) == 0
