"""The AVX-512 kernels behind the contract of ``interface``."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import ed25519, scratch, sha256
from .compiled import Host, Loaded, object_code
from .emitter import Emitter
from .interface import HASH_BYTES, hashed_column
from .verifier import CompiledVerifier

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


def emit() -> str:
    """The module of all kernels, as LLVM IR."""
    emitter = Emitter(scratch.LANES)
    sha256.emit(emitter)
    ed25519.emit(emitter)
    return emitter.text()


class Simd(CompiledVerifier):
    """The compiled kernels of one process."""

    def __init__(
        self, target: Host, cache_dir: Path | None, tables_bytes_max: int = 0, seed: int = 0
    ) -> None:
        """Load or compile; raises ``CacheError``, or ``RuntimeError`` from LLVM. See ``CompiledVerifier``."""
        loaded = Loaded(object_code("avx512", emit, target, cache_dir), target)
        super().__init__(loaded, scratch.LANES, tables_bytes_max, seed)
        self._sha256 = loaded.function(
            sha256.SYMBOL, _POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _INTEGER, _POINTER
        )

    def hash_rows(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
        """See ``Hasher``."""
        messages = hashed_column(messages, prefix)
        rows, row_bytes = messages.shape
        padded = -(-rows // sha256.LANES) * sha256.LANES
        digests = np.empty((padded, HASH_BYTES), np.uint8)
        if rows:
            template = sha256.template(prefix, row_bytes)
            source = (messages.ctypes.data, messages.strides[0], rows)
            constants = (template.ctypes.data, len(template), len(prefix))
            self._sha256(*source, *constants, digests.ctypes.data)
        return digests[:rows]
