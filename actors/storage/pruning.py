"""Forgetting old blocks in the background: what is kept, and how it goes.

    archive   everything
    full      headers and certificates of all heights; bodies, receipts, deltas and places of the newest
              `retain_blocks` heights
    light     the same of the newest `retain_blocks` heights, and nothing of those before

Whatever the mode, nothing goes that a restart or a new node still needs: blocks above the last checkpoint of
the accounts, and blocks above the newest snapshot.

The new base is written first and synced; readers answer "pruned" below it from then on. Then the ranges go,
each by one range delete, and RocksDB is told to compact them, family by family, which gives the space back
while reads and commits go on. A crash between the two leaves values below the base, which the next pruning
removes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from actors.storage.chain import Chain
from actors.storage.formats import Base, height_key
from actors.storage.recovery import BASE_KEY

Mode = Literal["archive", "full", "light"]
BODIES = ("blocks", "receipts", "deltas")
HEADERS = ("headers", "certificates")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one pruning did: the base after it, and the heights whose bodies went."""

    base: Base
    heights: int


def due(chain: Chain, mode: Mode, retain_blocks: int, newest_snapshot: int) -> Base:
    """The base that a mode asks for now; the current one when nothing is to go."""
    if mode == "archive":
        return chain.base
    first = min(
        chain.head.height - retain_blocks + 1, chain.checkpointer.last.height + 1, newest_snapshot + 1
    )
    bodies = max(chain.base.bodies, first)
    headers = max(chain.base.headers, bodies - 1) if mode == "light" else chain.base.headers
    return Base(headers, bodies)


def prune(chain: Chain, base: Base) -> Pruned:
    """Forget what is below a base. One at a time; commits and reads go on."""
    before, zero = chain.base, height_key(0)
    batch = chain.disk.batch()
    batch.put("meta", BASE_KEY, base.encode())
    batch.write(sync=True)
    chain.base = base
    batch = chain.disk.batch()
    for family in BODIES:
        batch.delete_range(family, zero, height_key(base.bodies))
    for family in HEADERS:
        batch.delete_range(family, zero, height_key(base.headers))
    batch.write(sync=False)
    chain.places.forget_below(base.bodies)
    for family in (*BODIES, *HEADERS, "tx_index"):
        chain.disk.compact(family)
    return Pruned(base, base.bodies - before.bodies)
