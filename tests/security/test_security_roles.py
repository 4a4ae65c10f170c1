"""Who may do what at the HTTP edge: roles, spelling, origins, hosts, proxies, keys."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from fastapi import APIRouter
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.gateway.api import Api, create_app
from actors.gateway.edge import client_name, exposed_without_keys
from actors.gateway.limits import KeyFile
from actors.gateway.roles import AccessRole, Guarded, RoledRoute, UndeclaredRoleError, needs, role_of
from actors.ledger.rows import FormatError, encode_batch
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import FakeNode
from tests.security.edge_server import (
    ATTACKER,
    BATCH,
    BINARY,
    ROLES,
    Edge,
    bearer,
    keys_of_all_roles,
    serve,
)

ENDPOINTS = {
    ("POST", "/v1/transactions"): AccessRole.SUBMIT,
    ("POST", "/v1/transactions/batch"): AccessRole.SUBMIT,
    ("POST", "/v1/validators"): AccessRole.ADMIN,
    ("POST", "/v1/members"): AccessRole.ADMIN,
    ("POST", "/v1/maintenance"): AccessRole.ADMIN,
    ("GET", "/v1/health"): AccessRole.PUBLIC,
    ("GET", "/v1/ready"): AccessRole.PUBLIC,
}


def routes_of(api: Api) -> list[tuple[str, str, object]]:
    """(method, path, endpoint) of everything that answers."""
    found: list[tuple[str, str, object]] = []
    for included in api.typed.routes:
        router = getattr(included, "original_router", None)
        assert router is not None, f"{included} was not included as a router"
        for route in router.routes:
            assert isinstance(route, RoledRoute), route
            found += [(method, route.path, route.endpoint) for method in route.methods or ()]
    return found


def test_every_endpoint_declares_its_role() -> None:
    api = create_app(FakeNode().service, lambda *_: None)
    found = routes_of(api)
    assert len(found) > 15
    for method, path, endpoint in found:
        assert role_of(endpoint) is ENDPOINTS.get((method, path), AccessRole.READ), (method, path)
        assert method in ("GET", "POST"), "HEAD is the gate's"
    guarded = [value for value in vars(api).values() if isinstance(value, Guarded)]
    assert sorted(each.role for each in guarded) == [
        AccessRole.READ,
        AccessRole.READ,
        AccessRole.READ,
        AccessRole.SUBMIT,
    ]


def test_an_application_with_an_endpoint_without_a_role_does_not_start() -> None:
    router = APIRouter(route_class=RoledRoute)

    async def careless(*_: object) -> None:
        return None

    with pytest.raises(UndeclaredRoleError, match="careless"):
        router.add_api_route("/careless", careless)
    with pytest.raises(UndeclaredRoleError):
        Guarded(careless)
    router.add_api_route("/careful", needs(AccessRole.ADMIN)(careless))


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
