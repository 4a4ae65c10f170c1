"""Contracts on a real node: the way that a newcomer takes, and a wallet whose events are followed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from actors.cli.contracts.authoring import EXAMPLES
from actors.ledger.signing import Signer, development_signer
from actors.sdk.client import AsyncClient
from actors.sdk.contract import AsyncContract
from actors.sdk.contract_results import ContractFailedError
from actors.sdk.sender import RefusedError
from actors.sdk.wallet import Wallet
from tests.cluster.conftest import Running
from tests.contracts.command_answers import said, told

CALLS = 20


def test_each_step_names_the_next_from_an_empty_folder_to_a_proven_state(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (number,) = running.accounts(1)
    key = f"development:{number}"
    monkeypatch.setenv("RAYCHAIN_URL", running.node.url)
    monkeypatch.setenv("RAYCHAIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAYCHAIN_KEY", key)
    monkeypatch.chdir(tmp_path)
    commands = ["new counter"]
    for expected in ("new", "check", "test", "deploy", "call", "state", "state", "events"):
        command = commands[-1].split()
        assert command[0] == expected
        answer = said(*command)
        following = re.search(r"Next[^:]*: node.py contract (.*)", answer)
        assert following is not None, answer
        commands.append(following.group(1))
    address = commands[4].split()[1]
    state = told("state", address)
    assert (state["cells"], state["verified"]) == ({"total": 5}, True)
    assert told("state", address, "counts", key)["row"] == {"value": 5}
    assert [event["fields"]["by"] for event in told("events", address)["events"]] == [5]
    assert told("verify", address, "counter.py")["same_source"] is True
    assert told("verify", address)["verified"] is True
    failed = told("call", address, "add", "by=0", "--no-simulate", "--gas", "5000", code=1)
    assert (failed["failure"], failed["message"]) == ("REQUIREMENT", "a step is 1 to 1000")
    assert told("state", address)["cells"] == {"total": 5}


def test_a_wallet_calls_while_its_events_are_followed(running: Running) -> None:
    async def talk() -> None:
        genesis = running.client.genesis()
        signer = development_signer(genesis.network, running.accounts(1)[0])
        opening = AsyncClient(running.node.url, genesis=genesis)
        async with opening as client, Wallet(client, signer) as wallet:
            deployed = await wallet.deploy(EXAMPLES / "token.py", {"supply": 1_000})
            token = await client.contract(deployed.address)
            heard = asyncio.create_task(amounts(token, CALLS + 1, deployed.height))
            friend = Signer(b"f" * 32).public_key
            wanted = range(1, CALLS + 1)
            called = await asyncio.gather(
                *(wallet.call(token, "transfer", [friend, amount]) for amount in wanted)
            )
            assert {(each.status, each.value) for each in called} == {("ok", True)}
            assert (await token.verified_row("balances", friend)).value == sum(wanted)
            assert await token.view("balance_of", signer.public_key) == 1_000 - sum(wanted)
            assert sorted(await heard) == sorted([1_000, *wanted])
            with pytest.raises(ContractFailedError, match="more than the balance"):
                await wallet.call(token, "transfer", [friend, 1_000])
            async with Wallet(client, Signer(b"n" * 32)) as poor:
                with pytest.raises(RefusedError, match="INSUFFICIENT_BALANCE"):
                    await poor.deploy(EXAMPLES / "counter.py")

    asyncio.run(asyncio.wait_for(talk(), 120))


async def amounts(token: AsyncContract, count: int, from_height: int) -> list[int]:
    """Of the first transfers from a height on."""
    found = list[int]()
    async for event in token.events("Transfer", from_height=from_height):
        assert event.fields is not None
        found.append(event.fields["amount"])
        if len(found) == count:
            break
    return found
