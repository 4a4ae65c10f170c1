"""Attacks on the HTTP edge: spelling, origins, hosts, proxies; shares of connections, bodies, streams, reads.

Real requests to a real server over a node in memory. Clients are told apart by their address in 127.0.0.0/8.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from gateway_fake_node import SENDERS, FakeNode, membership_of, until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.gateway import body, protocol, shares
from actors.gateway.api import Api, create_app
from actors.gateway.edge import client_name, exposed_without_keys
from actors.gateway.limits import ApiKeys, KeyFile, read_api_keys
from actors.gateway.protocol import HEAD_BYTES_MAX, HEADERS_MAX
from actors.gateway.roles import Guarded, Role, RoledRoute, UndeclaredRoleError, needs, role_of
from actors.gateway.server import HttpServer, bind
from actors.gateway.shares import FairTurns
from actors.ledger.rows import FormatError, encode_batch
from actors.settings import GatewaySettings

BATCH, BINARY = "/v1/transactions/batch", {"content-type": "application/octet-stream"}
ATTACKER, HONEST = "127.0.0.2", "127.0.0.3"
ROLES = ("read", "submit", "admin")
ENDPOINTS = {
    ("POST", "/v1/transactions"): Role.SUBMIT,
    ("POST", "/v1/transactions/batch"): Role.SUBMIT,
    ("POST", "/v1/validators"): Role.ADMIN,
    ("POST", "/v1/members"): Role.ADMIN,
    ("GET", "/v1/health"): Role.PUBLIC,
    ("GET", "/v1/ready"): Role.PUBLIC,
}


class Edge:
    """A node and its server."""

    def __init__(self, node: FakeNode, api: Api, server: HttpServer) -> None:
        self.node, self.api, self.server, self.url = node, api, server, server.url
        host, port = server.url.removeprefix("http://").split(":")
        self.address = (host, int(port))
        self.host = f"{host}:{port}"

    def http(self, source: str = HONEST, **options: Any) -> httpx.AsyncClient:
        """A client at an address of its own."""
        transport = httpx.AsyncHTTPTransport(local_address=source)
        return httpx.AsyncClient(transport=transport, base_url=self.url, timeout=20, **options)

    async def open(self, source: str = ATTACKER) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address, local_addr=(source, 0))

    async def say(self, text: bytes, source: str = ATTACKER) -> bytes:
        """What the server answers to these bytes before it closes."""
        reader, writer = await self.open(source)
        writer.write(text)
        with_eof = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return with_eof

    async def path(self, raw: str, method: str = "GET", head: str = "", content: bytes = b"") -> int:
        """The status of a request whose path nobody has tidied up."""
        lines = f"{method} {raw} HTTP/1.1\r\nhost: {self.host}\r\nconnection: close\r\n{head}"
        length = f"content-length: {len(content)}\r\n" if content else ""
        answer = await self.say(f"{lines}{length}\r\n".encode("latin-1") + content)
        return int(answer.split(b" ")[1])


def serve(scenario: Callable[[Edge], Awaitable[None]], keys: ApiKeys | None = None, **settings: Any) -> None:
    async def run() -> None:
        node, faults = FakeNode(), []
        chosen = GatewaySettings(**settings)
        membership = membership_of(node.genesis)
        api = create_app(node.service, lambda *fault: faults.append(fault), chosen, keys, membership)
        server = HttpServer(api, await bind("127.0.0.1", 0, 1.0), None, chosen)
        await server.started()
        try:
            await asyncio.wait_for(scenario(Edge(node, api, server)), 60)
        finally:
            await server.stop()
        assert faults == []

    asyncio.run(run())


def keys_of_all_roles() -> ApiKeys:
    lines = [f"{hashlib.sha256(role.encode()).hexdigest()} {role} the-{role}" for role in ROLES]
    return read_api_keys("\n".join(lines))


def bearer(role: str) -> dict[str, str]:
    return {"authorization": f"Bearer {role}"}


# Roles


def routes_of(api: Api) -> list[tuple[str, str, object]]:
    """(method, path, endpoint) of everything that answers."""
    found: list[tuple[str, str, object]] = []
    for included in api.typed.routes:
        router = getattr(included, "original_router", None)
        assert router is not None, f"{included} was not included as a router"
        for route in router.routes:
            assert isinstance(route, RoledRoute), route
            found += [(method, route.path, route.endpoint) for method in route.methods]
    return found


def test_every_endpoint_declares_its_role() -> None:
    api = create_app(FakeNode().service, lambda *_: None)
    found = routes_of(api)
    assert len(found) > 15
    for method, path, endpoint in found:
        assert role_of(endpoint) is ENDPOINTS.get((method, path), Role.READ), (method, path)
        assert method in ("GET", "POST"), "HEAD is the gate's"
    guarded = [value for value in vars(api).values() if isinstance(value, Guarded)]
    assert sorted(each.role for each in guarded) == [Role.READ, Role.READ, Role.READ, Role.SUBMIT]


def test_an_application_with_an_endpoint_without_a_role_does_not_start() -> None:
    router = APIRouter(route_class=RoledRoute)

    async def careless() -> None:
        return None

    with pytest.raises(UndeclaredRoleError, match="careless"):
        router.add_api_route("/careless", careless)
    with pytest.raises(UndeclaredRoleError):
        Guarded(careless)
    router.add_api_route("/careful", needs(Role.ADMIN)(careless))


@pytest.mark.parametrize("role", ["", *ROLES])
def test_no_method_gets_past_the_role(role: str) -> None:
    async def scenario(edge: Edge) -> None:
        async with edge.http(headers=bearer(role) if role else {}) as http:
            for path in ("/v1/members", "/v1/validators"):
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "PROPFIND"):
                    answer = await http.request(method, path, json={"validators": 1})
                    if method == "POST" and role == "admin":
                        assert answer.status_code in (200, 422)
                    elif method == "HEAD" and role:
                        assert (answer.status_code, answer.content) == (200, b"")
                    else:
                        assert answer.status_code in (401, 403, 404, 405), (method, path)
            for path in ("/metrics", "/explorer/", "/v1/openapi.json", "/v1/status"):
                assert (await http.get(path)).status_code == (200 if role else 401), path
                assert (await http.head(path)).status_code == (200 if role else 401), path
            events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
            if role:
                async with connect(events, additional_headers=bearer(role), proxy=None) as stream:
                    assert json.loads(await anext(stream.__aiter__()))["type"] == "hello"
            else:
                with pytest.raises(InvalidStatus) as caught:
                    await connect(events, proxy=None)
                assert caught.value.response.status_code == 401
        assert edge.node.validators == (1 if role == "admin" else 2)

    serve(scenario, keys_of_all_roles())


SPELLINGS = [
    "/v1/validators%0A",
    "/v1/validators%0a",
    "/v1/validators%0D%0A",
    "/v1/validators%00",
    "/v1/validators%09",
    "/v1%2Fvalidators",
    "/v1%2fvalidators",
    "/v1%252Fvalidators",
    "/v1%5Cvalidators",
    "/v1\\validators",
    "/v1/%C1%B6alidators",  # overlong UTF-8
    "/v1/%E0%80%AFvalidators",
    "/v1/validators%FF",
    "/v1/validators%C2%85",
    "/v1/validators%E2%80%A8",
    "/v1/validators\x7f",
    "/v1/validators%7F",
]


@pytest.mark.parametrize("raw", SPELLINGS)
def test_a_path_that_is_not_plain_text_is_400(raw: str) -> None:
    content = b'{"validators": 1}'
    media = "content-type: application/json\r\n"

    async def scenario(edge: Edge) -> None:
        for key in ("submit", "admin"):
            head = f"authorization: Bearer {key}\r\n{media}"
            assert await edge.path(raw, "POST", head, content) == 400
        assert await edge.path(raw) == 400
        assert edge.node.validators == 2

    serve(scenario, keys_of_all_roles())


def test_pages_of_other_origins_read_if_allowed_and_never_administer() -> None:
    async def scenario(edge: Edge) -> None:
        async with edge.http("127.0.0.1") as http:
            for origin, submits in (
                ("https://app.example", 202),
                ("https://evil.example", 403),
                ("null", 403),
                (edge.url, 202),
            ):
                who = {"origin": origin}
                foreign = origin != edge.url
                answer = await http.post("/v1/validators", json={"validators": 2}, headers=who)
                assert (answer.status_code == 403) == foreign, origin
                answer = await http.post(
                    "/v1/members", json={"action": "transfer", "member": "a"}, headers=who
                )
                assert (answer.status_code == 403) == foreign, origin
                nonce = sum(len(shard.pending) for shard in edge.node.shards)
                batch = encode_batch(edge.node.transfer(0, nonce))
                answer = await http.post(BATCH, content=batch, headers={**BINARY, **who})
                assert answer.status_code == (200 if submits == 202 else 403), origin
                events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
                if submits == 202:
                    async with connect(events, origin=origin, proxy=None) as stream:  # type: ignore[arg-type]
                        await anext(stream.__aiter__())
                else:
                    with pytest.raises(InvalidStatus) as caught:
                        await connect(events, origin=origin, proxy=None)  # type: ignore[arg-type]
                    assert caught.value.response.status_code == 403

    serve(scenario, allowed_origins=["https://app.example"])


def test_a_name_that_is_not_this_nodes_is_refused() -> None:
    async def scenario(edge: Edge) -> None:
        async with edge.http("127.0.0.1") as http:
            for host, status in (
                ("evil.example", 421),
                ("evil.example:8470", 421),
                ("localhost.evil.example", 421),
                ("127.0.0.1.nip.example", 421),
                ("0x7f.1", 421),
                ("a b", 400),
                ("", 400),
                ("localhost:1", 200),
                ("LOCALHOST", 200),
                ("127.0.0.1", 200),
                ("[::1]:8470", 200),
                ("192.0.2.7", 200),
                ("node.example:443", 200),
                ("node.example.", 200),
            ):
                answer = await http.get("/v1/status", headers={"host": host})
                assert answer.status_code == status, host
                if status == 421:
                    assert "gateway.allowed_hosts" in answer.json()["detail"]
                rebound = await http.post("/v1/validators", json={"validators": 1}, headers={"host": host})
                assert rebound.status_code == (status if status != 200 else 200), host
            assert (await http.get("/v1/health", headers={"host": "probe"})).status_code == 200
        twice = (
            b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
        )
        assert (await edge.say(twice)).split(b" ")[1] == b"400"
        none = b"GET /v1/status HTTP/1.1\r\nconnection: close\r\n\r\n"
        assert (await edge.say(none)).split(b" ")[1] == b"400"
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://evil.example:{edge.address[1]}/v1/events?topic=blocks",
                          host=edge.address[0], port=edge.address[1], proxy=None)  # fmt: skip
        assert caught.value.response.status_code == 421

    serve(scenario, allowed_hosts=["node.example"])


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"],
)
def test_nobody_behind_a_proxy_is_from_this_machine(header: str) -> None:
    async def scenario(edge: Edge) -> None:
        async with edge.http("127.0.0.1") as http:
            answer = await http.post("/v1/validators", json={"validators": 1}, headers={header: "127.0.0.1"})
            assert answer.status_code == 403
            assert edge.node.validators == 2
            assert (await http.post("/v1/validators", json={"validators": 1})).status_code == 200

    serve(scenario)
    serve(scenario, trusted_proxies=["127.0.0.1"])


@pytest.mark.parametrize(
    ("name", "value", "client"),
    [
        ("x-forwarded-for", "198.51.100.9", "198.51.100.9"),
        ("x-forwarded-for", "203.0.113.1, 198.51.100.9", "198.51.100.9"),
        ("x-forwarded-for", "203.0.113.1, 198.51.100.9, 10.0.0.7", "198.51.100.9"),
        ("x-forwarded-for", "junk, 10.0.0.7", "10.0.0.7"),
        ("x-forwarded-for", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("forwarded", "for=198.51.100.9", "127.0.0.1"),  # not the header that this proxy is said to write
        ("x-real-ip", "198.51.100.9", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_who_asks(name: str, value: str, client: str) -> None:
    async def scenario(edge: Edge) -> None:
        batch = encode_batch(edge.node.transfer(0, 0))
        for source, expected in (("127.0.0.1", client), (ATTACKER, ATTACKER)):
            for shard in edge.node.shards:
                shard.sources.clear()
            async with edge.http(source) as http:
                await http.post(BATCH, content=batch, headers={**BINARY, name: value})
            assert set().union(*(shard.sources for shard in edge.node.shards)) == {f"anonymous:{expected}"}

    serve(scenario, trusted_proxies=["127.0.0.1/32", "10.0.0.0/8"])


def test_the_standard_header_is_read_where_it_is_set() -> None:
    async def scenario(edge: Edge) -> None:
        batch = encode_batch(edge.node.transfer(0, 0))
        said = 'for="[2001:db8::1]:4711";proto=https, For=198.51.100.9:80;by=10.0.0.1'
        async with edge.http("127.0.0.1") as http:
            await http.post(BATCH, content=batch, headers={**BINARY, "forwarded": said})
        assert set().union(*(s.sources for s in edge.node.shards)) == {"anonymous:198.51.100.9"}

    serve(scenario, trusted_proxies=["127.0.0.1"], forwarded_header="forwarded")


def test_clients_are_named_by_what_costs_them_something() -> None:
    assert client_name("2001:db8::1") == client_name("2001:db8::ffff:2") == "2001:db8::/64"
    assert client_name("::ffff:192.0.2.1") == client_name("192.0.2.1") == "192.0.2.1"
    assert client_name("::1") == "::1"


def test_listening_on_anything_but_loopback_needs_keys() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "", "node.example"):
        assert "gateway.api_keys_file" in exposed_without_keys(GatewaySettings(host=host))
        assert not exposed_without_keys(GatewaySettings(host=host, api_keys_file="keys"))
    for host in ("127.0.0.1", "127.0.0.9", "::1", "localhost"):
        assert not exposed_without_keys(GatewaySettings(host=host))


def test_keys_are_revoked_while_the_gateway_runs(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    lines = {role: f"{hashlib.sha256(role.encode()).hexdigest()} {role} one-name\n" for role in ROLES}
    path.write_text(lines["read"] + lines["submit"])
    file = KeyFile(path)
    keys = file.changed()
    assert keys is not None
    assert file.changed() is None

    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        async with (
            edge.http() as http,
            connect(events, additional_headers=bearer("read"), proxy=None) as revoked,
            connect(events, additional_headers=bearer("submit"), proxy=None) as kept,
        ):
            await anext(revoked.__aiter__())
            await anext(kept.__aiter__())
            path.write_text("junk\n")
            with pytest.raises(FormatError):
                file.changed()
            assert file.changed() is None
            assert (await http.get("/v1/status", headers=bearer("read"))).status_code == 200
            os.replace(_written(tmp_path / "new", lines["submit"]), path)
            newer = file.changed()
            assert newer is not None
            edge.api.gate.replace_keys(newer)
            assert (await http.get("/v1/status", headers=bearer("read"))).status_code == 401
            assert (await http.get("/v1/status", headers=bearer("submit"))).status_code == 200
            with pytest.raises(ConnectionClosed) as caught:
                await revoked.recv()
            assert caught.value.rcvd is not None
            assert (caught.value.rcvd.code, "revoked" in caught.value.rcvd.reason) == (3000, True)
            edge.api.events.published(edge.node.delta(edge.node.commit_one()))
            assert json.loads(await kept.recv())["type"] == "block"
        path.unlink()
        with pytest.raises(FileNotFoundError):
            file.changed()
        assert file.changed() is None

    serve(scenario, keys)


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# Shares


def test_idle_connections_of_one_client_close_nobody_out() -> None:
    async def scenario(edge: Edge) -> None:
        idle = [await edge.open() for _ in range(100)]
        await until(lambda: edge.server.table.evicted >= 60)
        assert len(edge.server.table) <= 40
        async with edge.http() as http:
            assert (await http.get("/v1/status")).status_code == 200
        ended = sum([reader.at_eof() or await _ends(reader) for reader, _ in idle[:50]])
        assert ended == 50, "the longest idle ones end first"
        for _, writer in idle:
            writer.close()

    serve(scenario, connections_max=80)


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionError:
        return True


def test_idle_connections_of_many_clients_make_room() -> None:
    async def scenario(edge: Edge) -> None:
        for number in range(8):
            for _ in range(16):
                await edge.open(f"127.0.1.{number + 1}")
        assert len(edge.server.table) <= 64
        async with edge.http() as http:
            assert (await http.get("/v1/status")).status_code == 200

    serve(scenario, connections_max=64)


@pytest.mark.parametrize("text", [b"GET /v1/status HT", b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n"])
def test_a_head_that_does_not_end_is_408(text: bytes) -> None:
    async def scenario(edge: Edge) -> None:
        assert b" 408 " in (await edge.say(text)).split(b"\r\n")[0]
        await until(lambda: len(edge.server.table) == 0)

    serve(scenario, head_timeout_s=1)


def test_the_bound_of_a_head_is_held_exactly() -> None:
    start = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    fixed = len("/v1/health") + len("hostlocalhost") + len("connectionclose") + 3 * protocol.LINE_BYTES + 1

    async def scenario(edge: Edge) -> None:
        for size, status in ((0, b"200"), (1, b"400"), (70_000, b"400"), (400_000, b"400")):
            whole = start + b"x: " + b"a" * (HEAD_BYTES_MAX - fixed + size) + b"\r\n\r\n"
            assert (await edge.say(whole)).split(b" ")[1] == status, size
        many = start + b"".join(b"x%d: y\r\n" % n for n in range(HEADERS_MAX - 1)) + b"\r\n"
        assert (await edge.say(many)).split(b" ")[1] == b"400"
        reader, writer = await edge.open()
        writer.write(start + b"x: ")
        for _ in range(40):
            writer.write(b"a" * 1024)
            await asyncio.sleep(0)
        assert b" 400 " in await asyncio.wait_for(reader.read(), 10)
        writer.close()

    serve(scenario)


def test_bodies_reserve_nothing_before_they_arrive() -> None:
    async def scenario(edge: Edge) -> None:
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        size = edge.node.service.limits.body_bytes_max
        waiting = []
        for _ in range(120):
            reader, writer = await edge.open()
            writer.write(f"{head}content-length: {size}\r\n\r\n".encode())
            waiting.append((reader, writer))
        await until(lambda: edge.api.gate.figures()["requests_inflight"] == 120)
        async with edge.http() as http:
            batch = encode_batch(edge.node.transfer(0, 0))
            assert (await http.post(BATCH, content=batch, headers=BINARY)).status_code == 200
        for _, writer in waiting:
            writer.close()
        await until(lambda: edge.api.gate.figures()["requests_inflight"] == 0)

    serve(scenario)


def test_bodies_that_are_held_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.gateway.api.BODY_BYTES_HELD_MAX", 0)

    async def scenario(edge: Edge) -> None:
        size = edge.node.service.limits.body_bytes_max
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        held = []
        for _ in range(4):
            reader, writer = await edge.open()
            writer.write(f"{head}content-length: {size}\r\n\r\n".encode() + bytes(size * 3 // 4))
            held.append((reader, writer))
        answers = [asyncio.ensure_future(reader.readline()) for reader, _ in held]
        await until(lambda: sum(answer.done() for answer in answers) == 3)
        assert all(b" 429 " in answer.result() for answer in answers if answer.done())
        async with edge.http() as http:
            batch = encode_batch(edge.node.transfer(0, 0))
            assert (await http.post(BATCH, content=batch, headers=BINARY)).status_code == 200
        for _, writer in held:
            writer.close()
        await asyncio.gather(*answers, return_exceptions=True)

    serve(scenario, batch_rows_max=100, batch_payload_bytes_max=40_000)


def test_a_body_that_trickles_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_GRACE_S", 0.3)

    async def scenario(edge: Edge) -> None:
        reader, writer = await edge.open()
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        writer.write(f"{head}content-length: 20000\r\n\r\n".encode())
        line = asyncio.ensure_future(reader.readline())
        sent = 0
        while not line.done():
            writer.write(b"x")
            sent += 1
            await asyncio.sleep(0.02)
            assert sent < 1_000
        assert b" 408 " in line.result()
        writer.close()

    serve(scenario)


def test_event_streams_of_one_client_close_nobody_out() -> None:
    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        streams = []
        for _ in range(4):
            streams.append(await connect(events, proxy=None, local_addr=(ATTACKER, 0)))
        for _ in range(3):
            with pytest.raises(InvalidStatus) as caught:
                await connect(events, proxy=None, local_addr=(ATTACKER, 0))
            assert caught.value.response.status_code == 429
        async with connect(events, proxy=None, local_addr=(HONEST, 0)) as honest:
            assert json.loads(await honest.recv())["type"] == "hello"
        for stream in streams:
            await stream.close()
        await until(lambda: edge.api.events.open == 0)

    serve(scenario, subscribers_max=8)


async def hello(stream: Any) -> int:
    message = json.loads(await stream.recv())
    assert message["type"] == "hello"
    return int(message["height"])


def test_a_position_ahead_of_the_head_changes_nothing_for_others() -> None:
    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        async with connect(events, proxy=None) as honest:
            await hello(honest)
            await until(lambda: len(edge.api.events.hub) == 1)
            async with connect(events + "&from_height=999999999999999999", proxy=None) as absurd:
                await hello(absurd)
                with pytest.raises(ConnectionClosed) as caught:
                    await absurd.recv()
                assert caught.value.rcvd is not None
                assert (caught.value.rcvd.code, "from_height" in caught.value.rcvd.reason) == (1013, True)
            async with connect(events + "&from_height=4", proxy=None) as ahead:
                await hello(ahead)
                await until(lambda: len(edge.api.events.hub) == 2)
                for height in range(1, 6):
                    edge.api.events.published(edge.node.delta(edge.node.commit_one()))
                    assert json.loads(await honest.recv())["height"] == height
                assert [json.loads(await ahead.recv())["height"] for _ in range(2)] == [4, 5]

    serve(scenario)


def test_a_reader_that_was_further_elsewhere_costs_no_other_his_blocks() -> None:
    """After a fail-over a reader begins where this gateway's deltas have not come to yet."""

    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        async with connect(events, proxy=None) as honest:
            await hello(honest)
            await until(lambda: len(edge.api.events.hub) == 1)
            async with connect(events + "&from_height=300", proxy=None) as further:
                await hello(further)
                await until(lambda: len(edge.api.events.hub) == 2)
                heights = [edge.node.commit_one() for _ in range(299)]
                seen: set[int] = set()
                for height in heights[:5] + heights[200:]:  # deltas in between get lost
                    edge.api.events.published(edge.node.delta(height))
                while 299 not in seen:
                    message = json.loads(await honest.recv())
                    first = message["from_height"] if message["type"] == "lagged" else message["height"]
                    seen |= set(range(first, message["height"] + 1))
                assert seen == set(range(1, 300)), "every block was sent, or said to be left out"

    serve(scenario)


