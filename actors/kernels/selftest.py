"""The test that compiled kernels must pass at every start, before their first use.

It compares them with the portable kernels on fixed cases that reach every path of the code; a compiler, a
cache or a CPU that is not what it should be shows here, and not in a block.
"""

from __future__ import annotations

import numpy as np

from . import portable
from .cases import Cases, compare
from .interface import Hasher, SignatureVerifier


class SelfTestError(Exception):
    """A kernel answered something else than the portable one; the message says on what."""


HASH_SHAPES = ((0, 0), (1, 64), (1, 208), (0, 55), (0, 56), (3, 61), (2, 190))
"""Bytes of prefix and row: empty, one block, two, the lengths around a block's end, and unaligned ones."""


def check_hasher(hash_rows: Hasher) -> None:
    """Raises ``SelfTestError`` unless the hasher agrees with hashlib."""
    rng = np.random.default_rng(10)
    for prefix_bytes, row_bytes in HASH_SHAPES:
        for rows in (1, 16, 37):
            messages = rng.integers(0, 256, (rows, row_bytes + 5), dtype=np.uint8)[:, 3 : 3 + row_bytes]
            prefix = rng.bytes(prefix_bytes)
            if not np.array_equal(hash_rows(messages, prefix), portable.sha256_rows(messages, prefix)):
                raise SelfTestError(
                    f"SHA-256 of {rows} rows of {prefix_bytes} + {row_bytes} bytes differs from hashlib"
                )


TURNS = 3
"""Times that the same rows are verified: the second makes tables of their keys, the third uses them."""
VERIFY_ROWS = (1, 9, 150)
"""A lane alone, two lane groups, and more than one chunk."""


def check_verifier(verify: SignatureVerifier) -> None:
    """Raises ``SelfTestError`` unless the verifier agrees with libsodium."""
    cases = Cases(11)
    for rows in VERIFY_ROWS:
        table, kinds = cases.batch(rows)
        for _ in range(TURNS):
            _, differs = compare(verify, table)
            if differs.any():
                kind = kinds[int(differs.argmax())]
                raise SelfTestError(f"Ed25519 verdict on a case of kind {kind} differs from libsodium's")
