"""Small doors of the HTTP edge: long numbers, HEAD, compressed bodies, idle connections, junk."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from actors.gateway import protocol
from actors.ledger.rows import encode_batch
from actors.settings import GatewaySettings
from tests.security.edge_server import (
    BATCH,
    BINARY,
    Edge,
    serve,
)

LONG = "9" * 5_000


def test_numbers_of_thousands_of_digits_are_the_callers_fault() -> None:
    async def scenario(edge: Edge) -> None:
        for digits in (LONG, "0" * 4_999 + "5", "1" * 400):
            for path, media in (
                (BATCH, "application/octet-stream"),
                ("/v1/transactions", "application/json"),
            ):
                head = f"POST {path} HTTP/1.1\r\nhost: {edge.host}\r\nconnection: close\r\n"
                text = f"{head}content-type: {media}\r\ncontent-length: {digits}\r\n\r\n"
                answer = await edge.say(text.encode())
                assert answer.split(b" ")[1] == b"400", (path, digits[:3])
                assert b"application/problem+json" in answer
        async with edge.http() as http:
            for path in (
                f"/v1/blocks/{LONG}",
                f"/v1/blocks/1?offset={LONG}",
                f"/v1/blocks?before={LONG}&limit={LONG}",
                f"/v1/accounts/{'0' * 64}?height={LONG}",
                f"/v1/accounts/{'0' * 64}/proof?height={LONG}",
            ):
                assert (await http.get(path)).status_code in (404, 422), path[:20]
            json_body = {"content-type": "application/json"}
            for content in (
                f'{{"nonce": {LONG}}}',
                f'{{"nonce": "{LONG}"}}',
                f'{{"validators": {LONG}}}',
                "[" * 9_000,
            ):
                for path in ("/v1/transactions", "/v1/validators"):
                    refused = await http.post(path, content=content, headers=json_body)
                    assert refused.status_code in (400, 403, 422), (path, content[:20])
        with pytest.raises(InvalidStatus) as caught:
            await connect(
                edge.url.replace("http", "ws") + f"/v1/events?topic=blocks&from_height={LONG}", proxy=None
            )
        assert caught.value.response.status_code == 422

    serve(scenario)


def test_head_answers_as_get_does_without_a_body() -> None:
    async def scenario(edge: Edge) -> None:
        edge.node.commit_one()
        tx_id = edge.node.blocks[1].batch.ids()[0].tobytes().hex()
        async with edge.http() as http:
            for path in (
                "/v1/health",
                "/v1/ready",
                "/v1/status",
                "/v1/genesis",
                "/v1/blocks/1",
                "/v1/blocks/latest/raw",
                f"/v1/transactions/{tx_id}",
                f"/v1/accounts/{'0' * 64}",
                "/v1/nothing",
                "/metrics",
                "/explorer/",
                "/v1/openapi.json",
            ):
                got, head = await http.get(path), await http.head(path)
                assert (head.status_code, head.content) == (got.status_code, b""), path
                assert head.headers["content-type"] == got.headers["content-type"]
                assert "content-length" in head.headers

    serve(scenario)


def test_compressed_bodies_are_415() -> None:
    async def scenario(edge: Edge) -> None:
        batch = encode_batch(edge.node.transfer(0, 0))
        async with edge.http() as http:
            for coding, status in (("gzip", 415), ("br", 415), ("identity", 200)):
                for path, media in (
                    (BATCH, BINARY),
                    ("/v1/transactions", {"content-type": "application/json"}),
                ):
                    headers = {**media, "content-encoding": coding}
                    answer = await http.post(path, content=batch, headers=headers)
                    assert answer.status_code == (status if status == 415 or path == BATCH else 400), (
                        path,
                        coding,
                    )

    serve(scenario)


def test_idle_connections_outlast_those_of_balancers() -> None:
    assert GatewaySettings().keep_alive_s > 60


def test_junk_and_too_many_pipelined_requests_end_the_connection() -> None:
    async def scenario(edge: Edge) -> None:
        assert (await edge.say(b"\x16\x03\x01\x02\x00 not http\r\n\r\n")).split(b" ")[1] == b"400"
        assert (await edge.say("GET /v1/\xff HTTP/1.1\r\nhost: localhost\r\n\r\n".encode("latin-1"))).split(
            b" "
        )[1] == b"400"
        one = f"GET /v1/status HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        reader, writer = await edge.open()
        writer.write(one * 5_000)
        answer = b""
        while True:
            try:
                part = await asyncio.wait_for(reader.read(65_536), 20)
            except ConnectionError:
                break
            if not part:
                break
            answer += part
        assert answer.count(b"HTTP/1.1 200") <= protocol.PIPELINED_MAX + 1
        writer.close()

    serve(scenario)
