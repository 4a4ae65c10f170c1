"""Compiled parts of the state tree: structure, which nodes must be hashed anew, and moving hashes about.

A reference to a child is 0 for an empty subtree, i > 0 for inner node i, and -(s + 1) for the leaf of slot s.
Node 0 is no node of the tree: its left child is the root, its level 0. Columns:

    nodes        (nodes, 4) int32     left, right, parent, 2 * level + mark; the root's level is 1
    hashes       (nodes, 4) uint64    as words
    leaf_parent  (slots,)   int32     inner node above, 0 if the leaf is the root
    leaf_hashes  (slots, 4) uint64
    paths        (slots, 32) uint8    SHA-256 of the key

What is read together lies together, since large trees are bound by cache misses: the walk to the root, and
later the gathering of children, take one line of `nodes` each; a node's old hash is saved as it is replaced.
The walks of all leaves advance together, nodes in a queue, so that their cache misses overlap; what is needed
soon is asked for ahead.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.smt import DEPTH_MAX
from actors.storage.prefetch import prefetch

PARENT, LEVEL = 2, 3
NODE_WORDS = 4
SAME_PATH = 1
NO_ROOM = 2
DONE = 0
AHEAD = 16  # rows between a prefetch and its use


@njit(cache=True, inline="always")
def _bit(paths, slot, depth):  # type: ignore[no-untyped-def]
    return (np.int64(paths[slot, depth >> 3]) >> (7 - (depth & 7))) & 1


@njit(cache=True, nogil=True)
def insert_leaves(nodes, count, leaf_parent, paths, first, stop, log_at, log_ref, logged):  # type: ignore[no-untyped-def]
    """Insert the leaves of slots first..stop-1. Returns (next slot, count, logged, status).

    count: nodes in use. log_at, log_ref: the one place an insertion changed among older nodes (2 * node +
    side), and what stood there. Stops with NO_ROOM before an insertion that might not fit, with SAME_PATH at
    a path twice.
    """
    for slot in range(first, stop):
        if count + DEPTH_MAX > len(nodes):
            return slot, count, logged, NO_ROOM
        node, side, depth = 0, 0, 0
        while nodes[node, side] > 0:
            node = nodes[node, side]
            side = _bit(paths, slot, depth)
            depth += 1
        ref = nodes[node, side]
        other = -np.int64(ref) - 1
        split = depth
        while ref < 0 and split < DEPTH_MAX and _bit(paths, slot, split) == _bit(paths, other, split):
            split += 1
        if split == DEPTH_MAX:
            return slot, count, logged, SAME_PATH
        log_at[logged] = 2 * node + side
        log_ref[logged] = ref
        logged += 1
        if ref < 0:
            for level in range(depth, split + 1):
                nodes[node, side] = count
                nodes[count, 0] = 0
                nodes[count, 1] = 0
                nodes[count, PARENT] = node
                nodes[count, LEVEL] = 2 * (level + 1)
                node = count
                side = _bit(paths, slot, level)
                count += 1
            nodes[node, 1 - side] = ref
            leaf_parent[other] = node
        nodes[node, side] = -(slot + 1)
        leaf_parent[slot] = node
    return stop, count, logged, DONE


@njit(cache=True, nogil=True)
def remove_leaves(nodes, leaf_parent, log_at, log_ref):  # type: ignore[no-untyped-def]
    """Reverse `insert_leaves`, last insertion first. The caller takes the node count back."""
    for i in range(len(log_at) - 1, -1, -1):
        node, side, ref = log_at[i] >> 1, log_at[i] & 1, log_ref[i]
        nodes[node, side] = ref
        if ref < 0:
            leaf_parent[-np.int64(ref) - 1] = node


@njit(cache=True, nogil=True)
def dirty_nodes(nodes, leaf_parent, slots, found):  # type: ignore[no-untyped-def]
    """Inner nodes above the leaves of `slots`, deepest first. Returns (dirty, offsets).

    dirty[offsets[d]:offsets[d + 1]] are those of level DEPTH_MAX - d. They are left marked; `gather_children`
    takes the marks away. found: (nodes, 2) int32 scratch.
    """
    offsets = np.zeros(DEPTH_MAX + 1, dtype=np.int64)
    queue = np.empty(len(slots) + len(nodes), dtype=np.int32)
    queued, count = len(slots), 0
    for i in range(queued):
        if i + AHEAD < queued:
            prefetch(leaf_parent, slots[i + AHEAD])
        queue[i] = leaf_parent[slots[i]]
    at = 0
    while at < queued:
        if at + AHEAD < queued:
            prefetch(nodes, queue[at + AHEAD])
        node = queue[at]
        at += 1
        if node > 0 and nodes[node, LEVEL] & 1 == 0:
            level = nodes[node, LEVEL] >> 1
            nodes[node, LEVEL] |= 1
            found[count, 0] = node
            found[count, 1] = level
            offsets[DEPTH_MAX + 1 - level] += 1
            count += 1
            queue[queued] = nodes[node, PARENT]
            queued += 1
    for d in range(DEPTH_MAX):
        offsets[d + 1] += offsets[d]
    dirty = np.empty(count, dtype=np.int32)
    place = offsets.copy()
    for i in range(count):
        d = DEPTH_MAX - found[i, 1]
        dirty[place[d]] = found[i, 0]
        place[d] += 1
    return dirty, offsets


@njit(cache=True, nogil=True)
def gather_children(nodes, hashes, leaf_hashes, dirty, pairs):  # type: ignore[no-untyped-def]
    """pairs[i] = left ‖ right hash of dirty[i], (n, 8) uint64; takes the mark away."""
    rows = len(dirty)
    for i in range(rows):
        if i + 2 * AHEAD < rows:
            prefetch(nodes, dirty[i + 2 * AHEAD])
        if i + AHEAD < rows:
            for side in range(2):
                ref = np.int64(nodes[dirty[i + AHEAD], side])
                if ref > 0:
                    prefetch(hashes, ref)
                elif ref < 0:
                    prefetch(leaf_hashes, -ref - 1)
        node = dirty[i]
        nodes[node, LEVEL] &= -2
        for side in range(2):
            ref = np.int64(nodes[node, side])
            for w in range(4):
                if ref > 0:
                    pairs[i, 4 * side + w] = hashes[ref, w]
                elif ref < 0:
                    pairs[i, 4 * side + w] = leaf_hashes[-ref - 1, w]
                else:
                    pairs[i, 4 * side + w] = np.uint64(0)


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
    """hashes[places[i]] = new[i], and old[i] what stood there. All (n, 4) uint64."""
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
