"""Who hands transactions in, and how far each is trusted: earned and lost by what became of its rows.

Sources are named as ledger/source.py says. Gateways name clients by API key or address. Rows that a member
passes on keep the kind that they had where they were handed in, under that member's name, and rank as they
would have there; anybody else passes on anonymous rows.

A score starts at 0, lies between -SCORE_MAX and SCORE_MAX, and fades by 1/1024 a block. A committed row earns
1; a forged one costs 20, an expired one 5, a replaced one 2 (each of them made others work for nothing).

Standing, in levels that its rows lose at admission (levels.py): a member -1, a known one 0, an anonymous one
1; one less from a score of EARNED on, one more below LOST, two more below ABUSIVE.

A source has a share of the pool (shares.py), a larger one if it is a member that passes rows on: these are
what its clients sent.

At most SOURCES_MAX sources have a score of their own; then the one without rows whose score is nearest 0
makes way, and if all have rows, the newcomer shares the score of its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.source import KINDS, RowSources, kind_of, speaks_for_many
from actors.sharing import REACH_UNIT, reach_of

LOWERED_BY_KIND = (1, 0, -1)
SCORE_MAX = 10_000.0
EARNED, LOST, ABUSIVE = 1_000.0, -100.0, -1_000.0
FADE = 1 - 1 / 1024
PRICES = {"committed": 1.0, "expired": -5.0, "replaced": -2.0, "forged": -20.0}


class Sources:
    """Names of the slots of `table` (SOURCE_DTYPE); the first slots are the shared ones of each kind.

    kinds: index into KINDS of each slot. share, member_share: the part of the pool that one source alone may
    hold; 0: there is no bound.
    """

    def __init__(self, table: NDArray[Any], share: float = 0.0, member_share: float = 0.0) -> None:
        self._table = table
        self._reaches = tuple(reach_of(part) if part else 0 for part in (share, member_share))
        self._table["reach"][: len(KINDS)] = self._reaches[0]
        self.kinds = np.zeros(len(table), dtype=np.uint8)
        self.kinds[: len(KINDS)] = range(len(KINDS))
        self._names = ["" for _ in KINDS]
        self._slots: dict[str, int] = {}

    def slot(self, source: str) -> int:
        """Where the source's score is kept. Raises FormatError as `kind_of`."""
        kind = kind_of(source)
        if not source:
            return 0
        known = self._slots.get(source)
        if known is not None:
            return known
        slot = len(self._names) if len(self._names) < len(self._table) else self._forgettable()
        if slot < 0:
            return kind
        if slot == len(self._names):
            self._names.append(source)
        else:
            del self._slots[self._names[slot]]
            self._names[slot] = source
        self._slots[source] = slot
        self._table[slot] = 0
        self._table["reach"][slot] = self._reaches[speaks_for_many(source)]
        self.kinds[slot] = kind
        return slot

    def slots(self, origins: RowSources) -> int | NDArray[np.uint16]:
        """The slot of all rows' source, or (n,) those of each."""
        if origins.of_row is None:
            return self.slot(origins.names[0])
        return np.array([self.slot(name) for name in origins.names], dtype=np.uint16)[origins.of_row]

    def _forgettable(self) -> int:
        idle = np.flatnonzero(self._table["rows"] == 0)
        idle = idle[idle >= len(KINDS)]
        return int(idle[np.abs(self._table["score"][idle]).argmin()]) if len(idle) else -1

    def name(self, slot: int) -> str:
        """The source in a slot; empty for the shared ones."""
        return self._names[slot]

    def lowered(self, slot: int) -> int:
        """Levels that rows of this source lose at admission, -2 to 3."""
        score = float(self._table["score"][slot])
        step = -1 if score >= EARNED else (score < LOST) + (score < ABUSIVE)
        return LOWERED_BY_KIND[self.kinds[slot]] + step

    def suspects(self, slot: int) -> bool:
        """Whether what became of this source's rows makes its unverified ones wait for those of others."""
        return float(self._table["score"][slot]) < LOST

    def beyond_journal(
        self,
        slots: NDArray[np.uint16],
        row_bytes: NDArray[np.int64],
        journal_bytes: int,
        journal_bytes_max: int,
    ) -> NDArray[np.bool_]:
        """(n,) rows of sources that may not keep that much more in a journal of so many bytes. An empty one
        is anybody's."""
        beyond = np.zeros(len(slots), dtype=np.bool_)
        free = max(journal_bytes_max - journal_bytes - int(row_bytes.sum()), 0)
        for slot in np.unique(slots):
            mine = slots == slot
            held = int(self._table["durable_bytes"][slot]) + int(row_bytes[mine].sum())
            reach = int(self._table["reach"][slot])
            beyond[mine] = bool(reach and journal_bytes) and held * REACH_UNIT > reach * free
        return beyond

    def forged(self, slot: int, rows: int) -> None:
        """Rows of this source had false signatures; that tells at once."""
        self._table["forged"][slot] += rows
        self._settle(slice(slot, slot + 1))

    def settle(self) -> None:
        """A block has passed: what rows did goes into the scores, and scores fade."""
        self._table["score"] *= FADE
        self._settle(slice(None))

    def _settle(self, slots: slice) -> None:
        table = self._table[slots]
        for what, price in PRICES.items():
            table["score"] += price * table[what]
            table[what] = 0
        np.clip(table["score"], -SCORE_MAX, SCORE_MAX, out=table["score"])

    def summary(self) -> dict[str, dict[str, float]]:
        """By kind: how many sources, and their lowest and highest score."""
        used = len(self._names)
        answer = {}
        for number, kind in enumerate(KINDS):
            scores = self._table["score"][:used][self.kinds[:used] == number]
            known = len(scores) - 1
            ends = {"lowest": round(float(scores.min()), 1), "highest": round(float(scores.max()), 1)}
            answer[kind] = {"sources": known, **ends}
        return answer
