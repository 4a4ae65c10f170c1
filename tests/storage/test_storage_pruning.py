"""Pruning keeps what its mode says and what others need; the chain goes on, restarts and checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.ledger.block import decode_sealed_header
from actors.ledger.hashing import sha256_rows
from actors.storage import errors
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import Disk
from actors.storage.formats import Base
from actors.storage.interface import Persist, TransactionPlace
from actors.storage.pruning import Mode, due, prune
from actors.storage.reads import Reader
from actors.storage.snapshot_store import SnapshotStore
from tests.storage.storage_network import Driver, make_genesis, open_chain

ACCOUNTS, BLOCKS = 20, 50
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Chain]:
    """A chain with merged runs, a checkpoint at its head and a snapshot at BLOCKS - 5."""
    chain = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    driver = Driver(chain, ACCOUNTS)
    store = SnapshotStore(chain.disk, GENESIS, sha256_rows)
    for _ in range(BLOCKS):
        driver.run(1, count=20)
        chain.places.merge(chain.head.height, lambda: False)
        if chain.head.height == BLOCKS - 5:
            sealed = decode_sealed_header(Reader(chain).sealed_headers(BLOCKS - 5, 1)[0])
            store.make(chain.state, BLOCKS - 5, sealed, chain.head)
    chain.checkpointer.write(chain.state, sync=True)
    yield chain
    chain.disk.close()


def test_what_a_restart_a_peer_or_the_mode_needs_is_kept(grown: Chain) -> None:
    assert due(grown, "archive", 1, BLOCKS) == Base(1, 1)
    assert due(grown, "full", 10, BLOCKS) == Base(1, BLOCKS - 9)
    assert due(grown, "light", 10, BLOCKS) == Base(BLOCKS - 10, BLOCKS - 9)
    assert due(grown, "full", 1, BLOCKS - 5) == Base(1, BLOCKS - 4)
    assert due(grown, "full", 10, 0) == Base(1, 1)
    assert due(grown, "full", 1000, BLOCKS) == Base(1, 1)
    grown.checkpointer.last = type(grown.checkpointer.last)(7, ACCOUNTS)
    assert due(grown, "full", 1, BLOCKS) == Base(1, 8)


@pytest.mark.parametrize("mode", ["full", "light"])
def test_a_pruned_chain_goes_on(grown: Chain, mode: Mode, tmp_path: Path) -> None:
    ids = {h: grown.block(h).batch.ids()[3].tobytes() for h in (2, 20, BLOCKS - 2)}
    base = due(grown, mode, 10, BLOCKS - 5)
    assert prune(grown, base).heights == BLOCKS - 10
    reader = Reader(grown)
    assert reader.block(BLOCKS - 10) is None
    assert reader.block(BLOCKS - 9)
    assert bool(reader.sealed_headers(5, 1)) == (mode == "full")
    assert reader.locate(ids[2]) is None
    assert reader.locate(ids[20]) is None
    assert reader.locate(ids[BLOCKS - 2]) == TransactionPlace(BLOCKS - 2, 3)
    assert reader.audit().problem == ""
    with pytest.raises(errors.HeightError, match="pruned"):
        grown.persist(grown.epoch, Persist(5, *persisted(grown, 5, mode)))
    Driver(grown, ACCOUNTS, seed=4).run(3)
    grown.disk.close()
    disk = Disk(tmp_path / "db", read_only=True)
    report = check(disk, GENESIS, lambda: ALLOCATION, sha256_rows)
    disk.close()
    assert report["ok"], report["problems"]
    assert (report["blocks"], report["headers"]) == (13, 53 if mode == "full" else 14)
    assert (report["replayed_from"], report["executed"]) == (BLOCKS - 5, 8)
    again = open_chain(tmp_path / "db", GENESIS, None)
    assert again.base == base
    assert Reader(again).audit().problem == ""
    again.disk.close()


def persisted(chain: Chain, height: int, mode: Mode) -> tuple[bytes, bytes, bytes]:
    """Arguments of persisting a committed block again."""
    if mode == "light":  # its header is gone: any other will do to be told so
        height_at = chain.head.height
        header = decode_sealed_header(Reader(chain).sealed_headers(height_at, 1)[0]).header
        changed = type(header)(**{**{f: getattr(header, f) for f in header.__slots__}, "height": height})
        return changed.encode(), bytes(64), b""
    header = decode_sealed_header(Reader(chain).sealed_headers(height, 1)[0]).header
    return header.encode(), bytes(64), b""
