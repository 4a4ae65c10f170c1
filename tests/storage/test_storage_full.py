"""A full disk: writes are refused with the reason, reads go on, and so does the chain when there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.storage import errors
from actors.storage.disk import Disk
from actors.storage.reads import Reader
from actors.storage.wal_check import Mark
from tests.storage.storage_batches import key
from tests.storage.storage_network import Driver, make_genesis, open_chain

GENESIS, ALLOCATION = make_genesis(20)
ROOT = Path(__file__).parent.parent.parent
RESERVE_BYTES = 4 << 20
TINY = f"""
import os, sys
from pathlib import Path
from tests.storage.storage_network import Driver, make_genesis, open_chain
from actors.storage.errors import DiskFullError
from actors.storage.reads import Reader
from actors.ledger.hashing import sha256_rows
from actors.storage import disk as room
from actors.storage.check import check
from actors.storage.disk import Disk

room.WRITE_BUFFER_BYTES = 1 << 20  # what is written of itself at any time is to fit the reserve
place = Path(sys.argv[1])
ballast = place / "ballast"
ballast.write_bytes(os.urandom(12 << 20))
genesis, allocation = make_genesis(20)
chain = open_chain(place / "db", genesis, allocation, sync=True)
chain.disk.reserve_bytes = {RESERVE_BYTES}
driver, refused, heights = Driver(chain, 20), 0, []
for number in range(3000):
    block = driver.execute(200)
    try:
        driver.persist(block)
    except DiskFullError:
        refused += 1
        assert Reader(chain).block(chain.head.height), "reads go on"
        assert chain.disk.full
        heights.append(chain.head.height)
        if ballast.exists():
            ballast.unlink()
            driver.persist(block)
            assert not chain.disk.full
            continue
        break
assert refused == 2, refused
assert heights[0] < heights[1], heights
head = chain.head
chain.disk.close()
disk = Disk(place / "db", read_only=True)
report = check(disk, genesis, lambda: allocation, sha256_rows)
assert report["ok"], report["problems"]
assert report["height"] == head.height
print("survived", heights)
"""


def test_writes_are_refused_and_go_on_and_reads_never_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    chain.disk.reserve_bytes = 1 << 20
    alarms: list[str] = []
    chain.disk.alarm = alarms.append
    driver = Driver(chain, 20)
    driver.run(2)
    block = driver.execute(30)
    monkeypatch.setattr(Disk, "free_bytes", lambda _disk: 1 << 20)
    for _ in range(2):
        with pytest.raises(errors.DiskFullError, match="is read-only: 1048576 bytes are free"):
            driver.persist(block)
        with pytest.raises(errors.DiskFullError):
            chain.checkpointer.write(chain.state, sync=True)
    assert "read-only" in chain.disk.full
    assert (chain.head.height, Reader(chain).account(key(1)).height) == (2, 2)
    assert Reader(chain).block(2)
    monkeypatch.undo()
    driver.persist(block)
    assert (chain.head.height, chain.disk.full) == (3, "")
    assert [bool(alarm) for alarm in alarms] == [True, False]
    assert Reader(chain).audit().problem == ""
    chain.disk.close()


def test_a_mark_that_cannot_be_written_stays_behind_and_stops_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_mark: Mark, _height: int) -> None:
        raise OSError("no room")

    chain = open_chain(tmp_path, GENESIS, ALLOCATION, sync=True)
    alarms: list[str] = []
    chain.disk.alarm = alarms.append
    driver = Driver(chain, 20)
    driver.run(1)
    monkeypatch.setattr(Mark, "write", refuse)
    driver.run(2)
    assert (chain.head.height, chain.disk.mark.read(), len(alarms)) == (3, 1, 2)
    chain.disk.close()
    monkeypatch.undo()
    again = open_chain(tmp_path, GENESIS, ALLOCATION, sync=True)
    assert again.head.height == 3
    again.disk.close()


def test_a_file_system_that_runs_full_costs_nothing(tmp_path: Path) -> None:
    """On a real file system of 32 MB, where this process may mount one."""
    mount = 'mount -t tmpfs -o size=32m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, TINY]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("survived")
