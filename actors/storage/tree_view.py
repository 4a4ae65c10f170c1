"""The state tree as it was: read through the undo logs of the updates since.

Rules. Slots and inner nodes are only added, so what the tree held at an earlier height has the numbers it has
now, and `leaves` and `nodes` of the first update since then tell old from new. A place (node, side) that now
holds a new leaf was empty; one that now holds a new inner node held what the oldest insertion there replaced.
A hash is the old hash in the oldest log that has one, or else the present one. Where accounts were removed,
the structure is deeper than the tree, and hashes say where that one ends (tree.py).

The caller keeps the tree still while a view is in use, and sorts the logs before (`LoggedUpdate.sorted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import DIGEST_BYTES
from actors.ledger.smt import EMPTY, path_bit
from actors.storage.tree import StateTree, TreeUndo

BELOW, ABOVE = 0, 1


class LoggedUpdate:
    """An undo log that can be searched by node and by slot; immutable, so any thread may do so."""

    def __init__(self, log: TreeUndo) -> None:
        self.log = log

    @cached_property
    def sorted(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(order, nodes): log.dirty[order] in ascending order."""
        order = np.argsort(self.log.dirty)
        return order, self.log.dirty[order]

    def replaced(self, place: int) -> int | None:
        """What stood at a place (2 * node + side) before the first insertion there; None without one."""
        found = np.flatnonzero(self.log.log_at == place)
        return int(self.log.log_ref[found[0]]) if len(found) else None


class TreeView:
    """A tree before the updates in `since`, which are those up to now, oldest first."""

    def __init__(self, tree: StateTree, since: Sequence[LoggedUpdate]) -> None:
        self._tree, self._since = tree, since
        first = since[0].log if since else None
        self.leaves = first.leaves if first else tree.leaves
        self._nodes = first.nodes if first else tree.nodes

    def ref(self, node: int, side: int) -> int:
        """What a node that was there has on a side, as `tree_kernels` writes references."""
        now = self._tree.ref(node, side)
        if 0 <= now < self._nodes or 0 < -now <= self.leaves:
            return now
        if now < 0:
            return 0
        replaced = (update.replaced(2 * node + side) for update in self._since)
        return next((ref for ref in replaced if ref is not None), now)

    def walk(self, path: bytes) -> tuple[list[tuple[int, int]], int]:
        """((node, side taken) from the root down, what stands at the end: a leaf's reference or 0)."""
        steps: list[tuple[int, int]] = []
        ref = self.ref(0, 0)
        while ref > 0:
            side = path_bit(path, len(steps))
            steps.append((ref, side))
            ref = self.ref(ref, side)
        return self._cut(steps, ref) if self._tree.sparse else (steps, ref)

    def _cut(self, steps: list[tuple[int, int]], end: int) -> tuple[list[tuple[int, int]], int]:
        """A way down the structure as far as the tree goes."""
        along = [*(node for node, _ in steps), end]
        beside = [self.ref(node, 1 - side) for node, side in steps]
        hashes = self.hashes([*along, *beside])
        own, other = hashes[: len(along)], hashes[len(along) :]
        for depth, (ref, digest) in enumerate(zip(along, own, strict=True)):
            if digest == EMPTY:
                return steps[:depth], 0
            if (
                ref > 0
                and EMPTY in (own[depth + 1], other[depth])
                and digest in (own[depth + 1], other[depth])
            ):
                return steps[:depth], self._outermost(ref, BELOW)
        return steps, end

    def _outermost(self, ref: int, side: int) -> int:
        """The leaf next to one end of a subtree that has leaves."""
        while ref > 0:
            near, far = self.ref(ref, side), self.ref(ref, 1 - side)
            ref = near if self._has_leaves([near])[0] else far
        return ref

    def _has_leaves(self, refs: list[int]) -> list[bool]:
        if not self._tree.sparse:
            return [ref != 0 for ref in refs]
        return [digest != EMPTY for digest in self.hashes(refs)]

    def neighbour(self, path: bytes, side: int) -> int:
        """Slot of the leaf next BELOW or ABOVE a path at which there is no leaf; -1 without one."""
        steps, ref = self.walk(path)
        if ref < 0 and (self._tree.path_of(-ref - 1) > path) == (side == ABOVE):
            return -ref - 1
        aside = [self.ref(node, side) for node, taken in reversed(steps) if taken != side]
        for ref, there in zip(aside, self._has_leaves(aside), strict=True):
            if there:
                return -self._outermost(ref, 1 - side) - 1
        return -1

    def siblings(self, path: bytes) -> tuple[bytes, ...]:
        """Hashes beside a path from the root down to where it ends."""
        return self.hashes([self.ref(node, 1 - side) for node, side in self.walk(path)[0]])

    def root(self) -> bytes:
        """Root of the tree."""
        return self.hashes([self.ref(0, 0)])[0]

    def hashes(self, refs: list[int]) -> tuple[bytes, ...]:
        """Hashes of references, 32 bytes each."""
        out = np.frombuffer(b"".join(map(self._tree.hash_of, refs)), dtype=np.uint64).reshape(-1, 4).copy()
        wanted = np.array(refs, dtype=np.int64)
        nodes, leaves = np.flatnonzero(wanted > 0), np.flatnonzero(wanted < 0)
        for update in reversed(self._since):
            order, dirty = update.sorted
            at, hit = _search(dirty, wanted[nodes])
            out[nodes[hit]] = update.log.hashes[order[at[hit]]]
            at, hit = _search(update.log.slots, -wanted[leaves] - 1)
            out[leaves[hit]] = update.log.leaf_hashes[at[hit]]
        raw = out.tobytes()
        return tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))


def _search(
    ordered: NDArray[np.int32] | NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(places, whether found) of `wanted` in an ascending column."""
    at = np.searchsorted(ordered, wanted)
    at[at == len(ordered)] = 0
    found = ordered[at] == wanted if len(ordered) else np.zeros(len(wanted), dtype=np.bool_)
    return at, found
