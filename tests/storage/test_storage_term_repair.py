"""`members repair-term` on a real directory."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from actors.cli import repair
from actors.consensus.raft import Entry, EntryKind, HardState
from actors.storage.chain import Chain
from actors.storage.interface import LogRecord
from actors.storage.raft_log import RaftLog
from tests.storage.storage_network import make_genesis, open_chain, stopped_node

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)
APP = typer.Typer()
APP.callback()(lambda: None)
repair.register(APP)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's folder in a data directory; it has three blocks, and a log that ends in term 9."""
    folder, chain = stopped_node(tmp_path / "data", 3, ACCOUNTS)
    put(chain, LogRecord(first_index=1, entries=(msgspec.msgpack.encode(Entry(1, 9, EntryKind.NOOP)),)))
    chain.disk.close()
    return folder


def put(chain: Chain, record: LogRecord) -> None:
    batch = chain.disk.batch()
    chain.raft_log.put(batch, record)
    batch.write(sync=True)


def state(folder: Path) -> HardState:
    chain = open_chain(folder / "db", GENESIS, ALLOCATION)
    try:
        assert chain.head.height == 3
        return msgspec.msgpack.decode(RaftLog(chain.disk).read().hard_state, type=HardState)
    finally:
        chain.disk.close()


def test_an_absurd_term_is_repaired_once_on_the_disk_of_a_stopped_member(folder: Path) -> None:
    command = ["repair-term", "--data-dir", str(folder.parent), "--json"]
    chain = open_chain(folder / "db", GENESIS, ALLOCATION)
    put(chain, LogRecord(hard_state=msgspec.msgpack.encode(HardState(2**61, 3, b"x" * 16))))
    held = CliRunner().invoke(APP, command)
    assert held.exit_code == 2
    assert "stop that node first" in held.output
    chain.disk.close()
    assert state(folder).term == 2**61

    done = CliRunner().invoke(APP, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["node"] == "node-1"
    assert (told["term_before"], told["term"], told["last_log_term"]) == (2**61, 9 + 65_536, 9)
    assert state(folder) == HardState(9 + 65_536)

    again = CliRunner().invoke(APP, command)
    assert again.exit_code == 2
    assert "nothing to repair" in again.output
    assert "Traceback" not in again.output
