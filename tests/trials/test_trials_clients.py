"""Clients behind proxies and balancers that answer themselves, go away, and come back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli import options
from actors.cli.chain import app
from actors.gateway.backend import Wait
from actors.sdk import subscribe
from actors.sdk.answers import NETWORK_HEADER, ForeignAnswerError, UnavailableApiError, network_mark
from actors.sdk.client import AsyncClient, Client
from actors.sdk.proxies import ProxyError, proxy_of
from actors.sdk.sender import UnconfirmedError
from actors.sdk.subscribe import follow
from actors.sdk.wallet import Wallet
from bench.attack.between import Asked, Between, http_answer
from tests.gateway.gateway_fake_node import SENDERS, FakeNode
from tests.gateway.gateway_served import Served

ROOT = Path(__file__).parents[2]
HTML = b"<html>Service temporarily unavailable</html>"
SEND = ("send", "5", "--from", "development:0", "--to", "development:1")
OUTCOME = b'{"accepted": 20, "rejected": [], "wait": "committed", "height": 1}'


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(FakeNode())
    yield running
    running.stop()
    assert running.faults == []


def node_py(*arguments: object, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, last JSON line and standard error of a command, in this process."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, *_read(done.stdout, done.stderr)


def process(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """As `node_py`, in a process of its own."""
    command = [sys.executable, str(ROOT / "node.py"), *map(str, arguments), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, cwd=ROOT)
    return done.returncode, *_read(done.stdout, done.stderr)


def _read(out: str, err: str) -> tuple[dict[str, Any], str]:
    assert "Traceback" not in err
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}, err.replace("\n", " ")


def posts(answer: bytes) -> Any:
    return lambda asked: answer if asked.method == "POST" else None


def lies(node: FakeNode) -> dict[str, bytes]:
    """What a proxy may answer to a batch of 20 without passing it on."""
    own, other = {NETWORK_HEADER: network_mark(node.genesis)}, {NETWORK_HEADER: "5a" * 8}
    timeout = b'{"type": "urn:raychain:problem:commit-timeout"}'
    return {
        "504": http_answer(504, "text/html", HTML),
        "504 as JSON": http_answer(504, "application/json", b"{}"),
        "504 with nothing in it": http_answer(504, "application/problem+json", timeout, **own),
        "502 without a body": http_answer(502, "", b""),
        "200 with HTML": http_answer(200, "text/html", HTML),
        "redirect": http_answer(302, "text/html", HTML, location="http://127.0.0.1:9/login"),
        "success of nobody": http_answer(200, "application/json", OUTCOME),
        "success of another network": http_answer(200, "application/json", OUTCOME, **other),
        "half a success": http_answer(200, "application/json", OUTCOME[:-9], **own),
        "less than was promised": http_answer(200, "application/json", OUTCOME, **own)[:-9],
        "success of fewer": http_answer(200, "application/json", OUTCOME.replace(b"20", b"19"), **own),
        "success that is no success": http_answer(200, "application/json", b'{"accepted": 20}', **own),
    }


@pytest.mark.parametrize("name", lies(FakeNode()))
def test_many_transfers_that_a_proxy_answers_for_are_unknown_and_later_sent_once(
    name: str, served: Served
) -> None:
    node, lie = served.node, posts(lies(served.node)[name])

    async def scenario(url: str, deadline_s: float) -> list[Any]:
        async with AsyncClient(url) as client, Wallet(client, SENDERS[0], deadline_s=deadline_s) as wallet:
            calls = [wallet.transfer(SENDERS[1].public_key, 1) for _ in range(20)]
            return await asyncio.gather(*calls, return_exceptions=True)

    with served.making_blocks(), Between(served.url, lie) as proxy:
        fates = asyncio.run(scenario(proxy.url, 0.3))
        assert {type(fate) for fate in fates} == {UnconfirmedError}
        assert node.height == 0
        asked = len(proxy.asked)
        proxy.answers = lambda each: lie(each) if len(proxy.asked) < asked + 6 else None
        sent = asyncio.run(scenario(proxy.url, 30.0))
    assert sorted(each.nonce for each in sent) == list(range(20))
    assert sum(len(block.batch) for block in node.blocks.values()) == 20


def test_send_says_what_is_known(served: Served) -> None:
    with served.making_blocks(), Between(served.url, posts(lies(served.node)["504"])) as proxy:
        code, one, text = process(*SEND, "--within", "1", "--url", proxy.url)
        assert (code, one["status"], one["height"]) == (1, "unknown", None)
        assert one["id"] in text
        code, many, _ = node_py(*SEND, "--count", "20", "--within", "1", "--url", proxy.url)
        assert (code, many["committed"], many["proven"]) == (1, 0, 0)
        assert many["unknown"] == 20
        assert served.node.height == 0
        proxy.answers = lambda _asked: None
        code, one, _ = node_py(*SEND, "--url", proxy.url)
        assert (code, one["status"]) == (0, "committed")
        assert one["height"] == served.node.where[bytes.fromhex(one["id"])][0]
        code, many, _ = node_py(*SEND, "--count", "20", "--url", proxy.url)
        assert (code, many["committed"], many["proven"], many["unknown"]) == (0, 20, 20, 0)
        code, one, _ = node_py(*SEND, "--expiry-height", "0", "--url", proxy.url)
        assert (code, one["status"], one["verdict"]) == (2, "refused", "EXPIRED")
        code, many, _ = node_py(*SEND, "--expiry-height", "0", "--count", "3", "--url", proxy.url)
        assert (code, many["refused"], many["verdicts"]) == (2, 3, {"EXPIRED": 3})


def test_a_success_that_no_proof_bears_out_is_unknown(served: Served) -> None:
    """A proxy that knows the network's name says committed of each transfer that it swallows."""
    mark = {NETWORK_HEADER: network_mark(served.node.genesis)}

    def swallow(asked: Asked) -> bytes | None:
        if asked.method != "POST":
            return None
        if "batch" in asked.path:
            rows = int.from_bytes(asked.body[4:8], "little")
            return http_answer(200, "application/json", OUTCOME.replace(b"20", b"%d" % rows), **mark)
        return None

    with served.making_blocks(), Between(served.url, swallow) as proxy:
        code, many, _ = node_py(*SEND, "--count", "5", "--within", "1", "--url", proxy.url)
    assert (code, many["committed"], many["unknown"]) == (1, 0, 5)
    assert served.node.height == 0


