"""What a shard counts for its health: verdicts, rows dropped later, time of each stage, and events."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from actors.ledger.verdict import Verdict


class AdmissionMetrics:
    """Counters since the process started. The clock is the caller's."""

    def __init__(self) -> None:
        self._verdicts = np.zeros(256, dtype=np.int64)
        self._lost = np.zeros(256, dtype=np.int64)
        self._stages_s: dict[str, float] = {}
        self._stages_rows: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def answered(self, verdicts: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Count the verdicts of an admission; hands them through."""
        self._verdicts += np.bincount(verdicts, minlength=256)
        return verdicts

    def lost(self, verdicts: NDArray[np.uint8]) -> None:
        """Rows that had been accepted were dropped, with these verdicts."""
        self._lost += np.bincount(verdicts, minlength=256)

    def took(self, stage: str, elapsed_s: float, rows: int) -> None:
        """One pass of `rows` through a stage."""
        self._stages_s[stage] = self._stages_s.get(stage, 0.0) + elapsed_s
        self._stages_rows[stage] += rows

    def summary(self) -> dict[str, object]:
        """Counts by name, and microseconds a row of each stage."""
        us_per_tx = {
            stage: round(1e6 * elapsed_s / max(self._stages_rows[stage], 1), 3)
            for stage, elapsed_s in self._stages_s.items()
        }
        verdicts, lost = _by_name(self._verdicts), _by_name(self._lost)
        return {
            "verdicts": verdicts,
            "lost": lost,
            "events": dict(self.events),
            "stages_us_per_tx": us_per_tx,
        }


def _by_name(counts: NDArray[np.int64]) -> dict[str, int]:
    return {Verdict(int(code)).name: int(counts[code]) for code in np.flatnonzero(counts)}


def kept(verdicts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) rows that are pending: accepted now or before."""
    pending: NDArray[np.bool_] = (verdicts == Verdict.OK) | (verdicts == Verdict.DUPLICATE)
    return pending
