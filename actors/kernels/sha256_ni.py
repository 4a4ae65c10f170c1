"""SHA-256 by the processor's SHA extensions, for CPUs that have those and lack AVX-512.

Theory of operation. `sha256rnds2` does two rounds of one message and takes four cycles, though another may
begin after two: so PAIR messages are worked on side by side. All messages of a call have one length, hence
one *template*: for each sixteen bytes of ``prefix || row || padding``, from where in the row to load, which
of the loaded bytes go where (a `pshufb`, which also turns words to big-endian), and the bytes that are the
same in every row. Loads stay within the row; a row of less than LOAD_BYTES is copied to that width before.

The state is kept as the instructions want it: words F E B A in one register, H G D C in the other. The twin
that defines the right answer is ``portable.sha256_rows``.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from .compiled import Host, Loaded, object_code
from .emitter import I8, I64, Emitter, Value, Vector
from .interface import HASH_BYTES, hashed_column
from .sha256 import BLOCK_BYTES, INITIAL_STATE, ROUND_CONSTANTS, TEMPLATES_MAX

FEATURES = ("sha", "sse4.1", "ssse3")
"""What a CPU must have, in LLVM's names: all Zen do, and Intel's since Ice Lake."""

SYMBOL = "sha256_rows_ni"
PAIR = 2
LOAD_BYTES = 16
PART_BYTES = 64
"""A part of the template: 16 bytes of shuffle control, 16 of constants, the offset in the row as i64."""
_ZERO = 0x80
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64
_LANES = range(PAIR)


@lru_cache(maxsize=TEMPLATES_MAX)
def template(prefix: bytes, row_bytes: int) -> NDArray[np.uint8]:
    """What to load, shuffle and add for each part of ``prefix || row || padding``, (parts, 64) uint8."""
    begins, ends = len(prefix), len(prefix) + row_bytes
    parts = (ends + 9 + BLOCK_BYTES - 1) // BLOCK_BYTES * (BLOCK_BYTES // LOAD_BYTES)
    constant = np.zeros(parts * LOAD_BYTES, np.uint8)
    constant[:begins] = np.frombuffer(prefix, np.uint8)
    constant[ends] = 0x80
    constant[-8:] = np.frombuffer((8 * ends).to_bytes(8, "big"), np.uint8)
    place = np.arange(len(constant)).reshape(parts, LOAD_BYTES)
    offsets = np.clip(place[:, 0] - begins, 0, max(row_bytes - LOAD_BYTES, 0))
    control = np.where((place >= begins) & (place < ends), place - begins - offsets[:, None], _ZERO)
    table = np.zeros((parts, PART_BYTES), np.uint8)
    table[:, :16] = _word_order(control.astype(np.uint8))
    table[:, 16:32] = _word_order(constant.reshape(parts, LOAD_BYTES))
    table[:, 32:40] = offsets.astype(np.int64).reshape(parts, 1).view(np.uint8)
    return table


def _word_order(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return rows.reshape(len(rows), 4, 4)[:, :, ::-1].reshape(len(rows), LOAD_BYTES)


class ShaExtensions:
    """The compiled kernel of one process."""

    def __init__(self, target: Host, cache_dir: Path | None) -> None:
        """Load or compile; raises ``CacheError``, or ``RuntimeError`` from LLVM."""
        self._loaded = Loaded(object_code("sha_ni", text, target, cache_dir), target)
        self._sha256 = self._loaded.function(
            SYMBOL, _POINTER, _INTEGER, _INTEGER, _POINTER, _INTEGER, _POINTER
        )

    def hash_rows(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
        """See ``Hasher``."""
        messages = hashed_column(messages, prefix)
        rows, row_bytes = messages.shape
        parts = template(prefix, row_bytes)
        if row_bytes < LOAD_BYTES:
            wide = np.zeros((rows, LOAD_BYTES), np.uint8)
            wide[:, :row_bytes] = messages
            messages = wide
        digests = np.empty((rows + rows % PAIR, HASH_BYTES), np.uint8)
        if rows:
            source = (messages.ctypes.data, messages.strides[0], rows)
            self._sha256(*source, parts.ctypes.data, len(parts) // 4, digests.ctypes.data)
        return digests[:rows]


def text() -> str:
    """The module of this kernel, as LLVM IR."""
    emitter = Emitter()
    emit(emitter)
    return emitter.text()


def emit(emitter: Emitter) -> None:
    """Write ``void sha256_rows_ni(rows_at, step, rows, template, blocks, out)``.

    As ``sha256.emit``; ``template`` has four parts a block; ``out`` takes an even number of rows.
    """
    parameters = ["ptr rows_at", "i64 step", "i64 rows", "ptr template", "i64 blocks"]
    emitter.begin(SYMBOL, [*parameters, "ptr noalias out"])
    v = Vector(emitter, 4, 32)
    a, b, c, d, e, f, g, h = INITIAL_STATE
    begin = [v.numbers(part) for _ in _LANES for part in ((f, e, b, a), (h, g, d, c))]
    pairs = emitter.shares(emitter["rows"], PAIR)

    def pair(index: Value, _: list[Value]) -> list[Value]:
        first = emitter.mul(index, PAIR)
        rows = [emitter.row_or_last(emitter.add(first, lane), emitter["rows"]) for lane in _LANES]
        pointers = [emitter.scaled(emitter["rows_at"], row, emitter["step"]) for row in rows]

        def block(number: Value, states: list[Value]) -> list[Value]:
            entry = emitter.scaled(emitter["template"], number, 4 * PART_BYTES)
            return compress(v, states, [_load(v, pointer, entry) for pointer in pointers])

        states = emitter.loop(emitter["blocks"], begin, block)
        for lane in _LANES:
            at = emitter.scaled(emitter["out"], emitter.add(first, lane), HASH_BYTES)
            store_digest(v, states[2 * lane], states[2 * lane + 1], at)
        return []

    emitter.loop(pairs, [], pair)
    emitter.end()


def _load(v: Vector, pointer: Value, entry: Value) -> list[Value]:
    """The sixteen words of a block, four a register."""
    emitter, kind, found = v.emitter, ir.VectorType(I8, LOAD_BYTES), []
    for number in range(4):
        part = emitter.offset(entry, number * PART_BYTES)
        control, constant = emitter.load(kind, part), emitter.load(kind, emitter.offset(part, 16))
        row = emitter.load(kind, emitter.offset(pointer, emitter.load(I64, emitter.offset(part, 32))))
        there = emitter.call(kind, "llvm.x86.ssse3.pshuf.b.128", row, control)
        found.append(v.builder.bitcast(v.builder.or_(there, constant), v.kind))
    return found


def compress(v: Vector, states: list[Value], blocks: list[list[Value]]) -> list[Value]:
    """64 rounds, four at a time in turn for each message. A message has two states, FEBA and HGDC."""
    now, rings = list(states), [list(block) for block in blocks]
    for quad in range(16):
        constants = v.numbers(ROUND_CONSTANTS[4 * quad : 4 * quad + 4])
        for lane in range(len(blocks)):
            ring, high, low = rings[lane], 2 * lane, 2 * lane + 1
            if quad >= 4:
                ring[quad % 4] = _schedule(v, ring, quad)
            added = v.add(ring[quad % 4], constants)
            now[low] = _rounds(v, now[low], now[high], added)
            now[high] = _rounds(v, now[high], now[low], v.shuffle(added, added, (2, 3, 0, 0)))
    return [v.add(old, new) for old, new in zip(states, now, strict=True)]


def _schedule(v: Vector, ring: list[Value], quad: int) -> Value:
    """Words 4 * quad to 4 * quad + 3, from the sixteen before."""
    oldest, older, newer, newest = (ring[(quad + i) % 4] for i in range(4))
    begun = v.emitter.call(v.kind, "llvm.x86.sha256msg1", oldest, older)
    added = v.add(begun, v.shuffle(newer, newest, (1, 2, 3, 4)))
    return v.emitter.call(v.kind, "llvm.x86.sha256msg2", added, newest)


def _rounds(v: Vector, changed: Value, other: Value, words: Value) -> Value:
    """Two rounds, for the first two of the words."""
    return v.emitter.call(v.kind, "llvm.x86.sha256rnds2", changed, other, words)


def store_digest(v: Vector, feba: Value, hgdc: Value, out: Value, align: int = 16) -> None:
    """The 32 bytes that a message's states are."""
    for number, picks in enumerate(((3, 2, 7, 6), (1, 0, 5, 4))):
        words = v.swap_bytes(v.shuffle(feba, hgdc, picks))
        v.store(words, v.emitter.offset(out, 16 * number), align)
