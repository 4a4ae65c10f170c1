"""What is made of a block beside its execution is what would be made when it is persisted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.ledger import merkle
from actors.ledger.block import Header, sign_proposal
from actors.ledger.delta import Delta
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import Batch
from actors.storage import preparing
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import FAMILIES, Disk
from actors.storage.errors import DiskFullError, HeightError
from actors.storage.formats import height_key
from actors.storage.history import Retention
from actors.storage.interface import Execute, Persist, Written
from actors.storage.preparing import Entries, Preparer
from actors.storage.state import Execution
from tests.storage.storage_network import SIGNER, Driver, certificate, done, make_genesis, present

GENESIS, ALLOCATION = make_genesis()


@pytest.fixture(autouse=True)
def small_blocks_too_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ASIDE_ROWS_MIN", 1)
    monkeypatch.setattr(preparing, "AHEAD_AFTER_S", 0.0)


@contextmanager
def driver_on(directory: Path) -> Iterator[Driver]:
    disk = Disk(directory)
    try:
        retention = Retention(10, 1 << 20)
        chain = Chain(
            disk, GENESIS, lambda: ALLOCATION, sha256_rows, 1, time.perf_counter_ns, False, retention
        )
        yield Driver(chain, GENESIS.accounts)
    finally:
        disk.close()


def header_of(driver: Driver, batch: Batch, **changes: Any) -> Header:
    """The header that another node would give to a batch as the next block."""
    height = driver.chain.state.executed_height + 1
    block = done(driver.chain.execute(driver.epoch, Execute(height, True, SIGNER.public_key), batch))
    header = driver.header(block, **changes)
    driver.chain.rollback(driver.epoch, height - 1)
    return header


def sealed_bytes(header: Header) -> bytes:
    return header.encode() + sign_proposal(SIGNER, GENESIS.hash(), header.hash())


def follow(driver: Driver, header: Header, batch: Batch, sealed: bytes) -> Execution:
    """Execute a block of another node."""
    return driver.chain.execute(
        driver.epoch, Execute(header.height, True, SIGNER.public_key, sealed=sealed), batch
    )


def persist(driver: Driver, header: Header) -> tuple[Written, Delta]:
    signature = sign_proposal(SIGNER, GENESIS.hash(), header.hash())
    proof = certificate(header, GENESIS.hash())
    return driver.chain.persist(driver.epoch, Persist(header.height, header.encode(), signature, proof))


def contents(chain: Chain) -> dict[tuple[str, bytes], bytes]:
    return {
        (family, key): value
        for family in FAMILIES
        if family != "meta"
        for key, value in chain.disk.scan_raw(family)
    }


def test_what_is_prepared_is_written_as_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "AHEAD_BLOCKS_MAX", 3)
    made = []
    with driver_on(tmp_path / "proposer") as driver:
        for count in (30, 0, 1, 50, 7):
            block = driver.execute(count)
            header = driver.header(block)
            made.append((header, block.batch))
            assert driver.chain._preparer._ready[block.height].ahead is None
            persist(driver, header)
        expected = contents(driver.chain)
    assert {"blocks", "headers", "receipts", "deltas", "history", "tx_index"} <= {
        family for family, _ in expected
    }
    with driver_on(tmp_path / "follower") as driver:
        for header, batch in made:
            done = follow(driver, header, batch, sealed_bytes(header))
            assert done.transaction_root == header.transaction_root
        ready = driver.chain._preparer._ready
        assert [height for height, each in ready.items() if each.ahead is not None] == [1, 3]
        for height, each in ready.items():
            ahead = each.ahead.result() if each.ahead else None
            assert bool(ahead and ahead.bytes_ahead) == (height in (1, 3))
            assert (driver.chain.disk.get("blocks", height_key(height)) is not None) == bool(ahead)
            assert driver.chain.disk.get("headers", height_key(height)) is None
        for header, _ in made:
            written, delta = persist(driver, header)
            assert (written.hash, delta.hash) == (header.hash(), header.hash())
            assert merkle.root(delta.ids) == header.transaction_root
        assert contents(driver.chain) == expected
        assert not driver.chain._preparer._ready


def test_another_header_than_the_prepared_one_is_the_one_that_is_written(tmp_path: Path) -> None:
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        false = header_of(driver, batch, time_ms=1)
        assert not driver.chain._preparer._ready
        block = done(follow(driver, false, batch, sealed_bytes(false)))
        assert driver.chain._preparer._ready[1].ahead is not None
        header = driver.header(block, time_ms=2)
        _, delta = persist(driver, header)
        assert driver.chain.block(1).header == header
        assert delta.time_ms == 2


class Held:
    """Entries are made aside only when the test lets them be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, main, self._go = Preparer._made, threading.current_thread(), threading.Event()

        def make(preparer: Preparer, *arguments: Any) -> Any:
            if threading.current_thread() is not main:
                assert self._go.wait(60)
            return made(preparer, *arguments)

        monkeypatch.setattr(Preparer, "_made", make)

    def let_go(self, ready: Future[Entries] | None) -> Entries:
        """Returns what was made of it."""
        self._go.set()
        return present(ready).result(60)


