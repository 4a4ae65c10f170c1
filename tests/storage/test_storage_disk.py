"""Directories: one process, one network, one schema; sealed values; damage is found and named."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rocksdict import Rdict, WriteBatch

from actors.ledger.delta import NO_IDS, AccountStates, Delta
from actors.ledger.genesis import Allocation
from actors.storage import disk as disk_module
from actors.storage import errors, formats
from actors.storage.accounts import of_accounts
from actors.storage.disk import Disk, wait_for
from actors.storage.reads import Reader
from tests.storage.storage_network import Driver, make_genesis, open_chain, present

GENESIS, ALLOCATION = make_genesis(20)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=60), st.integers(0, 10**6))
def test_a_flipped_bit_in_a_sealed_value_is_found(key: bytes, body: bytes, flip: int) -> None:
    value = formats.seal("blocks", key, body[:7], body[7:])
    assert formats.unseal("blocks", key, value) == body
    at = flip % (8 * len(value))
    damaged = bytearray(value)
    damaged[at // 8] ^= 1 << at % 8
    with pytest.raises(errors.CorruptionError, match=f"column family blocks at key {key.hex()}"):
        formats.unseal("blocks", key, bytes(damaged))
    with pytest.raises(errors.CorruptionError):
        formats.unseal("headers", key, value)
    with pytest.raises(errors.CorruptionError):
        formats.unseal("blocks", key + b"x", value)


def test_columns_whose_length_does_not_fit_their_count_are_corrupt() -> None:
    columns = np.ones((3, 32), np.uint8), np.arange(3, dtype=np.uint64), np.arange(3, dtype=np.uint64)
    page = formats.encode_page(of_accounts(*columns))
    delta = Delta.of_accounts(AccountStates(4, *columns), 5, b"h" * 32, b"r" * 32, NO_IDS)
    encoded = b"".join(formats.delta_parts(delta))
    back = formats.decode_delta(encoded)
    assert (back.height, back.time_ms, back.hash, back.state_root) == (4, 5, b"h" * 32, b"r" * 32)
    for got, wanted in zip(formats.decode_page(0, page), columns, strict=False):
        assert np.array_equal(np.asarray(got), np.asarray(wanted))
    for cut in range(len(page)):
        with pytest.raises(errors.CorruptionError):
            formats.decode_page(0, page[:cut])
    for cut in range(len(encoded)):
        with pytest.raises(errors.CorruptionError):
            formats.decode_delta(encoded[:cut])


def test_another_networks_directory_is_refused_naming_both_chains(tmp_path: Path) -> None:
    open_chain(tmp_path, GENESIS, ALLOCATION).disk.close()
    other, allocation = make_genesis(20, network="other")
    with pytest.raises(errors.WrongNetworkError) as caught:
        open_chain(tmp_path, other, allocation)
    assert GENESIS.hash().hex() in str(caught.value)
    assert other.hash().hex() in str(caught.value)
    open_chain(tmp_path, GENESIS, ALLOCATION).disk.close()


def test_a_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_chain(tmp_path, GENESIS, ALLOCATION).disk.close()
    monkeypatch.setattr(disk_module, "SCHEMA_VERSION", formats.SCHEMA_VERSION - 1)
    with pytest.raises(errors.SchemaError, match="schema version 2, this version reads 1"):
        open_chain(tmp_path, GENESIS, ALLOCATION)


def test_a_directory_of_schema_1_is_brought_forward_and_keeps_its_chain(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    hashes = Driver(chain, 20).run(3)
    batch = chain.disk.batch()
    batch.put("meta", b"network", formats.encode_network(GENESIS.hash(), GENESIS.network, 1))
    batch.write(sync=True)
    chain.disk.close()
    reading = Disk(tmp_path, read_only=True)
    assert reading.require_network(GENESIS.hash(), GENESIS.network)
    reading.close()
    for _ in range(2):
        chain = open_chain(tmp_path, GENESIS, ALLOCATION)
        assert (
            formats.decode_network(present(chain.disk.get("meta", b"network")))[0] == formats.SCHEMA_VERSION
        )
        assert chain.head.hash == hashes[-1]
        chain.disk.close()


def test_an_allocation_that_is_not_the_genesis_is_refused(tmp_path: Path) -> None:
    for wrong, field in (
        (Allocation(ALLOCATION.keys[:19], ALLOCATION.balances[:19]), "accounts"),
        (Allocation(ALLOCATION.keys, ALLOCATION.balances + np.uint64(1)), "supply"),
        (Allocation(ALLOCATION.keys[::-1] ^ np.uint8(1), ALLOCATION.balances), "state_root"),
    ):
        with pytest.raises(errors.AllocationError, match=field):
            open_chain(tmp_path, GENESIS, wrong)
    open_chain(tmp_path, GENESIS, ALLOCATION).disk.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    pauses = []
    with pytest.raises(errors.DirectoryInUseError, match="in use by process"):
        wait_for(3, lambda: pauses.append(1), lambda: Disk(tmp_path))
    assert len(pauses) == 2
    code = "import sys, pathlib; from actors.storage.disk import Disk; Disk(pathlib.Path(sys.argv[1]))"
    child = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "DirectoryInUseError" in child.stderr
    opened = wait_for(2, disk.close, lambda: Disk(tmp_path))
    opened.close()
    opened.close()


@pytest.mark.parametrize("family", ["headers", "blocks", "receipts", "certificates"])
def test_damage_in_a_block_is_named_by_the_audit(tmp_path: Path, family: str) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    Driver(chain, 20).run(3)
    key = formats.height_key(2)
    body = bytearray(present(chain.disk.get(family, key)))
    body[-1] ^= 1
    raw = chain.disk._families[family]
    raw[key] = bytes(body) + raw[key][-4:]
    audit = Reader(chain).audit()
    assert audit.blocks_checked == 1
    assert family in audit.problem
    assert key.hex() in audit.problem
    chain.disk.close()


@pytest.mark.parametrize(("family", "number"), [("accounts", 0), ("deltas", 2)])
def test_damage_in_the_state_stops_recovery_and_is_named(tmp_path: Path, family: str, number: int) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    Driver(chain, 20).run(3)
    key = formats.height_key(number)
    raw = chain.disk._families[family]
    raw[key] = raw[key][:-9] + b"\x01" + raw[key][-8:]
    chain.disk.close()
    with pytest.raises(errors.CorruptionError, match=f"{family} at key {key.hex()}"):
        open_chain(tmp_path, GENESIS, ALLOCATION)
    disk = Disk(tmp_path)
    batch = disk.batch()
    batch.delete(family, key)
    batch.write(sync=True)
    disk.close()
    with pytest.raises(errors.CorruptionError, match=f"{family} at key {key.hex()}"):
        open_chain(tmp_path, GENESIS, ALLOCATION)


def test_a_state_that_does_not_hash_to_the_header_stops_recovery(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    Driver(chain, 20).run(1)
    key = formats.height_key(1)
    delta = formats.decode_delta(present(chain.disk.get("deltas", key)))
    wrong = msgspec.structs.replace(delta, values=delta.values ^ np.uint8(1))
    batch = chain.disk.batch()
    batch.put("deltas", key, *formats.delta_parts(wrong))
    batch.write(sync=True)
    chain.disk.close()
    with pytest.raises(errors.CorruptionError, match="state root"):
        open_chain(tmp_path, GENESIS, ALLOCATION)


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(errors.StaleEpochError(3, 4)))
    assert (type(error), str(error)) == (
        errors.StaleEpochError,
        "epoch 3 is fenced off: the current epoch is 4",
    )


def test_a_scan_that_cannot_read_on_says_so(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    batch = disk.batch()
    for number in range(2000):
        batch.put("receipts", formats.height_key(number), number.to_bytes(100, "little"))
    batch.write(sync=True)
    disk.close()
    (table,) = (tmp_path / "rocksdb").glob("*.sst")
    damaged = bytearray(table.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    table.write_bytes(damaged)
    disk = Disk(tmp_path)
    for scan in (disk.scan, disk.keys):
        with pytest.raises(errors.CorruptionError, match=f"(?s)receipts.*{table.name} offset"):
            list(scan("receipts"))
    disk.close()


def test_a_database_of_many_files_holds_few_of_them_open(tmp_path: Path) -> None:
    disk = Disk(tmp_path, files_open_max=64)
    written = {
        (family, formats.height_key(number)): bytes([number]) * disk_module.BLOB_BYTES_MIN
        for number in range(40)
        for family in ("blocks", "receipts", "deltas")
    }
    for (family, key), value in written.items():
        batch = disk.batch()
        batch.put(family, key, value)
        batch.write(sync=False)
        disk._families[family].flush()
    assert sum(path.suffix in (".sst", ".blob") for path in (tmp_path / "rocksdb").iterdir()) > 128
    disk.close()  # which ends what compactions hold open
    disk = Disk(tmp_path, files_open_max=64)
    for (family, key), value in written.items():
        assert disk.get(family, key) == value
    held = [Path(file.path) for file in psutil.Process().open_files()]
    assert sum(tmp_path in path.parents and path.suffix in (".sst", ".blob") for path in held) <= 64
    disk.close()


def test_a_synced_write_is_written_then_synced_by_the_call_that_lets_other_threads_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Recorder:
        def __init__(self, database: Rdict) -> None:
            self.database = database
            self.calls: list[tuple[object, ...]] = []

        def write(self, batch: WriteBatch, *how: object) -> None:
            self.calls.append(("write", *how))
            self.database.write(batch)

        def flush_wal(self, sync: bool) -> None:
            self.calls.append(("flush_wal", sync))
            self.database.flush_wal(sync)

    disk = Disk(tmp_path)
    recorder = Recorder(disk._db)
    monkeypatch.setattr(disk, "_database", lambda: recorder)
    for sync in (False, True):
        batch = disk.batch()
        batch.put("meta", b"key", b"value")
        batch.write(sync)
    assert recorder.calls == [("write",), ("write",), ("flush_wal", True)]
    disk.close()


def test_a_copy_of_an_open_directory_is_whole_and_stays_as_it_was(tmp_path: Path) -> None:
    chain = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    driver = Driver(chain, 20)
    driver.run(3)
    copy = tmp_path / "db.copy"
    for _ in range(2):  # the second takes the place of the first
        chain.disk.copy(copy)
    driver.run(2)
    read = Disk(copy, read_only=True)
    try:
        assert formats.decode_head(read.get("meta", b"head") or b"").height == 3
        with pytest.raises(errors.DirectoryInUseError):
            chain.disk.copy(copy)
    finally:
        read.close()
    chain.disk.close()
