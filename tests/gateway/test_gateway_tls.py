"""The gateway over TLS: requests and events with a certificate that is trusted, and not without."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.gateway import listener
from actors.gateway.api import create_app
from actors.gateway.server import HttpServer, bind, read_tls
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import AsyncClient
from actors.sdk.subscribe import follow
from actors.settings import GatewaySettings
from tests.gateway.gateway_fake_node import FakeNode, until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    folder: Path = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "raychain test")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_requests_and_events_over_tls(files: tuple[str, str]) -> None:
    async def scenario() -> None:
        node = FakeNode()
        app = create_app(node.service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0), read_tls(*files))
        await server.started()
        assert server.url.startswith("https://127.0.0.1:")
        async with AsyncClient(server.url, ca_file=files[0]) as client:
            assert (await client.submit_one(node.transfer(0, 0)))["status"] == "accepted"
        node.commit()
        stream = follow(server.url, from_height=1, ca_file=files[0])
        events = [await anext(stream), await anext(stream)]
        assert [event["type"] for event in events] == ["hello", "block"]
        await stream.aclose()  # type: ignore[attr-defined]
        async with AsyncClient(server.url) as distrustful:
            with pytest.raises(UnavailableApiError):
                await distrustful.status()
        with pytest.raises(httpx.TransportError):
            async with httpx.AsyncClient() as plain:
                await plain.get(server.url.replace("https", "http"))
        await server.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_handshakes_that_one_client_never_ends_close_nobody_out(
    files: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKES_MAX", 16)

    async def scenario() -> None:
        app = create_app(FakeNode().service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        settings = GatewaySettings(head_timeout_s=2)
        server = HttpServer(app, await bind("127.0.0.1", 0, 1.0), read_tls(*files), settings)
        await server.started()
        address = httpx.URL(server.url)
        silent = [
            await asyncio.open_connection(address.host, address.port, local_addr=("127.0.0.2", 0))
            for _ in range(40)
        ]
        await until(lambda: server.figures()["refused_by_rate"] == 32)
        assert server.figures()["handshakes_under_way"] == 8, "half of the places are for others"
        transport = httpx.AsyncHTTPTransport(
            local_address="127.0.0.3", verify=ssl.create_default_context(cafile=files[0])
        )
        async with httpx.AsyncClient(transport=transport, base_url=server.url, timeout=20) as http:
            assert (await http.get("/v1/health")).status_code == 200
        async with asyncio.timeout(30):
            while server.figures()["handshakes_under_way"]:
                await asyncio.sleep(0.05)
        for _, writer in silent:
            writer.close()
        await server.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_tls_needs_both_files_and_they_must_be_what_they_say(files: tuple[str, str], tmp_path: Path) -> None:
    assert read_tls("", "") is None
    with pytest.raises(ValueError):
        read_tls(files[0], "")
    with pytest.raises(OSError):
        read_tls(str(tmp_path / "nothing.pem"), files[1])
    with pytest.raises(ssl.SSLError):
        read_tls(files[1], files[0])