def test_nothing_is_written_of_a_block_that_was_undone_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        header = header_of(driver, batch)
        follow(driver, header, batch, sealed_bytes(header))
        ahead = driver.chain._preparer._ready[1].ahead
        other = Driver(driver.chain, GENESIS.accounts, seed=2)  # which undoes it
        before = contents(driver.chain)
        assert len(held.let_go(ahead).values) > 1
        assert contents(driver.chain) == before
        assert other.persist(other.execute(3))[0].committed


def test_a_header_that_is_another_one_overtakes_what_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        false, header = (header_of(driver, batch, time_ms=time_ms) for time_ms in (1, 2))
        follow(driver, false, batch, sealed_bytes(false))
        ahead = driver.chain._preparer._ready[1].ahead
        persist(driver, header)
        held.let_go(ahead)
        assert driver.chain.block(1).header == header
        assert driver.chain.delta_at(1).time_ms == 2


def test_what_is_under_way_is_waited_for_before_another_header_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    persisted, looked, main = threading.Event(), threading.Event(), threading.current_thread()
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        false, header = (header_of(driver, batch, time_ms=time_ms) for time_ms in (1, 2))
        get = driver.chain.disk.get

        def slow(family: str, key: bytes) -> bytes | None:
            found = get(family, key)
            if threading.current_thread() is not main:
                looked.set()
                persisted.wait(0.5)  # which it must not be
            return found

        monkeypatch.setattr(driver.chain.disk, "get", slow)
        follow(driver, false, batch, sealed_bytes(false))
        ahead = driver.chain._preparer._ready[1].ahead
        assert looked.wait(60)
        persist(driver, header)
        persisted.set()
        assert present(ahead).result(60).bytes_ahead > 0
        assert driver.chain.block(1).header == header


def test_what_was_written_ahead_of_a_block_that_never_came_counts_for_nothing(tmp_path: Path) -> None:
    with driver_on(tmp_path) as driver:
        driver.persist(driver.execute(5))
        batch = driver.batch(60)
        header = header_of(driver, batch)
        follow(driver, header, batch, sealed_bytes(header))
        assert present(driver.chain._preparer._ready[2].ahead).result().bytes_ahead > 0
    with driver_on(tmp_path) as driver:
        chain = driver.chain
        assert (chain.head.height, chain.persisted_height) == (1, 1)
        assert check(chain.disk, GENESIS, lambda: ALLOCATION, sha256_rows)["ok"]
        with pytest.raises(HeightError):
            chain.hash_at(2)
        written, delta = driver.persist(driver.execute(7))
        assert written.committed
        assert chain.block(2).batch.ids().tobytes() == delta.ids.tobytes()
        assert [chain.places.candidates(each.tobytes()) for each in delta.ids] == [[(2, n)] for n in range(7)]
        assert chain.places.candidates(batch.ids()[0].tobytes()) == []
        assert check(chain.disk, GENESIS, lambda: ALLOCATION, sha256_rows)["ok"]


