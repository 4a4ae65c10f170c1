"""The benchmark's gateway takes in every batch that its generator offers, one after the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.gateway.server import HttpServer, bind
from bench.gateway import _gateway_app
from bench.null_server import accept_all
from bench.submissions import BATCH_ROWS, Submitter, status_of


async def served(app: Any) -> HttpServer:
    server = HttpServer(app, await bind("127.0.0.1", 0, 1.0))
    await server.started()
    return server


def test_every_batch_is_admitted_and_its_stages_are_told() -> None:
    async def scenario() -> None:
        server = await served(_gateway_app())
        status = await status_of(server.url)
        submitter, offered = Submitter(server.url, int(status["chain_tag"])), 0
        while offered < 10 * 4 * BATCH_ROWS:  # beyond the nonces that are left pending
            offered += (await submitter.run(0.01))[0]
        status = await status_of(server.url)
        assert status["gateway"]["rows"] == {
            "accepted": offered,
            "refused": 0,
            "committed": 0,
            "timed_out": 0,
            "busy": 0,
        }
        stages = status["node"]["stages_us_per_tx"]
        assert set(stages) == {"decode", "form", "static", "screen", "insert", "settle"}
        await server.stop()

    asyncio.run(scenario())


def test_rows_that_are_not_admitted_end_the_benchmark() -> None:
    async def scenario() -> None:
        server = await served(_gateway_app())
        stranger = Submitter(server.url, 1)
        with pytest.raises(RuntimeError, match="0 of"):
            await stranger.run(0.01)
        await server.stop()

    asyncio.run(scenario())


def test_a_server_that_accepts_everything_is_the_generator_s_ceiling() -> None:
    async def scenario() -> None:
        server = await served(accept_all)
        async with asyncio.timeout(20):
            assert (await Submitter(server.url, 1).offer(0.01))[0] >= 4 * BATCH_ROWS
        await server.stop()

    asyncio.run(scenario())


def test_an_answer_of_unknown_length_is_an_error_and_no_wait_without_end() -> None:
    async def chunked(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def scenario() -> None:
        server = await served(chunked)
        async with asyncio.timeout(20):
            with pytest.raises(ValueError, match="content-length"):
                await Submitter(server.url, 1).offer(0.01)
        await server.stop()

    asyncio.run(scenario())
