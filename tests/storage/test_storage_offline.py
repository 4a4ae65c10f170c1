"""Snapshots by command: made, listed, exported, and restored into a directory of another node."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from actors.cli import offline
from actors.storage.disk_identity import DiskIdentity, settle
from tests.storage.storage_network import Driver, make_genesis, open_chain, stopped_node

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)
APP = typer.Typer()
APP.add_typer(offline.app)


def run(*arguments: object) -> dict[str, object]:
    """Run a command that succeeds; its JSON."""
    done = CliRunner().invoke(APP, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a stopped node of five blocks."""
    folder, chain = stopped_node(tmp_path / "data", 5, ACCOUNTS)
    chain.disk.close()
    return folder.parent


def test_a_snapshot_travels_from_one_directory_to_another(data: Path, tmp_path: Path) -> None:
    assert run("snapshot", "list", "--data-dir", data) == {"snapshots": []}
    made = run("snapshot", "create", "--data-dir", data)
    assert (made["height"], made["accounts"]) == (5, ACCOUNTS + 1)
    assert run("snapshot", "list", "--data-dir", data) == {"snapshots": [made]}
    exported = run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    assert exported["hash"] == made["hash"]
    into = ("--data-dir", tmp_path / "new", "--node", "new")
    restored = run("snapshot", "restore", tmp_path / "out", *into, "--genesis", data / "genesis.json")
    assert (restored["genesis"], restored["genesis_trust"]) == (GENESIS.hash().hex(), "file")
    assert (restored["height"], restored["accounts"]) == (5, ACCOUNTS + 1)
    again = run("snapshot", "list", "--data-dir", tmp_path / "new")
    assert again == {"snapshots": [made]}
    report = run("check", "--data-dir", tmp_path / "new")
    assert (report["ok"], report["height"], report["replayed_from"]) == (True, 5, 5)
    assert report["state_root"] == restored["state_root"]


def test_mistakes_are_explained(data: Path, tmp_path: Path) -> None:
    trusted = ("--genesis", str(data))
    run("snapshot", "create", "--data-dir", data)
    run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    for arguments, what in (
        (("snapshot", "export", tmp_path / "out", "--data-dir", data), "already"),
        (("snapshot", "export", tmp_path / "no", "--height", "3", "--data-dir", data), "no snapshot at"),
        (("snapshot", "list", "--data-dir", tmp_path), "genesis.json"),
        (("snapshot", "list", "--data-dir", data, "--node", "x"), "no node 'x'"),
        (("snapshot", "restore", data, "--data-dir", tmp_path / "new"), "--genesis"),
        (("snapshot", "restore", data, "--data-dir", tmp_path / "new", *trusted), "no file manifest"),
        (
            (
                "snapshot",
                "restore",
                tmp_path / "out",
                "--data-dir",
                tmp_path / "new",
                "--genesis",
                tmp_path / "none",
            ),
            "No such",
        ),
    ):
        done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
        assert done.exit_code == 2
        assert what in done.output
    chunk = next((tmp_path / "out" / "chunks").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x01")
    done = CliRunner().invoke(
        APP, ["snapshot", "restore", str(tmp_path / "out"), "--data-dir", str(tmp_path / "bad"), *trusted]
    )
    assert done.exit_code == 2
    assert "chunk 0" in done.output


def forged(archive: Path, folder: Path) -> Path:
    """An archive of a network of the forger's own, which is consistent in itself."""
    genesis, allocation = make_genesis(7)
    node = folder / "data" / "node-1"
    node.mkdir(parents=True)
    (node / "node.key").touch()
    (folder / "data" / "genesis.json").write_bytes(genesis.encode())
    (folder / "data" / "allocation.bin").write_bytes(allocation.encode())
    chain = open_chain(node / "db", genesis, allocation)
    Driver(chain, 7).run(2)
    chain.disk.close()
    run("snapshot", "create", "--data-dir", folder / "data")
    run("snapshot", "export", archive, "--data-dir", folder / "data")
    return archive


def test_an_archive_is_not_believed_for_the_genesis_that_it_brings(data: Path, tmp_path: Path) -> None:
    false = forged(tmp_path / "false", tmp_path / "forger")
    run("snapshot", "create", "--data-dir", data)
    run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    new = ("--data-dir", tmp_path / "new")

    def refused(archive: Path, *options: object) -> str:
        arguments = ["snapshot", "restore", str(archive), *map(str, options)]
        done = CliRunner().invoke(APP, arguments)
        assert done.exit_code == 2, done.output
        assert not (tmp_path / "new").exists()
        return done.output.replace("\n", " ")

    assert "proves nothing" in refused(false, *new)
    assert "ANOTHER NETWORK" in refused(false, *new, "--genesis", data)
    assert "ANOTHER NETWORK" in refused(false, "--data-dir", data, "--node", "second")
    # The right genesis beside a forged snapshot, and a forged allocation beside the right genesis.
    (false / "genesis.json").write_bytes(GENESIS.encode())
    assert "first balances" in refused(false, *new, "--genesis", data)
    (tmp_path / "out" / "allocation.bin").write_bytes(make_genesis(7)[1].encode())
    assert "first balances" in refused(tmp_path / "out", *new, "--genesis", data)
    (tmp_path / "out" / "allocation.bin").write_bytes(ALLOCATION.encode())
    (tmp_path / "out" / "header").write_bytes(bytes(2 << 20))
    assert "more than the" in refused(tmp_path / "out", *new, "--genesis", data)


def test_a_directory_that_holds_the_network_judges_an_archive(data: Path, tmp_path: Path) -> None:
    run("snapshot", "create", "--data-dir", data)
    run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    restored = run("snapshot", "restore", tmp_path / "out", "--data-dir", data, "--node", "second")
    assert restored["genesis_trust"] == "data directory"
    checked = run("check", "--data-dir", data, "--node", "second", "--genesis", data / "genesis.json")
    assert (checked["ok"], checked["genesis_trust"]) == (True, "file")
    (tmp_path / "genesis.json").write_bytes(make_genesis(7)[0].encode())
    done = CliRunner().invoke(
        APP,
        ["check", "--data-dir", str(data), "--node", "second", "--genesis", str(tmp_path / "genesis.json")],
    )
    assert done.exit_code == 2
    assert "ANOTHER NETWORK" in done.output


def test_a_restored_database_is_a_new_memory_to_consensus(data: Path, tmp_path: Path) -> None:
    """Beside the identity file of the disk that was lost, too: what a member signed there is not in it."""
    run("snapshot", "create", "--data-dir", data)
    run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    run("snapshot", "restore", tmp_path / "out", "--data-dir", data, "--node", "second")
    folder, first = data / "second", DiskIdentity(b"")
    for expected in ("new", "", "not from one start"):
        if expected.startswith("not"):
            shutil.rmtree(folder / "db")
            run("snapshot", "restore", tmp_path / "out", "--data-dir", data, "--node", "second")
        chain = open_chain(folder / "db", GENESIS, ALLOCATION)
        log = chain.raft_log
        found = settle(folder, log.disk_identity(), log.put_disk_identity, os.urandom)
        chain.disk.close()
        assert expected in found.renewed
        assert (found.identity == first.identity) == (expected == "")
        first = found
