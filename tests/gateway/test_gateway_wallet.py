"""Automatic nonces against a node and a network that lose requests, answers and pending transactions."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from actors.gateway.api import create_app
from actors.ledger.rows import FormatError
from actors.sdk import sender as sender_module
from actors.sdk.client import AsyncClient
from actors.sdk.sender import RefusedError, UnconfirmedError
from actors.sdk.wallet import Wallet
from tests.gateway.gateway_fake_node import BALANCE, SENDERS, FakeNode, until

ALICE, BOB = SENDERS[0], SENDERS[1].public_key
Scenario = Callable[[AsyncClient, FakeNode], Awaitable[None]]


class Lossy(httpx.AsyncBaseTransport):
    """Delivers requests to the application, except that some get lost, on the way there or back."""

    def __init__(self, app: Any, rng: random.Random, loss: float) -> None:
        self._inner, self._rng, self._loss = httpx.ASGITransport(app), rng, loss

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._rng.random() < self._loss:
            raise httpx.ConnectError("lost on the way there")
        response = await self._inner.handle_async_request(request)
        if self._rng.random() < self._loss:
            raise httpx.ReadError("lost on the way back")
        return response


def talk(scenario: Scenario, seed: int = 0, loss: float = 0.0, forget: float = 0.0) -> FakeNode:
    """Run a scenario while blocks are made; with probability `forget` a shard forgets what was pending."""
    node, rng = FakeNode(commit_timeout_s=1), random.Random(seed)

    async def make_blocks() -> None:
        while True:
            await asyncio.sleep(0.002)
            for shard in node.shards:
                if rng.random() < forget:
                    shard.pending = []
            if any(shard.pending for shard in node.shards):
                node.commit()

    async def run() -> None:
        app = create_app(node.service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        node.service._fates.timeout_s = 0.05
        async with AsyncClient("http://localhost", transport=Lossy(app, rng, loss)) as client:
            blocks = asyncio.create_task(make_blocks())
            try:
                await asyncio.wait_for(scenario(client, node), 60)
            finally:
                blocks.cancel()

    asyncio.run(run())
    return node


def amounts_of(node: FakeNode) -> Counter[int]:
    return Counter(int(row["amount"]) for block in node.blocks.values() for row in block.batch.rows)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(sender_module, "PAUSE_MAX_S", 0.02)
    monkeypatch.setattr(sender_module, "REQUEST_ROWS_MAX", 16)


def test_many_at_once_without_a_nonce_error() -> None:
    async def scenario(client: AsyncClient, node: FakeNode) -> None:
        async with Wallet(client, ALICE, inflight_max=64) as wallet:
            sent = await asyncio.gather(*(wallet.transfer(BOB, 1 + i, fee=0) for i in range(300)))
        assert sorted(each.nonce for each in sent) == list(range(300))
        for each in sent[::50]:
            record = await client.transaction(each.id)
            assert record is not None
            assert record["height"] <= each.height

    assert amounts_of(talk(scenario)) == Counter(range(1, 301))


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_or_executed_twice_when_requests_answers_and_pools_are_lost(seed: int) -> None:
    async def scenario(client: AsyncClient, _node: FakeNode) -> None:
        async with Wallet(client, ALICE, inflight_max=48, jitter=random.Random(seed)) as wallet:
            await asyncio.gather(*(wallet.transfer(BOB, 1 + i, fee=0) for i in range(100)))

    assert amounts_of(talk(scenario, seed, loss=0.15, forget=0.01)) == Counter(range(1, 101))


@pytest.mark.parametrize("seed", range(3))
def test_two_wallets_of_one_key_displace_each_other_and_lose_nothing(seed: int) -> None:
    async def scenario(client: AsyncClient, _node: FakeNode) -> None:
        async with (
            Wallet(client, ALICE, inflight_max=8, jitter=random.Random(seed)) as one,
            Wallet(client, ALICE, inflight_max=8, jitter=random.Random(~seed)) as other,
        ):
            both = [(one, other)[i % 2].transfer(BOB, 1 + i, fee=0) for i in range(40)]
            await asyncio.gather(*both)
            assert one.resigned + other.resigned

    assert amounts_of(talk(scenario, seed, loss=0.05)) == Counter(range(1, 41))


def test_a_refused_transfer_raises_and_holds_up_nobody() -> None:
    def expiry(i: int) -> int:
        return 0 if i in (0, 7, 19) else 1000

    async def scenario(client: AsyncClient, _node: FakeNode) -> None:
        async with Wallet(client, ALICE) as wallet:
            calls = [wallet.transfer(BOB, 1 + i, expiry_height=expiry(i)) for i in range(20)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [i for i, answer in enumerate(answers) if isinstance(answer, RefusedError)]
        assert refused == [0, 7, 19]
        assert {answers[i].verdict for i in refused} == {"EXPIRED"}  # type: ignore[union-attr]

    amounts = amounts_of(talk(scenario))
    assert amounts[0] <= 2, "at most one empty transfer for each gap"
    del amounts[0]
    assert amounts == Counter(set(range(1, 21)) - {1, 8, 20})


def test_values_out_of_range_are_refused_before_they_get_a_nonce() -> None:
    async def scenario(client: AsyncClient, _node: FakeNode) -> None:
        async with Wallet(client, ALICE) as wallet:
            with pytest.raises(FormatError):
                await wallet.transfer(BOB, -1)
            with pytest.raises(FormatError):
                await wallet.transfer(b"short", 1)
            assert (await wallet.transfer(BOB, BALANCE // 2)).nonce == 0

    talk(scenario)


def test_without_an_outcome_by_the_deadline_the_wallet_closes() -> None:
    async def scenario(client: AsyncClient, node: FakeNode) -> None:
        wallet = Wallet(client, ALICE, inflight_max=2, deadline_s=0.2)
        await wallet.transfer(BOB, 1)
        for shard in node.shards:
            shard.away = True
        answers = await asyncio.gather(*(wallet.transfer(BOB, 2) for _ in range(4)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {UnconfirmedError}
        with pytest.raises(UnconfirmedError):
            await wallet.transfer(BOB, 3)
        await wallet.drain()
        await wallet.close()

    talk(scenario)


def test_closing_cancels_who_waits() -> None:
    async def scenario(client: AsyncClient, node: FakeNode) -> None:
        for shard in node.shards:
            shard.away = True
        wallet = Wallet(client, ALICE)
        waiting = asyncio.ensure_future(wallet.transfer(BOB, 1))
        await until(lambda: wallet.retries)
        await wallet.close()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert waiting.cancelled()

    talk(scenario)
