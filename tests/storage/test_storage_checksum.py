"""The folding CRC-32 equals zlib's on every length around its steps, and gives way where it cannot fold."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from actors.storage import checksum
from actors.storage.checksum import FOLDED_BYTES_MIN, STEP_BYTES, crc32


@pytest.fixture(params=["folding", "zlib alone"])
def way(request, monkeypatch):
    if request.param == "folding" and not checksum.available():
        pytest.skip("this CPU has no carry-less multiplication")
    if request.param == "zlib alone":
        monkeypatch.setattr(checksum, "available", lambda: False)


def test_every_length_around_a_step(way, monkeypatch):
    monkeypatch.setattr(checksum, "FOLDED_BYTES_MIN", STEP_BYTES)
    data = np.random.default_rng(1).bytes(5 * STEP_BYTES)
    for size in range(len(data) + 1):
        for begin in (0, 1, 7):
            part = memoryview(data)[begin:size]
            assert crc32(part, 12345) == zlib.crc32(part, 12345)


def test_large_values_of_every_kind_of_buffer(way):
    rng = np.random.default_rng(2)
    for size in (FOLDED_BYTES_MIN - 1, FOLDED_BYTES_MIN, 1_000_003):
        column = rng.integers(0, 256, size, dtype=np.uint8)
        for value in (0, 1, 2**32 - 1, int(rng.integers(2**32))):
            wanted = zlib.crc32(column, value)
            assert crc32(column.tobytes(), value) == crc32(memoryview(column), value) == wanted
    words = rng.integers(0, 2**63, (500, 13), dtype=np.uint64)
    assert crc32(memoryview(words)) == zlib.crc32(words)


def test_parts_one_after_the_other_are_the_whole(way):
    data = np.random.default_rng(3).bytes(300_000)
    for cut in (0, 5, 40_000, 150_001, 300_000):
        assert crc32(data[cut:], crc32(data[:cut])) == zlib.crc32(data)


def test_a_processor_that_cannot_fold_is_found_out(monkeypatch):
    monkeypatch.setattr(checksum.binding, "get_host_cpu_features", lambda: {"avx2": True})
    assert not checksum.available.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setattr(checksum, "_fold", lambda *_: None)
    assert not checksum.available.__wrapped__()
