"""The compiled verifications against libsodium and the plain reference, on every kind of case and in every
lane."""

from __future__ import annotations

import ctypes
import mmap
import threading

import numpy as np
import pytest

from actors.kernels import portable, reference
from actors.kernels.cases import MAKERS, Cases
from actors.kernels.interface import ShapeError
from actors.kernels.verifier import CompiledVerifier
from bench.fuzz import DISAGREEMENTS_MAX, fuzz_signatures


def columns(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return table[:, 48:80], table[:, 144:], table[:, :144]


def test_every_kind_of_case_has_libsodiums_verdict(verifier: CompiledVerifier) -> None:
    told: list[int] = []
    report = fuzz_signatures(0.05, 11, lambda cases, _: told.append(cases), verifier.verify)
    assert report["disagreements"] == 0, report
    assert report["rows"] == []
    by_kind = report["by_kind"]
    assert isinstance(by_kind, dict)
    assert all(counts["cases"] > 20 for counts in by_kind.values())
    assert told[-1] == report["cases"]


def test_the_fuzzer_sees_a_kernel_that_errs(verifier: CompiledVerifier) -> None:
    """A kernel with a cofactor would accept more mixed-order signatures; one that errs must be reported."""

    def lenient(keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
        return verifier.verify(keys, signatures, messages) | (signatures[:, 0] < 64)

    report = fuzz_signatures(0, 12, lambda *_: None, lenient, rows_max=600, clock=lambda: 0.0)
    rows = report["rows"]
    assert isinstance(rows, list)
    assert 0 < len(rows) <= DISAGREEMENTS_MAX
    assert bytes.fromhex(rows[0])[144] < 64


def test_reference_has_libsodiums_verdict_too() -> None:
    table, kinds = Cases(13).batch(60)
    expected = portable.verify(*columns(table))
    for row, kind, verdict in zip(table, kinds, expected.tolist(), strict=True):
        parts = row[48:80].tobytes(), row[144:].tobytes(), row[:144].tobytes()
        assert reference.verify(*parts) == verdict, kind


def test_mixed_order_signatures_are_judged_without_a_cofactor(verifier: CompiledVerifier) -> None:
    """Every torsion of key and R: some of each must be valid, and exactly those that libsodium accepts."""
    cases = Cases(14)
    table = np.zeros((256, 208), np.uint8)
    table[:, 0] = np.arange(256)
    for row in table:
        cases.mixed_order(row)
    expected = portable.verify(*columns(table))
    assert 10 < expected.sum() < 200
    assert np.array_equal(verifier.verify(*columns(table)), expected)


def test_one_bad_row_in_any_lane_is_found_alone(verifier: CompiledVerifier) -> None:
    cases = Cases(15)
    good = np.zeros((16, 208), np.uint8)
    for row in good:
        cases.sign(row)
    makers = list(MAKERS.values())
    for lane in range(16):
        table = good.copy()
        makers[lane % len(makers)](cases, table[lane])
        expected = portable.verify(*columns(table))
        assert np.array_equal(verifier.verify(*columns(table)), expected), lane
        assert expected.sum() >= 15


def test_batches_of_every_length_around_a_chunk(verifier: CompiledVerifier) -> None:
    """Chunks hold 128 rows; the last pair and the last lane group may be short."""
    table, _ = Cases(16).batch(290)
    expected = portable.verify(*columns(table))
    for rows in [*range(1, 34), 127, 128, 129, 136, 137, 255, 256, 257, 290]:
        assert np.array_equal(verifier.verify(*columns(table[:rows])), expected[:rows]), rows
    assert verifier.verify(*columns(table[:0])).shape == (0,)


def test_a_batch_longer_than_usual(verifier: CompiledVerifier) -> None:
    """More rows than the buffers kept for a thread hold."""
    table, _ = Cases(23).batch(100)
    expected = portable.verify(*columns(table))
    long = np.tile(table, (42, 1))[:4150]
    assert np.array_equal(verifier.verify(*columns(long)), np.tile(expected, 42)[:4150])


@pytest.mark.parametrize("message_bytes", [0, 1, 47, 48, 63, 64, 111, 112, 127, 128, 175, 176, 177, 1000])
def test_messages_of_other_lengths(verifier: CompiledVerifier, message_bytes: int) -> None:
    import nacl.bindings

    rng = np.random.default_rng(message_bytes)
    messages = rng.integers(0, 256, (9, message_bytes), dtype=np.uint8)
    public, secret = nacl.bindings.crypto_sign_seed_keypair(rng.bytes(32))
    signatures = np.empty((9, 64), np.uint8)
    for signature, message in zip(signatures, messages, strict=True):
        signature[:] = np.frombuffer(nacl.bindings.crypto_sign(message.tobytes(), secret)[:64], np.uint8)
    signatures[4, 7] ^= 1
    keys = np.broadcast_to(np.frombuffer(public, np.uint8), (9, 32))
    assert verifier.verify(keys, signatures, messages).tolist() == [True] * 4 + [False] + [True] * 4


def test_no_byte_outside_the_rows_is_touched(verifier: CompiledVerifier) -> None:
    """The rows end where a page begins that may not be read."""
    area = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for page in (0, 2):  # protection 0 is PROT_NONE
        assert protect(start + page * mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    made, _ = Cases(17).batch(19)
    for at in (0, mmap.PAGESIZE - made.size):
        table = np.frombuffer(area, np.uint8, made.size, mmap.PAGESIZE + at).reshape(19, 208)
        table[:] = made
        assert np.array_equal(verifier.verify(*columns(table)), portable.verify(*columns(made)))


def test_threads_do_not_share_scratch_memory(verifier: CompiledVerifier) -> None:
    tables = [Cases(seed).batch(150)[0] for seed in (18, 19, 20)]
    expected = [portable.verify(*columns(table)) for table in tables]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            if not np.array_equal(verifier.verify(*columns(tables[number])), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_columns_of_the_wrong_shape_are_refused(verifier: CompiledVerifier) -> None:
    with pytest.raises(ShapeError, match="signatures"):
        verifier.verify(
            np.zeros((2, 32), np.uint8), np.zeros((1, 64), np.uint8), np.zeros((2, 144), np.uint8)
        )
