"""Keys and tokens: this user's alone, or a container's mounted secret; and a node whose key is one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from actors.directory import DirectoryError, join_network, open_network, write_secret
from actors.machine.private import opened
from actors.settings import NetworkSettings

ROOT = Path(__file__).parents[2]
READ_AS_SOMEBODY = "\n".join(
    (
        "import os, sys",
        "from actors.directory import read_seed, DirectoryError",
        "from pathlib import Path",
        "os.setgroups([]); os.setgid(61234); os.setuid(61234)",
        "for path in map(Path, sys.argv[1:]):",
        "    try: print(len(read_seed(path)))",
        "    except DirectoryError as error: print(error)",
    )
)


def found(mode: int, user: int, group: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, user, group, 64, 0, 0, 0))


def test_only_a_mounted_secret_may_be_read_by_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    monkeypatch.setattr(os, "getgroups", lambda: [1000])
    assert (
        opened(found(0o600, 1000, 100)) == opened(found(0o440, 0, 1000)) == opened(found(0o400, 0, 0)) == ""
    )
    for mode, user, group in ((0o640, 1000, 100), (0o440, 0, 5), (0o444, 0, 1000), (0o460, 0, 1000)):
        assert opened(found(mode, user, group)) == f"mode {mode:04o}"
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert opened(found(0o440, 0, 1000)) == "mode 0440", "root needs no group"


def test_a_process_reads_the_key_that_its_container_mounts() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    place = Path("/tmp") / f"secret-{os.getpid()}"
    place.mkdir()
    place.chmod(0o755)  # whatever the umask: others must get as far as the keys
    try:
        for name, group, mode in (("own", 61234, 0o440), ("foreign", 61235, 0o444)):
            (place / name).write_text("07" * 32)
            os.chown(place / name, 0, group)
            (place / name).chmod(mode)
        command = [sys.executable, "-c", READ_AS_SOMEBODY, str(place / "own"), str(place / "foreign")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    finally:
        subprocess.run(["rm", "-r", str(place)], check=True)
    read, refused = done.stdout.splitlines()
    assert read == "32"
    assert "mode 0444, must be 0600" in refused


def test_a_node_that_joins_takes_a_mounted_key(tmp_path: Path) -> None:
    network = open_network(tmp_path / "data", NetworkSettings(development_accounts=2), 1, lambda _: None)
    write_secret(tmp_path / "run" / "key", b"\x07" * 32)
    joined = join_network(tmp_path / "own", network.path, "node-2", str(tmp_path / "run" / "key"))
    (folder,) = joined.nodes
    assert folder.key_path == tmp_path / "run" / "key"
    assert folder.identity != network.nodes[0].identity
    assert list(folder.path.iterdir()) == [], "the data hold no key"
    with pytest.raises(DirectoryError, match=r"key file .*/missing: No such file"):
        join_network(tmp_path / "own", network.path, "node-2", str(tmp_path / "missing"))


def test_a_key_that_is_no_text_is_named(tmp_path: Path) -> None:
    network = open_network(tmp_path / "data", NetworkSettings(development_accounts=2), 1, lambda _: None)
    (tmp_path / "key").write_bytes(b"\xff\xfe" * 32)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(DirectoryError, match="expected 64 hex digits"):
        join_network(tmp_path / "own", network.path, "node-2", str(tmp_path / "key"))
