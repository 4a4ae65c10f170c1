"""How many Validators the load asks for, within configured bounds.

The load is the share of their time that the Validators worked. Above BUSY in two looks in a row one is added;
one is removed when in four looks in a row the others would still stay below CALM without it. The gap between
the two, and the longer wait before removing, keep the number from swinging.
"""

from __future__ import annotations

BUSY, CALM = 0.8, 0.5
LOOKS_TO_ADD, LOOKS_TO_REMOVE = 2, 4


class LoadScaler:
    """Turns shares of busy time into numbers of Validators."""

    def __init__(self, workers_min: int, workers_max: int) -> None:
        self._min, self._max = min(workers_min, workers_max), workers_max
        self._busy_looks = self._calm_looks = 0

    def wanted(self, busy_share: float, workers: int) -> int:
        """The number to have from now on. busy_share: 0 to 1, the mean over `workers` Validators."""
        calm = workers > 1 and busy_share * workers / (workers - 1) < CALM
        self._busy_looks = self._busy_looks + 1 if busy_share > BUSY else 0
        self._calm_looks = self._calm_looks + 1 if calm else 0
        if self._busy_looks >= LOOKS_TO_ADD:
            self._busy_looks = 0
            workers += 1
        elif self._calm_looks >= LOOKS_TO_REMOVE:
            self._calm_looks = 0
            workers -= 1
        return max(self._min, min(workers, self._max))
