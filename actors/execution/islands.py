"""Islands: rows of a block that share nothing with the others, which may run anywhere, in block order each.

Rules
1. Two rows share a slot if both touch it and one of them writes it, or one reads it and the other adds to it;
   or if both add to an entry that does not exist, since the first one pays for it. Rows that share a slot are
   of one island, and so are those that are connected through others.
2. Islands are packed into `parts` of about the same cost, the costliest first; a part has its rows in block
   order. What is no island of its own cannot be divided: one island is one part.
3. It is rule 1 that makes parts independent, and no guess: a part knows only the keys of its own rows, so one
   that would touch another key stops and tells.
"""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.contracts.touches import Mode
from actors.execution.planning import TouchPlan, plan_touches
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import ROW_DTYPE, Batch


@njit(cache=True)
def _root(parents, row):  # type: ignore[no-untyped-def]
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@njit(cache=True)
def _join(rows, slots, disturbed, parents, first):  # type: ignore[no-untyped-def]
    """Connect rows that touch a disturbed slot. first: (k,) a row that touches the slot, or -1."""
    for at in range(len(rows)):
        slot = slots[at]
        if not disturbed[slot]:
            continue
        if first[slot] < 0:
            first[slot] = rows[at]
            continue
        one, other = _root(parents, first[slot]), _root(parents, rows[at])
        if one < other:
            parents[other] = one
        else:
            parents[one] = other
    for row in range(len(parents)):
        parents[row] = _root(parents, row)


def islands_of(plan: TouchPlan, existing: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) of each row, the first row of its island. existing: (k,) which slots are of entries that exist."""
    slots = len(plan.keys)
    writes, reads, adds = (
        np.bincount(plan.slots[plan.modes == mode], minlength=slots) > 0
        for mode in (Mode.WRITE, Mode.READ, Mode.ADD)
    )
    parents = np.arange(len(plan.whole))
    disturbed = writes | (reads & adds) | (adds & ~existing)
    _join(plan.rows, plan.slots, disturbed, parents, np.full(slots, -1, dtype=np.int64))
    return parents


def pack(islands: NDArray[np.int64], costs: NDArray[np.int64], parts_max: int) -> list[NDArray[np.int64]]:
    """Rows of each part, in block order; at most so many parts, none empty. costs: (n,) of rows."""
    firsts, which = np.unique(islands, return_inverse=True)
    totals = np.bincount(which, weights=costs).astype(np.int64)
    parts = min(parts_max, len(firsts))
    loads = [(0, part) for part in range(parts)]
    placed = np.zeros(len(firsts), dtype=np.int64)
    for island in np.argsort(-totals, kind="stable").tolist():
        load, part = heapq.heappop(loads)
        placed[island] = part
        heapq.heappush(loads, (load + int(totals[island]), part))
    of_rows = placed[which]
    return [rows for part in range(parts) if len(rows := np.flatnonzero(of_rows == part))]


def warm() -> None:
    """Compile what plans and islands need."""
    rows = np.zeros(1, dtype=ROW_DTYPE)
    plan = plan_touches(Batch(rows, np.empty(0, dtype=np.uint8)), {}, sha256_rows, 0)
    islands_of(plan, np.zeros(len(plan.keys), dtype=np.bool_))
