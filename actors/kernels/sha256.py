"""SHA-256 of sixteen rows at once (FIPS 180-4, section 6.2).

Theory of operation. Lane k of each ``<16 x i32>`` vector holds the state of row k. All messages of a call
have one length, so their padding is one too: a *template* holds, for each 64-byte block, the bytes that are
the same in every row (prefix, padding, length), and a mask of the bytes that come from the row. One masked
load a row and block then reads prefix, row and padding together, in place and without touching a byte
outside the row; a transpose turns sixteen such loads into the sixteen message words.

A batch that is no multiple of sixteen repeats its last row in the lanes left over. The twin that defines the
right answer is ``portable.sha256_rows``, which is hashlib.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .emitter import BLOCK, BLOCK_MASK, I64, Emitter, Value, Vector

LANES = 16
BLOCK_BYTES = 64
TEMPLATE_BYTES = 128
"""A block of the template: 64 bytes of constants, 8 bytes of mask, and room to keep blocks aligned."""

XOR, CHOOSE, MAJORITY = 0x96, 0xCA, 0xE8
"""Truth tables of x ^ y ^ z, x ? y : z, and of what most of three bits say."""

SYMBOL = "sha256_rows"
TEMPLATES_MAX = 256
"""Templates kept, the least recently used ones leaving first; a node hashes a handful of lengths."""


def primes(count: int) -> list[int]:
    """The first primes."""
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def root_fraction(value: int, degree: int, bits: int) -> int:
    """The first bits after the binary point of a square (2) or cube (3) root: FIPS 180-4's constants."""
    scaled, low, high = value << (degree * bits), 0, 1 << (bits + 16)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= scaled else (low, middle)
    return low & ((1 << bits) - 1)


ROUND_CONSTANTS = [root_fraction(prime, 3, 32) for prime in primes(64)]
INITIAL_STATE = [root_fraction(prime, 2, 32) for prime in primes(8)]


@lru_cache(maxsize=TEMPLATES_MAX)
def template(prefix: bytes, row_bytes: int) -> NDArray[np.uint8]:
    """The constant bytes and row masks of ``prefix || row || padding``, (blocks, TEMPLATE_BYTES) uint8."""
    message_bytes = len(prefix) + row_bytes
    blocks = (message_bytes + 9 + BLOCK_BYTES - 1) // BLOCK_BYTES
    constant = np.zeros(blocks * BLOCK_BYTES, np.uint8)
    constant[: len(prefix)] = np.frombuffer(prefix, np.uint8)
    constant[message_bytes] = 0x80
    constant[-8:] = np.frombuffer((8 * message_bytes).to_bytes(8, "big"), np.uint8)
    from_row = np.zeros(blocks * BLOCK_BYTES, np.uint8)
    from_row[len(prefix) : message_bytes] = 1
    table = np.zeros((blocks, TEMPLATE_BYTES), np.uint8)
    table[:, :BLOCK_BYTES] = constant.reshape(blocks, BLOCK_BYTES)
    masks = np.packbits(from_row.reshape(blocks, BLOCK_BYTES), axis=1, bitorder="little")
    table[:, BLOCK_BYTES : BLOCK_BYTES + 8] = masks
    return table


def emit(emitter: Emitter) -> None:
    """Write ``void sha256_rows(rows_at, step, rows, template, blocks, prefix, out)``.

    ``rows_at`` and ``step`` (bytes between rows) say where the rows lie; ``template`` has ``blocks`` entries;
    ``prefix`` is the length of the prefix; ``out`` takes 32 bytes a row, for rows rounded up to sixteen.
    """
    parameters = ["ptr rows_at", "i64 step", "i64 rows", "ptr template", "i64 blocks", "i64 prefix"]
    emitter.begin(SYMBOL, [*parameters, "ptr noalias out"])
    v = Vector(emitter, LANES, 32)
    groups = emitter.shares(emitter["rows"], LANES)

    def group(index: Value, _: list[Value]) -> list[Value]:
        first = emitter.mul(index, LANES)
        rows = [emitter.row_or_last(emitter.add(first, lane), emitter["rows"]) for lane in range(LANES)]
        pointers = [emitter.scaled(emitter["rows_at"], row, emitter["step"]) for row in rows]
        carried = [v.const(word) for word in INITIAL_STATE]

        def block(number: Value, state: list[Value]) -> list[Value]:
            return compress(v, state, _block_words(v, pointers, number))

        _store_digests(
            v, emitter.loop(emitter["blocks"], carried, block), emitter.scaled(emitter["out"], first, 32)
        )
        return []

    emitter.loop(groups, [], group)
    emitter.end()


def _block_words(v: Vector, pointers: list[Value], number: Value) -> list[Value]:
    """Word t of the block in all lanes, for t = 0 .. 15."""
    emitter = v.emitter
    entry = emitter.scaled(emitter["template"], number, TEMPLATE_BYTES)
    begins = emitter.sub(emitter.mul(number, BLOCK_BYTES), emitter["prefix"])
    return [v.swap_bytes(word) for word in masked_words(v, pointers, begins, entry)]


def masked_words(v: Vector, pointers: list[Value], begins: Value, entry: Value) -> list[Value]:
    """The words of 64 bytes of each row, which are at ``begins`` of it, padded as the template's entry says.

    Bytes of the row that the entry's mask leaves out are not touched.
    """
    emitter, masked_load = v.emitter, "llvm.masked.load.v64i8.p0"
    constant = emitter.load(BLOCK, entry)
    keep = v.builder.bitcast(emitter.load(I64, emitter.offset(entry, BLOCK_BYTES)), BLOCK_MASK)
    loaded = [
        emitter.call(BLOCK, masked_load, emitter.offset(each, begins), keep, constant) for each in pointers
    ]
    return v.transpose([v.builder.bitcast(block, v.kind) for block in loaded])


def compress(v: Vector, state: list[Value], words: list[Value]) -> list[Value]:
    """The compression function: 64 rounds, and the message schedule in a ring of sixteen words."""
    a, b, c, d, e, f, g, h = state
    ring = list(words)
    for t, constant in enumerate(ROUND_CONSTANTS):
        if t >= 16:
            low, high = ring[(t - 15) % 16], ring[(t - 2) % 16]
            small0 = v.ternary(v.rotr(low, 7), v.rotr(low, 18), v.shr(low, 3), XOR)
            small1 = v.ternary(v.rotr(high, 17), v.rotr(high, 19), v.shr(high, 10), XOR)
            ring[t % 16] = v.add(v.add(ring[t % 16], small0), v.add(ring[(t - 7) % 16], small1))
        big1 = v.ternary(v.rotr(e, 6), v.rotr(e, 11), v.rotr(e, 25), XOR)
        choose = v.ternary(e, f, g, CHOOSE)
        one = v.add(v.add(v.add(h, v.const(constant)), ring[t % 16]), v.add(big1, choose))
        big0 = v.ternary(v.rotr(a, 2), v.rotr(a, 13), v.rotr(a, 22), XOR)
        majority = v.ternary(a, b, c, MAJORITY)
        two = v.add(big0, majority)
        a, b, c, d, e, f, g, h = v.add(one, two), a, b, c, v.add(d, one), e, f, g
    return [v.add(old, new) for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


def _store_digests(v: Vector, state: list[Value], out: Value) -> None:
    words = [v.swap_bytes(word) for word in state]
    rows = v.transpose([*words, *words])
    for lane, row in enumerate(rows):
        half = v.shuffle(row, row, range(8))
        v.emitter.store(half, v.emitter.offset(out, 32 * lane))