def test_a_block_that_the_node_lacks_is_told_as_left_out() -> None:
    async def scenario(edge: Edge) -> None:
        for _ in range(3):
            edge.node.commit_one()
        del edge.node.blocks[2]  # pruned
        key = SENDERS[0].public_key.hex()
        events = edge.url.replace("http", "ws") + f"/v1/events?topic=blocks&account={key}&from_height=1"
        async with connect(events, proxy=None) as stream:
            await hello(stream)
            seen = [json.loads(await stream.recv()) for _ in range(3)]
            kinds = [(each["type"], each["height"]) for each in seen]
            assert kinds == [("block", 1), ("lagged", 2), ("block", 3)]

    serve(scenario)


def test_heavy_reads_of_one_client_wait_behind_his_own() -> None:
    async def scenario(edge: Edge) -> None:
        gone, asked = asyncio.Event(), 0

        async def slow(_key: bytes, _height: int | None) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            await gone.wait()
            return {"retained": (0, 0)}

        edge.node.service._reads._storage.state_proof = slow  # type: ignore[method-assign]
        proof = f"/v1/accounts/{SENDERS[0].public_key.hex()}/proof"
        async with edge.http(ATTACKER, limits=httpx.Limits(max_connections=200)) as attacker:
            proofs = [asyncio.ensure_future(attacker.get(proof)) for _ in range(100)]
            await until(lambda: edge.api.gate.turns[1].waiting == 96)
            assert asked == 4
            async with edge.http() as http:
                for path in ("/v1/status", "/metrics", "/v1/peers", f"/v1/accounts/{'0' * 64}", "/v1/ready"):
                    assert (await http.get(path)).status_code == 200, path
            gone.set()
            await asyncio.gather(*proofs)
        assert edge.api.gate.turns[1].taken == 0

    serve(scenario, heavy_reads_max=8)


