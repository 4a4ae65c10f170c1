"""The order of a draw, so that few neighbours touch one account: a state transition that works in waves of
transactions without a common account needs fewer of them.

Rule: the next row is the first of the `lookahead` highest-ranked ones left that meets none of the present
wave; if there is none, the highest-ranked one left, and a new wave begins. Two rows meet if both touch an
account or a row of a table, unless both read it, or both only add to it (contracts/touches.py). A row that is
passed over is not passed by a later one of its sender, so nonces stay in order.

Bound: a row goes at most lookahead - 1 places ahead of where its rank put it, and a row that has been
passed by lookahead - 1 others goes next; so no lower fee is favoured over a higher one that stood
lookahead places before it. Which rows are in the block does not change.

What is touched is told apart by a hash of 14 bits, keyed so that strangers cannot make much look like one;
two that share one merely look like the same.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.contracts.touches import Mode
from actors.kernels.siphash import siphash
from actors.ledger.rows import WORD_RECIPIENT, WORD_SENDER

_HASH_BITS = 14
_SHIFT = np.uint64(64 - _HASH_BITS)
_WRITE = int(Mode.WRITE)


@njit(cache=True, inline="always")
def _account(words, slot, at, hash_key):  # type: ignore[no-untyped-def]
    k0, k1, k2, k3 = words[slot, at], words[slot, at + 1], words[slot, at + 2], words[slot, at + 3]
    return np.int64(siphash(hash_key, k0, k1, k2, k3) >> _SHIFT)


@njit(cache=True, inline="always")
def _is_free(touched, what, mode, wave):  # type: ignore[no-untyped-def]
    """Whether no row of this wave has touched it, but for in the same mode, where that disturbs nobody."""
    return touched[what] >> 2 != wave or (mode != _WRITE and touched[what] & 3 == mode)


@njit(cache=True, inline="always")
def _touch(touched, what, mode, wave):  # type: ignore[no-untyped-def]
    if touched[what] >> 2 == wave and touched[what] & 3 != mode:
        mode = _WRITE
    touched[what] = wave << 2 | mode


@njit(cache=True, inline="always")
def _meets_none(touched, t, place, wave):  # type: ignore[no-untyped-def]
    """Of what a row touches besides the accounts that it names."""
    for at in range(t.starts[place], t.starts[place + 1]):
        if not _is_free(touched, np.int64(t.hashes[at] >> _SHIFT), np.int64(t.modes[at]), wave):
            return False
    return True


@njit(cache=True)
def spread(words, slots, t, lookahead, hash_key, order):  # type: ignore[no-untyped-def]
    """Fill `order` (n,) with places in `slots` (n,), rows of `words`, by the rule; returns the waves.

    t: DrawTouches (contract_keys.py). hash_key: (2,) uint64, of kernels/siphash.py. The rows left are a
    linked list by rank; its first `lookahead` ones are looked at.
    """
    count = len(slots)
    touched = np.zeros(1 << _HASH_BITS, dtype=np.int64)  # the last wave that touched it, and how
    passed = np.zeros(1 << _HASH_BITS, dtype=np.int32)  # the last search that passed over a sender's row
    accounts = np.empty((count, 2), dtype=np.int32)
    after = np.empty(count + 1, dtype=np.int32)  # the next row left; entry `count` stands before the first
    overtaken = np.zeros(count, dtype=np.int32)
    for place in range(count):
        accounts[place, 0] = _account(words, slots[place], WORD_SENDER, hash_key)
        accounts[place, 1] = _account(words, slots[place], WORD_RECIPIENT, hash_key)
        after[place] = place + 1
    after[count] = 0
    wave = 1
    for turn in range(count):
        first = after[count]
        before, chosen = np.int64(count), np.int64(-1)
        if overtaken[first] < lookahead - 1:
            left, at, place = min(lookahead, count - turn), np.int64(count), first
            for _ in range(left):
                sender, mode = accounts[place, 0], np.int64(t.recipient_modes[place])
                free = _is_free(touched, sender, _WRITE, wave) and passed[sender] != turn + 1
                free = free and _is_free(touched, accounts[place, 1], mode, wave)
                if free and _meets_none(touched, t, place, wave):
                    before, chosen = at, np.int64(place)
                    break
                passed[sender] = turn + 1
                at = np.int64(place)
                place = after[place]
        if chosen < 0:
            chosen = np.int64(first)
            wave += 1
        _touch(touched, accounts[chosen, 0], _WRITE, wave)
        _touch(touched, accounts[chosen, 1], np.int64(t.recipient_modes[chosen]), wave)
        for touch in range(t.starts[chosen], t.starts[chosen + 1]):
            _touch(touched, np.int64(t.hashes[touch] >> _SHIFT), np.int64(t.modes[touch]), wave)
        order[turn] = chosen
        place = first
        while place != chosen:
            overtaken[place] += 1
            place = after[place]
        after[before] = after[chosen]
    return wave
