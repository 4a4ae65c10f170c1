"""What Validators compute in pieces is what one would compute at once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import merkle
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.validator import work
from actors.validator.kernels import select

KERNELS = select("portable")
NO_BYTES = np.empty(0, dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_subtrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "SUBTREE_ROWS", 4)
    monkeypatch.setattr(work, "SPLIT_ROWS_MIN", 16)


def numbered(rows: int) -> np.ndarray:
    table = np.zeros(rows, dtype=ROW_DTYPE)
    table["nonce"] = np.arange(rows)
    return table


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 50, 64, 67])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_subtrees_of_all_pieces_join_to_the_root(rows: int, workers: int) -> None:
    table = numbered(rows)
    whole = merkle.root(Batch(table, NO_BYTES).ids())
    backwards = merkle.root(Batch(np.ascontiguousarray(table[::-1]), NO_BYTES).ids())
    ranges = work.split_tree(rows, workers)
    assert len(ranges) <= max(workers, 1)
    parts = [table[: rows // 3], NO_BYTES, table[rows // 3 :], NO_BYTES]
    for order, expected in ((None, whole), (np.arange(rows)[::-1].copy(), backwards)):
        pieces = [work.subtree_roots(KERNELS, order, parts, *each) for each in ranges]
        assert work.join_subtrees(pieces) == expected


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_ranges_cover_all_rows_in_whole_subtrees(rows: int, workers: int) -> None:
    ranges = work.split_tree(rows, workers)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == rows
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(start % work.SUBTREE_ROWS == 0 for start, _ in ranges)
    if rows < work.SPLIT_ROWS_MIN:
        assert len(ranges) == 1
