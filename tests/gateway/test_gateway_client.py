"""The client against a real HTTP server on loopback: submissions, reads, proofs, bounds, restarts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from actors.cli.options import opened
from actors.gateway.api import TRANSACTION_BODY_BYTES_MAX, create_app
from actors.gateway.limits import read_api_keys
from actors.gateway.server import HttpServer, bind
from actors.ledger.block import Certificate, sign_proposal, sign_vote
from actors.ledger.rows import FormatError, concatenate, empty_batch, encode_batch
from actors.ledger.signing import Signer
from actors.sdk.answers import ApiError, CommitTimeoutError, ForeignAnswerError, UnavailableApiError
from actors.sdk.client import AsyncClient, Client
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import verify_proof
from actors.sdk.requests import transaction_json
from actors.sdk.subscribe import follow
from tests.gateway.gateway_fake_node import BALANCE, SENDERS, FakeNode
from tests.gateway.gateway_served import Served

Answer = TypeVar("Answer")


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(FakeNode(batch_rows_max=100, batch_payload_bytes_max=1000))
    yield running
    running.stop()
    assert running.faults == []


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, timeout_s=20) as opened:
        yield opened


def test_submit_wait_read_and_prove(served: Served, client: Client) -> None:
    node = served.node
    assert client.ready()
    assert client.genesis().hash() == node.genesis.hash()
    batch = concatenate([node.transfer(0, 0), node.transfer(1, 4), node.transfer(2, 0, payload=b"x")])
    served.commit_when_pending(2)
    receipt = client.submit(batch, wait="committed")
    assert (receipt.accepted, receipt.height) == (2, 1)
    assert [(row.index, row.verdict, row.field) for row in receipt.rejected] == [(1, "NONCE_GAP", "nonce")]
    assert client.account(SENDERS[0].public_key)["nonce"] == 1
    header = client.verified_proof(receipt.ids[2], node.genesis)
    assert header.hash() == node.blocks[1].header.hash()
    record = client.transaction(receipt.ids[2])
    assert record is not None
    assert record["payload"] == b"x".hex()
    assert client.transaction(receipt.ids[1]) is None
    assert client.proof(receipt.ids[1]) is None
    with pytest.raises(ProofError, match="no committed transaction"):
        client.verified_proof(receipt.ids[1], node.genesis)
    with pytest.raises(ProofError, match="pinned"):
        client.verified_proof(receipt.ids[2])


def test_blocks(served: Served, client: Client) -> None:
    assert client.block("latest") is None
    assert client.raw_block(3) is None
    client.submit_one(served.node.transfer(0, 0))
    block = served.node.commit()
    shown = client.block("latest")
    assert shown is not None
    assert shown["header"]["hash"] == block.header.hash().hex()
    raw = client.raw_block(1)
    assert raw is not None
    assert raw.encode() == block.encode()


def test_submitting_one_as_json(served: Served, client: Client) -> None:
    batch = served.node.transfer(0, 0)
    served.commit_when_pending(1)
    answer = client.submit_one(batch, wait="committed")
    assert (answer["status"], answer["height"]) == ("committed", 1)
    assert answer["id"] == batch.ids()[0].tobytes().hex()
    with pytest.raises(ApiError) as caught:
        client.submit_one(served.node.transfer(0, 9, amount=BALANCE))
    assert (caught.value.status, caught.value.verdict, caught.value.field) == (409, "NONCE_GAP", "nonce")
    with pytest.raises(FormatError):
        transaction_json(concatenate([batch, batch]))


def test_typed_errors_of_an_absent_and_a_slow_node(served: Served, client: Client) -> None:
    served.node.away = True
    with pytest.raises(UnavailableApiError) as caught:
        client.account(bytes(32))
    assert (caught.value.status, caught.value.retry_after_s) == (503, 1.0)
    assert not client.ready()
    served.node.service._fates.timeout_s = 0.01
    with pytest.raises(CommitTimeoutError) as late:
        client.submit(served.node.transfer(0, 0), wait="committed")
    assert late.value.problem["pending"] == [0]
    with pytest.raises(UnavailableApiError), Client("http://127.0.0.1:9") as nobody:
        nobody.status()


def forged(kind: str, node: FakeNode, proof: Any) -> Any:
    """A proof with one part replaced by what an adversary could make."""
    block, stranger, network = node.blocks[1], Signer(b"s" * 32), node.genesis.hash()
    if kind == "leaf":
        return msgspec.structs.replace(proof, leaf=bytes(32))
    if kind == "header.height":
        return msgspec.structs.replace(proof, height=proof.height + 1)
    if kind == "size":
        return msgspec.structs.replace(proof, size=proof.size + 1)
    if kind == "proof":
        return msgspec.structs.replace(proof, index=proof.index ^ 1)
    if kind == "header":
        return msgspec.structs.replace(proof, header=proof.header[:-1])
    if kind == "certificate.count":
        return msgspec.structs.replace(proof, certificate=b"\x02\x00\xff\xff" + bytes(8))
    if kind == "signature":
        return msgspec.structs.replace(proof, signature=sign_proposal(stranger, network, block.header.hash()))
    if kind == "certificate":
        vote = (stranger.public_key, sign_vote(stranger, network, block.header, 1))
        return msgspec.structs.replace(proof, certificate=Certificate(1, (vote,)).encode())
    foreign = replace(block.header, proposer=stranger.public_key)
    return msgspec.structs.replace(
        proof, header=foreign.encode(), signature=sign_proposal(stranger, network, foreign.hash())
    )


@pytest.mark.parametrize(
    "kind",
    [
        "leaf",
        "header.height",
        "size",
        "proof",
        "header",
        "certificate.count",
        "signature.proposer",
        "signature",
        "certificate",
    ],
)
def test_a_forged_proof_fails_at_the_check_that_it_breaks(kind: str, served: Served, client: Client) -> None:
    node = served.node
    client.submit(concatenate([node.transfer(who, 0) for who in range(5)]))
    node.commit()
    tx_id = node.blocks[1].batch.ids()[2].tobytes()
    proof = client.proof(tx_id)
    assert proof is not None
    assert verify_proof(node.genesis, tx_id, proof).height == 1
    with pytest.raises(ProofError) as caught:
        verify_proof(node.genesis, tx_id, forged(kind, node, proof))
    assert caught.value.check == kind


def test_bodies_above_the_bound_over_a_real_connection(served: Served, client: Client) -> None:
    too_large = b"x" * (served.node.service.limits.body_bytes_max + 1)
    headers = {"content-type": "application/octet-stream"}
    with httpx.Client(base_url=served.url) as http:
        declared = http.post("/v1/transactions/batch", content=too_large, headers=headers)
        assert (declared.status_code, declared.json()["limit"]) == (413, len(too_large) - 1)
        pieces = (too_large[at : at + 4096] for at in range(0, len(too_large), 4096))
        streamed = http.post("/v1/transactions/batch", content=pieces, headers=headers)
        assert streamed.status_code == 413
        json_body = http.post(
            "/v1/transactions",
            content=b"x" * (TRANSACTION_BODY_BYTES_MAX + 1),
            headers={"content-type": "application/json"},
        )
        assert json_body.status_code == 413
    full = concatenate([served.node.transfer(who, 0, payload=b"p" * 100) for who in range(8)])
    assert client.submit(full).accepted == 8


def test_a_batch_in_dribbles_is_read(served: Served) -> None:
    data = encode_batch(served.node.transfer(0, 0))
    headers = {"content-type": "application/octet-stream"}
    with httpx.Client(base_url=served.url) as http:
        answer = http.post(
            "/v1/transactions/batch",
            content=(data[at : at + 7] for at in range(0, len(data), 7)),
            headers=headers,
        )
    assert answer.json()["accepted"] == 1


def test_garbage_instead_of_http_is_refused_and_the_server_lives(served: Served, client: Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for garbage in (
        b"\x16\x03\x01\x00\xa5",
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        bytes(4000),
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert client.ready()


def test_a_request_head_without_end_is_refused(served: Served, client: Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    for start in (b"GET / HTTP/1.1\r\nx: ", b"GET /"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(start)
            answer = b""
            with contextlib.suppress(ConnectionError):
                for _ in range(2000):
                    connection.sendall(b"a" * 4096)
            with contextlib.suppress(ConnectionError):
                answer = connection.recv(4096)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    assert client.ready()


def test_the_same_port_can_be_bound_again_at_once(served: Served) -> None:
    async def scenario() -> None:
        first = HttpServer(create_app(served.node.service, lambda *_: None), await bind("127.0.0.1", 0, 1.0))
        await first.started()
        port = int(first.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            await bind("127.0.0.1", port, 0.0)
        waiting = asyncio.ensure_future(bind("127.0.0.1", port, 20.0))
        async with httpx.AsyncClient(base_url=first.url) as http:
            assert (await http.get("/v1/health")).status_code == 200
        await first.stop()
        await first.stop()
        again = HttpServer(create_app(served.node.service, lambda *_: None), await waiting)
        await again.started()
        assert again.url == first.url
        async with httpx.AsyncClient(base_url=again.url) as http:
            assert (await http.get("/v1/health")).status_code == 200
        await again.stop()

    asyncio.run(scenario())


def test_importing_the_client_imports_neither_ray_nor_anything_slow() -> None:
    probe = (
        "import sys, actors.sdk.client, actors.sdk.wallet;"
        "slow = {'ray', 'fastapi', 'uvicorn', 'numba', 'pydantic', 'httpx', 'rich', 'typer'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_asynchronous_client_has_the_same_calls_and_many_at_once(served: Served) -> None:
    node = served.node

    async def scenario() -> None:
        async with AsyncClient(served.url, timeout_s=20) as client:
            assert await client.ready()
            served.commit_when_pending(len(SENDERS))
            batches = [node.transfer(who, 0) for who in range(len(SENDERS))]
            answers = await asyncio.gather(*(client.submit_one(one, wait="committed") for one in batches))
            assert {answer["height"] for answer in answers} == {1}
            tx_id = bytes.fromhex(answers[3]["id"])
            assert (await client.verified_proof(tx_id, node.genesis)).height == 1
            with pytest.raises(ProofError, match="pinned"):
                await client.verified_proof(tx_id)
            receipt = await client.submit(concatenate([node.transfer(0, 1), node.transfer(1, 9)]))
            assert (receipt.accepted, len(receipt.rejected)) == (1, 1)
            assert (await client.account(SENDERS[0].public_key))["nonce"] == 1
            assert (await client.status())["head"]["height"] == 1
            record, block = await client.transaction(tx_id), await client.raw_block("latest")
            assert record is not None
            assert block is not None
            assert len(block.batch) == len(SENDERS)
            assert await client.block(7) is None

    asyncio.run(scenario())


def test_both_clients_have_the_same_public_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert calls(Client) | {"follow"} == calls(AsyncClient), "a stream without end is awaited"


@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff", b'{"leaf": 3}'])
@pytest.mark.parametrize("headers", [{}, {"raychain-network": "00" * 8, "content-type": "application/json"}])
def test_answers_of_something_else_than_a_node_are_typed_errors(
    status: int, content: bytes, headers: dict[str, str]
) -> None:
    answer = httpx.Response(status, content=content, headers=headers)
    with Client("http://elsewhere", transport=httpx.MockTransport(lambda _request: answer)) as client:
        for call in (
            lambda: client.proof(bytes(32)),
            client.genesis,
            lambda: client.submit(empty_batch()),
            lambda: client.find(bytes(32)),
            lambda: client.transaction(bytes(32)),
            lambda: client.account(bytes(32)),
        ):
            with pytest.raises(ForeignAnswerError) as caught:
                call()
            assert caught.value.status == status
            assert not caught.value.nothing_taken


def test_an_api_key_goes_with_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(FakeNode(), read_api_keys(f"{hashlib.sha256(b'secret').hexdigest()} admin operator"))
    node = served.node

    async def asynchronously() -> None:
        async with AsyncClient(served.url, api_key="secret") as client:
            assert (await client.submit(node.transfer(0, 0))).accepted == 1
        with pytest.raises(ApiError) as refused:
            await anext(follow(served.url))
        assert refused.value.status == 401
        stream = follow(served.url, api_key="secret")
        assert (await anext(stream))["type"] == "hello"
        await stream.aclose()  # type: ignore[attr-defined]

    try:
        with Client(served.url) as keyless, pytest.raises(ApiError) as refused:
            keyless.scale(3)
        assert (refused.value.status, refused.value.field) == (401, "authorization")
        with Client(served.url, api_key="secret") as client:
            client.scale(3)
        assert node.validators == 3
        asyncio.run(asynchronously())
        monkeypatch.setenv("RAYCHAIN_API_KEY", "secret")
        with opened(served.url) as client:
            client.scale(4)
        assert node.validators == 4
    finally:
        served.stop()
    assert served.faults == []
