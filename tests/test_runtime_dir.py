"""Where sessions, sockets and tokens live: private, short enough, cleaned of the dead, and nobody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.machine import runtime
from actors.machine.runtime import RuntimeFolder, RuntimeFolderError, runtime_dir, sessions

ROOT = Path(__file__).parent.parent
KEEPS_A_SESSION = "\n".join(
    (
        "import sys",
        "from actors.machine.runtime import RuntimeFolder",
        "session = RuntimeFolder.open(sys.argv[1])",
        "print(session.path, flush=True)",
        "sys.stdin.read()",
    )
)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A base that is as short as that of a host."""
    path = Path("/tmp") / f"rt-{os.getpid()}"
    path.mkdir()
    monkeypatch.setattr(runtime, "BASES", (str(path),))
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


def test_a_session_is_for_this_user_alone(place: Path) -> None:
    session = RuntimeFolder.open()
    try:
        assert session.path.parent.parent == place
        for path in (session.path.parent, session.path, *session.path.iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path
        told = session.environment()
        assert len(Path(told["RAY_AUTH_TOKEN_PATH"]).read_text()) == 64
    finally:
        session.close()
    assert not session.path.exists()


def test_sessions_of_the_dead_are_removed_and_those_of_the_living_kept(place: Path) -> None:
    command = [sys.executable, "-c", KEEPS_A_SESSION, ""]
    living, dying = (
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    )
    try:
        assert living.stdout is not None
        assert dying.stdout is not None
        kept, left = Path(living.stdout.readline().strip()), Path(dying.stdout.readline().strip())
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        assert dict(sessions(runtime_dir())) == {kept: True, left: False}
        RuntimeFolder.open().close()
        assert kept.exists()
        assert not left.exists()
    finally:
        living.kill()
        living.communicate()
        dying.communicate()


def test_a_long_temporary_folder_is_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("x" * 60)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    assert runtime_dir().parent == place
    with pytest.raises(RuntimeFolderError, match=r"cluster.runtime_dir=.*longer than \d+ bytes"):
        runtime_dir(str(long))


def test_what_another_user_put_there_first_is_not_used(place: Path) -> None:
    taken = place / f"raychain-{os.getuid()}"
    (place / "elsewhere").mkdir()
    taken.symlink_to(place / "elsewhere")
    with pytest.raises(RuntimeFolderError, match=r"is no folder.*cluster\.runtime_dir"):
        runtime_dir()
    taken.unlink()
    if os.getuid() == 0:
        taken.mkdir()
        os.chown(taken, 65534, 65534)
        with pytest.raises(RuntimeFolderError, match="belongs to user 65534"):
            runtime_dir()


def test_a_folder_that_was_open_is_closed(place: Path) -> None:
    taken = place / f"raychain-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    assert runtime_dir().stat().st_mode & 0o777 == 0o700
