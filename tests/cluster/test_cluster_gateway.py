"""The HTTP face of a real node: its OpenAPI document, its reads, one key's many transfers, many listeners."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import httpx
import pytest

from actors.ledger.signing import development_signer
from actors.sdk.client import AsyncClient
from actors.sdk.wallet import Wallet
from bench.listeners import Listener, listen, listen_many, may_open_files
from tests.cluster.conftest import Running, eventually
from tests.gateway.openapi_questions import ask_everything

TRANSFERS, LISTENERS = 10_000, 1_000
BOB = bytes(31) + b"\x09"


def signer_of(running: Running, account: int) -> Any:
    return development_signer(running.node.directory.genesis.network, account)


def test_every_operation_of_a_real_node_answers_as_its_document_says(running: Running) -> None:
    ask_everything(running.node.url, examples=2, administer=False)


def test_reads_of_an_account_agree_in_every_consistency_and_at_its_height(running: Running) -> None:
    (account,) = running.accounts(1)
    signer = signer_of(running, account)

    async def scenario() -> None:
        async with AsyncClient(running.node.url) as client, Wallet(client, signer) as wallet:
            sent = [await wallet.transfer(BOB, 1) for _ in range(3)]
            key = signer.public_key
            for consistency in ("bounded", "linearizable"):
                read = await client.account(key, consistency=consistency)
                assert (read["nonce"], read["height"] >= sent[-1].height) == (3, True)
            record = await client.transaction(sent[0].id)
            assert record is not None
            then = await client.account(key, height=int(record["height"]))
            assert (then["nonce"], then["height"]) == (1, record["height"])
        async with httpx.AsyncClient(base_url=running.node.url) as http:
            page = (await http.get(f"/v1/blocks/{record['height']}/receipts")).json()
            assert page["receipts"][record["position"]] == record["receipt"]

    asyncio.run(scenario())


def test_one_key_sends_10_000_transfers_across_a_kill_while_1_000_listen_and_one_never_reads(
    running: Running,
) -> None:
    if not may_open_files(LISTENERS + 1_000):
        pytest.skip(f"this system allows fewer than {LISTENERS + 1_000} open files")
    (account,) = running.accounts(1)
    signer = signer_of(running, account)
    before, gateway = (running.node.health()[name] for name in ("consensus", "gateway-0"))
    assert before is not None
    assert gateway is not None

    async def scenario() -> None:
        idle = await listen_many(running.node.url, LISTENERS, keys=[bytes(32)])
        slow = await listen(running.node.url, small_buffers=True, accounts=[signer.public_key])
        async with AsyncClient(running.node.url) as client, Wallet(client, signer) as wallet:
            sent = await send_across_a_kill(wallet, int(before["pid"]))
            assert sorted(sent) == list(range(TRANSFERS))
            assert wallet.resigned == 0, "a nonce was used twice"
            read = await client.account(signer.public_key, consistency="linearizable")
            assert read["nonce"] == TRANSFERS
            lagged = int(gateway["lagged"])
            assert await told_that_it_lagged(client, wallet, slow, signer.public_key, lagged)
        assert running.node.health()["gateway-0"]["subscribers"] >= LISTENERS  # type: ignore[index]
        for listener in idle:
            listener.close()

    asyncio.run(asyncio.wait_for(scenario(), 300))
    after = eventually(lambda: running.node.health()["consensus"], "consensus answers")
    assert after["pid"] != before["pid"]


async def send_across_a_kill(wallet: Wallet, pid: int) -> list[int]:
    """Nonces of TRANSFERS committed transfers; consensus is killed when a third of them are."""
    done = 0

    async def one() -> int:
        nonlocal done
        sent = await wallet.transfer(BOB, 1)
        done += 1
        if done == TRANSFERS // 3:
            os.kill(pid, signal.SIGKILL)
        return sent.nonce

    return list(await asyncio.gather(*(one() for _ in range(TRANSFERS))))


async def told_that_it_lagged(
    client: AsyncClient, wallet: Wallet, slow: Listener, key: bytes, lagged: int
) -> bool:
    """Whether a listener that reads nothing until it lags is told so.

    What waits for it is bounded in blocks, behind what the kernel holds of it in bytes, which may be
    megabytes: so many transfers at a time fill the one, and then a block each the other. One that was cut off
    begins again, until the caller's time is over.
    """
    url = client._endpoints.current
    while True:
        while True:
            actors = (await client.actors())["actors"]
            if (health := actors.get("gateway-0")) is not None and health["lagged"] > lagged:
                lagged = health["lagged"]
                break
            await asyncio.gather(*(wallet.transfer(BOB, 1) for _ in range(1_000)))
            for _ in range(20):
                await wallet.transfer(BOB, 1)
        async for message in slow.messages():
            if message["type"] == "lagged":
                to_height, from_height = (int(str(message[name])) for name in ("to_height", "from_height"))
                return to_height >= from_height > 0
        slow = await listen(url, small_buffers=True, accounts=[key])
