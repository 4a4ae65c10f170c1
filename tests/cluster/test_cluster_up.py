"""`node.py up` as a person uses it: commands from another shell, Ctrl-C, and up again on the same data."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.cluster.conftest import NODE, Up


def run(*arguments: str, keys: Path, url: str, code: int = 0) -> dict[str, Any]:
    environment = os.environ | {"RAYCHAIN_KEYS": str(keys), "RAYCHAIN_URL": url}
    done = subprocess.run(
        [*NODE, *arguments, "--json"], env=environment, capture_output=True, check=False, timeout=180
    )
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else {"error": done.stderr.decode()}


def test_commands_work_against_up_and_the_chain_continues_after_ctrl_c(tmp_path: Path) -> None:
    data_dir, keys = tmp_path / "data", tmp_path / "keys"
    options = (
        "--nodes",
        "1",
        "--set",
        "network.development_accounts=10",
        "--set",
        "node.validators=1",
        "--set",
        "node.mempool_shards=1",
    )
    up = Up(data_dir, *options)
    url = up.url()
    key = run("keys", "new", "alice", keys=keys, url=url)
    assert os.stat(key["file"]).st_mode & 0o777 == 0o600
    sent = run("send", "1234", "--from", "development:0", "--to", "alice", keys=keys, url=url)
    found = run("tx", sent["id"], keys=keys, url=url)
    assert found["proof_verified"] is True
    assert int(run("balance", "alice", keys=keys, url=url)["balance"]) == 1234
    assert run("keys", "show", "alice", keys=keys, url=url)["alice"] == key["public_key"]
    block = run("block", str(found["height"]), keys=keys, url=url)
    assert block
    poor = run("send", "99999", "--from", "alice", "--to", "development:1", keys=keys, url=url, code=2)
    assert "amount" in poor["error"]
    first = up.interrupt()
    assert first["height"] == found["height"]
    assert "secret" not in up.log.read_text().lower()

    again = Up(data_dir, *options[2:])  # as many members as the directory has
    url = again.url()
    status = run("status", keys=keys, url=url)
    assert status
    assert int(run("balance", "alice", keys=keys, url=url)["balance"]) == 1234
    second = again.interrupt()
    assert (second["height"], second["state_root"]) == (first["height"], first["state_root"])

    command = [*NODE, "up", "--data-dir", str(data_dir), "--set", "network.name=other"]
    other = subprocess.run(command, capture_output=True, check=False, timeout=180)
    assert other.returncode == 2
    assert b"belongs to network 'local'" in other.stderr
