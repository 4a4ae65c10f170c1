"""What a Validator computes: signatures of rows, and the transaction tree in subtrees.

The tree of RFC 9162 over n rows is the tree over the roots of its subtrees of SUBTREE_ROWS rows each, of
which the last may be smaller: a power of two of rows makes a whole subtree, and left subtrees are the largest
powers of two. So Validators can hash subtrees, and whoever needs the root joins them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.hashing import DIGEST_BYTES
from actors.ledger.rows import (
    SENDER_AT_BYTE,
    SIGNATURE_AT_BYTE,
    SIGNED_BYTES,
    Batch,
    concatenate,
    row_matrix,
)
from actors.validator.kernels import Kernels

SUBTREE_ROWS = 4_096
SPLIT_ROWS_MIN = 4 * SUBTREE_ROWS  # below, a hop costs more than it saves


def verify_rows(kernels: Kernels, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) bool: whether each row is signed by its sender."""
    table = row_matrix(rows)
    return kernels.verify(
        table[:, SENDER_AT_BYTE : SENDER_AT_BYTE + DIGEST_BYTES],
        table[:, SIGNATURE_AT_BYTE:],
        table[:, :SIGNED_BYTES],
    )


def split_tree(rows: int, workers: int) -> list[tuple[int, int]]:
    """Half-open ranges of whole subtrees that cover `rows`, about one a worker; one if there are few rows."""
    if rows < SPLIT_ROWS_MIN or workers < 2:
        return [(0, rows)]
    subtrees = -(-rows // SUBTREE_ROWS)
    size = -(-subtrees // workers) * SUBTREE_ROWS
    return [(start, min(start + size, rows)) for start in range(0, rows, size)]


def subtree_roots(
    kernels: Kernels, order: NDArray[np.int64] | None, parts: Sequence[NDArray[Any]], start: int, stop: int
) -> NDArray[np.uint8]:
    """(k, 32) roots of the subtrees over rows start..stop-1 of `parts` in `order`.

    parts: rows, payloads, rows, payloads, ... start must begin a subtree.
    """
    batch = concatenate(
        [Batch(rows, payloads) for rows, payloads in zip(parts[::2], parts[1::2], strict=True)]
    )
    rows = batch.rows[start:stop] if order is None else batch.rows[order[start:stop]]
    leaves = Batch(np.ascontiguousarray(rows), batch.payloads).ids(kernels.hash_rows)
    roots = [
        merkle.root(leaves[at : at + SUBTREE_ROWS], kernels.hash_rows)
        for at in range(0, len(leaves), SUBTREE_ROWS)
    ]
    return np.frombuffer(b"".join(roots), dtype=np.uint8).reshape(-1, DIGEST_BYTES)


def join_subtrees(pieces: Sequence[NDArray[np.uint8]]) -> bytes:
    """Root of the tree whose subtrees' roots are given, piece after piece."""
    return merkle.root(np.concatenate(pieces))
