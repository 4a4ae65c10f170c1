"""What the compiled twin of a kind works on: accounts as columns, and what a block leaves behind.

A kind's `run` applies a span of rows of its kind. It finds accounts with `find`, makes one with `make` for a
row that passes only, calls `touch` once for each account before it writes it, and `passed` for each row that
passes. What it has read from `totals` it writes back at the end. `touch` keeps the old values of an account
the first time a block writes it, so that undo can put them back, and the row's wave (storage/transition.py).

Accounts lie at random in columns that exceed the caches, so a pass looks ahead: for a row FAR ahead it asks
for the places in the key table, for a row NEAR ahead for what stands in the slots found there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.kernels.prefetch import prefetch
from actors.ledger.index import find_slot, home_of, insert_slot

FAR, NEAR = 24, 12
COUNT, LOGGED, PASSED, FEES = 0, 1, 2, 3
TOTALS = 4


class Columns(NamedTuple):
    """table, keys, hash_key: the key index. nonces, balances: (capacity,) uint64. waves: (capacity,) int32,
    the last wave that touched an account in this block. log_slots, log_values: accounts touched, and what
    they held. receipts: (rows, 4) uint64. widths: (rows + 2,) int32 rows in each wave. totals: (4,) uint64,
    accounts in use, accounts logged, rows passed, fees of these.
    """

    table: NDArray[np.int32]
    keys: NDArray[np.uint64]
    hash_key: Any
    nonces: NDArray[np.uint64]
    balances: NDArray[np.uint64]
    waves: NDArray[np.int32]
    log_slots: NDArray[np.int64]
    log_values: NDArray[np.uint64]
    receipts: NDArray[np.uint64]
    widths: NDArray[np.int32]
    totals: NDArray[np.uint64]


@njit(cache=True, nogil=True)
def find_homes(words, fields, c, homes):  # type: ignore[no-untyped-def]
    """homes[i, f]: where in the key table the search for the key in row i from word fields[f] on begins."""
    for i in range(len(words)):
        for f in range(len(fields)):
            at = fields[f]
            homes[i, f] = home_of(
                c.table, c.hash_key, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3]
            )


@njit(cache=True, inline="always")
def look_ahead(c, homes, i, fields):  # type: ignore[no-untyped-def]
    """Ask for what rows FAR and NEAR behind row i will need. fields: as many as `homes` has, a constant."""
    if i + FAR < len(homes):
        for f in range(fields):
            prefetch(c.table, homes[i + FAR, f])
    if i + NEAR < len(homes):
        for f in range(fields):
            slot = np.int64(c.table[homes[i + NEAR, f]])
            if slot >= 0:
                prefetch(c.keys, slot)
                prefetch(c.nonces, slot)
                prefetch(c.balances, slot)
                prefetch(c.waves, slot)


@njit(cache=True, inline="always")
def find(c, words, i, at, home):  # type: ignore[no-untyped-def]
    """Slot of the account whose key stands in row i from word `at` on, or -1."""
    return find_slot(
        c.table, c.keys, home, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3]
    )


@njit(cache=True, inline="always")
def make(c, words, i, at, home, count):  # type: ignore[no-untyped-def]
    """Slot `count`, for the key in row i from word `at` on, which has no account. The caller counts."""
    return insert_slot(
        c.table, c.keys, count, home, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3]
    )


@njit(cache=True, inline="always")
def touch(c, slot, wave, logged):  # type: ignore[no-untyped-def]
    """Say that a row of this wave writes an account. Returns how many accounts are logged."""
    if c.waves[slot] == 0:
        c.log_slots[logged] = slot
        c.log_values[logged, 0] = c.nonces[slot]
        c.log_values[logged, 1] = c.balances[slot]
        logged += 1
    c.waves[slot] = wave
    return logged
