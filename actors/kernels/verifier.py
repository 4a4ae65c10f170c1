"""Compiled verification behind the contract of ``interface``: arguments checked, code called, tables kept.

The code runs without the GIL, so threads of one process use as many cores as they are. Each thread has
scratch memory of its own; the tables of keys are shared, and change only while no thread reads them.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import calls, ed25519, keyed, scratch, sha256, sha512
from .compiled import Loaded
from .interface import signature_columns
from .key_tables import KeyTables

_POINTER = ctypes.c_void_p
_FIELD = {name: number for number, name in enumerate(calls.FIELDS)}


class CompiledVerifier:
    """The functions of ``ed25519`` in a loaded module."""

    def __init__(self, loaded: Loaded, lanes: int, tables_bytes_max: int, seed: int) -> None:
        """``lanes`` is what the module was written for. Tables for frequent keys take up to
        ``tables_bytes_max``, none if that is 0; ``seed`` keys their hash."""
        self._loaded, self._lanes = loaded, lanes
        self._verify = loaded.function(ed25519.SYMBOL, _POINTER)
        self._verify_keyed = loaded.function(ed25519.SYMBOL_KEYED, _POINTER)
        self._make_tables = loaded.function(keyed.SYMBOL_TABLES, _POINTER)
        self._threads = threading.local()
        identity = np.array(keyed.identity_rows(), np.uint64)
        self._tables = KeyTables(tables_bytes_max, seed, identity)
        self._lock = threading.Lock()
        self._readers = 0
        self._counts = {"signatures": 0, "signatures_keyed": 0, "key_tables_made": 0}

    def verify(
        self, keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """See ``Verifier``."""
        keys, signatures, messages = signature_columns(keys, signatures, messages)
        if not len(keys):
            return np.empty(0, np.bool_)
        call = _Call(keys, signatures, messages, self._workspace(), self._lanes)
        if not self._tables.places:
            self._counts["signatures"] += len(keys)
            return call.run(self._verify, None, None, len(keys))
        words = np.ascontiguousarray(keys).view(np.uint64)
        with self._lock:
            found, tables = self._tables.find(words)
            self._readers += 1
        try:
            if len(tables) == len(words):
                return call.run(self._verify_keyed, None, tables, len(words))
            verdicts = np.zeros(len(keys), np.bool_)
            if len(tables):
                verdicts[found] = call.run(self._verify_keyed, np.flatnonzero(found), tables, len(tables))
            others = np.flatnonzero(~found)
            verdicts[others] = call.run(self._verify, others, None, len(others))
        finally:
            with self._lock:
                self._readers -= 1
                self._counts["signatures"] += len(words)
                self._counts["signatures_keyed"] += len(tables)
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
                call.run(self._make_tables, numbers, addresses, len(numbers))
                self._counts["key_tables_made"] += len(numbers)

    def _workspace(self) -> _Workspace:
        """This thread's own."""
        workspace = getattr(self._threads, "workspace", None)
        if workspace is None:
            workspace = self._threads.workspace = _Workspace()
        return workspace

    def statistics(self) -> dict[str, int]:
        """Counters since the start: signatures verified, those with tables, and tables made."""
        return dict(self._counts)


@lru_cache(maxsize=sha256.TEMPLATES_MAX)
def _template(message_bytes: int) -> tuple[NDArray[np.uint8], int, int]:
    """The template of SHA-512 for that length, its address, and its blocks."""
    template = sha512.template(message_bytes)
    return template, template.ctypes.data, (len(template) - 1) // 2


_ROWS_USUAL = 4096
_ALL_ROWS = np.arange(_ROWS_USUAL)
"""The numbers of the rows of most batches, all of them in order."""
_ALL_ROWS_AT = _ALL_ROWS.ctypes.data


class _Workspace:
    """What one thread hands to the kernels; kept, as finding the address of an array takes a microsecond."""

    def __init__(self) -> None:
        self._memory = np.zeros(scratch.SCRATCH_BYTES + scratch.VECTOR, np.uint8)
        self.scratch_at = -(-int(self._memory.ctypes.data) // scratch.VECTOR) * scratch.VECTOR
        self.record = np.zeros(len(calls.FIELDS), np.int64)
        self.record_at = self.record.ctypes.data
        self.bits = np.zeros(_ROWS_USUAL, np.uint8)
        self.bits_at = self.bits.ctypes.data


class _Call:
    """The columns of one verification, of which kernels work on some rows each."""

    def __init__(
        self,
        keys: NDArray[np.uint8],
        signatures: NDArray[np.uint8],
        messages: NDArray[np.uint8],
        workspace: _Workspace,
        lanes: int,
    ) -> None:
        template, template_at, blocks = _template(messages.shape[1])
        self._kept = (keys, signatures, messages, template)
        self._workspace, self._lanes = workspace, lanes
        columns = (field for part in self._kept[:3] for field in (part.ctypes.data, part.strides[0]))
        # In the order of FIELDS; the zeros are filled in by ``run``.
        workspace.record[:] = (*columns, 0, 0, template_at, blocks, 0, workspace.scratch_at, 0)

    def run(
        self,
        kernel: Callable[..., None],
        order: NDArray[np.int64] | None,
        tables: NDArray[np.int64] | None,
        rows: int,
    ) -> NDArray[np.bool_]:
        """Run a kernel on the ``rows`` rows of those numbers, or on all if None, and answer its verdicts."""
        workspace = self._workspace
        bits, bits_at, order_at = workspace.bits, workspace.bits_at, _ALL_ROWS_AT
        if rows > _ROWS_USUAL:
            bits = np.zeros(-(-rows // 16) * 16, np.uint8)
            bits_at = bits.ctypes.data
            order = np.arange(rows) if order is None else order
        if order is not None:
            order_at = order.ctypes.data
        record = workspace.record
        record[_FIELD["order"]], record[_FIELD["rows"]], record[_FIELD["out"]] = order_at, rows, bits_at
        record[_FIELD["tables"]] = 0 if tables is None else tables.ctypes.data
        kernel(workspace.record_at)
        if self._lanes == 1:
            return bits[:rows].astype(np.bool_)
        return np.unpackbits(bits, count=rows, bitorder="little").view(np.bool_)
