"""`check` passes a healthy directory and names the place of damage in every column family."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from actors.cli import offline
from actors.ledger.hashing import sha256_rows
from actors.storage import formats
from actors.storage.check import check
from actors.storage.disk import FAMILIES, Disk
from actors.storage.reads import Reader
from tests.storage.storage_network import Driver, make_genesis, open_chain, present

GENESIS, ALLOCATION = make_genesis(20)
BLOCKS = 20


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with blocks, checkpoints, a merged run, and a block that is not committed."""
    path = tmp_path_factory.mktemp("healthy")
    chain = open_chain(path, GENESIS, ALLOCATION)
    driver = Driver(chain, 20)
    for number in range(BLOCKS):
        driver.run(1, count=12)
        if number == BLOCKS // 2:
            chain.checkpointer.write(chain.state, sync=True)
        chain.places.merge(chain.head.height, lambda: False)
    driver.persist(driver.execute(5), certify=False)
    chain.disk.close()
    return path


@pytest.fixture
def opened(healthy: Path, tmp_path: Path) -> Iterator[Disk]:
    """A writable copy of it."""
    subprocess.run(["cp", "-r", str(healthy), str(tmp_path / "copy")], check=True)
    disk = Disk(tmp_path / "copy")
    yield disk
    disk.close()


def checked(disk: Disk) -> dict[str, Any]:
    return check(disk, GENESIS, lambda: ALLOCATION, sha256_rows)


def flip(disk: Disk, family: str, key: bytes, at: int) -> None:
    """Flip a bit of a stored value; its seal stays as it is."""
    value = bytearray(present(disk.raw(family, key)))
    value[at] ^= 1
    disk._families[family][key] = bytes(value)


def test_a_healthy_directory_passes_and_is_left_as_it_is(healthy: Path) -> None:
    before = {path.name: path.read_bytes() for path in (healthy / "rocksdb").iterdir()}
    disk = Disk(healthy, read_only=True)
    report = checked(disk)
    disk.close()
    assert report["ok"], report["problems"]
    assert (report["height"], report["blocks"], report["executed"]) == (BLOCKS, BLOCKS, BLOCKS)
    assert (report["transactions"], report["supply"]) == (BLOCKS * 12, GENESIS.supply)
    assert {path.name: path.read_bytes() for path in (healthy / "rocksdb").iterdir()} == before


@pytest.mark.parametrize("family", FAMILIES)
def test_a_flipped_bit_is_named_in_every_family(opened: Disk, family: str) -> None:
    keys = list(opened.keys(family))
    if not keys:
        batch = opened.batch()
        batch.put(family, b"some key", b"some value")
        batch.write(sync=False)
        keys = [b"some key"]
    key = b"head" if family == "meta" else keys[len(keys) // 2]
    flip(opened, family, key, 9)
    report = checked(opened)
    assert not report["ok"]
    assert (report["problem"]["family"], report["problem"]["key"]) == (family, key.hex())


@pytest.mark.parametrize("family", ["headers", "receipts", "deltas"])
def test_where_execution_says_what_a_value_should_be_the_byte_is_named(opened: Disk, family: str) -> None:
    flip(opened, family, formats.height_key(7), 17)
    problem = checked(opened)["problem"]
    assert (problem["family"], problem["key"]) == (family, formats.height_key(7).hex())
    if family != "headers":  # without a header there is no block to execute
        assert problem["offset"] == 17


def resealed(disk: Disk, family: str, key: bytes, change: Callable[[bytearray], None]) -> None:
    """Change a value and seal it again, as software that errs would."""
    body = bytearray(present(disk.get(family, key)))
    change(body)
    batch = disk.batch()
    batch.put(family, key, bytes(body))
    batch.write(sync=False)


@pytest.mark.parametrize(
    ("family", "number", "at"),
    [
        ("receipts", 3, 40),
        ("deltas", 15, 120),
        ("headers", 4, 80),
        ("certificates", 5, 60),
        ("blocks", 6, 400),
    ],
)
def test_a_wrong_value_under_a_right_seal_is_found_too(
    opened: Disk, family: str, number: int, at: int
) -> None:
    def change(body: bytearray) -> None:
        body[at] ^= 4

    resealed(opened, family, formats.height_key(number), change)
    problem = checked(opened)["problem"]
    assert (problem["family"], problem["key"]) == (family, formats.height_key(number).hex())


def test_a_wrong_account_and_a_missing_index_entry_are_found(opened: Disk) -> None:
    def pay(body: bytearray) -> None:
        body[-8] ^= 1

    opened.close()
    chain = open_chain(opened.directory, GENESIS, ALLOCATION)
    chain.checkpointer.write(chain.state, sync=True)
    opened = chain.disk
    resealed(opened, "accounts", formats.height_key(0), pay)
    problem = checked(opened)["problem"]
    assert (problem["family"], problem["key"]) == ("accounts", formats.height_key(0).hex())
    resealed(opened, "accounts", formats.height_key(0), pay)

    def move(body: bytearray) -> None:
        body[8 + 8 * 12] ^= 1

    key = next(key for key in opened.keys("tx_index") if key[0] == 0 and key[-1] == 1)
    resealed(opened, "tx_index", key, move)
    problem = checked(opened)["problem"]
    assert problem["family"] == "tx_index"
    assert problem["key"].startswith(key[:9].hex())
    opened.close()


def test_the_command_names_a_damaged_file_and_exits_with_1(tmp_path: Path) -> None:
    folder = tmp_path / "node-1"
    folder.mkdir()
    (folder / "node.key").touch()
    (tmp_path / "genesis.json").write_bytes(GENESIS.encode())
    (tmp_path / "allocation.bin").write_bytes(ALLOCATION.encode())
    chain = open_chain(folder / "db", GENESIS, ALLOCATION)
    Driver(chain, 20).run(6, count=300)
    app = typer.Typer()
    app.add_typer(offline.app)
    app.command("another")(lambda: None)
    arguments = ["check", "--json", "--data-dir", str(tmp_path)]
    assert CliRunner().invoke(app, arguments).exit_code == 2  # the directory is in use
    chain.disk.close()
    done = CliRunner().invoke(app, arguments)
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, report["ok"], report["problem"]) == (0, True, None)
    damaged = max((folder / "db" / "rocksdb").glob("*.blob"), key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 1
    damaged.write_bytes(content)
    done = CliRunner().invoke(app, arguments)
    report = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, report["ok"], report["problem"]["family"]) == (1, False, "blocks")
    assert "orrupt" in report["problem"]["what"]


def test_a_block_that_is_before_its_parent_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = open_chain(tmp_path / "late", GENESIS, ALLOCATION)
    driver = Driver(chain, 20)
    driver.run(2)
    monkeypatch.setattr("actors.storage.chain.time_fault", lambda *_: "")  # as software before the rule
    driver.persist(driver.execute(10), time_ms=1001)
    driver.run(1)
    audit = Reader(chain).audit()
    assert audit.problem.startswith("block 3: ")
    assert "time 1001 ms is before its parent's, 1002" in audit.problem
    problem = checked(chain.disk)["problem"]
    assert (problem["family"], problem["key"]) == ("headers", formats.height_key(3).hex())
    assert problem["what"] == "time 1001 ms is before its parent's, 1002"
    chain.disk.close()
