"""SipHash-1-3 of 32-byte keys, compiled: where a table's search for a key that a stranger chose begins.

Rules
1. Every table that strangers fill and that probes on a collision is keyed by this function with 128 bits that
   the owning process draws at its start, gives to nobody and never logs.
2. The key decides where in memory an entry lies and nothing else: no result depends on it.

Source: J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF" (2012); with one round a word
and three at the end, as the tables of Rust, Ruby and CPython use it. Linear probing keeps its bounds only if
more than pairwise independence holds (M. Patrascu and M. Thorup, 2010), which is why this is a pseudo-random
function and not one of the cheaper universal hashes (multilinear.py has one, for tables without probing).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U64_MAX = 2**64 - 1
_INITIAL = tuple(
    np.uint64(word)
    for word in (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
)
_V0, _V1, _V2, _V3 = _INITIAL
_LENGTH = np.uint64(32 << 56)  # the last word: no bytes left over, and the message's length on top
_FINAL = np.uint64(0xFF)


@njit(cache=True, inline="always")
def _rotate(word, bits):  # type: ignore[no-untyped-def]
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))


@njit(cache=True, inline="always")
def _round(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    v0 += v1
    v2 += v3
    v1 = _rotate(v1, 13) ^ v0
    v3 = _rotate(v3, 16) ^ v2
    v0 = _rotate(v0, 32) + v3
    v2 += v1
    v3 = _rotate(v3, 21) ^ v0
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


@njit(cache=True, inline="always")
def siphash(hash_key, k0, k1, k2, k3):  # type: ignore[no-untyped-def]
    """uint64 hash of the 32 bytes in four little-endian words. hash_key: (2,) uint64."""
    v0, v1 = hash_key[0] ^ _V0, hash_key[1] ^ _V1
    v2, v3 = hash_key[0] ^ _V2, hash_key[1] ^ _V3
    for word in (k0, k1, k2, k3, _LENGTH):
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= _FINAL
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@njit(cache=True, nogil=True)
def siphash_rows(hash_key, words, out):  # type: ignore[no-untyped-def]
    """out[i] = siphash of words[i], (n, 4) uint64."""
    for i in range(len(words)):
        out[i] = siphash(hash_key, words[i, 0], words[i, 1], words[i, 2], words[i, 3])


def hash_key_of(seed: int) -> NDArray[np.uint64]:
    """(2,) uint64: the key made of the lowest 128 bits of a seed."""
    return np.array([seed & _U64_MAX, seed >> 64 & _U64_MAX], dtype=np.uint64)
