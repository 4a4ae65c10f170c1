"""The clocks of one replica, and the skew that a test may give them.

Raft's timers follow the monotonic clock, which may only be set forward; headers carry the other one.
"""

from __future__ import annotations

import time

SKEW_MS_MAX, AHEAD_MS_MAX = 100 * 365 * 86_400_000, 86_400_000


class Clocks:
    """Monotonic and wall time of this process."""

    def __init__(self) -> None:
        self._ahead_ms = self._skew_ms = 0

    def monotonic_us(self) -> int:
        """For timers and durations, in microseconds."""
        return time.monotonic_ns() // 1000 + self._ahead_ms * 1000

    def wall_ms(self) -> int:
        """For headers, since 1970."""
        return max(time.time_ns() // 1_000_000 + self._skew_ms, 0)

    def skew(self, wall_ms: int, ahead_ms: int = 0) -> None:
        """Set the wall clock apart from the machine's, and the monotonic one `ahead_ms` further ahead.

        Raises ValueError beyond a hundred years of the one and a day of the other, or for a monotonic clock
        that would go back.
        """
        if abs(wall_ms) > SKEW_MS_MAX or not 0 <= ahead_ms <= AHEAD_MS_MAX:
            bounds = f"at most {SKEW_MS_MAX} either way and {AHEAD_MS_MAX} forward"
            raise ValueError(f"skew: {wall_ms} and {ahead_ms} ms, {bounds}")
        self._skew_ms, self._ahead_ms = wall_ms, self._ahead_ms + ahead_ms
