"""doctor and top: what they find, say, and end with."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from rich.console import Console
from test_gateway_client import Served, served
from typer.testing import CliRunner

from actors.gateway import doctor
from actors.gateway.client import Client
from actors.gateway.commands import app

__all__ = ["served"]


def test_a_taken_port_fails_with_advice(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["doctor", "--port", port, "--data-dir", str(tmp_path), "--json"])
    report = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, report["passed"]) == (1, False)
    found = report["checks"][f"Port {port}"]
    assert not found["passed"]
    assert "gateway.port" in found["advice"]
    assert report["checks"]["Python"]["passed"]
    assert report["checks"]["Ray"]["passed"]
    assert report["checks"]["Disk speed"]["found"].endswith("ms a sync")


def test_everything_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILES_MIN", "SHARED_MEMORY_BYTES_MIN", "DISK_BYTES_MIN", "CLOCK_YEAR_MIN"):
        monkeypatch.setattr(doctor, name, 1 << 62)
    monkeypatch.setattr(doctor, "SYNC_MS_MAX", -1.0)
    failed = {
        name: advice for name, passed, _, advice in doctor.checks(Path("/nowhere/at/all"), 1) if not passed
    }
    assert {"Open files", "/dev/shm", "Disk space", "Disk speed", "Clock"} <= set(failed)
    assert all(failed.values())


def test_top_shows_the_node_and_ends_after_its_looks(served: Served) -> None:
    seen: list[str] = []

    def show(look: dict[str, object]) -> None:
        console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(doctor.dashboard(look))
        seen.append(console.export_text())

    with Client(served.url) as client:
        doctor.watch(client, show, 0.0, 2)
    assert len(seen) == 2
    for word in ("test", "height 0", "tx/s", "role leader", "mempool-0", "storage", "persist"):
        assert word in seen[1]
    served.node.away = True
    with Client(served.url) as client:
        assert client.actors()["actors"]["storage"] is None
    result = CliRunner().invoke(app, ["top", "--url", "http://127.0.0.1:9", "--looks", "1"])
    assert result.exit_code == 2
