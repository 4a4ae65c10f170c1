"""Compiled parts of the state tree: structure, which nodes must be hashed anew, and moving hashes about.

A reference to a child is 0 for an empty subtree, i > 0 for inner node i, and -(s + 1) for the leaf of slot s.
Node 0 is no node of the tree: its left child is the root, its level 0. A place is 2 * node + side: where a
child hangs, and where its hash is kept. Columns:

    children     (nodes, 2) int32     references, left and right
    ups          (nodes, 2) int32     own place in the parent, level; the root's level is 1
    hashes       (2 * nodes, 4) uint64  by place, as words; zero where nothing hangs
    leaf_places  (slots,)   int32     by slot
    paths        (slots, 32) uint8    SHA-256 of the key
    marks        (nodes / 64,) uint64 one bit a node, all zero between calls

What is read together lies together, since large trees are bound by cache misses: the walk to the root takes
`ups` alone, and the two hashes that make a node's message are one line of `hashes`, where the digests of the
level below were written. Where an insertion moves a leaf further down, its hash is copied along, and what
stays behind is what undo restores. The walks of all leaves advance together, nodes in a queue, so that their
cache misses overlap; what is needed soon is asked for ahead.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.kernels.prefetch import prefetch
from actors.ledger.smt import DEPTH_MAX

PLACE, LEVEL = 0, 1
MARKS = 64  # a word
SAME_PATH = 1
NO_ROOM = 2
DONE = 0
AHEAD = 16  # rows between a prefetch and its use


@njit(cache=True, inline="always")
def _bit(paths, slot, depth):  # type: ignore[no-untyped-def]
    return (np.int64(paths[slot, depth >> 3]) >> (7 - (depth & 7))) & 1


@njit(cache=True, inline="always")
def _new_node(children, ups, hashes, node, place, level):  # type: ignore[no-untyped-def]
    for side in range(2):
        children[node, side] = 0
        for w in range(4):
            hashes[2 * node + side, w] = 0
    children[place >> 1, place & 1] = node
    ups[node, PLACE] = place
    ups[node, LEVEL] = level


@njit(cache=True, nogil=True)
def insert_leaves(  # type: ignore[no-untyped-def]
    children, ups, hashes, count, leaf_places, paths, first, stop, log_at, log_ref, logged
):
    """Insert the leaves of slots first..stop-1. Returns (next slot, count, logged, status).

    count: nodes in use. log_at, log_ref: the one place an insertion changed among older nodes, and what stood
    there. Stops with NO_ROOM before an insertion that might not fit, with SAME_PATH at a path twice.
    """
    for slot in range(first, stop):
        if count + DEPTH_MAX > len(children):
            return slot, count, logged, NO_ROOM
        place, depth = 0, 0
        while children[place >> 1, place & 1] > 0:
            place = 2 * np.int64(children[place >> 1, place & 1]) + _bit(paths, slot, depth)
            depth += 1
        ref = children[place >> 1, place & 1]
        other = -np.int64(ref) - 1
        split = depth
        while ref < 0 and split < DEPTH_MAX and _bit(paths, slot, split) == _bit(paths, other, split):
            split += 1
        if split == DEPTH_MAX:
            return slot, count, logged, SAME_PATH
        log_at[logged] = place
        log_ref[logged] = ref
        logged += 1
        if ref < 0:
            for level in range(depth, split + 1):
                _new_node(children, ups, hashes, count, place, level + 1)
                place = 2 * count + _bit(paths, slot, level)
                count += 1
            beside = place ^ 1
            children[beside >> 1, beside & 1] = ref
            for w in range(4):
                hashes[beside, w] = hashes[leaf_places[other], w]
            leaf_places[other] = beside
        children[place >> 1, place & 1] = -(slot + 1)
        leaf_places[slot] = place
    return stop, count, logged, DONE


@njit(cache=True, nogil=True)
def remove_leaves(children, leaf_places, log_at, log_ref):  # type: ignore[no-untyped-def]
    """Reverse `insert_leaves`, last insertion first. The caller takes the node count back."""
    for i in range(len(log_at) - 1, -1, -1):
        place, ref = log_at[i], log_ref[i]
        children[place >> 1, place & 1] = ref
        if ref < 0:
            leaf_places[-np.int64(ref) - 1] = place


@njit(cache=True, inline="always")
def _unmark(marks, marked):  # type: ignore[no-untyped-def]
    """Take all marks away: as one run where there are many, since a store at random costs more."""
    if len(marked) > len(marks) >> 3:
        marks[:] = 0
    else:
        for node in marked:
            marks[node >> 6] = 0


@njit(cache=True, nogil=True)
def dirty_nodes(ups, leaf_places, slots, marks, nodes):  # type: ignore[no-untyped-def]
    """Inner nodes above the leaves of `slots`, deepest first. Returns (dirty, their places, offsets).

    dirty[offsets[d]:offsets[d + 1]] are those of level DEPTH_MAX - d. nodes: how many are in use.
    """
    offsets = np.zeros(DEPTH_MAX + 1, dtype=np.int64)
    queue = np.empty(len(slots) + nodes, dtype=np.int32)
    found = np.empty((min(nodes, len(slots) * DEPTH_MAX), 2), dtype=np.int32)
    queued, count = len(slots), 0
    for i in range(queued):
        if i + AHEAD < queued:
            prefetch(leaf_places, slots[i + AHEAD])
        queue[i] = leaf_places[slots[i]] >> 1
    at = 0
    while at < queued:
        if at + AHEAD < queued:
            prefetch(ups, queue[at + AHEAD])
        node = queue[at]
        at += 1
        word, bit = marks[node >> 6], np.uint64(1) << np.uint64(node & 63)
        if node > 0 and word & bit == 0:
            marks[node >> 6] = word | bit
            place, level = ups[node, PLACE], ups[node, LEVEL]
            # Entries of the queue before `at` are done with: what was found takes their room.
            queue[count] = node
            found[count, PLACE] = place
            found[count, LEVEL] = level
            offsets[DEPTH_MAX + 1 - level] += 1
            queue[queued] = place >> 1
            count += 1
            queued += 1
    _unmark(marks, queue[:count])
    for d in range(DEPTH_MAX):
        offsets[d + 1] += offsets[d]
    dirty, places = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    next_of = offsets.copy()
    for i in range(count):
        d = DEPTH_MAX - found[i, LEVEL]
        dirty[next_of[d]] = queue[i]
        places[next_of[d]] = found[i, PLACE]
        next_of[d] += 1
    return dirty, places, offsets


@njit(cache=True, nogil=True)
def gather_children(hashes, dirty, pairs):  # type: ignore[no-untyped-def]
    """pairs[i] = left ‖ right hash of dirty[i], (n, 8) uint64."""
    rows = len(dirty)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(hashes, 2 * np.int64(dirty[i + AHEAD]))
        left = 2 * np.int64(dirty[i])
        for w in range(4):
            pairs[i, w] = hashes[left, w]
            pairs[i, 4 + w] = hashes[left + 1, w]


@njit(cache=True, inline="always")
def _empty(words, i, at):  # type: ignore[no-untyped-def]
    return (words[i, at] | words[i, at + 1] | words[i, at + 2] | words[i, at + 3]) == np.uint64(0)


@njit(cache=True, inline="always")
def _equal(hashes, a, b):  # type: ignore[no-untyped-def]
    same = True
    for w in range(4):
        same &= hashes[a, w] == hashes[b, w]
    return same


@njit(cache=True, nogil=True)
def collapse(children, hashes, dirty, pairs, digests):  # type: ignore[no-untyped-def]
    """Correct digests[i] of dirty[i], whose children have the hashes pairs[i], above one leaf or nothing.

    An inner node has the hash of one of its children only if nothing is below the other and a single leaf
    below that one, since it takes a collision of SHA-256 otherwise.
    """
    for i in range(len(dirty)):
        left, right = _empty(pairs, i, 0), _empty(pairs, i, 4)
        if not left and not right:
            continue
        at = 2 * np.int64(dirty[i]) + (1 if left else 0)
        below = np.int64(children[dirty[i], 1 if left else 0])
        single = left and right
        if below > 0 and not single:
            for side in range(2):
                single |= _equal(hashes, at, 2 * below + side) and _empty(hashes, 2 * below + 1 - side, 0)
        if below < 0 or single:
            for w in range(4):
                digests[i, w] = hashes[at, w]


@njit(cache=True, nogil=True)
def gather_leaves(paths, slots, value_hashes, rows):  # type: ignore[no-untyped-def]
    """rows[i] = path of slots[i] ‖ value_hashes[i]; all as words: (n, 4), (m,), (m, 4), (m, 8) uint64."""
    count = len(slots)
    for i in range(count):
        if i + AHEAD < count:
            prefetch(paths, slots[i + AHEAD])
        for w in range(4):
            rows[i, w] = paths[slots[i], w]
            rows[i, 4 + w] = value_hashes[i, w]


@njit(cache=True, nogil=True)
def exchange(hashes, places, new, old):  # type: ignore[no-untyped-def]
    """hashes[places[i]] = new[i], and old[i] what stood there; of (n, 4) uint64 columns."""
    rows = len(places)
    for i in range(rows):
        if i + AHEAD < rows:
            prefetch(hashes, places[i + AHEAD])
        for w in range(4):
            old[i, w] = hashes[places[i], w]
            hashes[places[i], w] = new[i, w]


@njit(cache=True, nogil=True)
def restore(hashes, places, old):  # type: ignore[no-untyped-def]
    """hashes[places[i]] = old[i]."""
    for i in range(len(places)):
        for w in range(4):
            hashes[places[i], w] = old[i, w]
