"""Several gateways of one network: which is asked, what is repeated, transfers while nodes fail and lag."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from actors.gateway.api import create_app
from actors.ledger.delta import AccountState, ChainHead
from actors.sdk import endpoints as endpoints_module
from actors.sdk import sender as sender_module
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import AsyncClient, Client
from actors.sdk.endpoints import Endpoints
from actors.sdk.wallet import Wallet
from actors.settings import GatewaySettings
from actors.storage.interface import StoredTransaction
from tests.gateway.gateway_fake_node import SENDERS, FakeNode
from tests.gateway.test_gateway_wallet import amounts_of

ALICE, BOB = SENDERS[0], SENDERS[1].public_key
URLS = ["http://a", "http://b", "http://c"]
BUSY = {"type": "urn:raychain:problem:busy", "title": "busy"}
AWAY = {"type": "urn:raychain:problem:unavailable", "title": "away"}


def test_requests_stay_at_one_gateway_until_it_fails() -> None:
    several = Endpoints(["http://a/", "http://b"])
    assert several.current == "http://a"
    several.failed("http://b")
    assert several.current == "http://a"
    several.failed("http://a")
    several.failed("http://a")
    assert several.current == "http://b"
    for none_or_too_many in ([], ["http://a"] * 2000):
        with pytest.raises(ValueError):
            Endpoints(none_or_too_many)


def test_pauses_begin_after_a_round_and_end_with_the_patience() -> None:
    several = Endpoints(URLS, patience_s=3.0, jitter=random.Random(1))
    pauses = [several.pause_s(failures, 0.0, 0.0) for failures in range(1, 22)]
    assert [pauses[i] for i in (0, 1, 3, 4)] == [0.0] * 4
    rounds = pauses[2::3]
    assert all(
        0.025 * 2**i <= pause <= 0.05 * 2**i for i, pause in enumerate(rounds[:6]) if pause is not None
    )
    assert all(pause is not None and pause <= 2.0 for pause in rounds)
    assert 0.5 <= (several.pause_s(3, 1.0, 0.0) or 0) <= 1.0
    assert several.pause_s(3, 0.0, 3.0) is None
    assert Endpoints("http://a").pause_s(1, 0.0, 0.0) is None


def scripted(answers: dict[str, list[Any]]) -> tuple[httpx.MockTransport, list[str]]:
    """A network whose hosts answer in turn: an error to raise, or a problem document with its status."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        answer = answers[request.url.host].pop(0)
        if isinstance(answer, Exception):
            raise answer
        media = "application/json" if answer[0] < 400 else "application/problem+json"
        headers = {"raychain-network": "00" * 8, "content-type": media}
        return httpx.Response(answer[0], json=answer[1], headers=headers)

    return httpx.MockTransport(handle), asked


def test_reads_go_on_at_the_next_gateway() -> None:
    refused, cut = httpx.ConnectError("refused"), httpx.ReadError("cut")
    answers: dict[str, list[Any]] = {
        "a": [cut],
        "b": [refused, refused],
        "c": [(503, AWAY), (200, {"height": 3})],
    }
    transport, asked = scripted(answers)
    answers["a"].append(refused)
    with Client(URLS, transport=transport, patience_s=60) as client:
        assert client.status() == {"height": 3}
    assert asked == ["a", "b", "c", "a", "b", "c"]


def test_a_submission_is_repeated_only_if_nothing_of_it_was_taken() -> None:
    node = FakeNode()
    taken = {"accepted": 1, "rejected": [], "height": None, "wait": "accepted"}
    transport, asked = scripted(
        {
            "a": [httpx.ConnectError("refused")],
            "b": [(503, BUSY)],
            "c": [(200, taken), httpx.ReadError("cut")],
        }
    )
    with Client(URLS, transport=transport) as client:
        assert client.submit(node.transfer(0, 0)).accepted == 1
        with pytest.raises(UnavailableApiError) as caught:
            client.submit(node.transfer(0, 1))
        assert not caught.value.nothing_taken
        assert client._endpoints.current == "http://a"
    assert asked == ["a", "b", "c", "c"]
    transport, asked = scripted({"a": [(503, AWAY)], "b": [(200, taken)]})
    with pytest.raises(UnavailableApiError), Client(URLS[:2], transport=transport) as client:
        client.submit(node.transfer(0, 0))
    assert asked == ["a"]


