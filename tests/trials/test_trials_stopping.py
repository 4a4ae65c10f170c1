"""A service manager that tells every process of a node to stop at once, as systemd does it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import psutil
import pytest

from actors.ledger.signing import Transfer, development_signer, sign_transfer
from actors.sdk.client import Client
from tests.cluster.conftest import NODE, Up

SMALL = ("--nodes", "1", "--set", "network.development_accounts=10", "--set", "node.validators=1")
PAYEE = bytes(31) + b"\x07"


@pytest.mark.slow_trial
@pytest.mark.parametrize("first", ["the command", "its actors"])
def test_all_processes_told_to_stop_at_once_stop_in_order(tmp_path: Path, first: str) -> None:
    up = Up(tmp_path / "data", *SMALL)
    url = up.url()
    with Client(url) as client:
        genesis = client.genesis()
        signer = development_signer(genesis.network, 0)
        for nonce in range(5):
            transfer = Transfer(PAYEE, amount=100, nonce=nonce, fee=1)
            client.submit(sign_transfer(signer, genesis.chain_tag, transfer), wait="committed")
    process = psutil.Process(up.process.pid)
    family = [process, *process.children(recursive=True)]
    session = Path(family[-1].environ()["RAYCHAIN_SOCKETS"]).parent
    for each in family if first == "the command" else family[::-1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    out, _ = up.process.communicate(timeout=120)
    assert up.process.returncode == 0, up.log.read_text()
    assert out, "the last line says how it stopped"
    assert "Traceback" not in up.log.read_text()
    _, alive = psutil.wait_procs(family[1:], timeout=30)
    assert alive == []
    assert not session.exists()

    command = [*NODE, "check", "--data-dir", str(tmp_path / "data"), "--node", "node-1", "--json"]
    checked = subprocess.run(command, capture_output=True, check=False, timeout=180)
    assert checked.returncode == 0, checked.stderr.decode()
    again = Up(tmp_path / "data", *SMALL[2:])
    with Client(again.url()) as client:
        assert int(client.account(PAYEE)["balance"]) == 500
        assert client.account(signer.public_key)["nonce"] == 5
    assert json.dumps(again.interrupt())
