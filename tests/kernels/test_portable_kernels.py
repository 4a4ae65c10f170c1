"""The portable kernels against hashlib and PyNaCl, one row at a time."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from actors.kernels import portable
from actors.kernels.interface import ShapeError
from actors.kernels.selection import select


def row_table(rows: int, seed: int) -> np.ndarray:
    """Rows of 208 bytes as the ledger lays them out, each correctly signed."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (rows, 208), dtype=np.uint8)
    for row in table:
        key = SigningKey(rng.bytes(32))
        row[48:80] = np.frombuffer(bytes(key.verify_key), np.uint8)
        row[144:] = np.frombuffer(key.sign(row[:144].tobytes()).signature, np.uint8)
    return table


@given(st.integers(0, 20), st.integers(0, 200), st.binary(max_size=40), st.integers(0, 2**32))
def test_hash_equals_hashlib(rows: int, width: int, prefix: bytes, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 256, (rows, width + 7), dtype=np.uint8)
    messages = table[:, 3 : 3 + width]
    expected = [hashlib.sha256(prefix + row.tobytes()).digest() for row in messages]
    assert [digest.tobytes() for digest in portable.sha256_rows(messages, prefix)] == expected


def test_verify_accepts_signed_rows_and_rejects_any_flipped_bit() -> None:
    table = row_table(24, 1)
    keys, signatures, messages = table[:, 48:80], table[:, 144:], table[:, :144]
    assert portable.verify(keys, signatures, messages).all()
    rng = np.random.default_rng(2)
    for i in range(0, 24, 2):
        table[i, rng.integers(208)] ^= 1 << rng.integers(8)
    assert portable.verify(keys, signatures, messages).tolist() == [False, True] * 12


def test_verify_through_the_copying_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    table = row_table(4, 3)
    table[1, 100] ^= 1
    table[2, 150] ^= 1
    monkeypatch.setattr(portable, "_verify_one", portable._open_copy)
    verdicts = portable.verify(table[:, 48:80], table[:, 144:], table[:, :144])
    assert verdicts.tolist() == [True, False, False, True]


def test_empty_columns() -> None:
    table = np.empty((0, 208), np.uint8)
    assert portable.verify(table[:, 48:80], table[:, 144:], table[:, :144]).shape == (0,)
    assert portable.sha256_rows(table).shape == (0, 32)


def test_bytes_of_a_row_that_are_not_side_by_side_are_copied() -> None:
    table = np.random.default_rng(4).integers(0, 256, (65, 9), dtype=np.uint8)
    assert (portable.sha256_rows(table.T) == portable.sha256_rows(np.ascontiguousarray(table.T))).all()


@pytest.mark.parametrize(
    ("keys", "signatures", "messages", "name"),
    [
        (np.zeros((2, 31), np.uint8), np.zeros((2, 64), np.uint8), np.zeros((2, 144), np.uint8), "keys"),
        (
            np.zeros((2, 32), np.uint8),
            np.zeros((3, 64), np.uint8),
            np.zeros((2, 144), np.uint8),
            "signatures",
        ),
        (np.zeros((2, 32), np.uint8), np.zeros((2, 64), np.uint8), np.zeros((2, 144), np.int8), "messages"),
        (
            np.zeros((1, 32), np.uint8),
            np.zeros((1, 64), np.uint8),
            np.zeros((1, 2**20 + 1), np.uint8),
            "messages",
        ),
    ],
)
def test_columns_of_the_wrong_shape_are_named(
    keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray, name: str
) -> None:
    with pytest.raises(ShapeError, match=name):
        portable.verify(keys, signatures, messages)


def test_hash_refuses_rows_over_the_limit() -> None:
    with pytest.raises(ShapeError, match="1048577"):
        portable.sha256_rows(np.zeros((1, 2**20), np.uint8), b"\0")


def test_select_portable_by_configuration() -> None:
    kernels = select("portable")
    assert (kernels.name, kernels.reason) == ("portable", "")


def test_select_refuses_an_unknown_choice() -> None:
    with pytest.raises(ValueError, match="fastest"):
        select("fastest")  # type: ignore[arg-type]
