"""doctor: one entry a check; each bad machine is named, with what to do about it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actors.cli.doctor import doctor
from actors.doctor import fitness
from actors.doctor.check import Check
from actors.doctor.exposure import exposure, ports
from actors.gateway.edge import is_loopback
from actors.kernels import compiled
from actors.kernels.compiled import Host
from actors.settings import Settings
from config.effective import load

ROOT = Path(__file__).parent.parent.parent
app = typer.Typer()
app.command()(doctor)


@pytest.fixture(autouse=True)
def private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good user's folders."""
    for name in ("cache", "keys"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "cache" / "raychain").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RAYCHAIN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(fitness, "SYNC_MS_MAX", 10_000.0)


def report(tmp_path: Path, *options: str) -> tuple[int, dict[str, dict[str, object]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = ["--port", port, "--data-dir", str(tmp_path / "data"), "--nodes", "1", "--json", *options]
    result = CliRunner().invoke(app, arguments)
    assert result.stdout, (result.output, result.exception)
    told = json.loads(result.stdout.splitlines()[-1])
    for check in told["checks"]:
        assert set(check) == {"name", "ok", "found", "advice", "required"}
        assert check["ok"] or check["advice"]
    assert told["passed"] is (result.exit_code == 0)
    return result.exit_code, {str(check["name"]): check for check in told["checks"]}


def named(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_good_machine_passes(tmp_path: Path) -> None:
    code, checks = report(tmp_path)
    assert code == 0, [check for check in checks.values() if not check["ok"]]
    assert {"Memory", "Processes", "Cache", "Runtime folder", "Keys", "API keys", "Open ports"} <= set(checks)


def test_a_taken_port_fails_with_advice(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, checks = report(tmp_path, "--port", port)
    assert code == 1
    assert "gateway.port" in str(checks[f"Port {port}"]["advice"])


def test_a_port_of_a_running_node_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that runs is no fault of the machine."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(fitness, "gateways", lambda: [(port, 12)])
        code, checks = report(tmp_path, "--port", str(port))
    assert (code, checks[f"Port {port}"]["required"]) == (0, False)
    assert "process 12" in str(checks[f"Port {port}"]["found"])
    assert str(port) in str(checks["Running nodes"]["found"])


def test_what_a_cpu_lacks_and_a_cluster_in_the_environment_are_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "host", lambda: Host("old", frozenset({"bmi2"})))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    code, checks = report(tmp_path)
    assert code == 0
    assert "avx512f" in str(checks["CPU features"]["found"])
    assert checks["RAY_ADDRESS"]["found"] == "10.0.0.1:6379"
    assert not checks["CPU features"]["ok"]
    assert not checks["RAY_ADDRESS"]["ok"]


def test_people_read_what_is_wrong_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(fitness, "FILES_MIN", 1 << 62)
    options = ["--data-dir", str(tmp_path / "data"), "--nodes", "1", "--port", "1"]
    text = CliRunner().invoke(app, options).stdout
    assert text.startswith("✗ Not fit: 1 thing must change on this machine for 1 node.")
    assert "ulimit -n" in text
    assert "Sessions" in text
    assert "Sessions" in CliRunner().invoke(app, [*options, "--verbose"]).stdout
    assert all(len(line) <= 80 for line in text.splitlines())


def test_everything_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILES_MIN", "DISK_BYTES_MIN", "CLOCK_YEAR_MIN"):
        monkeypatch.setattr(fitness, name, 1 << 62)
    monkeypatch.setattr(fitness, "SYNC_MS_MAX", -1.0)
    monkeypatch.setattr(fitness, "object_store_mb", lambda *_: 1 << 40)
    failed = [check for check in fitness.fitness(Path("/nowhere/at/all"), 1, 1, 512) if not check.ok]
    assert {"Open files", "/dev/shm", "Disk space", "Disk speed", "Clock"} <= set(named(failed))
    assert all(check.advice for check in failed)


def test_a_small_container_fails_for_each_of_its_limits(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(str(1 << 30))
    (group / "cpu.max").write_text("50000 100000")
    (group / "pids.max").write_text("100")
    checks = named(list(fitness.fitness(tmp_path, 1, 1, 512, root=tmp_path)))
    assert (checks["Memory"].ok, checks["Memory"].found) == (False, "1024 MB")
    assert (checks["Processors"].ok, checks["Processors"].required) == (False, False)
    assert not checks["Processes"].ok


def test_keys_folders_and_files_that_others_may_read_are_named(tmp_path: Path) -> None:
    key = tmp_path / "data" / "node-1" / "node.key"
    key.parent.mkdir(parents=True)
    key.write_text("")
    key.chmod(0o644)
    key.parent.chmod(0o755)
    secret = tmp_path / "keys" / "alice.key"
    secret.write_text("")
    secret.chmod(0o604)
    (tmp_path / "cache" / "raychain").chmod(0o777)
    tokens = tmp_path / "api-keys"
    tokens.write_text("")
    tokens.chmod(0o640)
    code, checks = report(tmp_path, "--set", f"gateway.api_keys_file={tokens}")
    assert code == 1
    assert "0644" in str(checks["Keys"]["found"])
    assert "0604" in str(checks["Keys"]["found"])
    for name in ("Node folders", "Cache folder", "Gateway files"):
        assert not checks[name]["ok"], name


def test_a_gateway_for_everybody_without_keys_fails(tmp_path: Path) -> None:
    code, checks = report(tmp_path, "--set", "gateway.host=0.0.0.0")
    assert (code, checks["API keys"]["ok"], checks["TLS"]["ok"]) == (1, False, False)
    keys = tmp_path / "api-keys"
    keys.write_text("")
    keys.chmod(0o600)
    settings = load("local", ["gateway.host=0.0.0.0", f"gateway.api_keys_file={keys}"]).settings
    assert named(list(exposure(tmp_path, settings, "local")))["API keys"].ok


def test_ports_beyond_loopback_are_named() -> None:
    assert ports([("raylet 1", "127.0.0.1", 1), ("raylet 1", "::ffff:127.0.0.1", 2), ("x", "::1", 3)]).ok
    found = ports([("raylet 1", "::", 4), ("gcs_server 2", "192.0.2.2", 5)])
    assert not found.ok
    assert "192.0.2.2:5" in found.found
    assert not is_loopback("fe80::1%eth0")


def test_no_home_and_no_name_are_borne(tmp_path: Path) -> None:
    """A user id without an entry, no HOME or HOME=/, no folder for caches, a long TMPDIR."""
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    code = "\n".join(
        (
            "import os, sys",
            "sys.dont_write_bytecode = True",
            "import actors, actors.doctor.fitness as fitness",
            "list(fitness.fitness(actors.Path('/tmp'), 1, 1, 512))  # imports what another user may not read",
            "os.setgroups([]); os.setgid(61234); os.setuid(61234)",
            "from actors.machine.runtime import runtime_dir, RuntimeFolder",
            "path = actors.cache_dir()",
            "assert path.stat().st_uid == 61234 and path.stat().st_mode & 0o077 == 0, path",
            "RuntimeFolder.open().close()",
            "checks = {check.name: check for check in fitness.fitness(path, 1, 1, 512)}",
            "assert 'no entry' in checks['User'].found",
            "assert checks['Cache'].ok and checks['Runtime folder'].ok",
        )
    )
    long = tmp_path / ("x" * 80)
    long.mkdir()
    for home in ({}, {"HOME": "/"}, {"HOME": "/nowhere"}):
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(long), **home}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()


def test_every_profile_can_be_looked_at(tmp_path: Path) -> None:
    for profile in ("local", "bench", "soak"):
        checks = named(list(exposure(tmp_path, load(profile).settings, profile)))
        assert checks["API keys"].ok, profile
    assert isinstance(load("cluster").settings, Settings)
