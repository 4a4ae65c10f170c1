"""What mempool shards answer of transactions that are in no block yet, each form of it written once."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class DrawSummary(msgspec.Struct, frozen=True, eq=False):
    """A draw of `count` rows, whose columns go beside it. draw: its number, 0 for none.

    ranks: (n,) uint64 that never rise; draws of several shards are merged by them.
    """

    draw: int
    count: int
    ranks: NDArray[np.uint64]


class OutboxSummary(msgspec.Struct, frozen=True, eq=False):
    """What a shard has for other nodes, whose columns go beside it. next: the number to ask with next time.

    missed: rows that were overwritten before this reader came for them. kinds: (n,) uint8, the kind of each
    row's source, an index into source.KINDS. incarnation: of the shard that numbers them.
    """

    next: int
    missed: int
    kinds: NDArray[np.uint8]
    incarnation: int


class SenderPending(msgspec.Struct, frozen=True, eq=False):
    """What a shard holds of one sender, by nonce. nonce: committed, as of `height`. next_nonce: the first one
    from there on that is missing. rows: (n,) of ROW_DTYPE. states: (n,) uint8, see mempool/pending.py."""

    height: int
    nonce: int
    next_nonce: int
    rows: NDArray[Any]
    states: NDArray[np.uint8]