def test_what_was_written_ahead_outlives_a_block_below_it_that_takes_anothers_place(tmp_path: Path) -> None:
    with driver_on(tmp_path) as first:
        first.persist(first.execute(3), certify=False)  # of a leader whose block never became final
        driver, chain = Driver(first.chain, GENESIS.accounts, seed=2), first.chain
        headers, parent = list[Header](), GENESIS.hash()
        for _ in range(3):
            batch = driver.batch(9)
            header = header_of(driver, batch, parent=parent)
            follow(driver, header, batch, sealed_bytes(header))
            parent = header.hash()
            headers.append(header)
        for height in (2, 3):
            assert present(chain._preparer._ready[height].ahead).result(60).bytes_ahead > 0
        for header in headers:
            persist(driver, header)
            assert chain.block(header.height).header == header
            ids = chain.block(header.height).batch.ids()
            places = [chain.places.candidates(each.tobytes()) for each in ids]
            assert places == [[(header.height, n)] for n in range(9)]
        assert check(chain.disk, GENESIS, lambda: ALLOCATION, sha256_rows)["ok"]


def test_a_full_disk_ahead_is_met_again_by_who_persists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        header = header_of(driver, batch)
        with monkeypatch.context() as patched:
            patched.setattr(driver.chain.disk, "reserve_bytes", 1 << 20)
            patched.setattr(Disk, "free_bytes", lambda _disk: 1 << 20)
            follow(driver, header, batch, sealed_bytes(header))
            assert present(driver.chain._preparer._ready[1].ahead).result().bytes_ahead == 0
            with pytest.raises(DiskFullError):
                persist(driver, header)
        assert persist(driver, header)[0].committed


def test_rows_that_fail_are_in_neither_ids_nor_root(tmp_path: Path) -> None:
    with driver_on(tmp_path) as driver:
        batch = driver.batch(9)
        batch.rows["nonce"][3] += 100
        lax = driver.chain.execute(driver.epoch, Execute(1, False, SIGNER.public_key), batch)
        block = done(lax)
        assert len(block.batch) == 8
        assert lax.transaction_root == merkle.root(block.batch.ids())
        _, delta = driver.persist(block)
        assert delta.ids.tobytes() == block.batch.ids().tobytes()


def test_a_block_that_could_not_be_written_is_still_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with driver_on(tmp_path) as driver:
        block = driver.execute(9)

        def broken(*_: object) -> None:
            raise OSError("no disk")

        with monkeypatch.context() as patched:
            patched.setattr(driver.chain.disk, "write", broken)
            with pytest.raises(OSError, match="no disk"):
                driver.persist(block)
        assert driver.persist(block)[0].committed
        assert driver.chain.head.height == 1


def test_another_block_at_a_height_that_is_on_disk_replaces_what_was_there(tmp_path: Path) -> None:
    with driver_on(tmp_path) as driver:
        driver.persist(driver.execute(5))
        for count in (6, 7):
            driver.persist(driver.execute(count), certify=False)
        first = driver.chain.block(2).header
        driver.chain.rollback(driver.epoch, 1)
        other = Driver(driver.chain, GENESIS.accounts, seed=2)
        batch = other.batch(4)
        header = header_of(other, batch)
        follow(other, header, batch, sealed_bytes(header))
        assert present(other.chain._preparer._ready[2].ahead).result().bytes_ahead == 0
        assert other.chain.block(2).header == first, "what a member acknowledged stays until it is replaced"
        persist(other, header)
        assert driver.chain.block(2).header == header
        heights = {key for family, key in contents(driver.chain) if family == "headers"}
        assert len(heights) == 2
