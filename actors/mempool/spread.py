"""The order of a draw, so that few neighbours touch one account: a state transition that works in waves of
transactions without a common account needs fewer of them.

Rule: the next row is the first of the `lookahead` highest-ranked ones left whose accounts no row of the
present wave has touched; if there is none, the highest-ranked one left, and a new wave begins. A row that is
passed over is not passed by a later one of its sender, so nonces stay in order.

Bound: a row goes at most lookahead - 1 places ahead of where its rank put it, and a row that has been
passed by lookahead - 1 others goes next; so no lower fee is favoured over a higher one that stood
lookahead places before it. Which rows are in the block does not change.

Accounts are told apart by a hash of 14 bits; two that share one merely look like the same account.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.rows import WORD_RECIPIENT, WORD_SENDER

_HASH_BITS = 14
_MULTIPLIER, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - _HASH_BITS)


@njit(cache=True, inline="always")
def _account(words, slot, word):  # type: ignore[no-untyped-def]
    return np.int64(((words[slot, word] ^ words[slot, word + 3]) * _MULTIPLIER) >> _SHIFT)


@njit(cache=True)
def spread(words, slots, lookahead, order):  # type: ignore[no-untyped-def]
    """Fill `order` (n,) with places in `slots` (n,), rows of `words`, by the rule; returns the waves."""
    count = len(slots)
    touched = np.zeros(1 << _HASH_BITS, dtype=np.int64)  # the last wave that touched an account
    passed = np.zeros(1 << _HASH_BITS, dtype=np.int64)  # the last search that passed over a sender's row
    near = np.empty((lookahead, 3), dtype=np.int64)  # place, sender, recipient of the highest ranked left
    overtaken = np.zeros(lookahead, dtype=np.int64)
    held = taken = 0
    wave = 1
    for turn in range(count):
        while held < lookahead and taken < count:
            near[held, 0] = taken
            near[held, 1] = _account(words, slots[taken], WORD_SENDER)
            near[held, 2] = _account(words, slots[taken], WORD_RECIPIENT)
            overtaken[held] = 0
            held += 1
            taken += 1
        chosen = -1
        if overtaken[0] < lookahead - 1:
            for k in range(held):
                sender, recipient = near[k, 1], near[k, 2]
                free = touched[sender] != wave and touched[recipient] != wave
                if free and passed[sender] != turn + 1:
                    chosen = k
                    break
                passed[sender] = turn + 1
        if chosen < 0:
            chosen = 0
            wave += 1
        touched[near[chosen, 1]] = wave
        touched[near[chosen, 2]] = wave
        order[turn] = near[chosen, 0]
        for k in range(chosen):
            overtaken[k] += 1
        held -= 1
        for k in range(chosen, held):
            near[k, 0], near[k, 1], near[k, 2] = near[k + 1, 0], near[k + 1, 1], near[k + 1, 2]
            overtaken[k] = overtaken[k + 1]
    return wave
