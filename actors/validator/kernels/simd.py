"""The AVX-512 kernels behind the contract of ``interface``: arguments checked, code called, tables kept.

The code runs without the GIL, so threads of one process use as many cores as they are. Each thread has
scratch memory of its own; the tables of keys are shared, and change only while no thread reads them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import calls, ed25519, keyed, scratch, sha256, sha512
from .compiled import Host, Loaded, cached_object, compile_object
from .emitter import Emitter
from .interface import HASH_BYTES, ROW_BYTES_MAX, ShapeError, column, signature_columns
from .key_tables import KeyTables

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


def emit() -> str:
    """The module of all kernels, as LLVM IR."""
    emitter = Emitter()
    sha256.emit(emitter)
    ed25519.emit(emitter)
    return emitter.text()


class Simd:
    """The compiled kernels of one process."""

    def __init__(
        self, target: Host, cache_dir: Path | None, tables_bytes_max: int = 0, seed: int = 0
    ) -> None:
        """Load or compile; raises ``CacheError``, or ``RuntimeError`` from LLVM.

        Tables for frequent keys take up to ``tables_bytes_max``, none if that is 0; ``seed`` keys their hash.
        """
        code = compile_object(emit(), target) if cache_dir is None else cached_object(cache_dir, target, emit)
        self._loaded = Loaded(code, target)
        self._sha256 = self._loaded.function(
            sha256.SYMBOL, _POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _INTEGER, _POINTER
        )
        self._verify = self._loaded.function(ed25519.SYMBOL, _POINTER)
        self._verify_keyed = self._loaded.function(ed25519.SYMBOL_KEYED, _POINTER)
        self._make_tables = self._loaded.function(keyed.SYMBOL_TABLES, _POINTER)
        self._threads = threading.local()
        identity = np.array(keyed.identity_rows(), np.uint64)
        self._tables = KeyTables(tables_bytes_max, seed, identity)
        self._lock = threading.Lock()
        self._readers = 0
        self._counts = {"signatures": 0, "signatures_keyed": 0, "key_tables_made": 0}

    def hash_rows(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
        """See ``Hasher``."""
        messages = column("messages", messages, None, None)
        rows, row_bytes = messages.shape
        if len(prefix) + row_bytes > ROW_BYTES_MAX:
            raise ShapeError(f"messages: {len(prefix) + row_bytes} bytes with prefix exceed {ROW_BYTES_MAX}")
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
        call = _Call(keys, signatures, messages, self._scratch())
        verdicts = np.zeros(len(keys), np.bool_)
        if not self._tables.places:
            self._counts["signatures"] += len(keys)
            call.run(self._verify, np.arange(len(keys)), None, verdicts)
            return verdicts
        words = np.ascontiguousarray(keys).view(np.uint64)
        with self._lock:
            found, tables = self._tables.find(words)
            self._readers += 1
        others = np.flatnonzero(~found) if len(tables) < len(words) else np.empty(0, np.int64)
        try:
            call.run(self._verify_keyed, np.flatnonzero(found), tables, verdicts)
            call.run(self._verify, others, None, verdicts)
        finally:
            with self._lock:
                self._readers -= 1
                self._counts["signatures"] += len(words)
                self._counts["signatures_keyed"] += len(tables)
        if len(others):
            self._learn(call, words, others[verdicts[others]])
        return verdicts

    def _learn(self, call: _Call, words: NDArray[np.uint64], accepted: NDArray[np.int64]) -> None:
        """Make tables for the keys that earned them, unless another thread is reading."""
        with self._lock:
            if self._readers:
                return
            numbers = accepted[self._tables.earned(words[accepted])]
            if len(numbers):
                addresses = self._tables.give(words[numbers])
                call.run(self._make_tables, numbers, addresses, None)
                self._counts["key_tables_made"] += len(numbers)

    def _scratch(self) -> int:
        """The address of this thread's scratch memory, at a multiple of 64."""
        memory = getattr(self._threads, "memory", None)
        if memory is None:
            memory = self._threads.memory = np.zeros(scratch.SCRATCH_BYTES + 64, np.uint8)
        return -(-int(memory.ctypes.data) // 64) * 64

    def statistics(self) -> dict[str, int]:
        """Counters since the start: signatures verified, those with tables, and tables made."""
        return dict(self._counts)


class _Call:
    """The columns of one verification, of which kernels work on some rows each."""

    def __init__(
        self,
        keys: NDArray[np.uint8],
        signatures: NDArray[np.uint8],
        messages: NDArray[np.uint8],
        scratch_at: int,
    ) -> None:
        template = sha512.template(messages.shape[1])
        self._kept = (keys, signatures, messages, template)
        self._fields = {
            "keys": keys.ctypes.data,
            "key_step": keys.strides[0],
            "signatures": signatures.ctypes.data,
            "signature_step": signatures.strides[0],
            "messages": messages.ctypes.data,
            "message_step": messages.strides[0],
            "template": template.ctypes.data,
            "blocks": (len(template) - 1) // 2,
            "scratch": scratch_at,
        }

    def run(
        self,
        kernel: Callable[..., None],
        order: NDArray[np.int64],
        tables: NDArray[np.int64] | None,
        verdicts: NDArray[np.bool_] | None,
    ) -> None:
        """Run a kernel on the rows of those numbers, and write its verdicts at their places."""
        if not len(order):
            return
        bits = np.zeros(-(-len(order) // 16) * 2, np.uint8)
        fields = {
            **self._fields,
            "order": order.ctypes.data,
            "rows": len(order),
            "tables": 0 if tables is None else tables.ctypes.data,
            "out": bits.ctypes.data,
        }
        record = np.array([fields[name] for name in calls.FIELDS], np.int64)
        kernel(record.ctypes.data)
        if verdicts is not None:
            verdicts[order] = np.unpackbits(bits, count=len(order), bitorder="little")
