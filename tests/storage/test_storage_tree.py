"""The kept tree equals the plain one after any sequence of updates and undos, proofs included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.ledger import smt
from actors.ledger.hashing import sha256
from actors.storage import tree
from actors.storage.sharing import sharing
from actors.storage.tree import StateTree, TreeUndo

ROWS = np.uint8


def key(number: int) -> bytes:
    return hashlib.sha256(f"k{number}".encode()).digest()


def columns(items: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(items), dtype=np.uint8).reshape(-1, width)


class Model:
    """A tree and the dictionary it must agree with."""

    def __init__(self) -> None:
        self.tree = StateTree()
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}

    def update(self, changed: Iterable[int], fresh: int, salt: int) -> TreeUndo:
        old = sorted({c % len(self.keys) for c in changed}) if self.keys else []
        new = range(len(self.keys), len(self.keys) + fresh)
        self.keys += [key(i) for i in new]
        slots = [*old, *new]
        values = [hashlib.md5(f"{salt}{slot}".encode()).digest() for slot in slots]
        self.values.update({self.keys[slot]: value for slot, value in zip(slots, values, strict=True)})
        new_keys = columns([self.keys[i] for i in new], 32)
        return self.tree.update(np.array(slots, dtype=np.int64), columns(values, 16), new_keys)


blocks = st.lists(
    st.tuples(st.lists(st.integers(0, 1000), max_size=8), st.integers(0, 40)), min_size=1, max_size=6
)


def test_threads_that_share_a_level_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "PIECE_ROWS", 16)
    alone, shared = Model(), Model()
    shared.tree.each = sharing(4)
    logs = [
        [model.update(range(0, 700, 3), fresh, salt) for salt, fresh in enumerate((900, 40, 0))]
        for model in (alone, shared)
    ]
    assert alone.tree.root == shared.tree.root == smt.root(alone.values)
    for one, other in zip(*logs, strict=True):
        assert np.array_equal(one.hashes, other.hashes)
        assert np.array_equal(one.dirty, other.dirty)


@settings(max_examples=50, deadline=None)
@given(blocks)
def test_root_and_proofs_equal_the_plain_tree_and_undo_restores(steps: list[tuple[list[int], int]]) -> None:
    model, trail = Model(), []
    for salt, (changed, fresh) in enumerate(steps):
        before = model.tree.root, len(model.keys), dict(model.values)
        trail.append((model.update(changed, fresh, salt), before))
        assert model.tree.root == smt.root(model.values)
    for wanted in [key(0), key(3), key(10_000), key(10_001)]:
        proof = model.tree.prove(wanted, lambda slot: model.values[model.keys[slot]])
        assert proof == smt.prove(model.values, wanted)
        assert smt.verify(model.tree.root, wanted, model.values.get(wanted), proof)
    for log, (root, count, values) in reversed(trail):
        model.tree.undo(log)
        assert (model.tree.root, model.tree.leaves) == (root, count)
        assert root == smt.root(values)
    model.keys, model.values = [], {}
    for salt, (changed, fresh) in enumerate(steps):
        model.update(changed, fresh, salt)
    assert model.tree.root == smt.root(model.values)


def plain_root(paths: list[bytes], value_hashes: list[bytes]) -> bytes:
    leaves = sorted(
        (path, sha256(smt.LEAF_PREFIX + path + value))
        for path, value in zip(paths, value_hashes, strict=True)
    )
    return smt._subtree(leaves, 0)


shared = st.builds(
    lambda bits, tail: ((1 << 256) - (1 << (256 - bits))) ^ (tail & ((1 << (256 - bits)) - 1)),
    st.sampled_from([0, 1, 7, 8, 9, 63, 64, 65, 200, 254, 255]),
    st.integers(0, 2**256 - 1),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(shared, min_size=1, max_size=24, unique=True), st.integers(0, 23))
def test_long_shared_prefixes(numbers: list[int], cut: int) -> None:
    paths = [number.to_bytes(32, "big") for number in numbers]
    hashes = [sha256(path) for path in paths]
    tree, cut = StateTree(), min(cut, len(paths))
    logs, roots = [], []
    for low, high in ((0, cut), (cut, len(paths))):
        roots.append(tree.root)
        logs.append(
            tree.update_paths(
                np.arange(low, high), columns(hashes[low:high], 32), columns(paths[low:high], 32)
            )
        )
        assert tree.root == plain_root(paths[:high], hashes[:high])
    for log, root in zip(reversed(logs), reversed(roots), strict=True):
        tree.undo(log)
        assert tree.root == root
    assert (tree.root, tree.nodes) == (smt.EMPTY, 1)


def test_a_path_twice_is_refused_and_leaves_the_tree_as_it_was() -> None:
    tree = StateTree()
    paths = columns([key(1), key(2)], 32)
    tree.update_paths(np.arange(2), paths, paths)
    root = tree.root
    with pytest.raises(ValueError, match=key(2).hex()):
        tree.update_paths(np.arange(2, 4), paths, columns([key(3), key(2)], 32))
    assert (tree.root, tree.leaves) == (root, 2)
    assert tree.locate(key(3))[1] != 2


def test_new_slots_must_follow_on() -> None:
    paths = columns([key(1)], 32)
    with pytest.raises(ValueError, match=r"0\.\.0"):
        StateTree().update_paths(np.array([4]), paths, paths)


def test_memory_is_bounded_by_growth_of_half() -> None:
    tree = StateTree()
    keys = np.random.default_rng(1).integers(0, 256, (20_000, 32), dtype=np.uint8)
    tree.update(np.arange(20_000), np.zeros((20_000, 16), dtype=np.uint8), keys)
    assert tree.bytes_used < 20_000 * 1.5 * (32 + 4 + 1.45 * (8 + 8 + 64 + 1 / 8))


def test_marks_are_gone_after_few_and_after_many_updates() -> None:
    tree = StateTree()
    keys = np.random.default_rng(2).integers(0, 256, (5_000, 32), dtype=np.uint8)
    tree.update(np.arange(5_000), np.zeros((5_000, 16), dtype=np.uint8), keys)
    for touched in (1, 3, 2_000):
        tree.update(np.arange(touched), np.ones((touched, 16), dtype=np.uint8), keys[:0])
        assert not tree._marks.any()


def test_a_leaf_that_moved_down_keeps_its_hash_and_comes_back_with_it() -> None:
    beside, other = (bytes([0x80 | low]) + bytes(31) for low in (0, 1))
    tree = StateTree()
    tree.update_paths(np.arange(1), columns([key(1)], 32), columns([beside], 32))
    alone = tree.root
    log = tree.update_paths(np.arange(1, 2), columns([key(2)], 32), columns([other], 32))
    assert tree.root == plain_root([beside, other], [key(1), key(2)])
    assert tree.hash_of(-1) == alone
    tree.undo(log)
    assert (tree.root, tree.hash_of(-1)) == (alone, alone)


def test_hashes_that_are_read_together_share_a_cache_line() -> None:
    tree = StateTree()
    keys = np.random.default_rng(3).integers(0, 256, (1_000, 32), dtype=np.uint8)
    tree.update(np.arange(1_000), np.zeros((1_000, 16), dtype=np.uint8), keys)
    assert tree._hashes.ctypes.data % 64 == tree.paths.ctypes.data % 64 == 0
