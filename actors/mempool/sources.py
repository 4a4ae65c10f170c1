"""Who hands transactions in, and how far each is trusted: earned and lost by what became of its rows.

A source is named "kind:name": "member:..." (a node of this network), "known:..." (a client that has shown who
it is), "anonymous:...", or "" for whoever was not named. Its score starts at 0, lies between -SCORE_MAX and
SCORE_MAX, and fades by 1/1024 a block. A committed row earns 1; a forged one costs 20, an expired one 5, one
that is replaced 2 (each of them made others work for nothing).

Standing, in levels that its rows lose at admission (levels.py): a member -1, a known one 0, an anonymous one
1; one less from a score of EARNED on, one more below LOST, two more below ABUSIVE.

At most SOURCES_MAX sources have a score of their own; then the one without rows whose score is nearest 0
makes way, and if all have rows, the newcomer shares the score of its kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import FormatError

KINDS = ("anonymous", "known", "member")
LOWERED_BY_KIND = (1, 0, -1)
NAME_CHARS_MAX = 128
SCORE_MAX = 10_000.0
EARNED, LOST, ABUSIVE = 1_000.0, -100.0, -1_000.0
FADE = 1 - 1 / 1024
PRICES = {"committed": 1.0, "expired": -5.0, "replaced": -2.0, "forged": -20.0}


def kind_of(source: str) -> int:
    """Index into KINDS. Raises FormatError when the source is too long or of no kind."""
    if not source:
        return 0
    if len(source) > NAME_CHARS_MAX:
        raise FormatError("source", f"{len(source)} characters", f"at most {NAME_CHARS_MAX}")
    kind = source.partition(":")[0]
    if kind not in KINDS or ":" not in source:
        raise FormatError("source", repr(source), f"one of {', '.join(KINDS)}, a colon and a name")
    return KINDS.index(kind)


class Sources:
    """Names of the slots of `table` (SOURCE_DTYPE); the first slots are the shared ones of each kind."""

    def __init__(self, table: NDArray[Any]) -> None:
        self._table = table
        self._kinds = np.zeros(len(table), dtype=np.int8)
        self._kinds[: len(KINDS)] = range(len(KINDS))
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
        self._kinds[slot] = kind
        return slot

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
        return LOWERED_BY_KIND[self._kinds[slot]] + step

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
            scores = self._table["score"][:used][self._kinds[:used] == number]
            known = len(scores) - 1
            ends = {"lowest": round(float(scores.min()), 1), "highest": round(float(scores.max()), 1)}
            answer[kind] = {"sources": known, **ends}
        return answer
