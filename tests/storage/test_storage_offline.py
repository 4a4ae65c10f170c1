"""Snapshots by command: made, listed, exported, and restored into a directory of another node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from storage_network import Driver, make_genesis, open_chain
from typer.testing import CliRunner

from actors import offline

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
    folder = tmp_path / "data" / "node-1"
    folder.mkdir(parents=True)
    (folder / "node.key").touch()
    (folder.parent / "genesis.json").write_bytes(GENESIS.encode())
    (folder.parent / "allocation.bin").write_bytes(ALLOCATION.encode())
    chain = open_chain(folder / "db", GENESIS, ALLOCATION)
    Driver(chain, ACCOUNTS).run(5)
    chain.disk.close()
    return folder.parent


def test_a_snapshot_travels_from_one_directory_to_another(data: Path, tmp_path: Path) -> None:
    assert run("snapshot", "list", "--data-dir", data) == {"snapshots": []}
    made = run("snapshot", "create", "--data-dir", data)
    assert (made["height"], made["accounts"]) == (5, ACCOUNTS + 1)
    assert run("snapshot", "list", "--data-dir", data) == {"snapshots": [made]}
    exported = run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    assert exported["hash"] == made["hash"]
    restored = run("snapshot", "restore", tmp_path / "out", "--data-dir", tmp_path / "new", "--node", "new")
    assert (restored["height"], restored["accounts"]) == (5, ACCOUNTS + 1)
    again = run("snapshot", "list", "--data-dir", tmp_path / "new")
    assert again == {"snapshots": [made]}
    report = run("check", "--data-dir", tmp_path / "new")
    assert (report["ok"], report["height"], report["replayed_from"]) == (True, 5, 5)
    assert report["state_root"] == restored["state_root"]


def test_mistakes_are_explained(data: Path, tmp_path: Path) -> None:
    run("snapshot", "create", "--data-dir", data)
    run("snapshot", "export", tmp_path / "out", "--data-dir", data)
    for arguments, what in (
        (("snapshot", "export", tmp_path / "out", "--data-dir", data), "already"),
        (("snapshot", "export", tmp_path / "no", "--height", "3", "--data-dir", data), "no snapshot at"),
        (("snapshot", "list", "--data-dir", tmp_path), "genesis.json"),
        (("snapshot", "list", "--data-dir", data, "--node", "x"), "no node 'x'"),
        (("snapshot", "restore", data, "--data-dir", tmp_path / "new"), "no file manifest"),
    ):
        done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
        assert done.exit_code == 2
        assert what in done.output
    chunk = next((tmp_path / "out" / "chunks").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x01")
    done = CliRunner().invoke(
        APP, ["snapshot", "restore", str(tmp_path / "out"), "--data-dir", str(tmp_path / "bad")]
    )
    assert done.exit_code == 2
    assert "chunk 0" in done.output
