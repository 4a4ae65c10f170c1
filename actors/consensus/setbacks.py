"""How often a thing that fails again and again is tried, and told.

A loop that begins anew after a failure would otherwise fill the log and a core for as long as its cause
lasts. As long as no block is committed in between, it is tried ever later, up to PAUSE_MAX_S, and each kind
of failure is told at its 1st, 2nd, 4th, 8th ... time.
"""

from __future__ import annotations

from dataclasses import dataclass

PAUSE_S, PAUSE_MAX_S = 0.1, 2.0
AT_ONCE = 3
RETRY_PAUSE_S = 0.1
KINDS_MAX = 64


@dataclass(frozen=True, slots=True)
class Setback:
    """What to do about a failure: how long to wait, and whether it is told. times: of its kind, in a row."""

    pause_s: float
    told: bool
    times: int


class Setbacks:
    """Counts the failures of one loop since its chain last grew."""

    def __init__(self) -> None:
        self._height = -1
        self._all = 0
        self._times: dict[str, int] = {}
        self.is_worth_telling = True  # whether what follows the last failure is, too

    def note(self, kind: str, height: int) -> Setback:
        """Something failed while the chain stood at `height`. Kinds beyond KINDS_MAX count as one."""
        if height > self._height:
            self._all = 0
            self._times.clear()
        self._height = height
        if kind not in self._times and len(self._times) >= KINDS_MAX:
            kind = ""
        self._all += 1
        times = self._times[kind] = self._times.get(kind, 0) + 1
        late = self._all - AT_ONCE
        pause_s = min(PAUSE_S * 2 ** min(late - 1, 10), PAUSE_MAX_S) if late > 0 else 0.0
        self.is_worth_telling = times & (times - 1) == 0
        return Setback(pause_s, self.is_worth_telling, times)
