"""SHA-256 of values and of columns. Rooms take a `Hasher`; shells choose a faster one where there is one."""

from __future__ import annotations

from hashlib import sha256 as _sha256

import numpy as np
from numpy.typing import NDArray

from actors.kernels.interface import HASH_BYTES as DIGEST_BYTES
from actors.kernels.interface import Hasher
from actors.kernels.portable import sha256_rows

__all__ = ["DIGEST_BYTES", "Hasher", "prefixes", "sha256", "sha256_rows"]


def prefixes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n,) uint64: first eight bytes, little-endian, of (n, 32) ids or keys; tables find them by these."""
    return np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)


def sha256(data: bytes) -> bytes:
    """SHA-256 of one value."""
    return _sha256(data).digest()