def test_commands_bear_what_a_balancer_answers_for_a_while(served: Served) -> None:
    for status in (502, 503, 504):
        numbers = count()
        down = http_answer(status, "text/html", HTML)
        with Between(served.url, lambda _asked: down if next(numbers) < 3 else None) as balancer:  # noqa: B023
            code, shown, _ = node_py("balance", "development:0", "--url", balancer.url)
        assert (code, shown["nonce"]) == (0, 0)


def test_a_service_that_is_no_gateway_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "PATIENCE_S", 0.1)
    page = http_answer(200, "text/html", HTML)
    with Between("http://127.0.0.1:9", lambda _asked: page) as other:
        for command in (("status",), ("balance", "aa" * 32), ("members",), ("tx", "aa" * 32), SEND):
            code, shown, text = node_py(*command, "--url", other.url)
            assert (code, shown) == (2, {})
            assert "200, text/html" in text


def test_a_change_of_the_node_that_a_proxy_answers_for_is_unknown(served: Served) -> None:
    for lie in ("504", "success of nobody"):
        with Between(served.url, posts(lies(served.node)[lie])) as proxy:
            for change in (("scale", "--validators", "3"), ("members", "remove", "node-1")):
                code, shown, text = node_py(*change, "--url", proxy.url)
                assert (code, shown) == (1, {})
                assert "not known" in text
    assert served.node.validators == 2


def test_reads_pass_over_an_idle_connection_that_was_closed(served: Served) -> None:
    """As a balancer does: it closes the connection just when a request is on its way."""
    numbers = count()
    with Between(served.url, lambda _asked: b"" if next(numbers) == 0 else None) as balancer:
        with Client(balancer.url) as client:
            assert client.status()["chain_id"] == served.node.genesis.hash().hex()
        assert len(balancer.asked) == 2
        balancer.answers = lambda _asked: b""
        with Client(balancer.url) as client, pytest.raises(UnavailableApiError):
            client.status()
        assert len(balancer.asked) == 4
        with Client(balancer.url) as client, pytest.raises(UnavailableApiError):
            client.submit(served.node.transfer(0, 0))
        assert len(balancer.asked) == 5, "whoever submits hears of it, since it may have been taken"


