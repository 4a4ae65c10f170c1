"""Where the Ed25519 kernel keeps what registers cannot hold: one block of memory a thread, given by the
caller.

Sizes are in bytes; every part starts at a multiple of 64. A *lane group* is eight rows, one vector; a
*pair* is two lane groups; a *chunk* is as many pairs as share one inversion.
"""

from __future__ import annotations

VECTOR = 64
LANES = 8
ROW_WORDS = VECTOR // 8
ELEMENT = 5 * VECTOR
PAIR_ELEMENT = 2 * ELEMENT

KEY_BITS, KEY_PLACES = 5, 51
BASE_BITS, BASE_PLACES = 10, 26
"""Widths of the digits of the challenge and of S, and how many there are: two of the first to one of the
second."""

QUARTERS = 4
"""Parts into which scalars are cut where the tables of a key are at hand: 64 bits each."""
KEYED_KEY_BITS, KEYED_KEY_PLACES = 4, 64
KEYED_BASE_BITS, KEYED_BASE_PLACES = 8, 32
"""The same widths and counts for that case."""

# A lane group, from the rows until its double-scalar multiplication is done.
GROUP_R = 0
GROUP_KEY = GROUP_R + 4 * VECTOR
GROUP_SCALARS = GROUP_KEY + 4 * VECTOR
GROUP_KEY_DIGITS = GROUP_SCALARS + 2 * ELEMENT
GROUP_BASE_DIGITS = GROUP_KEY_DIGITS + max(KEY_PLACES, KEYED_KEY_PLACES) * VECTOR
GROUP_POINT = GROUP_BASE_DIGITS + max(BASE_PLACES, KEYED_BASE_PLACES) * VECTOR
GROUP_VALID = GROUP_POINT + 3 * ELEMENT
GROUP_BYTES = GROUP_VALID + VECTOR

# A pair that waits for the inversion.
RESULT_X = 0
RESULT_Y = RESULT_X + PAIR_ELEMENT
RESULT_Z = RESULT_Y + PAIR_ELEMENT
RESULT_PRODUCT = RESULT_Z + PAIR_ELEMENT
RESULT_R = RESULT_PRODUCT + PAIR_ELEMENT
RESULT_VALID = RESULT_R + 2 * 4 * VECTOR
RESULT_BYTES = RESULT_VALID + 2 * VECTOR
CHUNK_PAIRS = 8

# A table of projective entries, entry by entry within a lane.
PROJECTIVE_BYTES = 3 * VECTOR
AFFINE_BYTES = 2 * VECTOR
KEY_ENTRIES = (1 << (KEY_BITS - 1)) + 1
LANE_TABLE_BYTES = KEY_ENTRIES * PROJECTIVE_BYTES

KEYED_ENTRIES = (1 << (KEYED_KEY_BITS - 1)) + 1
KEYED_TABLE_BYTES = QUARTERS * KEYED_ENTRIES * AFFINE_BYTES
"""The tables of one key: for each quarter, the multiples 0 .. 8 as affine entries."""
MULTIPLES = QUARTERS * (KEYED_ENTRIES - 1)
"""Points of which the tables of a key are made: all entries but the four of the identity."""

POWER_SLOTS = 32
"""Pair elements that one power needs, each result in a place of its own."""

GROUPS = 0
RESULTS = GROUPS + 2 * GROUP_BYTES
TABLE = RESULTS + CHUNK_PAIRS * RESULT_BYTES
STATE = TABLE + LANES * LANE_TABLE_BYTES
WORDS = STATE + 4 * ELEMENT
POWERS = WORDS + 16 * VECTOR
ADDRESSES = POWERS + POWER_SLOTS * PAIR_ELEMENT
AREA = ADDRESSES + VECTOR
PRODUCTS = AREA + MULTIPLES * 4 * PAIR_ELEMENT
SCRATCH_BYTES = PRODUCTS + MULTIPLES * PAIR_ELEMENT
