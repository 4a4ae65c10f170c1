"""The AVX-512 kernels behind the contract of ``interface``: arguments checked, code called, nothing else.

The code runs without the GIL, so threads of one process use as many cores as they are.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import ed25519, scratch, sha256, sha512
from .compiled import Host, Loaded, cached_object, compile_object
from .emitter import Emitter
from .interface import HASH_BYTES, ROW_BYTES_MAX, Kernels, ShapeError, column, signature_columns

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


def emit() -> str:
    """The module of all kernels, as LLVM IR."""
    emitter = Emitter()
    sha256.emit(emitter)
    ed25519.emit(emitter)
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

        self._ed25519 = self._loaded.function(ed25519.SYMBOL, _POINTER)
        self._threads = threading.local()

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

    def verify(
        self, keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """See ``Verifier``."""
        keys, signatures, messages = signature_columns(keys, signatures, messages)
        rows, message_bytes = messages.shape
        if rows == 0:
            return np.empty(0, np.bool_)
        template = sha512.template(message_bytes)
        bits = np.empty(-(-rows // 16) * 2, np.uint8)
        columns = [
            field for part in (keys, signatures, messages) for field in (part.ctypes.data, part.strides[0])
        ]
        blocks = (len(template) - 1) // 2
        addresses = (template.ctypes.data, blocks, self._scratch(), bits.ctypes.data)
        call = np.array([*columns, rows, *addresses], np.int64)
        self._ed25519(call.ctypes.data)
        return np.unpackbits(bits, count=rows, bitorder="little").view(np.bool_)

    def _scratch(self) -> int:
        """The address of this thread's scratch memory, at a multiple of 64."""
        memory = getattr(self._threads, "memory", None)
        if memory is None:
            memory = self._threads.memory = np.zeros(scratch.SCRATCH_BYTES + 64, np.uint8)
        return -(-int(memory.ctypes.data) // 64) * 64

    def kernels(self) -> Kernels:
        return Kernels(name="avx512ifma", hash_rows=self.hash_rows, verify=self.verify)
