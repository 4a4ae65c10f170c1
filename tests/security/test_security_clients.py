"""What a client believes when a proxy or a node lies to it, over real connections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from actors.cli import options
from actors.cli.chain import app
from actors.sdk.answers import NETWORK_HEADER, ForeignAnswerError, network_mark
from actors.sdk.client import Client
from actors.sdk.endpoints import AddressError, Endpoints
from actors.sdk.trust import FIRST_USE, KnownNetworks, TrustError, read_genesis, remember_own
from bench.attack.between import Between, http_answer
from bench.attack.false_answers import foreign_genesis, proxy_lies
from bench.attack.registry import AttackTarget
from tests.gateway.gateway_fake_node import FakeNode
from tests.gateway.gateway_served import Served


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(FakeNode())
    with running.making_blocks():
        yield running
    running.stop()
    assert running.faults == []


@pytest.fixture
def target(served: Served, tmp_path: Path) -> AttackTarget:
    path = tmp_path / "genesis.json"
    path.write_bytes(served.node.genesis.encode())
    return AttackTarget((served.url,), (), (), path, (), (0, 1), 4.0)


@pytest.mark.parametrize("attack", [proxy_lies, foreign_genesis])
def test_the_attacks_are_held(attack: Any, target: AttackTarget) -> None:
    outcome = attack(target)
    assert outcome.held, outcome.detail


def run(*arguments: object, code: int = 0) -> tuple[dict[str, Any], str]:
    """The last JSON line of a command, and all that it printed. One that is to fail soon gives up."""
    with pytest.MonkeyPatch.context() as patch:
        if code:
            patch.setattr(options, "PATIENCE_S", 0.3)
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}, done.output


def test_a_network_is_remembered_at_first_use_and_another_one_there_is_refused(served: Served) -> None:
    node = served.node
    sent = ("send", 5, "--from", "development:0", "--to", "development:1", "--json", "--url", served.url)
    first, _ = run(*sent)
    assert (first["status"], first["genesis_trust"]) == ("committed", "node")
    shown, _ = run("tx", first["id"], "--url", served.url, "--json")
    assert (shown["genesis_trust"], shown["genesis"]) == ("remembered", node.genesis.hash().hex())
    known, _ = run("networks", "--json")
    assert known["networks"][served.url]["genesis"] == node.genesis.hash().hex()
    impostor = FakeNode()
    impostor.service.genesis = replaced = msgspec.structs.replace(node.genesis, created_ms=7)
    served.replace(impostor)
    for command in (("tx", first["id"]), ("balance", "development:0"), ("status",), ("members",)):
        _, output = run(*command, "--url", served.url, code=2)
        assert "ANOTHER NETWORK" in output.replace("\n", " ")
        assert network_mark(replaced) in output.replace("\n", "")
    run("networks", "forget", served.url)
    assert run("balance", "development:0", "--url", served.url, "--json")[0]["nonce"] == 0


def test_a_genesis_from_a_file_is_what_proofs_are_judged_by(served: Served, tmp_path: Path) -> None:
    node, files = served.node, {"right": served.node.genesis, "wrong": served.node.genesis}
    files["wrong"] = msgspec.structs.replace(node.genesis, created_ms=7)
    for name, genesis in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "genesis.json").write_bytes(genesis.encode())
    where = ("--url", served.url, "--json")
    sent, _ = run(
        "send",
        5,
        "--from",
        "development:0",
        "--to",
        "development:1",
        *where,
        "--data-dir",
        tmp_path / "right",
    )
    assert (sent["status"], sent["genesis_trust"]) == ("committed", "file")
    for option in ("--genesis", "--data-dir"):
        assert run("tx", sent["id"], *where, option, tmp_path / "right")[0]["genesis_trust"] == "file"
        run("tx", sent["id"], *where, option, tmp_path / "wrong", code=2)
    out = tmp_path / "proof"
    told, _ = run(
        "proof", "--tx", sent["id"], "--out", out, *where, "--genesis", tmp_path / "right" / "genesis.json"
    )
    assert told["genesis_trust"] == "file"
    run("proof", "--tx", sent["id"], "--out", out, *where, "--genesis", tmp_path / "none", code=2)
    assert run("networks", "--json")[0] == {"networks": {}}


def test_the_memory_of_networks_is_private_bounded_and_never_taken_for_empty(tmp_path: Path) -> None:
    genesis, memory = FakeNode().genesis, KnownNetworks(tmp_path / "home")
    assert memory.digest_of(["http://a"]) is None
    assert memory.remember(["http://a", "http://b"], genesis, FIRST_USE)
    file = tmp_path / "home" / "networks.json"
    assert file.stat().st_mode & 0o777 == 0o600
    other = msgspec.structs.replace(genesis, created_ms=7)
    assert KnownNetworks(tmp_path / "home").digest_of(["http://b"]) == genesis.hash()
    memory.remember([f"http://c{n}" for n in range(1_200)], other, FIRST_USE)
    assert len(KnownNetworks(tmp_path / "home").entries) == 1_000
    memory.remember(["http://a"], genesis, FIRST_USE)
    with pytest.raises(TrustError, match="different networks"):
        memory.digest_of(["http://a", "http://c1199"])
    file.write_text("{")
    with pytest.raises(TrustError, match="remove it"):
        KnownNetworks(tmp_path / "home")
    file.write_text('{"http://a": {"genesis": "zz", "network": "n", "source": "s"}}')
    with pytest.raises(TrustError, match="hexadecimal"):
        KnownNetworks(tmp_path / "home").digest_of(["http://a"])
    with pytest.raises(TrustError, match="No such file"):
        read_genesis(tmp_path / "nowhere")
    (tmp_path / "blocked").write_text("a file, and no folder")
    with pytest.raises(TrustError, match="RAYCHAIN_HOME"):
        KnownNetworks(tmp_path / "blocked")


def test_a_client_that_was_given_a_hash_takes_no_other_genesis(served: Served) -> None:
    genesis = served.node.genesis
    false = msgspec.structs.replace(genesis, created_ms=7)
    mark = {NETWORK_HEADER: network_mark(genesis)}
    answer = http_answer(200, "application/json", false.encode(), **mark)
    with Between(served.url, lambda asked: answer if asked.path == "/v1/genesis" else None) as proxy:
        with Client(proxy.url, genesis=genesis.hash()) as client, pytest.raises(ForeignAnswerError):
            client.genesis()
        with Client(proxy.url) as client, pytest.raises(ForeignAnswerError):
            client.genesis()
    with Client(served.url, genesis=genesis.hash()) as client:
        assert client.genesis() == genesis
        assert client.genesis_trust == "pinned"
    with pytest.raises(ValueError, match="3 bytes"):
        Client(served.url, genesis=b"abc")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "127.0.0.1:8470",
        "ftp://a",
        "http://",
        "http://a:port",
        "http://a:99999",
        "http://a b",
        "http://a\nb",
        "http://[::1",
        "http://u:p@a",
        "http://a?x=1",
        "http://ä",
    ],
)
def test_what_is_no_address_is_one_sentence(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AddressError):
        Endpoints(address)
    monkeypatch.setenv("RAYCHAIN_URL", f"http://127.0.0.1:9,{address}")
    for command in (("status",), ("balance", "aa" * 32), ("members",)):
        _, output = run(*command, code=2)
        assert "Traceback" not in output
        assert "address" in output


def test_a_node_that_was_started_here_is_known_by_its_data_directory(served: Served, tmp_path: Path) -> None:
    """`up` on a new data directory replaces what was at that address before, which a node never can."""
    other = msgspec.structs.replace(served.node.genesis, created_ms=7)
    assert remember_own({served.url: tmp_path / "before"}, other)
    run("balance", "development:0", "--url", served.url, code=2)
    assert remember_own({served.url: tmp_path / "data"}, served.node.genesis)
    sent, _ = run(
        "send", 5, "--from", "development:0", "--to", "development:1", "--json", "--url", served.url
    )
    assert (sent["status"], sent["genesis_trust"]) == ("committed", "file")
    assert str(tmp_path / "data") in sent["trust"]
