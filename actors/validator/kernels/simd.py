"""The AVX-512 kernels behind the contract of ``interface``: arguments checked, code called, nothing else.

The code runs without the GIL, so threads of one process use as many cores as they are.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import portable, sha256
from .compiled import Host, Loaded, cached_object, compile_object
from .emitter import Emitter
from .interface import HASH_BYTES, ROW_BYTES_MAX, Kernels, ShapeError, column

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


def emit() -> str:
    """The module of all kernels, as LLVM IR."""
    emitter = Emitter()
    sha256.emit(emitter)
    return emitter.text()


class Simd:
    """The compiled kernels of one process."""

    def __init__(self, target: Host, cache_dir: Path | None) -> None:
        """Load or compile; raises ``CacheError``, or ``RuntimeError`` from LLVM."""
        code = compile_object(emit(), target) if cache_dir is None else cached_object(cache_dir, target, emit)
        self._loaded = Loaded(code, target)
        self._sha256 = self._loaded.function(
            sha256.SYMBOL, _POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _INTEGER, _POINTER
        )

    def hash_rows(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
        """See ``Hasher``."""
        messages = column("messages", messages, None, None)
        rows, row_bytes = messages.shape
        if len(prefix) + row_bytes > ROW_BYTES_MAX:
            raise ShapeError(
                f"messages: prefix and row of {len(prefix) + row_bytes} bytes exceed {ROW_BYTES_MAX}"
            )
        padded = -(-rows // sha256.LANES) * sha256.LANES
        digests = np.empty((padded, HASH_BYTES), np.uint8)
        if rows:
            template = sha256.template(prefix, row_bytes)
            source = (messages.ctypes.data, messages.strides[0], rows)
            constants = (template.ctypes.data, len(template), len(prefix))
            self._sha256(*source, *constants, digests.ctypes.data)
        return digests[:rows]

    def kernels(self) -> Kernels:
        return Kernels(name="avx512ifma", hash_rows=self.hash_rows, verify=portable.verify)
