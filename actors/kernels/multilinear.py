"""A strongly universal hash of 32-byte values with NumPy alone, for caches and filters that strangers fill.

For any two different values chosen without sight of the multipliers, the upper 32 bits of their hashes are
independent and uniform, so each pair meets in a set of n with chance 1/n, whatever the values are: enough for
tables of fixed sets, where a collision costs one entry or one comparison. Tables that probe need more: see
siphash.py. Only the upper 32 bits carry this promise.

Source: D. Lemire and O. Kaser, "Strongly universal string hashing is fast" (2014), MULTILINEAR over
characters of 32 bits with sums modulo 2^64.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 32
_CHARACTERS = 8


class MultilinearHash:
    """(n,) uint32 hashes of (n, 32) values. seed: 128 bits that strangers do not know; never logged."""

    __slots__ = ("_addend", "_multipliers")

    def __init__(self, seed: int) -> None:
        secret = hashlib.shake_256((seed & (2**128 - 1)).to_bytes(16, "little")).digest(8 * (_CHARACTERS + 1))
        words = np.frombuffer(secret, dtype=np.uint64)
        self._addend, self._multipliers = words[0], words[1:].copy()

    def __call__(self, values: NDArray[np.uint8] | NDArray[np.uint64]) -> NDArray[np.uint32]:
        """Hashes of (n, 32) uint8 values, or of the same bytes as (n, 4) uint64 words."""
        characters = np.ascontiguousarray(values).view(np.uint32).reshape(-1, _CHARACTERS)
        sums = characters.astype(np.uint64) @ self._multipliers + self._addend
        hashes: NDArray[np.uint32] = (sums >> np.uint64(HASH_BITS)).astype(np.uint32)
        return hashes


def scaled(hashes: NDArray[np.uint32], size: int) -> NDArray[np.int64]:
    """(n,) places 0..size-1, each as likely, of hashes; size up to 2^32."""
    return (hashes.astype(np.uint64) * np.uint64(size) >> np.uint64(HASH_BITS)).astype(np.int64)
