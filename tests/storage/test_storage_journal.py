"""A torn tail of the write-ahead log is dropped; damage to what was acknowledged is refused and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from actors.storage import errors
from actors.storage.check import unopened
from actors.storage.disk import Disk
from actors.storage.formats import height_key
from actors.storage.interface import Commit
from actors.storage.wal_check import Mark, first_broken
from tests.storage.storage_network import Driver, certificate, make_genesis, open_chain

GENESIS, ALLOCATION = make_genesis(20)
BLOCKS = 12


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """What a power cut after the last acknowledgement leaves: a copy of a directory that is open."""
    chain = open_chain(tmp_path / "live", GENESIS, ALLOCATION, sync=True)
    Driver(chain, 20).run(BLOCKS, count=40)
    shutil.copytree(tmp_path / "live", tmp_path / "crashed")
    chain.disk.close()
    return tmp_path / "crashed"


def log_of(directory: Path) -> Path:
    (path,) = (path for path in (directory / "rocksdb").glob("*.log") if path.stat().st_size)
    return path


def test_all_records_of_a_log_are_whole_and_any_flipped_bit_breaks_one(crashed: Path) -> None:
    log = np.fromfile(log_of(crashed), dtype=np.uint8)
    assert first_broken(log.tobytes()) == len(log)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(log), 200):
        log[at] ^= 1 << int(rng.integers(8))
        assert first_broken(log.tobytes()) <= at
        log[at] ^= log[at] ^ np.fromfile(log_of(crashed), dtype=np.uint8)[at]
    assert first_broken(log.tobytes()) == len(log)
    for cut in rng.integers(1, len(log), 50):
        assert first_broken(log[:cut].tobytes()) <= cut


@pytest.mark.parametrize("tail", [b"", b"\x00" * 5000, b"\xff" * 70, bytes(range(256)) * 300])
def test_a_torn_tail_costs_nothing_that_was_acknowledged(crashed: Path, tail: bytes) -> None:
    with log_of(crashed).open("ab") as log:
        log.write(tail)
    torn = log_of(crashed).read_bytes()
    disk = Disk(crashed, read_only=True)
    assert disk.get("headers", height_key(BLOCKS))
    disk.close()
    assert log_of(crashed).read_bytes() == torn
    chain = open_chain(crashed, GENESIS, ALLOCATION, sync=True)
    assert chain.head.height == BLOCKS
    assert Driver(chain, 20, seed=4).run(1)
    chain.disk.close()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_flipped_bit_in_acknowledged_blocks_is_refused_and_the_log_is_left_alone(
    crashed: Path, share: float
) -> None:
    path = log_of(crashed)
    damaged = bytearray(path.read_bytes())
    damaged[int(len(damaged) * share)] ^= 1
    path.write_bytes(damaged)
    for read_only in (False, True):
        with pytest.raises(
            errors.CorruptionError, match=f"to {BLOCKS} were acknowledged.*{path.name} at byte"
        ):
            Disk(crashed, read_only)
        assert path.read_bytes() == damaged
    with pytest.raises(errors.CorruptionError) as caught:
        Disk(crashed)
    problem = unopened(caught.value)["problem"]
    assert isinstance(problem, dict)
    assert problem["family"] == "journal"


def test_a_log_that_is_cut_short_or_gone_is_refused(crashed: Path) -> None:
    path = log_of(crashed)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(errors.CorruptionError, match="journal"):
        Disk(crashed)
    path.unlink()
    with pytest.raises(errors.CorruptionError):
        Disk(crashed)


def test_a_mark_that_is_behind_or_torn_refuses_nothing(crashed: Path) -> None:
    mark = Mark(crashed)
    assert mark.read() == BLOCKS
    mark.write(3)
    assert mark.read() == 3
    mark.close()
    Disk(crashed).close()
    (crashed / "acknowledged").write_bytes(b"\x07" * 9)
    Disk(crashed).close()
    (crashed / "acknowledged").unlink()
    Disk(crashed, read_only=True).close()


def test_a_commitment_that_is_not_synced_is_not_marked_until_a_later_write_is(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION, sync=True)
    driver = Driver(chain, 20)
    first, second = driver.execute(10), driver.execute(10)
    driver.persist(first, certify=False)
    chain.commit(driver.epoch, Commit(1, certificate(driver.header(first)), sync=False))
    assert (chain.head.height, chain.disk.mark.read()) == (1, 0)
    driver.persist(second, certify=False)
    assert chain.disk.mark.read() == 1
    chain.disk.close()
