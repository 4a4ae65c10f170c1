"""How large a chunk of rows a worker gets: by measured time, so that one call is worth its hop.

A hop costs about a millisecond whatever it carries; a chunk that works for tens of milliseconds makes that
small, and stays short enough to be redone cheaply when its worker dies. The time is the processor's: on a
busy machine a call takes longer, and smaller chunks would only make more of them.
"""

from __future__ import annotations

CHUNK_ROWS_MIN = 64
_WEIGHT_OF_NEWEST = 0.2


class ChunkSizer:
    """Turns measured microseconds a row into rows a chunk."""

    __slots__ = ("_rows_max", "_target_us", "us_per_row")

    def __init__(self, target_us: float, rows_max: int, us_per_row: float = 60.0) -> None:
        self._target_us = target_us
        self._rows_max = rows_max
        self.us_per_row = us_per_row

    def observe(self, rows: int, elapsed_us: float) -> None:
        """Learn from one finished chunk; chunks too small to tell are ignored."""
        if rows >= CHUNK_ROWS_MIN // 2:
            measured = max(elapsed_us / rows, 0.01)
            self.us_per_row += _WEIGHT_OF_NEWEST * (measured - self.us_per_row)

    @property
    def rows_max(self) -> int:
        """Rows that are worth one call."""
        by_time = int(self._target_us / self.us_per_row)
        return max(CHUNK_ROWS_MIN, min(by_time, self._rows_max))

    def split(self, rows: int, workers: int) -> list[tuple[int, int]]:
        """Half-open ranges that cover `rows`: at most the target time each, and enough of them that all
        workers finish together."""
        if rows <= 0:
            return []
        fair = -(-rows // max(workers, 1))
        size = max(CHUNK_ROWS_MIN, min(self.rows_max, fair))
        return [(start, min(start + size, rows)) for start in range(0, rows, size)]
