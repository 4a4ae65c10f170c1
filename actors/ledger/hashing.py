"""SHA-256 over columns: the interface, and the plain implementation behind it.

Rooms take a `Hasher` as an argument; shells choose a faster one where the processor has it.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 32


class Hasher(Protocol):
    """Hash equally long messages: (n, L) uint8 in, (n, 32) uint8 of SHA-256(prefix ‖ row) out."""

    def __call__(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]: ...


def sha256_rows(messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
    """The plain `Hasher`: one hashlib call a row (FIPS 180-4 by OpenSSL)."""
    count, length = messages.shape
    raw = np.ascontiguousarray(messages).tobytes()
    sha256 = hashlib.sha256
    digests = [sha256(prefix + raw[at : at + length]).digest() for at in range(0, count * length, length)]
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(count, DIGEST_BYTES)


def prefixes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n,) uint64: first eight bytes, little-endian, of (n, 32) ids or keys; tables find them by these."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)


def sha256(data: bytes) -> bytes:
    """SHA-256 of one value."""
    return hashlib.sha256(data).digest()
