"""Compiled parts of the state tree: structure, which nodes must be hashed anew, and moving hashes about.

A reference to a child is 0 for an empty subtree, i > 0 for inner node i, and -(s + 1) for the leaf of slot s.
Node 0 is no node of the tree: its left child is the root, its depth -1. Columns:

    child        (nodes, 2) int32     references
    parent       (nodes,)   int32     inner node above
    depth        (nodes,)   int16     root 0
    hashes       (nodes, 4) uint64    as words
    leaf_parent  (slots,)   int32     inner node above, 0 if the leaf is the root
    leaf_hashes  (slots, 4) uint64
    paths        (slots, 32) uint8    SHA-256 of the key
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.smt import DEPTH_MAX

SAME_PATH = 1
NO_ROOM = 2
DONE = 0


@njit(cache=True, inline="always")
def _bit(paths, slot, depth):  # type: ignore[no-untyped-def]
    return (np.int64(paths[slot, depth >> 3]) >> (7 - (depth & 7))) & 1


@njit(cache=True, nogil=True)
def insert_leaves(  # type: ignore[no-untyped-def]
    child, parent, depth, nodes, leaf_parent, paths, first, stop, log_at, log_ref, logged
):
    """Insert the leaves of slots first..stop-1. Returns (next slot, nodes, logged, status).

    log_at, log_ref: the one place an insertion changed among older nodes (2 * node + side), and what stood
    there. Stops with NO_ROOM before an insertion that might not fit, with SAME_PATH at a path twice.
    """
    for slot in range(first, stop):
        if nodes + DEPTH_MAX > len(child):
            return slot, nodes, logged, NO_ROOM
        node, side = 0, 0
        while child[node, side] > 0:
            node = child[node, side]
            side = _bit(paths, slot, np.int64(depth[node]))
        ref = child[node, side]
        log_at[logged] = 2 * node + side
        log_ref[logged] = ref
        if ref == 0:
            child[node, side] = -(slot + 1)
            leaf_parent[slot] = node
            logged += 1
            continue
        other = -np.int64(ref) - 1
        at = np.int64(depth[node]) + 1
        split = at
        while split < DEPTH_MAX and _bit(paths, slot, split) == _bit(paths, other, split):
            split += 1
        if split == DEPTH_MAX:
            return slot, nodes, logged, SAME_PATH
        for level in range(at, split + 1):
            child[node, side] = nodes
            child[nodes, 0] = 0
            child[nodes, 1] = 0
            parent[nodes] = node
            depth[nodes] = level
            node = nodes
            side = _bit(paths, slot, level)
            nodes += 1
        child[node, side] = -(slot + 1)
        child[node, 1 - side] = -(other + 1)
        leaf_parent[slot] = node
        leaf_parent[other] = node
        logged += 1
    return stop, nodes, logged, DONE


@njit(cache=True, nogil=True)
def remove_leaves(child, leaf_parent, log_at, log_ref):  # type: ignore[no-untyped-def]
    """Reverse `insert_leaves`, last insertion first. The caller takes the node count back."""
    for i in range(len(log_at) - 1, -1, -1):
        node, side, ref = log_at[i] >> 1, log_at[i] & 1, log_ref[i]
        child[node, side] = ref
        if ref < 0:
            leaf_parent[-np.int64(ref) - 1] = node


@njit(cache=True, nogil=True)
def dirty_nodes(parent, depth, leaf_parent, marks, slots, found):  # type: ignore[no-untyped-def]
    """Inner nodes above the leaves of `slots`, deepest first. Returns (nodes, offsets).

    nodes[offsets[d]:offsets[d + 1]] are those at depth DEPTH_MAX - 1 - d. marks: (nodes,) uint8 scratch, zero
    before and after; found: int32 scratch with room for every node.
    """
    offsets = np.zeros(DEPTH_MAX + 1, dtype=np.int64)
    count = 0
    for i in range(len(slots)):
        node = np.int64(leaf_parent[slots[i]])
        while node > 0 and marks[node] == 0:
            marks[node] = 1
            found[count] = node
            offsets[DEPTH_MAX - np.int64(depth[node])] += 1
            count += 1
            node = np.int64(parent[node])
    for d in range(DEPTH_MAX):
        offsets[d + 1] += offsets[d]
    nodes = np.empty(count, dtype=np.int32)
    place = offsets.copy()
    for i in range(count):
        node = np.int64(found[i])
        marks[node] = 0
        level = DEPTH_MAX - 1 - np.int64(depth[node])
        nodes[place[level]] = node
        place[level] += 1
    return nodes, offsets


@njit(cache=True, nogil=True)
def gather_children(child, hashes, leaf_hashes, nodes, pairs):  # type: ignore[no-untyped-def]
    """pairs[i] = left ‖ right hash of nodes[i], (n, 8) uint64."""
    for i in range(len(nodes)):
        for side in range(2):
            ref = np.int64(child[nodes[i], side])
            for w in range(4):
                if ref > 0:
                    pairs[i, 4 * side + w] = hashes[ref, w]
                elif ref < 0:
                    pairs[i, 4 * side + w] = leaf_hashes[-ref - 1, w]
                else:
                    pairs[i, 4 * side + w] = np.uint64(0)


@njit(cache=True, nogil=True)
def scatter(hashes, nodes, digests):  # type: ignore[no-untyped-def]
    """hashes[nodes[i]] = digests[i]."""
    for i in range(len(nodes)):
        for w in range(4):
            hashes[nodes[i], w] = digests[i, w]


@njit(cache=True, nogil=True)
def gather(hashes, nodes, out):  # type: ignore[no-untyped-def]
    """out[i] = hashes[nodes[i]]."""
    for i in range(len(nodes)):
        for w in range(4):
            out[i, w] = hashes[nodes[i], w]
