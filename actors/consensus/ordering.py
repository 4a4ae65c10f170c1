"""The order of a block: ranked draws of all shards merged into one sequence.

Each draw arrives in the order its shard ranked it, a sender's nonces ascending. Merging by the head of each
sequence keeps that order within a draw, so a sender (who lives in one shard) is never reordered. Taking the
running minimum of the ranks of a sequence as its sort key gives exactly that merge in one stable sort.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def merge_by_rank(ranks_of_draws: list[NDArray[np.uint64]]) -> NDArray[np.int64]:
    """(n,) int64 indices into the concatenated draws: highest rank first, each draw in its own order."""
    keys = [np.minimum.accumulate(ranks) for ranks in ranks_of_draws if len(ranks)]
    if not keys:
        return np.zeros(0, dtype=np.int64)
    descending = np.iinfo(np.uint64).max - np.concatenate(keys)
    return np.argsort(descending, kind="stable").astype(np.int64)


def split_by_draw(
    verdicts_in_order: NDArray[np.uint8], order: NDArray[np.int64], counts: list[int]
) -> list[NDArray[np.uint8]]:
    """Verdicts of the executed order handed back as one array a draw, in the draw's own order."""
    in_place = np.empty(len(order), dtype=np.uint8)
    in_place[order] = verdicts_in_order
    return np.split(in_place, np.cumsum(counts)[:-1]) if counts else []
