"""When a start is given up: by progress, not by the clock: a busy machine is slow, not stuck. Pure."""

from __future__ import annotations

CPU_SHARE_MIN = 0.05  # of one core, below which processes that wait for each other stay
STRETCH = 10  # CPU time alone counts as progress for so many times the limit, and no longer


class ProgressDeadline:
    """Ends `limit_s` after the last progress: a part that came up, or CPU time that its processes got."""

    def __init__(self, limit_s: float, now_s: float) -> None:
        self._limit_s = limit_s
        self._came_up_s = self._progress_s = self._seen_s = now_s
        self._cpu_s = 0.0

    def came_up(self, now_s: float) -> None:
        """A part is up."""
        self._came_up_s = self._progress_s = now_s

    def used(self, cpu_s: float, now_s: float) -> None:
        """The processes have used so much CPU time in all; less than before means that some have ended."""
        if cpu_s - self._cpu_s >= CPU_SHARE_MIN * (now_s - self._seen_s):
            self._progress_s = min(now_s, self._came_up_s + STRETCH * self._limit_s)
        self._cpu_s, self._seen_s = cpu_s, now_s

    def is_over(self, now_s: float) -> bool:
        """Whether nothing has moved for too long."""
        return now_s - self._progress_s >= self._limit_s
