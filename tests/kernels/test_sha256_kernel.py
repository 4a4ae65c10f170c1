"""Every compiled SHA-256 against hashlib, on every length around a block's end and at page borders."""

from __future__ import annotations

import ctypes
import hashlib
import mmap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernels import portable, sha256
from actors.kernels.interface import Hasher, ShapeError


def test_constants_are_those_of_the_standard() -> None:
    assert sha256.ROUND_CONSTANTS[0] == 0x428A2F98
    assert sha256.ROUND_CONSTANTS[63] == 0xC67178F2
    assert sha256.INITIAL_STATE[0] == 0x6A09E667
    assert sha256.INITIAL_STATE[7] == 0x5BE0CD19


def test_every_length_to_three_blocks(hasher: Hasher) -> None:
    rng = np.random.default_rng(1)
    for width in range(193):
        messages = rng.integers(0, 256, (17, width), dtype=np.uint8)
        assert np.array_equal(hasher(messages), portable.sha256_rows(messages)), width


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(0, 300), st.binary(max_size=130), st.integers(0, 2**32))
def test_strided_rows_and_prefixes(hasher: Hasher, rows: int, width: int, prefix: bytes, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 256, (rows, width + 9), dtype=np.uint8)
    messages = table[:, 4 : 4 + width]
    expected = [hashlib.sha256(prefix + row.tobytes()).digest() for row in messages]
    assert [digest.tobytes() for digest in hasher(messages, prefix)] == expected


def test_no_byte_outside_the_rows_is_touched(hasher: Hasher) -> None:
    """The rows fill a page between two that may not be read, where a stray access ends the process."""
    area = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for number in (0, 2):  # protection 0 is PROT_NONE
        assert protect(start + number * mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    page = np.frombuffer(area, np.uint8, mmap.PAGESIZE, mmap.PAGESIZE)
    page[:] = np.arange(mmap.PAGESIZE) % 251
    for width in (8, 16, 64, 128):
        table = page.reshape(-1, width)
        assert np.array_equal(hasher(table, b"\1"), portable.sha256_rows(table, b"\1"))


def test_negative_and_zero_strides(hasher: Hasher) -> None:
    table = np.random.default_rng(5).integers(0, 256, (20, 33), dtype=np.uint8)
    assert np.array_equal(hasher(table[::-1]), portable.sha256_rows(table[::-1]))
    same = np.broadcast_to(table[0], (20, 33))
    assert np.array_equal(hasher(same), portable.sha256_rows(same))


def test_shapes_are_checked_before_any_address_is_used(hasher: Hasher) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        hasher(np.zeros((4, 4), np.uint16))
    with pytest.raises(ShapeError, match="exceed"):
        hasher(np.zeros((1, 2**20), np.uint8), b"\0")
