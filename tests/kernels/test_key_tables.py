"""Keys that have tables: who earns them, what bounds them, and that verdicts stay libsodium's."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from actors.kernels import key_tables, portable
from actors.kernels.cases import Cases
from actors.kernels.key_tables import TABLE_BYTES, WAYS, KeyTables
from actors.kernels.verifier import CompiledVerifier
from bench.fuzz import fuzz_signatures
from tests.kernels.conftest import Make

IDENTITY = np.array([1, 0, 0], np.uint64)


def keys(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64 - 1, (count, 4), dtype=np.uint64)


def columns(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return table[:, 48:80], table[:, 144:], table[:, :144]


@pytest.fixture
def keyed(make: Make) -> CompiledVerifier:
    return make(tables_bytes_max=1 << 20, seed=5)


def signed(rows: int, signers: int, seed: int) -> np.ndarray:
    import nacl.bindings

    rng = np.random.default_rng(seed)
    pairs = [nacl.bindings.crypto_sign_seed_keypair(rng.bytes(32)) for _ in range(signers)]
    table = rng.integers(0, 256, (rows, 208), dtype=np.uint8)
    for i, row in enumerate(table):
        public, secret = pairs[i % signers]
        row[48:80] = np.frombuffer(public, np.uint8)
        row[144:] = np.frombuffer(nacl.bindings.crypto_sign(row[:144].tobytes(), secret)[:64], np.uint8)
    return table


def test_a_key_earns_a_table_at_its_second_sighting() -> None:
    tables = KeyTables(64 * WAYS * TABLE_BYTES, 1, IDENTITY)
    words = keys(10)
    assert len(tables.earned(words)) == 0
    numbers = tables.earned(words[:4])
    assert len(numbers) > 0
    assert set(numbers.tolist()) <= {0, 1, 2, 3}
    addresses = tables.give(words[numbers])
    assert len(set(addresses.tolist())) == len(numbers)
    assert (addresses % 64 == 0).all()
    found, at = tables.find(words)
    given_at = dict(zip(numbers.tolist(), addresses.tolist(), strict=True))
    assert dict(zip(np.flatnonzero(found).tolist(), at.tolist(), strict=True)) == given_at


def test_a_key_twice_in_one_batch_is_named_once() -> None:
    tables = KeyTables(64 * WAYS * TABLE_BYTES, 1, IDENTITY)
    words = np.repeat(keys(1), 5, axis=0)
    assert len(tables.earned(words)) == 1


def test_the_longest_unused_key_leaves_and_memory_stays_within_its_bound() -> None:
    tables = KeyTables(WAYS * TABLE_BYTES, 1, IDENTITY)
    words = keys(WAYS + 1)
    for word in words[:WAYS]:
        tables.find(word[None])
        tables.give(word[None])
    for word in words[1:WAYS]:
        tables.find(word[None])
    tables.give(words[WAYS:])
    found, _ = tables.find(words)
    assert found.tolist() == [False] + [True] * WAYS
    assert tables.held() == tables.places == WAYS


def test_keys_that_take_turns_do_not_drive_each_other_out() -> None:
    tables = KeyTables(8 * WAYS * TABLE_BYTES, 1, IDENTITY)
    made, hits = 0, 0
    turns, words = 20, keys(4 * tables.places)
    for turn in range(turns):
        for start in range(0, len(words), 16):
            batch = words[start : start + 16]
            found, _ = tables.find(batch)
            others = batch[~found]
            given = others[tables.earned(others)]
            tables.give(given)
            made += len(given)
            hits += int(found.sum()) if turn >= turns // 2 else 0
    assert made <= 2 * tables.places
    assert hits >= turns // 2 * tables.places * 3 // 4


def test_a_key_in_use_takes_the_place_of_one_that_is_not_any_more() -> None:
    tables = KeyTables(WAYS * TABLE_BYTES, 1, IDENTITY)
    old, new = keys(WAYS), keys(1, seed=9)
    for word in old:
        tables.find(word[None])
        tables.give(word[None])
    named = []
    for _ in range(3):
        assert not tables.find(new)[0].any()
        named.append(len(tables.earned(new)))
    assert named == [0, 1, 1]
    tables.find(old)
    assert len(tables.earned(new)) == 0, "the holders were used since"


def test_a_key_of_zeros_is_not_found_in_an_empty_place() -> None:
    tables = KeyTables(64 * WAYS * TABLE_BYTES, 1, IDENTITY)
    assert not tables.find(np.zeros((3, 4), np.uint64))[0].any()
    tables.find(keys(1))
    assert not tables.find(np.zeros((3, 4), np.uint64))[0].any()


def test_no_memory_means_no_tables() -> None:
    tables = KeyTables(WAYS * TABLE_BYTES - 1, 1, IDENTITY)
    assert tables.places == 0
    assert not tables.find(keys(3))[0].any()
    assert len(tables.earned(np.repeat(keys(3), 2, axis=0))) == 0


def test_tables_made_in_a_batch_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_tables, "MADE_MAX", 7)
    tables = KeyTables(256 * WAYS * TABLE_BYTES, 1, IDENTITY)
    assert len(tables.earned(np.repeat(keys(100), 2, axis=0))) == 7


def test_verdicts_with_tables_are_libsodiums(keyed: CompiledVerifier) -> None:
    good = signed(130, 33, 1)
    for _ in range(4):
        assert keyed.verify(*columns(good)).all()
    assert keyed.statistics()["key_tables_made"] == 33
    bad = good.copy()
    rng = np.random.default_rng(2)
    for row in bad[::3]:
        row[rng.choice([*range(48), *range(80, 208)])] ^= 1 << rng.integers(8)
    before = keyed.statistics()["signatures_keyed"]
    expected = portable.verify(*columns(bad))
    for rows in (1, 7, 8, 9, 17, 129, 130):
        assert np.array_equal(keyed.verify(*columns(bad[:rows])), expected[:rows]), rows
    assert keyed.statistics()["signatures_keyed"] == before + 1 + 7 + 8 + 9 + 17 + 129 + 130


def test_every_kind_of_case_with_keys_that_come_again(keyed: CompiledVerifier) -> None:
    """Mixed-order keys verify without a cofactor now and then, and so earn tables as well."""
    report = fuzz_signatures(0.04, 21, lambda *_: None, keyed.verify)
    assert report["disagreements"] == 0, report
    assert keyed.statistics()["key_tables_made"] > 0  # the machine may be busy


def test_mixed_order_keys_with_tables(keyed: CompiledVerifier) -> None:
    cases = Cases(22)
    for _ in range(6):
        table = np.zeros((600, 208), np.uint8)
        table[:, :8] = cases.rng.integers(0, 256, (600, 8))
        for row in table:
            cases.mixed_order(row)
        assert np.array_equal(keyed.verify(*columns(table)), portable.verify(*columns(table)))
    assert keyed.statistics()["signatures_keyed"] > 200


def test_keys_that_come_and_go_under_a_small_bound(make: Make) -> None:
    small = make(tables_bytes_max=2 * WAYS * TABLE_BYTES, seed=6)
    table = signed(120, 40, 3)
    for start in range(0, 120, 24):
        part = table[start : start + 24]
        for _ in range(4):
            assert small.verify(*columns(part)).all()
    assert small.statistics()["key_tables_made"] > 2 * WAYS


def test_threads_share_tables_while_they_change(make: Make) -> None:
    shared = make(tables_bytes_max=3 * WAYS * TABLE_BYTES, seed=7)
    tables = [signed(64, 16, seed) for seed in (4, 5, 6)]
    for table in tables:
        table[5, 150] ^= 1
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(30):
            verdicts = shared.verify(*columns(tables[number]))
            if verdicts.sum() != 63 or verdicts[5]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