@pytest.mark.parametrize("status", [404, 500, 502, 503, 504])
def test_a_stream_goes_on_behind_a_balancer_without_losing_or_repeating(
    status: int, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe, "RECONNECT_FIRST_S", 0.01)
    monkeypatch.setattr(subscribe, "RECONNECT_MAX_S", 0.05)
    node, alice = served.node, SENDERS[0].public_key

    async def commit() -> None:
        await node.service.submit(node.transfer(0, node.height), Wait.ACCEPTED)
        node.commit()

    async def scenario(proxy: Between) -> list[tuple[str, int]]:
        down, refusals = http_answer(status, "text/html", HTML), count()
        stream = follow(proxy.url, accounts=[alice], from_height=1)
        seen: list[tuple[str, int]] = []
        while len([kind for kind, _ in seen if kind == "block"]) < 12:
            event = await anext(stream)
            if event["type"] == "hello":
                continue
            seen.append((event["type"], event["height"]))
            if event["type"] == "block" and event["height"] % 3 == 0:
                # Between the messages of one block, too: its transaction comes after this one.
                proxy.answers = lambda _asked: down if next(refusals) % 4 else None
                proxy.cut()
            if event["type"] == "transaction" and event["height"] >= node.height - 1:
                await asyncio.get_running_loop().run_in_executor(None, served.call, commit)
        await stream.aclose()  # type: ignore[attr-defined]
        return seen

    for _ in range(3):
        served.call(commit)
    with Between(served.url) as proxy:
        seen = asyncio.run(asyncio.wait_for(scenario(proxy), 60))
    expected = [(kind, height) for height in range(1, 13) for kind in ("block", "transaction")]
    assert seen == expected[: len(seen)]


def test_a_stream_of_something_else_is_refused_at_first(served: Served) -> None:
    for status in (200, 301, 404):
        page = http_answer(status, "text/html", HTML, location="/elsewhere" if status == 301 else "")
        with Between(served.url, lambda _asked: page) as proxy, pytest.raises(ForeignAnswerError):  # noqa: B023
            asyncio.run(asyncio.wait_for(anext(follow(proxy.url)), 30))
    with pytest.raises(ForeignAnswerError, match="network"):
        asyncio.run(asyncio.wait_for(anext(follow(served.url, genesis=bytes(32))), 30))


def test_proxies_of_the_environment_leave_loopback_alone(served: Served) -> None:
    for proxy in ("http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense"):
        names = {name: proxy for name in ("http_proxy", "all_proxy", "https_proxy")}
        code, shown, _ = node_py("balance", "development:0", "--url", served.url, no_proxy="", **names)
        assert (code, shown["nonce"]) == (0, 0)
    code, _, text = node_py("status", "--url", "http://192.0.2.1:8470", all_proxy="socks5://127.0.0.1:9")
    assert code == 2
    assert "no_proxy" in text


def test_which_proxy_a_request_goes_through(monkeypatch: pytest.MonkeyPatch, served: Served) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert proxy_of("http://a.example:8470") is None
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setenv("all_proxy", "socks5://proxy.example:1080")
    monkeypatch.setenv("no_proxy", "b.example, 10.0.0.0/8,c.example:99")
    assert proxy_of("http://a.example:8470") == "http://proxy.example:3128"
    for direct in (
        "b.example",
        "x.b.example",
        "10.1.2.3",
        "c.example:99",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "127.9.9.9",
    ):
        assert proxy_of(f"http://{direct}") is None, direct
    with pytest.raises(ProxyError, match="all_proxy"):
        proxy_of("https://a.example")
    # Requests to others do go through it, by both clients.
    with Between(served.url) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with Client("http://gateway.example:8470") as client:
            assert client.genesis() == served.node.genesis
        assert [each.path for each in proxy.asked] == ["http://gateway.example:8470/v1/genesis"]