def test_an_observer_sends_who_submits_elsewhere() -> None:
    async def scenario() -> None:
        member, observer = FakeNode(), FakeNode(shards=0)
        apps = {"a": observer, "b": member}
        async with AsyncClient(URLS[:2], transport=Network(apps, random.Random(0), 0)) as client:
            assert (await client.submit_one(member.transfer(0, 0)))["status"] == "accepted"
        assert len(member.shards[0].pending) + len(member.shards[1].pending) == 1

    asyncio.run(scenario())


class Follower(FakeNode):
    """A node that passes submissions on to the leader and knows its blocks only up to some height."""

    def __init__(self, leader: FakeNode) -> None:
        super().__init__()
        self.leader, self.behind_blocks = leader, 3
        self.shards[:] = []
        self.service._splitter = leader.service._splitter

    @property
    def known_height(self) -> int:
        return max(0, self.leader.height - self.behind_blocks)

    async def head(self) -> ChainHead:
        return ChainHead(self.known_height, bytes(32), bytes(32), 0)

    async def account(self, key: bytes) -> AccountState:
        committed = [block for h, block in self.leader.blocks.items() if h <= self.known_height]
        nonce = sum(int((b.batch.rows["sender"] == list(key)).all(axis=1).sum()) for b in committed)
        return AccountState(nonce, 0, self.known_height)

    async def transaction(self, tx_id: bytes) -> StoredTransaction | None:
        found = await self.leader.transaction(tx_id)
        return found if found is not None and found.height <= self.known_height else None


class Network(httpx.AsyncBaseTransport):
    """Hosts by name; requests and answers get lost, and hosts that are down refuse connections."""

    def __init__(self, nodes: dict[str, FakeNode], rng: random.Random, loss: float) -> None:
        apps = {
            host: create_app(node.service, self._fault, GatewaySettings(allowed_hosts=[host]))
            for host, node in nodes.items()
        }
        self._hosts = {host: httpx.ASGITransport(app) for host, app in apps.items()}
        self._rng, self._loss, self.down = rng, loss, ""

    def _fault(self, what: str, error: Exception) -> None:
        raise AssertionError(f"{what}: {error!r}") from error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == self.down or self._rng.random() < self._loss:
            raise httpx.ConnectError("refused")
        response = await self._hosts[request.url.host].handle_async_request(request)
        if self._rng.random() < self._loss:
            raise httpx.ReadError("lost on the way back")
        return response


@pytest.mark.parametrize("seed", range(3))
def test_transfers_over_failing_and_lagging_nodes_are_executed_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sender_module, endpoints_module):
        monkeypatch.setattr(module, "PAUSE_FIRST_S", 0.001)
        monkeypatch.setattr(module, "PAUSE_MAX_S", 0.02)
    monkeypatch.setattr(sender_module, "REQUEST_ROWS_MAX", 8)
    rng = random.Random(seed)

    async def scenario() -> FakeNode:
        leader = FakeNode(commit_timeout_s=1)
        nodes = {"a": leader, "b": Follower(leader), "c": Follower(leader)}
        network = Network(nodes, rng, 0.05)
        for node in nodes.values():
            node.service._fates.timeout_s = 0.02

        async def make_blocks() -> None:
            while True:
                await asyncio.sleep(0.002)
                if rng.random() < 0.2:
                    network.down = rng.choice(["", "a", "b", "c"])
                for shard in leader.shards:
                    if rng.random() < 0.01:
                        shard.pending = []
                if any(shard.pending for shard in leader.shards) or rng.random() < 0.3:
                    leader.commit()

        blocks = asyncio.create_task(make_blocks())
        async with (
            AsyncClient(URLS, transport=network) as client,
            AsyncClient(URLS[::-1], transport=network) as other_client,
            Wallet(client, ALICE, inflight_max=16, jitter=random.Random(seed)) as wallet,
            Wallet(other_client, ALICE, inflight_max=16, jitter=random.Random(~seed)) as other,
        ):
            both = [(wallet, other)[i % 2].transfer(BOB, 1 + i, fee=0) for i in range(60)]
            await asyncio.wait_for(asyncio.gather(*both), 120)
        blocks.cancel()
        return leader

    amounts = amounts_of(asyncio.run(scenario()))
    del amounts[0]  # empty transfers that fill gaps
    assert amounts == Counter(range(1, 61))
