"""Small and strange hosts: what `doctor` says of each, and that a node starts there or says why not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.machine.limits import memory_need_mb
from tests.trials.strange_hosts import ROOT, SOMEBODY, emptied, host, memory_group, needs_root

Checks = dict[str, dict[str, Any]]
LEAVES_A_SESSION = "\n".join(
    (
        "import os, signal",
        "from actors.machine.runtime import RuntimeFolder, scratch_dir",
        "session, kept = RuntimeFolder.open(), scratch_dir()",
        "scratch = kept.__enter__()",
        "(scratch / 'block').write_bytes(bytes(3 << 20))",
        "print(session.path, scratch, flush=True)",
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may write to, as /tmp is, with a short name."""
    needs_root()
    path = Path("/tmp") / f"host-{os.getpid()}"
    path.mkdir()
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)


class Doctor:
    """`node.py doctor --json` on hosts of their own, side by side."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._runs: dict[str, subprocess.Popen[bytes]] = {}

    def look(self, name: str, *options: object, **told: Any) -> None:
        chosen = () if "--data-dir" in options else ("--data-dir", self._place / "data")
        command = host("doctor", "--json", "--port", 18_470, *chosen, *options, **told)
        self._runs[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def told(self) -> dict[str, Checks]:
        """The checks of each host by name."""
        return {name: _report(name, run) for name, run in self._runs.items()}


def _report(name: str, run: subprocess.Popen[bytes]) -> Checks:
    out, error = run.communicate(timeout=240)
    assert out, (name, error.decode())
    assert b"Traceback" not in error, (name, error.decode())
    report = json.loads(out.splitlines()[-1])
    assert report["passed"] is (run.returncode == 0), name
    for check in report["checks"]:
        assert check["ok"] or check["advice"], (name, check)
    return {check["name"]: check for check in report["checks"]}


def failed(checks: Checks, required: bool = True) -> set[str]:
    """Names of checks, but for a disk that was slow, since the machine that runs this test may be busy."""
    wrong = {name: check for name, check in checks.items() if not check["ok"]}
    slow = {"Disk speed"} if "ms a sync" in checks["Disk speed"]["found"] else set()
    return {name for name, check in wrong.items() if check["required"] is required} - slow


def test_doctor_names_what_is_wrong_with_each_host(place: Path) -> None:
    long = place / ("x" * 150)
    long.mkdir()
    long.chmod(0o777)
    closed = "mount -t tmpfs -o mode=1777 none /dev/shm && mount -o remount,ro,bind /"
    full = f"mkdir -p /mnt/full && mount -t tmpfs -o size=64k,mode=777 none /mnt/full && {{ {fill()}; }}"
    (place / "loadavg").write_text("99.00 9.00 9.00 9/99 9\n")
    (place / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 102400 kB\n")
    busy = f"mount --bind {place}/loadavg /proc/loadavg && mount --bind {place}/meminfo /proc/meminfo"
    small = "mount -t tmpfs -o size=64m,mode=1777 none /dev/shm && ulimit -n 256"
    doctor = Doctor(place)
    with memory_group(1 << 30) as limited:
        doctor.look("nobody", TMPDIR=place)
        doctor.look("no home", TMPDIR=place, HOME="/")
        doctor.look("long", TMPDIR=long, HOME="/nowhere")
        doctor.look("read-only", mounts=closed, HOME="/")
        doctor.look("full", "--data-dir", "/mnt/full/data", mounts=full, TMPDIR=place)
        doctor.look("a file", "--data-dir", "/etc/passwd/data", TMPDIR=place)
        doctor.look("little", "--nodes", 3, mounts=limited, TMPDIR=place)
        doctor.look("small", mounts=small, TMPDIR=place)
        doctor.look("busy", mounts=busy, TMPDIR=place)
        told = doctor.told()

    for good in ("nobody", "no home", "long"):
        checks = told[good]
        assert failed(checks) == set(), good
        assert f"user {SOMEBODY} (no entry in the password file)" in checks["User"]["found"]
    assert len(told["long"]["Runtime folder"]["found"]) < 60

    checks = told["read-only"]
    assert failed(checks) == {"Data folder", "Disk speed"}
    assert "takes no files" in checks["Data folder"]["found"]
    for name in ("Cache", "Runtime folder"):
        assert checks[name]["found"].startswith("/dev/shm/"), checks[name]
    assert failed(told["full"]) == {"Disk space", "Disk speed"}
    assert "No space left" in told["full"]["Disk speed"]["found"]
    assert "that is a file; choose a folder" in told["a file"]["Data folder"]["advice"]

    checks = told["little"]
    assert failed(checks) == {"Memory"}
    assert checks["Memory"]["found"] == "1024 MB"
    assert "take fewer --nodes" in checks["Memory"]["advice"]
    assert failed(told["small"]) == {"Open files"}
    assert "--shm-size" in told["small"]["/dev/shm"]["advice"]

    checks = told["busy"]
    assert failed(checks) == set(), "a busy host is slow, not unfit"
    assert {"Load", "Free memory"} <= failed(checks, required=False)


def fill() -> str:
    return "head -c 1M /dev/zero > /mnt/full/filler 2>/dev/null || true"


def test_what_killed_processes_left_is_named_and_then_removed(place: Path) -> None:
    environment = os.environ | {"TMPDIR": str(place)}
    command = [sys.executable, "-c", LEAVES_A_SESSION]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    left = [Path(text) for text in done.stdout.decode().split()]
    assert all(path.exists() for path in left)
    doctor = Doctor(place)
    doctor.look("left", "--data-dir", place / "data", user=0, TMPDIR=place, HOME="/root")
    check = doctor.told()["left"]["Left behind"]
    assert not check["ok"]
    assert "3 MB" in check["found"]
    assert all(str(path) in check["found"] for path in left)
    again = "from actors.machine.runtime import RuntimeFolder; RuntimeFolder.open().close()"
    subprocess.run([sys.executable, "-c", again], cwd=ROOT, env=environment, check=True)
    assert not any(path.exists() for path in left)


@pytest.mark.slow_trial
@pytest.mark.parametrize("home", ["none", "/"])
def test_a_network_runs_where_a_container_leaves_it_little(place: Path, home: str) -> None:
    """Nobody's user id, no HOME or HOME=/, a root that takes no files, a long TMPDIR, 64 MB of /dev/shm."""
    long = place / ("x" * 120)
    mounts = "\n".join(
        (
            emptied(Path("/tmp"), 1777),
            f"mkdir -p {long} && chmod 777 {long}",
            "mount -t tmpfs -o size=64m,mode=1777 none /dev/shm",
            "mount -o remount,ro,bind /",
        )
    )
    variables: dict[str, Any] = {"TMPDIR": str(long)} | ({} if home == "none" else {"HOME": home})
    command = host("demo", "--nodes", 1, "--set", "demo.seconds=2", "--json", mounts=mounts, **variables)
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.stdout, done.stderr.decode()
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["committed"] > 0
    assert report["nothing_lost"] is True


@pytest.mark.slow_trial
def test_a_network_that_a_host_cannot_bear_says_so_in_one_sentence(place: Path) -> None:
    with memory_group(1 << 30) as limited, contextlib.ExitStack() as stack:
        runs = {
            f"need {memory_need_mb(3)} MB of memory, this machine or container has 1024 MB": host(
                "up", "--data-dir", place / "data", mounts=limited, TMPDIR=place
            ),
            "cluster.runtime_dir=/proc/nothing: ": host(
                "demo", "--nodes", 1, "--set", "cluster.runtime_dir=/proc/nothing", TMPDIR=place
            ),
        }
        started = {
            sentence: stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE))
            for sentence, command in runs.items()
        }
        for sentence, process in started.items():
            _, error = process.communicate(timeout=240)
            text = " ".join(error.decode().split())
            assert process.returncode == 2, text
            assert sentence in text
            assert "Traceback" not in text
