"""The state tree, kept up to date: the fast twin of `ledger.smt`.

Rules are those of `ledger.smt`. A leaf belongs to an account's slot; slots arrive in order and never change
key, so the structure only grows, and undo takes the last ones away again. A slot whose account does not exist
has the hash of an empty subtree, and a node above a single leaf has that leaf's hash: the structure may be
deeper than the tree that it stands for, and `resolved` says where that one ends.

Theory of operation. An update goes in four steps: hash values and leaves, one `hash_rows` call each; hang
new leaves into the structure; walk from the touched leaves towards the root, up to the first node already
marked, which visits every node to be hashed once; hash those, deepest level first, one `hash_rows` call a
level, in pieces of PIECE_ROWS, which fit a core's cache. Nodes of one level do not depend on each other, so
`each` may give the pieces to several threads; levels of one piece, near the root, take one. The undo log is
the old hashes of those nodes and leaves, and the one reference that each insertion changed. Paths of keys are
hashed once and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import DIGEST_BYTES, Hasher, sha256, sha256_rows
from actors.ledger.index import aligned_zeros
from actors.ledger.smt import DEPTH_MAX, EMPTY, LEAF_PREFIX, NODE_PREFIX, StateProof
from actors.storage import tree_kernels as kernels

PIECE_ROWS = 1 << 13
_WORDS = DIGEST_BYTES // 8
_T = TypeVar("_T", bound=np.generic)
Each = Callable[[Callable[[slice], None], list[slice]], object]
"""Calls a function on all pieces, in any order or at once, and returns when all are done."""


def in_turn(work: Callable[[slice], None], pieces: list[slice]) -> None:
    """One after the other."""
    for piece in pieces:
        work(piece)


@dataclass(frozen=True, slots=True, eq=False)
class TreeUndo:
    """leaves, nodes: counts before the update. The rest: where it wrote, and what stood there."""

    leaves: int
    nodes: int
    slots: NDArray[np.int64]
    leaf_hashes: NDArray[np.uint64]
    dirty: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    log_at: NDArray[np.int64]
    log_ref: NDArray[np.int32]

    @property
    def bytes_used(self) -> int:
        """Memory of the columns."""
        columns = (self.slots, self.leaf_hashes, self.dirty, self.hashes, self.log_at, self.log_ref)
        return sum(column.nbytes for column in columns)


class StateTree:
    """The sparse Merkle tree over the slots 0..leaves-1. each: who hashes the pieces of a level."""

    __slots__ = (
        "_children", "_hash_rows", "_hashes", "_leaf_places", "_marks", "_paths", "_ups",
        "each", "leaves", "nodes", "sparse",
    )  # fmt: skip

    def __init__(self, hash_rows: Hasher = sha256_rows) -> None:
        self._hash_rows = hash_rows
        self.each: Each = in_turn
        self.leaves, self.nodes = 0, 1
        self.sparse = False  # whether a slot was ever without an account
        self._paths = aligned_zeros((16, DIGEST_BYTES), np.uint8)
        self._leaf_places = np.zeros(16, dtype=np.int32)
        self._children = np.zeros((2 * DEPTH_MAX, 2), dtype=np.int32)
        self._ups = np.zeros((2 * DEPTH_MAX, 2), dtype=np.int32)
        self._hashes = aligned_zeros((4 * DEPTH_MAX, _WORDS), np.uint64)
        self._marks = np.zeros(2 * DEPTH_MAX // kernels.MARKS + 1, dtype=np.uint64)

    @property
    def root(self) -> bytes:
        """32-byte state root."""
        return self.hash_of(self.ref(0, 0))

    @property
    def bytes_used(self) -> int:
        """Memory of the columns."""
        columns = (name for name in self.__slots__ if name.startswith("_") and name != "_hash_rows")
        return sum(getattr(self, name).nbytes for name in columns)

    def update(
        self,
        slots: NDArray[np.int64],
        values: NDArray[np.uint8],
        new_keys: NDArray[np.uint8],
        present: NDArray[np.bool_] | None = None,
    ) -> TreeUndo:
        """Set the values of `slots` and return how to undo it.

        slots: (m,) ascending, and the new ones (the last k) follow on from `leaves` without a gap. values:
        (m, L) uint8. new_keys: (k, 32) uint8 keys of the new slots. present: (m,) slots whose accounts exist,
        all by default.
        """
        return self.update_paths(slots, self._hash_rows(values), self._hash_rows(new_keys), present)

    def update_paths(
        self,
        slots: NDArray[np.int64],
        value_hashes: NDArray[np.uint8],
        new_paths: NDArray[np.uint8],
        present: NDArray[np.bool_] | None = None,
    ) -> TreeUndo:
        """As `update`, with (m, 32) value hashes and (k, 32) paths. Raises ValueError for a path twice."""
        first, nodes = self.leaves, self.nodes
        fresh = len(new_paths)
        if fresh and not np.array_equal(slots[len(slots) - fresh :], np.arange(first, first + fresh)):
            raise ValueError(f"new slots must be {first}..{first + fresh - 1}")
        self._reserve_leaves(first + fresh)
        self._paths[first : first + fresh] = new_paths
        log_at, log_ref = self._insert(first, fresh)
        leaf_hashes = np.empty((len(slots), _WORDS), dtype=np.uint64)
        leaf_places = self._leaf_places[slots]
        new_hashes = self._leaf_rows(slots, value_hashes)
        if present is not None and not present.all():
            new_hashes[~present] = 0
            self.sparse = True
        kernels.exchange(self._hashes, leaf_places, new_hashes, leaf_hashes)
        dirty, places, offsets = kernels.dirty_nodes(
            self._ups, self._leaf_places, slots, self._marks, self.nodes
        )
        hashes = self._hash_levels(dirty, places, offsets)
        return TreeUndo(first, nodes, slots, leaf_hashes, dirty, hashes, log_at, log_ref)

    def undo(self, log: TreeUndo) -> None:
        """Restore the tree before an update. Updates are undone last first."""
        kernels.restore(self._hashes, self._leaf_places[log.slots], log.leaf_hashes)
        kernels.restore(self._hashes, self._ups[log.dirty, kernels.PLACE], log.hashes)
        kernels.remove_leaves(self._children, self._leaf_places, log.log_at, log.log_ref)
        self.leaves, self.nodes = log.leaves, log.nodes

    def path_of(self, slot: int) -> bytes:
        """32-byte path of a slot's key."""
        path: NDArray[np.uint8] = self._paths[slot]
        return path.tobytes()

    @property
    def paths(self) -> NDArray[np.uint8]:
        """(at least leaves, 32) paths by slot; rows of slots that stay never change."""
        return self._paths

    def locate(self, path: bytes) -> tuple[tuple[bytes, ...], int]:
        """Siblings from the root down to where `path` ends, and the slot of the leaf that stands there.

        The slot is -1 if the place is empty. With the value's hash this is an `smt.StateProof`.
        """
        siblings, ref, depth = [], self.resolved(self.ref(0, 0)), 0
        while ref > 0:
            side = path[depth >> 3] >> (7 - (depth & 7)) & 1
            siblings.append(self.hash_of(self.ref(ref, 1 - side)))
            ref, depth = self.resolved(self.ref(ref, side)), depth + 1
        return tuple(siblings), -ref - 1

    def resolved(self, ref: int) -> int:
        """What a reference stands for: 0 for a subtree without leaves, the leaf for one of a single leaf."""
        if not self.sparse:
            return ref
        own = self.hash_of(ref)
        if own == EMPTY:
            return 0
        while ref > 0:
            children = self.ref(ref, 0), self.ref(ref, 1)
            left, right = map(self.hash_of, children)
            if EMPTY not in (left, right) or own not in (left, right):
                break
            ref = children[own == right]
        return ref

    def prove(self, key: bytes, value_at: Callable[[int], bytes]) -> StateProof:
        """Existence or absence proof of a key in the tree as it is. value_at: the value in a slot."""
        siblings, slot = self.locate(sha256(key))
        if slot < 0:
            return StateProof(siblings, None, None)
        return StateProof(siblings, self.path_of(slot), sha256(value_at(slot)))

    def ref(self, node: int, side: int) -> int:
        """What a node has on a side, as `tree_kernels` writes references; the root is (0, 0)."""
        return int(self._children[node, side])

    def hash_of(self, ref: int) -> bytes:
        """32-byte hash of what a reference refers to."""
        if ref == 0:
            return EMPTY
        place = self._ups[ref, kernels.PLACE] if ref > 0 else self._leaf_places[-ref - 1]
        digest: NDArray[np.uint64] = self._hashes[place]
        return digest.tobytes()

    def _leaf_rows(self, slots: NDArray[np.int64], value_hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
        rows = np.empty((len(slots), 2 * _WORDS), dtype=np.uint64)
        kernels.gather_leaves(self._paths.view(np.uint64), slots, _words(value_hashes), rows)
        return _words(self._hash_rows(rows.view(np.uint8), LEAF_PREFIX))

    def _insert(self, first: int, fresh: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        log_at, log_ref = np.empty(fresh, dtype=np.int64), np.empty(fresh, dtype=np.int32)
        slot, logged, status, nodes = first, 0, kernels.DONE, self.nodes
        while slot < first + fresh:
            slot, self.nodes, logged, status = kernels.insert_leaves(
                self._children, self._ups, self._hashes, self.nodes, self._leaf_places, self._paths,
                slot, first + fresh, log_at, log_ref, logged,
            )  # fmt: skip
            if status == kernels.SAME_PATH:
                kernels.remove_leaves(self._children, self._leaf_places, log_at[:logged], log_ref[:logged])
                self.nodes = nodes
                raise ValueError(f"two keys have the path {self.path_of(slot).hex()}")
            if status == kernels.NO_ROOM:
                self._grow_nodes()
        self.leaves = first + fresh
        return log_at, log_ref

    def _hash_levels(
        self, dirty: NDArray[np.int32], places: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """Hash the dirty nodes anew; returns their old hashes."""
        old = np.empty((len(dirty), _WORDS), dtype=np.uint64)

        def rehash(piece: slice) -> None:
            rows = np.empty((piece.stop - piece.start, 2 * _WORDS), dtype=np.uint64)
            kernels.gather_children(self._hashes, dirty[piece], rows)
            digests = _words(self._hash_rows(rows.view(np.uint8), NODE_PREFIX))
            if self.sparse:
                kernels.collapse(self._children, self._hashes, dirty[piece], rows, digests)
            kernels.exchange(self._hashes, places[piece], digests, old[piece])

        for level in np.flatnonzero(np.diff(offsets)):
            start, stop = int(offsets[level]), int(offsets[level + 1])
            pieces = [slice(at, min(at + PIECE_ROWS, stop)) for at in range(start, stop, PIECE_ROWS)]
            (self.each if len(pieces) > 1 else in_turn)(rehash, pieces)
        return old

    def _reserve_leaves(self, needed: int) -> None:
        if needed > len(self._paths):
            room = max(needed, len(self._paths) * 3 // 2)
            self._paths = _grown(self._paths, room)
            self._leaf_places = _grown(self._leaf_places, room)

    def _grow_nodes(self) -> None:
        room = len(self._children) * 3 // 2
        self._children, self._ups = _grown(self._children, room), _grown(self._ups, room)
        self._hashes = _grown(self._hashes, 2 * room)
        self._marks = _grown(self._marks, room // kernels.MARKS + 1)


def _words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(n, 4) uint64 view of (n, 32) digests; a copy if they are read-only, so that kernels see one type."""
    words = np.ascontiguousarray(digests).view(np.uint64)
    return words if words.flags.writeable else words.copy()


def _grown(column: NDArray[_T], room: int) -> NDArray[_T]:
    out = aligned_zeros((room, *column.shape[1:]), column.dtype)
    out[: len(column)] = column
    return out


def warm() -> None:
    """Compile the kernels."""
    tree = StateTree()
    keys = np.arange(96, dtype=np.uint8).reshape(3, 32)
    log = tree.update(np.arange(3), np.zeros((3, 16), dtype=np.uint8), keys)
    tree.update(np.arange(3), np.ones((3, 16), dtype=np.uint8), keys[:0])
    tree.undo(log)
    tree.update(np.arange(3), np.ones((3, 16), dtype=np.uint8), keys, np.array([True, False, True]))
