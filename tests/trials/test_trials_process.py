"""The life of the process `up`: signals at any moment, and what it leaves to others meanwhile and behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from actors.gateway.edge import is_loopback
from actors.ledger.rows import encode_batch
from actors.ledger.signing import Transfer, development_signer, sign_transfer
from actors.sdk.client import Client
from bench.attack.machine import foreign_interface, other_user
from bench.attack.registry import AttackTarget
from tests.cluster.conftest import NODE, Up, eventually

SMALL = ("--nodes", "1", "--set", "network.development_accounts=10", "--set", "node.validators=1")


def family_of(up: Up) -> list[psutil.Process]:
    process = psutil.Process(up.process.pid)
    return [process, *process.children(recursive=True)]


@pytest.mark.slow_trial
def test_an_up_is_private_and_stops_in_order_while_a_client_waits(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", *SMALL, "--set", "node.stop_timeout_s=20")
    url = up.url()
    family = family_of(up)
    environments = [process.environ() for process in family]
    environment = next(each for each in environments if "RAYCHAIN_SOCKETS" in each)
    session = Path(environment["RAYCHAIN_SOCKETS"]).parent

    listening = [
        (process.name(), each.laddr.ip)
        for process in family
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 8, "gateway, peer, and what Ray has for itself and each actor"
    assert [each for each in listening if not is_loopback(each[1])] == []

    for place in (session, tmp_path / "data" / "node-1", Path(environment["RAY_AUTH_TOKEN_PATH"])):
        assert place.stat().st_mode & 0o077 == 0, place
    target = AttackTarget(
        urls=(url,),
        wires=(),
        folders=(tmp_path / "data" / "node-1",),
        genesis_path=tmp_path / "data" / "genesis.json",
        pids=tuple(process.pid for process in family),
        development=(),
        seconds=1.0,
    )
    for attack in (other_user, foreign_interface):
        outcome = attack(target)
        assert outcome.held, outcome.detail

    consensus = next(each for each in family if each.cmdline()[:1] == ["ray::Consensus"])
    with Client(url) as client:
        genesis = client.genesis()
    signer = development_signer(genesis.network, 0)
    batch = sign_transfer(signer, genesis.chain_tag, Transfer(bytes(31) + b"\x07", amount=1, nonce=0, fee=1))
    consensus.suspend()  # so that the transfer waits for its block
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(submit(url, encode_batch(batch))))
    waiting.start()
    eventually(lambda: waits(url), "the gateway holds a request")
    os.kill(up.process.pid, signal.SIGTERM)
    out, _ = up.process.communicate(timeout=120)
    assert up.process.returncode == 0, up.log.read_text()
    assert "height" in json.loads(out.splitlines()[-1])
    waiting.join(timeout=60)
    assert answers[0].status_code == 503
    assert "stopping" in answers[0].json()["detail"]
    _, alive = psutil.wait_procs(family[1:], timeout=30)
    assert alive == []
    assert not session.exists()
    assert "Traceback" not in up.log.read_text()


def submit(url: str, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/octet-stream"}
    address = f"{url}/v1/transactions/batch?wait=committed"
    return httpx.post(address, content=body, headers=headers, timeout=120, trust_env=False)


def waits(url: str) -> bool:
    status: dict[str, Any] = httpx.get(f"{url}/v1/status", timeout=30, trust_env=False).json()
    return bool(status["gateway"]["awaited_rows"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """While it imports, while it founds or compiles, while Ray starts."""
    for moment in ("founding", "starting Ray"):
        up = Up(tmp_path / moment / "data", *SMALL)
        eventually(lambda up=up, moment=moment: moment in up.log.read_text(), moment)
        family = family_of(up)
        os.kill(up.process.pid, number)
        out, _ = up.process.communicate(timeout=30)
        assert (up.process.returncode, json.loads(out)["stopped"]) == (0, "stopped while it started")
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


def test_a_signal_in_the_first_second_ends_with_zero(tmp_path: Path) -> None:
    command = [*NODE, "up", "--json", "--data-dir", str(tmp_path / "data"), *SMALL]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    maps = Path(f"/proc/{process.pid}/maps")
    eventually(lambda: b"_socket" in maps.read_bytes(), "the first modules are imported")
    process.send_signal(signal.SIGTERM)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "stopped" in json.loads(out)
    assert b"Traceback" not in told


@pytest.mark.slow_trial
@pytest.mark.parametrize("carrier", ["raylet", "gcs_server"])
def test_a_node_whose_cluster_died_ends_with_a_code_and_a_sentence(tmp_path: Path, carrier: str) -> None:
    up = Up(tmp_path / "data", *SMALL)
    up.url()
    family = family_of(up)
    next(each for each in family if each.name() == carrier).kill()
    up.process.communicate(timeout=60)
    assert up.process.returncode == 1
    assert f"Ray's {carrier} has died: this node cannot go on" in " ".join(up.log.read_text().split())
    _, alive = psutil.wait_procs(family[1:], timeout=30)
    assert alive == []


@pytest.mark.slow_trial
def test_a_group_that_is_told_to_stop_stops_in_order(tmp_path: Path) -> None:
    up = Up(tmp_path / "data", *SMALL)
    up.url()
    family = family_of(up)
    os.killpg(up.process.pid, signal.SIGHUP)
    out, _ = up.process.communicate(timeout=120)
    assert up.process.returncode == 0, up.log.read_text()
    assert "height" in json.loads(out.splitlines()[-1])
    _, alive = psutil.wait_procs(family[1:], timeout=30)
    assert alive == []
