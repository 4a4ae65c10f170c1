"""Mistakes with data directories and addresses: one clear sentence each, exit code 2, and no stack trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.directory import DirectoryError, NetworkDirectory, is_half_founded, open_network
from actors.settings import NetworkSettings
from actors.storage.disk import Disk
from actors.storage.errors import NoSpaceError

ROOT = Path(__file__).parent.parent.parent
NODE = [sys.executable, str(ROOT / "node.py")]
SMALL = NetworkSettings(development_accounts=2)
NOBODY = 65534
AS_NOBODY = "\n".join(
    (
        "import os, sys",
        "from actors import directory",
        "from actors.settings import NetworkSettings",
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})",
        "from pathlib import Path",
        "try: directory.open_network(Path(sys.argv[1]), NetworkSettings(), 1, print)",
        "except directory.DirectoryError as error: print(error)",
    )
)


def found(path: Path, nodes: int = 1) -> NetworkDirectory:
    return open_network(path, SMALL, nodes, lambda _: None)


def refusal(path: Path) -> str:
    with pytest.raises(DirectoryError) as raised:
        found(path)
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this host lets no file system be mounted")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    founded = tmp_path / "founded"
    found(founded)
    (founded / "node-1" / "node.key").unlink()
    join = ("--genesis", str(founded), "--node", "watcher", "--data-dir", str(tmp_path / "watcher"))
    wrong = {
        ("--data-dir", str(tmp_path / "file")): "that is a file; choose a folder",
        ("--data-dir", str(tmp_path / "file" / "below")): "that is a file; choose a folder",
        ("--data-dir", str(tmp_path / ("x" * 300))): "choose a shorter one",
        ("--data-dir", str(founded)): "restore the key of node-1 from a backup",
        ("--join", "127.0.0.1", *join): "give HOST:PORT",
        ("--join", "127.0.0.1:99999", *join): "give HOST:PORT",
        ("--join", "127.0.0.1:port", *join): "give HOST:PORT",
    }
    runs = [
        (subprocess.Popen([*NODE, "up", *options], stderr=subprocess.PIPE), sentence)
        for options, sentence in wrong.items()
    ]
    for process, sentence in runs:
        _, told = process.communicate(timeout=240)
        text = " ".join(told.decode().split())
        assert process.returncode == 2, text
        assert sentence in text
        assert "Traceback" not in text


def test_a_folder_that_this_user_may_not_write_is_named(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    place = Path("/tmp") / f"mistakes-{os.getpid()}"
    place.mkdir()
    place.chmod(0o755)
    try:
        told = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(place / "data")], cwd=ROOT, capture_output=True, check=True
        )
    finally:
        shutil.rmtree(place)
    assert b"choose one that this user may write to" in told.stdout


def test_a_full_disk_is_called_full_and_founding_goes_on_once_there_is_room(tiny_disk: Path) -> None:
    place = tiny_disk / "data"
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(56 << 10))
    assert "No space left on device; free some space there" in refusal(place)
    assert is_half_founded(place)
    filler.unlink()
    assert found(place).created
    with pytest.raises(NoSpaceError, match="the disk is full"):
        Disk(place / "node-1" / "db")


@pytest.mark.parametrize("left", ["nothing", "keys", "half a key", "allocation"])
def test_a_founding_that_was_interrupted_is_completed(tmp_path: Path, left: str) -> None:
    whole = found(tmp_path, nodes=2)
    (tmp_path / "genesis.json").unlink()
    if left != "allocation":
        (tmp_path / "allocation.bin").unlink()
    if left == "nothing":
        shutil.rmtree(tmp_path / "node-1")
        shutil.rmtree(tmp_path / "node-2")
    if left == "half a key":
        (tmp_path / "node-2" / "node.key").write_text("ab")
    assert is_half_founded(tmp_path)
    again = found(tmp_path, nodes=2)
    assert again.created
    assert found(tmp_path, nodes=2).genesis == again.genesis
    assert (again.nodes[0].identity == whole.nodes[0].identity) is (left != "nothing")


def test_a_directory_that_lost_its_genesis_after_nodes_ran_is_not_founded_anew(tmp_path: Path) -> None:
    found(tmp_path)
    (tmp_path / "genesis.json").unlink()
    (tmp_path / "node-1" / "db").mkdir()
    assert "holds no genesis.json; restore that" in refusal(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"version": 99}', b"[]"])
def test_a_genesis_of_no_known_format_is_named(tmp_path: Path, text: bytes) -> None:
    found(tmp_path)
    (tmp_path / "genesis.json").write_bytes(text)
    assert "it is no genesis of this version" in refusal(tmp_path)


def test_a_nodes_own_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    found(tmp_path)
    (tmp_path / "node-1").chmod(0o755)
    found(tmp_path)
    assert (tmp_path / "node-1").stat().st_mode & 0o777 == 0o700
