"""SHA-512 of eight messages at once (FIPS 180-4, section 6.4), as Ed25519 needs it: R || A || M.

Theory of operation. As in ``sha256``, lane k of each vector belongs to row k, and one masked load a row
reads message and padding together. The first 64 bytes of the hashed text, R and A, come from the signature
and the key; from there on the text is the message, so its *halves* of 64 bytes start at multiples of 64 of
the message. Block 0 is R, A and half 0; block b has halves 2 b - 1 and 2 b. The sixteen words of the next
block wait in scratch memory, and sixteen rounds at a time are unrolled.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .emitter import I64, Emitter, Value, Vector
from .sha256 import CHOOSE, MAJORITY, TEMPLATE_BYTES, TEMPLATES_MAX, XOR, masked_words, primes, root_fraction
from .words import Words

BLOCK_BYTES = 128
HALF_BYTES = 64
HEAD_BYTES = 64
"""R and A, which come before the message."""

ROUND_CONSTANTS = [root_fraction(prime, 3, 64) for prime in primes(80)]
INITIAL_STATE = [root_fraction(prime, 2, 64) for prime in primes(8)]
CONSTANTS = "sha512_constants"


@lru_cache(maxsize=TEMPLATES_MAX)
def template(message_bytes: int) -> NDArray[np.uint8]:
    """Padding and row masks of the halves of a message, and two empty ones: (2 blocks + 1,
    TEMPLATE_BYTES)."""
    total = HEAD_BYTES + message_bytes
    blocks = (total + 17 + BLOCK_BYTES - 1) // BLOCK_BYTES
    halves = 2 * blocks - 1
    constant = np.zeros(halves * HALF_BYTES, np.uint8)
    constant[message_bytes] = 0x80
    constant[-8:] = np.frombuffer((8 * total).to_bytes(8, "big"), np.uint8)
    from_row = np.zeros(halves * HALF_BYTES, np.uint8)
    from_row[:message_bytes] = 1
    table = np.zeros((halves + 2, TEMPLATE_BYTES), np.uint8)
    table[:halves, :HALF_BYTES] = constant.reshape(halves, HALF_BYTES)
    masks = np.packbits(from_row.reshape(halves, HALF_BYTES), axis=1, bitorder="little")
    table[:halves, HALF_BYTES : HALF_BYTES + 8] = masks
    return table


def emit_constants(emitter: Emitter) -> None:
    """Write the table that ``emit_hash`` reads."""
    emitter.table(CONSTANTS, ROUND_CONSTANTS)


def load_half(v: Vector, pointers: list[Value], template_at: Value, half: Value | int, out: Value) -> None:
    """Load one half of the messages, and store its eight words, byte order turned, at ``out``."""
    emitter = v.emitter
    entry = emitter.scaled(template_at, half, TEMPLATE_BYTES)
    begins = emitter.mul(half, HALF_BYTES)
    if isinstance(v, Words):
        words = v.half(emitter.offset(pointers[0], begins), entry)
    else:
        words = masked_words(v, pointers, begins, entry)
    for i, word in enumerate(words):
        v.store(v.swap_bytes(word), emitter.offset(out, 64 * i))


def emit_hash(
    v: Vector, pointers: list[Value], template_at: Value, blocks: Value, words_at: Value
) -> list[Value]:
    """Hash, and answer the digest as eight little-endian words.

    ``words_at`` is scratch for sixteen words, of which the first eight hold R and A, byte order turned.
    """
    emitter = v.emitter
    upper = emitter.offset(words_at, 8 * 64)
    load_half(v, pointers, template_at, 0, upper)
    carried = [v.const(word) for word in INITIAL_STATE]

    def block(index: Value, state: list[Value]) -> list[Value]:
        words = [v.load(emitter.offset(words_at, 64 * i)) for i in range(16)]
        new = _compress(v, state, words)
        half = emitter.add(emitter.mul(index, 2), 1)
        load_half(v, pointers, template_at, half, words_at)
        load_half(v, pointers, template_at, emitter.add(half, 1), upper)
        return new

    return [v.swap_bytes(word) for word in emitter.loop(blocks, carried, block)]


def _compress(v: Vector, state: list[Value], words: list[Value]) -> list[Value]:
    """The compression function: sixteen rounds, then four times the schedule and sixteen more."""
    emitter = v.emitter

    def sixteen(index: Value, values: list[Value]) -> list[Value]:
        ring = _schedule(v, values[8:])
        return [*_rounds(v, values[:8], ring, emitter.add(index, 1)), *ring]

    first = [*_rounds(v, state, words, 0), *words]
    last = emitter.loop(4, first, sixteen)
    return [v.add(old, new) for old, new in zip(state, last[:8], strict=True)]


def _schedule(v: Vector, ring: list[Value]) -> list[Value]:
    """The next sixteen words of the message schedule."""
    ring = list(ring)
    for t in range(16):
        low, high = ring[(t + 1) % 16], ring[(t + 14) % 16]
        small0 = v.ternary(v.rotr(low, 1), v.rotr(low, 8), v.shr(low, 7), XOR)
        small1 = v.ternary(v.rotr(high, 19), v.rotr(high, 61), v.shr(high, 6), XOR)
        ring[t] = v.add(v.add(ring[t], small0), v.add(ring[(t + 9) % 16], small1))
    return ring


def _rounds(v: Vector, state: list[Value], ring: list[Value], sixteenth: Value | int) -> list[Value]:
    """Sixteen rounds; ``sixteenth`` says which sixteen of the eighty."""
    emitter = v.emitter
    constants = emitter.scaled(emitter.module.globals[CONSTANTS], sixteenth, 16 * 8)
    a, b, c, d, e, f, g, h = state
    for t in range(16):
        constant = v.splat(emitter.load(I64, emitter.offset(constants, 8 * t), 8))
        big1 = v.ternary(v.rotr(e, 14), v.rotr(e, 18), v.rotr(e, 41), XOR)
        choose = v.ternary(e, f, g, CHOOSE)
        one = v.add(v.add(v.add(h, constant), ring[t]), v.add(big1, choose))
        big0 = v.ternary(v.rotr(a, 28), v.rotr(a, 34), v.rotr(a, 39), XOR)
        two = v.add(big0, v.ternary(a, b, c, MAJORITY))
        a, b, c, d, e, f, g, h = v.add(one, two), a, b, c, v.add(d, one), e, f, g
    return [a, b, c, d, e, f, g, h]
