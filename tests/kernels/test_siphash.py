"""SipHash against its paper, CPython and a plain twin; the multilinear hash against its definition."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kernels.multilinear import MultilinearHash, scaled
from actors.kernels.siphash import hash_key_of, siphash_rows

U64 = 2**64 - 1
words = st.integers(0, U64)


def siphash_plain(key: tuple[int, int], message: bytes, rounds: int, last_rounds: int) -> int:
    """SipHash-c-d as section 2 of the paper says it."""
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D]
    v += [key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & U64

    def sip_round() -> None:
        for a, b, bits in ((0, 1, 13), (2, 3, 16)):
            v[a] = (v[a] + v[b]) & U64
            v[b] = rotate(v[b], bits) ^ v[a]
        v[0] = rotate(v[0], 32)
        for a, b, bits in ((2, 1, 17), (0, 3, 21)):
            v[a] = (v[a] + v[b]) & U64
            v[b] = rotate(v[b], bits) ^ v[a]
        v[2] = rotate(v[2], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        for _ in range(rounds):
            sip_round()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(last_rounds):
        sip_round()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def compiled(key: int, message: bytes) -> int:
    out = np.empty(1, dtype=np.uint64)
    siphash_rows(hash_key_of(key), np.frombuffer(message, dtype=np.uint64).reshape(1, 4), out)
    return int(out[0])


def test_the_plain_twin_gives_the_papers_vector() -> None:
    """Appendix A: SipHash-2-4 of the bytes 0 .. 14 under the key 0 .. 15."""
    key = struct.unpack("<QQ", bytes(range(16)))
    assert siphash_plain(key, bytes(range(15)), 2, 4) == 0xA129CA6149BE45E5


@pytest.mark.parametrize("seed", [0, 1, 4242])
def test_the_compiled_hash_is_cpythons(seed: int) -> None:
    """CPython hashes bytes by SipHash-1-3; Python/bootstrap_hash.c makes its key of PYTHONHASHSEED."""
    if sys.hash_info.algorithm != "siphash13":
        pytest.skip(f"this CPython hashes by {sys.hash_info.algorithm}")
    state, secret = seed, bytearray()
    while len(secret) < 16:
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        secret.append(state >> 16 & 255)
    key = int.from_bytes(secret if seed else bytes(16), "little")
    messages = [bytes([n, *range(31)]) for n in range(16)]
    code = f"print([hash(m) for m in {messages!r}])"
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert [compiled(key, message) for message in messages] == [hashed & U64 for hashed in eval(run.stdout)]


@given(st.integers(0, 2**128 - 1), st.binary(min_size=32, max_size=32))
def test_the_compiled_hash_is_the_plain_one(key: int, message: bytes) -> None:
    assert compiled(key, message) == siphash_plain((key & U64, key >> 64), message, 1, 3)


@given(
    st.integers(0, 2**128 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=20),
    st.integers(1, 9_999),
)
def test_the_multilinear_hash_is_its_definition(seed: int, values: list[bytes], size: int) -> None:
    secret = hashlib.shake_256(seed.to_bytes(16, "little")).digest(72)
    addend, *multipliers = struct.unpack("<9Q", secret)
    hashes = MultilinearHash(seed)(np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, 32))
    expected = []
    for value in values:
        characters = struct.unpack("<8I", value)
        sums = addend + sum(m * c for m, c in zip(multipliers, characters, strict=True))
        expected.append((sums & U64) >> 32)
    assert hashes.tolist() == expected
    assert scaled(hashes, size).tolist() == [hashed * size >> 32 for hashed in expected]
