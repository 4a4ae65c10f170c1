"""`node.py up` as a person uses it: commands from another shell, Ctrl-C, and up again on the same data."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.conftest import eventually

ROOT = Path(__file__).parent.parent.parent
NODE = [sys.executable, str(ROOT / "node.py")]


class Up:
    """A running `node.py up` process."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.log = data_dir.parent / f"up-{len(list(data_dir.parent.glob('up-*')))}.log"
        command = [*NODE, "up", "--json", "--data-dir", str(data_dir), "--set", "gateway.port=0", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )

    def url(self) -> str:
        def found() -> str | None:
            assert self.process.poll() is None, self.log.read_text()
            match = re.search(r"(http://127\.0\.0\.1:\d+) ", self.log.read_text())
            return match.group(1) if match else None

        return eventually(found, "the banner shows the address", deadline_s=120)

    def interrupt(self) -> dict[str, Any]:
        """Ctrl-C; the JSON of the last line. Nothing that the node started may be left."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.kill(self.process.pid, signal.SIGINT)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.log.read_text()
        assert len(family) > 5
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        return json.loads(out.splitlines()[-1])


def run(*arguments: str, keys: Path, url: str, code: int = 0) -> dict[str, Any]:
    environment = os.environ | {"RAYCHAIN_KEYS": str(keys), "RAYCHAIN_URL": url}
    done = subprocess.run(
        [*NODE, *arguments, "--json"], env=environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else {"error": done.stderr.decode()}


def test_commands_work_against_up_and_the_chain_continues_after_ctrl_c(tmp_path: Path) -> None:
    data_dir, keys = tmp_path / "data", tmp_path / "keys"
    options = ("--set", "network.development_accounts=10", "--set", "node.validators=1")
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

    again = Up(data_dir, *options)
    url = again.url()
    status = run("status", keys=keys, url=url)
    assert status
    assert int(run("balance", "alice", keys=keys, url=url)["balance"]) == 1234
    second = again.interrupt()
    assert (second["height"], second["state_root"]) == (first["height"], first["state_root"])

    command = [*NODE, "up", "--data-dir", str(data_dir), "--set", "network.name=other"]
    other = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert other.returncode == 2
    assert b"belongs to network 'local'" in other.stderr
