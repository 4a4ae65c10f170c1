"""Floods of one client at the HTTP edge: refused before they cost much, and nobody waits behind them."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from actors.gateway import listener
from actors.gateway.limits import ClientRates
from actors.gateway.server import STARTS_EACH_PASS
from actors.gateway.shares import FairStarts
from actors.sdk.answers import NETWORK_HEADER, network_mark
from tests.gateway.gateway_fake_node import until
from tests.security.edge_server import ATTACKER, HONEST, Edge, serve

FLOOD = 96


def _said(edge: Edge, source: str, text: bytes) -> socket.socket:
    """A connection that is open, and has said something, before the server's loop sees it."""
    connection = socket.create_connection(edge.address, source_address=(source, 0))
    connection.sendall(text)
    connection.setblocking(False)
    return connection


def _stream(edge: Edge) -> bytes:
    return (
        f"GET /v1/events?topic=blocks HTTP/1.1\r\nhost: {edge.host}\r\nupgrade: websocket\r\n"
        "connection: Upgrade\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()


async def _head(connection: socket.socket) -> bytes:
    """The first that is answered; "" where the connection ended."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 4096), 20)
    except ConnectionError:
        return b""
    finally:
        connection.close()


def _status(head: bytes) -> int:
    return int(head.split(b" ")[1]) if head else 0


def _order_of_starts(edge: Edge) -> list[str]:
    """Who begins when, as the API's routes see it."""
    order: list[str] = []
    route = edge.api.gate._app

    async def seen(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["client"][0])
        await route(scope, receive, send)

    edge.api.gate._app = seen
    return order


@pytest.mark.parametrize("kind", ["streams", "requests"])
def test_nobody_waits_behind_a_flood_of_another(kind: str) -> None:
    async def scenario(edge: Edge) -> None:
        order = _order_of_starts(edge)
        request = f"GET /v1/nothing HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        text = _stream(edge) if kind == "streams" else request
        flood = [_said(edge, ATTACKER, b"") for _ in range(FLOOD)]
        honest = _said(edge, HONEST, b"")
        await until(lambda: len(edge.server.table) == FLOOD + 1)
        for connection in (*flood, honest):
            connection.sendall(text)
        wanted = 101 if kind == "streams" else 404
        assert _status(await _head(honest)) == wanted
        assert Counter(map(_status, await asyncio.gather(*map(_head, flood)))) == {wanted: FLOOD}
        # What the first pass of the loop reads begins as it is read; after that others have their turn.
        assert order.index(HONEST) <= 2 * STARTS_EACH_PASS

    serve(scenario)


def test_nobody_waits_behind_the_connections_of_another() -> None:
    async def scenario(edge: Edge) -> None:
        order = _order_of_starts(edge)
        request = f"GET /v1/nothing HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        flood = [_said(edge, ATTACKER, request) for _ in range(3 * listener.ACCEPTED_AT_ONCE)]
        honest = _said(edge, HONEST, request)
        assert _status(await _head(honest)) == 404
        assert order.index(HONEST) <= 2 * STARTS_EACH_PASS
        assert Counter(map(_status, await asyncio.gather(*map(_head, flood)))) == {404: len(flood)}

    serve(scenario)


def test_connections_that_wait_for_their_turn_end_with_the_server() -> None:
    async def scenario(edge: Edge) -> None:
        flood = [_said(edge, ATTACKER, b"") for _ in range(2 * STARTS_EACH_PASS)]
        acceptor = edge.server._acceptor
        await until(lambda: acceptor.waiting > 0)
        await edge.server.stop()
        assert acceptor.waiting == 0
        assert [await _head(connection) for connection in flood] == [b""] * len(flood)

    serve(scenario)


def test_streams_are_opened_at_the_clients_rate_and_refused_before_their_handshake() -> None:
    async def scenario(edge: Edge) -> None:
        order = _order_of_starts(edge)
        heads = await asyncio.gather(*[_head(_said(edge, ATTACKER, _stream(edge))) for _ in range(40)])
        seen = Counter(map(_status, heads))
        assert set(seen) == {101, 429}
        assert seen[429] >= 25
        assert len(order) == seen[101]
        mark = f"{NETWORK_HEADER}: {network_mark(edge.node.genesis)}".encode()
        assert all(mark in head for head in heads)
        assert _status(await _head(_said(edge, HONEST, _stream(edge)))) == 101
        await until(lambda: edge.api.events.open == 0)

    serve(scenario, client_streams_rate_max=5)


def test_a_refused_stream_is_no_fault_of_the_gateway(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(edge: Edge) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await connect(edge.url.replace("http", "ws") + "/v1/events?topic=nothing", proxy=None)
        assert caught.value.response.status_code == 422

    serve(scenario)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_client_opens_connections_at_his_rate(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario(edge: Edge) -> None:
        request = f"GET /v1/health HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        heads = await asyncio.gather(*[_head(_said(edge, ATTACKER, request)) for _ in range(60)])
        seen = Counter(map(_status, heads))
        assert seen[200] <= 30
        # Bytes that came too early take the refusal back.
        assert set(seen) <= {200, 429, 0}
        assert edge.server.figures()["refused_by_rate"] == 60 - seen[200]
        assert _status(await _head(_said(edge, HONEST, request))) == 200

    serve(scenario, loop_factory=loop_factory, client_connections_rate_max=10)


def test_connections_wait_while_no_descriptor_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "FULL_PAUSE_S", 0.05)

    async def scenario(edge: Edge) -> None:
        acceptor = edge.server._acceptor
        plain, tries = acceptor._listener, []

        class Full:
            """A socket of a process that has too many open, three times."""

            def accept(self) -> Any:
                tries.append(1)
                if len(tries) <= 3:
                    raise OSError(errno.EMFILE, "Too many open files")
                return plain.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(plain, name)

        acceptor._listener = Full()  # type: ignore[assignment]
        request = f"GET /v1/health HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        assert _status(await _head(_said(edge, HONEST, request))) == 200
        assert len(tries) > 3

    serve(scenario)


def test_a_handshake_that_cannot_be_read_names_the_network() -> None:
    async def scenario(edge: Edge) -> None:
        for text in (_stream(edge).replace(b"version: 13", b"version: 7"), b"\x16\x03\x01\r\n\r\n"):
            head = await _head(_said(edge, ATTACKER, text))
            assert _status(head) in (400, 426)
            assert network_mark(edge.node.genesis).encode() in head

    serve(scenario)


def test_starts_are_bounded_in_each_pass_and_fair() -> None:
    async def scenario() -> None:
        starts = FairStarts(4)
        order: list[str] = []
        for number in range(20):
            starts.begin("many", 1, partial(order.append, f"many {number}"))
        for who, cost in (("few", 1), ("heavy", 8), ("few", 1)):
            starts.begin(who, cost, partial(order.append, who))
        assert order == [f"many {number}" for number in range(4)], "what fits begins at once"
        assert starts.waiting == 19
        before = len(order)
        while starts.waiting:
            await asyncio.sleep(0)
            assert len(order) - before <= 4
            before = len(order)
        assert order.index("few") < 8
        assert order.index("heavy") < 10
        late = asyncio.ensure_future(starts.enter("late", 1))
        await asyncio.wait_for(late, 5)

    asyncio.run(scenario())


def test_rates_forget_nobody_who_is_recent() -> None:
    rates = ClientRates(2)
    assert [rates.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert (rates.take("b", 0.0, 2), rates.take("b", 0.4), rates.take("b", 0.5)) == (True, False, True)
    assert all(ClientRates(0).take("a", 0.0) for _ in range(100))