def test_a_turn_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "TURN_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        turns = FairTurns("reads", 2)
        await turns.enter("a")
        with pytest.raises(shares.BusyError):
            await turns.enter("a")
        late = asyncio.ensure_future(turns.enter("a"))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        await turns.enter("b")
        turns.leave("a")
        turns.leave("b")
        assert (turns.taken, turns.waiting) == (0, 0)

    asyncio.run(scenario())


def test_answers_that_nobody_reads_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_LOOK_S", 0.2)

    async def scenario(edge: Edge) -> None:
        edge.node.service._reads._storage.block = _huge_block  # type: ignore[method-assign]
        unread = socket.socket()
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.setblocking(False)
        await asyncio.get_running_loop().sock_connect(unread, edge.address)
        await asyncio.get_running_loop().sock_sendall(
            unread, f"GET /v1/blocks/1/raw HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        )
        await until(lambda: len(edge.server.table) == 1)
        for _ in range(100):
            if not len(edge.server.table):
                break
            await asyncio.sleep(0.1)
        assert len(edge.server.table) == 0
        unread.close()

    serve(scenario)


async def _huge_block(_height: int) -> bytes:
    return bytes(16 << 20)


# Small ones

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
                    answer = await http.post(path, content=content, headers=json_body)
                    assert answer.status_code in (400, 403, 422), (path, content[:20])
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
