"""Contracts through both clients and the wallet, against a served node that proves; and against lies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from actors.contracts import examples
from actors.contracts.encoding import encode_program
from actors.sdk.answers import NETWORK_HEADER, ApiError, network_mark
from actors.sdk.client import AsyncClient, Client
from actors.sdk.contract import AsyncContract, Contract
from actors.sdk.contract_interface import ContractEvent
from actors.sdk.contract_results import ContractFailedError
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import verify_entry
from actors.sdk.wallet import Wallet
from tests.gateway.gateway_contracts import COUNTER, SUPPLY, TOKEN, call, deploy
from tests.gateway.gateway_fake_node import SENDERS
from tests.gateway.gateway_proving_node import ProvingNode
from tests.gateway.gateway_served import Served

EXAMPLES = Path(examples.__file__).parent
ALICE, BOB = SENDERS[0].public_key, SENDERS[1].public_key


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    node = ProvingNode()
    assert (deploy(node, 0, "token", SUPPLY), deploy(node, 0, "counter")) == (TOKEN, COUNTER)
    call(node, 1, "counter", COUNTER, "add", 5)
    running = Served(node)
    with running.making_blocks():
        yield running
    running.stop()
    assert running.faults == []


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, genesis=served.node.genesis) as opened:
        yield opened


@pytest.fixture
def token(client: Client) -> Contract:
    return client.contract(TOKEN)


def test_a_contract_is_read_once_and_answers_by_names_and_types(token: Contract) -> None:
    assert (token.name, token.address) == ("Token", TOKEN)
    assert token.functions["transfer"].signature == "transfer(to: Address, amount: u64) -> bool"
    assert token.view("balance_of", BOB) == token.view("balance_of", who=BOB.hex()) == 0
    assert token.view("allowance", owner=ALICE, spender=BOB) == 0
    assert token.source() == (EXAMPLES / "token.py").read_text()


def test_a_simulation_tells_all_and_sends_nothing(served: Served, token: Contract) -> None:
    height = served.node.height
    tried = token.simulate("transfer", {"to": BOB, "amount": 3}, sender=ALICE)
    assert (tried.failure, tried.value, tried.results) == (None, True, {"value": True})
    assert tried.gas > 0
    assert tried.entries_created == 1
    (event,) = tried.events
    assert (event.name, event.contract) == ("Transfer", TOKEN)
    assert event.fields == {"sender": ALICE, "recipient": BOB, "amount": 3}
    assert len(tried.changes) == 2
    broke = token.simulate("transfer", [BOB, SUPPLY + 1], sender=ALICE)
    assert (broke.failure, broke.message, broke.results) == ("REQUIREMENT", "more than the balance", {})
    with pytest.raises(ContractFailedError, match="more than the balance"):
        token.prepare("transfer", [BOB, SUPPLY + 1], sender=ALICE)
    assert served.node.height == height


def test_rows_and_cells_are_proven(token: Contract, client: Client, served: Served) -> None:
    row = token.verified_row("balances", ALICE)
    assert (row.exists, row.columns["value"]) == (True, row.value)
    absent = token.verified_row("allowances", BOB, ALICE)
    assert (absent.exists, absent.value) == (False, 0)
    assert token.verified_row("supply").value == SUPPLY
    assert {name: cell.value for name, cell in token.verified_cells().items()} == {"supply": SUPPLY}
    assert token.verified_row("balances", ALICE, height=1).value == SUPPLY
    assert client.contract(COUNTER).verified_row("counts", BOB).value >= 5
    with Client(served.url) as believing:
        unpinned = believing.contract(TOKEN)
        assert unpinned.view("total_supply") == SUPPLY
        with pytest.raises(ProofError, match="pinned"):
            unpinned.verified_row("supply")
        assert unpinned.verified_row("supply", genesis=served.node.genesis).value == SUPPLY


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda token: token.view("balance"), "Token has no function 'balance'; it has transfer, approve"),
        (lambda token: token.view("balance_of"), "needs a value for who"),
        (lambda token: token.view("balance_of", BOB, 1), "takes 1, not 2"),
        (lambda token: token.view("balance_of", whom=BOB), "has no parameter 'whom'"),
        (lambda token: token.view("balance_of", BOB[:31]), "who: got .* expected Address.* as in who=0000"),
        (
            lambda token: token.simulate("transfer", {"to": BOB, "amount": -1}),
            "amount: got -1.* as in amount=5",
        ),
        (
            lambda token: token.simulate("transfer", {"to": BOB, "amount": True}),
            "amount: got True, expected u64",
        ),
        (lambda token: token.view("balance_of", 5, who=BOB), "not both"),
        (lambda token: token.verified_row("balances"), "balances has 1 keys"),
        (
            lambda token: token.verified_row("nothing"),
            "Token has no table 'nothing'; it has supply, balances",
        ),
        (lambda token: token.event_filter("Gone"), "Token has no event 'Gone'; it has Transfer, Approval"),
        (lambda token: token.prepare("transfer", [BOB, 1], simulate=False), "how much gas"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_asked(token: Contract, ask: Any, words: str) -> None:
    with pytest.raises(InterfaceError, match=words):
        ask(token)


def test_there_is_no_contract_at_other_addresses(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.contract(bytes(32))
    assert caught.value.status == 404


def test_a_wallet_deploys_calls_and_follows(served: Served) -> None:
    async def talk() -> None:
        async with (
            AsyncClient(served.url, genesis=served.node.genesis) as client,
            Wallet(client, SENDERS[2]) as wallet,
        ):
            deployed = await wallet.deploy(EXAMPLES / "counter.py")
            counter = await client.contract(deployed.address)
            heard = asyncio.create_task(take(counter, 6, deployed.height))
            assert deployed.gas > 0
            assert counter.interface.deployer == SENDERS[2].public_key
            assert counter.interface.deployed_height == deployed.height
            raised = [await wallet.call(counter, "add", [by]) for by in (1, 2)]
            raised += await asyncio.gather(*(wallet.call(counter, "add", {"by": 10}) for _ in range(4)))
            assert {each.status for each in raised} == {"ok"}
            assert all(each.fee > 0 and each.events[0].name == "Counted" for each in raised)
            assert await counter.view("value") == 43
            assert (await counter.verified_row("counts", SENDERS[2].public_key)).value == 43
            with pytest.raises(ContractFailedError, match="a step is 1 to 1000"):
                await wallet.call(counter, "add", {"by": 0})
            failed = await wallet.call(counter, "add", {"by": 0}, gas=5_000, simulate=False)
            assert (failed.status, failed.failure, failed.message) == (
                "failed",
                "REQUIREMENT",
                "a step is 1 to 1000",
            )
            assert sorted(event.fields["by"] for event in await heard) == [1, 2, 10, 10, 10, 10]

    asyncio.run(asyncio.wait_for(talk(), 60))


async def take(contract: AsyncContract, count: int, from_height: int) -> list[Any]:
    """The first events from a height on."""
    found = list[ContractEvent]()
    async for event in contract.events("Counted", first=SENDERS[2].public_key, from_height=from_height):
        found.append(event)
        if len(found) == count:
            break
    return found


def test_many_calls_at_once_wait_for_their_share_of_simulations(served: Served) -> None:
    async def talk() -> None:
        async with AsyncClient(served.url) as client:
            counter = await client.contract(COUNTER)
            async with contextlib.AsyncExitStack() as stack:
                wallets = [await stack.enter_async_context(Wallet(client, signer)) for signer in SENDERS[3:8]]
                calls = [wallets[n % len(wallets)].call(counter, "add", [1]) for n in range(50)]
                assert {each.status for each in await asyncio.gather(*calls)} == {"ok"}
            assert (await counter.view("count_of", SENDERS[4].public_key)) == 10

    asyncio.run(asyncio.wait_for(talk(), 120))


def test_arguments_of_a_deployment(served: Served) -> None:
    async def talk() -> None:
        async with AsyncClient(served.url) as client, Wallet(client, SENDERS[3]) as wallet:
            source = (EXAMPLES / "token.py").read_text()
            with pytest.raises(InterfaceError, match="needs a value for supply"):
                await wallet.deploy(source)
            with pytest.raises(InterfaceError, match="no @init"):
                await wallet.deploy(EXAMPLES / "counter.py", [1])
            token = await client.contract((await wallet.deploy(source, {"supply": 7})).address)
            assert await token.view("balance_of", SENDERS[3].public_key) == 7
            auction = (EXAMPLES / "auction.py").read_text()
            with pytest.raises(ContractFailedError, match="not in order"):
                await wallet.deploy(auction, [1, 2])

    asyncio.run(asyncio.wait_for(talk(), 60))


class Liar(httpx.BaseTransport):
    """Hands on what the node answers, with `changes` in answers to paths that begin with `path`."""

    def __init__(self, served: Served) -> None:
        self._real, self._mark = httpx.HTTPTransport(), network_mark(served.node.genesis)
        self.path, self.changes = "", dict[str, Any]()

    def tells(self, path: str, **changes: Any) -> None:
        self.path, self.changes = path, changes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._real.handle_request(request)
        body, kind = answer.read(), answer.headers["content-type"]
        if self.path and request.url.path.startswith(self.path):
            body = msgspec.json.encode({**msgspec.json.decode(body), **self.changes})
        headers = {NETWORK_HEADER: self._mark, "content-type": kind}
        return httpx.Response(answer.status_code, headers=headers, content=body)


@pytest.fixture
def liar(served: Served) -> Liar:
    return Liar(served)


@pytest.fixture
def deceived(served: Served, liar: Liar) -> Iterator[Client]:
    with Client(served.url, transport=liar, genesis=served.node.genesis) as opened:
        yield opened


def test_another_program_or_source_than_the_chains_is_not_taken(
    liar: Liar, deceived: Client, client: Client
) -> None:
    about, other = f"/v1/contracts/{TOKEN.hex()}", client.contract(COUNTER).interface
    program = encode_program(other.verified.program).hex()
    token = deceived.contract(TOKEN)
    for changes in (
        {"program": program},
        {"program": program, "program_hash": other.program_hash.hex()},
        {
            "program": program,
            "program_hash": other.program_hash.hex(),
            "source_hash": other.source_hash.hex(),
        },
        {"source_hash": other.source_hash.hex()},
        {"program": "00"},
        {"program": 5},
        {"deployer": None},
    ):
        liar.tells(about, **changes)
        with pytest.raises(InterfaceError, match="what was answered is"):
            deceived.contract(TOKEN)
    liar.tells(about, address=COUNTER.hex())
    with pytest.raises(ApiError, match="not that of a gateway"):
        deceived.contract(TOKEN)
    liar.tells(f"{about}/source", source="another")
    with pytest.raises(InterfaceError, match="not that of"):
        token.source()
    liar.tells(f"{about}/simulate", results_bytes="02")
    with pytest.raises(ApiError, match="not that of a gateway"):
        token.simulate("transfer", [BOB, 1], sender=ALICE)


def test_a_row_that_is_not_as_proven_is_not_taken(liar: Liar, deceived: Client, client: Client) -> None:
    token = deceived.contract(TOKEN)
    liar.tells("/v1/entries/", value=(2**63).to_bytes(8, "little").hex())
    with pytest.raises(ProofError, match="proof"):
        token.verified_row("balances", ALICE)
    liar.tells("/v1/entries/", value=None)
    with pytest.raises(ProofError, match="proof"):
        token.verified_row("balances", ALICE)
    liar.tells("/v1/entries/", **client.state_proof(ALICE))
    with pytest.raises(ProofError, match="key"):
        token.verified_row("balances", ALICE)
    liar.tells("/v1/entries/", height=1)
    with pytest.raises(ProofError, match="height"):
        token.verified_row("balances", ALICE)


def test_a_proof_of_an_account_says_nothing_of_an_entry(client: Client, served: Served) -> None:
    with pytest.raises(ProofError, match="not that of an entry"):
        verify_entry(served.node.genesis, ALICE, client.state_proof(ALICE))
