"""Snapshots: the same bytes whoever makes them, verified piece by piece, and a chain goes on from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import smt
from actors.ledger.block import decode_sealed_header
from actors.ledger.hashing import sha256, sha256_rows
from actors.ledger.rows import FormatError
from actors.storage import errors, formats, snapshots
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import Disk
from actors.storage.formats import Head, height_key
from actors.storage.housekeeping import Housekeeper, Policy
from actors.storage.interface import Execute, Persist
from actors.storage.reads import Reader
from actors.storage.snapshot_store import SnapshotStore, accepted, begin_with
from tests.storage.storage_network import SIGNER, Driver, done, make_genesis, open_chain, present

ACCOUNTS = 120
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_ACCOUNTS", 16)
    for module in ("snapshot_store", "pages", "recovery"):
        monkeypatch.setattr(f"actors.storage.{module}.PAGE_ACCOUNTS", 50)


@given(st.integers(0, 60), st.integers(0, 5), st.integers(0, 2**32))
def test_roots_of_subtrees_fold_to_the_plain_root(accounts: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (accounts, 32), dtype=np.uint8)
    values = rng.integers(0, 256, (accounts, 16), dtype=np.uint8)
    paths, hashes = sha256_rows(keys), sha256_rows(values)
    rows = snapshots.cut(paths, depth)
    assert sorted(np.concatenate(rows).tolist()) == list(range(accounts))
    entries = tuple(
        snapshots.ChunkEntry(len(r), b"", snapshots.subtree_root(paths[r], hashes[r], depth, sha256_rows))
        for r in rows
    )
    plain = {k.tobytes(): v.tobytes() for k, v in zip(keys, values, strict=True)}
    assert snapshots.fold(entries) == smt.root(plain)
    ordered = [paths[i].tobytes() for r in rows for i in r]
    assert ordered == sorted(ordered)


def snapshot(chain: Chain, height: int | None = None) -> tuple[SnapshotStore, bytes, bytes]:
    """(store, manifest bytes, sealed header) of a snapshot made now."""
    store, at = SnapshotStore(chain.disk, GENESIS, sha256_rows), height or chain.head.height
    (sealed,) = Reader(chain).sealed_headers(at, 1)
    decoded = decode_sealed_header(sealed)
    transactions = sum(chain.block(h).header.transaction_count for h in range(1, at + 1))
    manifest = store.make(chain.state, at, decoded, Head(at, transactions, decoded.header.hash()))
    return store, manifest.encode(), sealed


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = open_chain(tmp_path / "first", GENESIS, ALLOCATION)
    yield chain
    chain.disk.close()


def restored(
    path: Path, manifest: bytes, sealed: bytes, read_chunk: Callable[[bytes], bytes | None]
) -> Chain:
    disk = Disk(path)
    try:
        begin_with(disk, GENESIS, manifest, sealed, read_chunk, sha256_rows)
    finally:
        disk.close()
    return open_chain(path, GENESIS, None)


def test_a_chain_goes_on_from_a_snapshot_and_agrees(chain: Chain, tmp_path: Path) -> None:
    driver = Driver(chain, ACCOUNTS)
    driver.run(5)
    store, manifest, sealed = snapshot(chain)
    (kept,) = store.kept()
    assert (kept.height, kept.accounts, kept.chunks) == (5, chain.state.committed_count(), 8)
    other = restored(tmp_path / "second", manifest, sealed, store.chunk)
    assert (other.head, other.head_state_root) == (chain.head, chain.head_state_root)
    for _ in range(4):
        block = driver.execute(30)
        header = driver.header(block)
        driver.persist(block)
        request = Execute(block.height, True, SIGNER.public_key)
        repeated = done(other.execute(other.fence(), request, block.batch))
        assert repeated.state_root == header.state_root
        proof = present(Reader(chain).certificate(block.height))
        other.persist(other.epoch, Persist(block.height, header.encode(), bytes(64), proof))
    assert other.head.hash == chain.head.hash
    reader = Reader(other)
    assert reader.block(5) is None
    theirs = present(Reader(chain).block(6))
    assert reader.block(6) == theirs[:200] + bytes(64) + theirs[264:]
    assert reader.audit().problem == ""
    with pytest.raises(errors.HeightError):
        other.persist(other.epoch, Persist(3, present(Reader(chain).block(3))[:200], bytes(64)))
    first, second = (SnapshotStore(c.disk, GENESIS, sha256_rows) for c in (chain, other))
    ninth = decode_sealed_header(Reader(chain).sealed_headers(9, 1)[0])
    manifests = [s.make(c.state, 9, ninth, chain.head) for s, c in ((first, chain), (second, other))]
    assert manifests[0] == manifests[1]
    other.disk.close()
    again = open_chain(tmp_path / "second", GENESIS, None)
    assert again.head == chain.head
    again.disk.close()
    report = check_of(tmp_path / "second")
    assert report["problem"]["what"] == "the signature does not verify"


def opened_all(encoded: bytes, sealed: bytes, read_chunk: Callable[[bytes], bytes | None]) -> None:
    """As a restore verifies, without a directory."""
    manifest, _ = accepted(GENESIS, encoded, sealed)
    for number, entry in enumerate(manifest.entries):
        snapshots.open_chunk(manifest, number, read_chunk(entry.hash) or b"", sha256_rows)


def check_of(path: Path) -> dict[str, Any]:
    disk = Disk(path, read_only=True)
    try:
        return check(disk, GENESIS, lambda: ALLOCATION, sha256_rows)
    finally:
        disk.close()


def test_a_snapshot_of_an_earlier_height_is_that_heights_state(chain: Chain) -> None:
    driver = Driver(chain, ACCOUNTS)
    driver.run(3)
    then = snapshot(chain)[1]
    driver.run(4)
    driver.execute(30)
    assert snapshot(chain, 3)[1] == then
    with pytest.raises(errors.NotRetainedError):
        chain.state.columns_at(9)


def test_chunks_are_shared_and_go_with_the_last_manifest_that_names_them(chain: Chain) -> None:
    driver = Driver(chain, ACCOUNTS)
    driver.run(1, count=1)
    store, first, _ = snapshot(chain)
    driver.run(1, count=1)
    second = snapshot(chain)[1]
    held = [{e.hash for e in snapshots.decode_manifest(m).entries} for m in (first, second)]
    assert 0 < len(held[0] & held[1]) < len(held[0])
    assert store.prune(1) == 1
    assert store.heights() == [2]
    assert [store.chunk(h) is None for h in held[1]] == [False] * len(held[1])
    assert all(store.chunk(h) is None for h in held[0] - held[1])
    assert store.prune(1) == 0


def test_what_does_not_prove_itself_is_refused_by_name(chain: Chain, tmp_path: Path) -> None:
    Driver(chain, ACCOUNTS).run(3)
    store, manifest, sealed = snapshot(chain)
    for at in range(0, len(manifest), 23):
        wrong = bytearray(manifest)
        wrong[at] ^= 1
        if 16 <= at < 24:
            continue  # the count of transactions is for people
        with pytest.raises(FormatError):
            opened_all(bytes(wrong), sealed, store.chunk)
    opened_all(manifest, sealed, store.chunk)
    with pytest.raises(FormatError, match=r"header\.certificate"):
        restored(tmp_path / "wrong", manifest, sealed[:-1] + b"\x00", store.chunk)
    entries = snapshots.decode_manifest(manifest).entries

    def lying(digest: bytes, number: int, change: Callable[[bytearray], None]) -> bytes:
        body = bytearray(present(store.chunk(digest)))
        if digest == entries[number].hash:
            change(body)
        return bytes(body)

    with pytest.raises(FormatError, match="chunk 2: got hash"):
        restored(
            tmp_path / "wrong", manifest, sealed, lambda h: lying(h, 2, lambda b: b.__setitem__(9, b[9] ^ 1))
        )
    assert open_fresh(tmp_path / "wrong").head.height == 0


def open_fresh(path: Path) -> Chain:
    chain = open_chain(path, GENESIS, ALLOCATION)
    chain.disk.close()
    return chain


def test_a_chunk_out_of_order_or_of_another_place_is_refused(chain: Chain) -> None:
    Driver(chain, ACCOUNTS).run(1)
    store, encoded, _ = snapshot(chain)
    manifest = snapshots.decode_manifest(encoded)
    first, second = (present(store.chunk(e.hash)) for e in manifest.entries[:2])

    def with_chunk(body: bytes) -> snapshots.Manifest:
        entry = snapshots.ChunkEntry(manifest.entries[0].accounts, sha256(body), manifest.entries[0].root)
        return snapshots.Manifest(
            manifest.depth, manifest.height, 0, manifest.accounts, b"", b"", b"",
            (entry, *manifest.entries[1:]),
        )  # fmt: skip

    snapshots.open_chunk(manifest, 0, first, sha256_rows)
    columns = formats.decode_page(0, first)
    backwards = formats.encode_page(columns.take(slice(None, None, -1)))
    richer = formats.encode_page(columns._replace(balances=columns.balances + np.uint64(1)))
    for body, what in ((backwards, "out of order"), (second, "accounts"), (richer, "root")):
        with pytest.raises(FormatError, match=what):
            snapshots.open_chunk(with_chunk(body), 0, body, sha256_rows)


def test_a_directory_that_holds_a_chain_is_not_overwritten(chain: Chain) -> None:
    Driver(chain, ACCOUNTS).run(1)
    store, manifest, sealed = snapshot(chain)
    with pytest.raises(errors.HeightError, match="a new directory"):
        begin_with(chain.disk, GENESIS, manifest, sealed, store.chunk, sha256_rows)
    assert chain.disk.get("headers", height_key(1))


def test_a_snapshot_of_the_head_is_made_when_asked_for_and_only_once(chain: Chain) -> None:
    house = Housekeeper(chain, Policy(5, 0, 2, "full", 3), lambda _text: None)
    assert house.snapshot_now() is None  # there is no block
    Driver(chain, ACCOUNTS).run(3)
    made = house.snapshot_now()
    assert made is not None
    assert made.height == 3
    assert house.snapshot_now() == made
    assert house.totals.snapshots == 1
