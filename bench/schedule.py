"""When an open loop's batches are due: constant, ramp, step and burst as segments, or a recorded run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray


class Segment(msgspec.Struct, frozen=True):
    """`seconds` of load whose rate goes evenly from `from_tps` to `to_tps` (transactions a second)."""

    seconds: float
    from_tps: float
    to_tps: float

    @property
    def rows(self) -> float:
        """Transactions that are due in the segment."""
        return self.seconds * (self.from_tps + self.to_tps) / 2


def constant(seconds: float, tps: float) -> Segment:
    """A segment of one rate."""
    return Segment(seconds, tps, tps)


def rows_due(segments: Sequence[Segment]) -> int:
    """Transactions that are due in all segments together."""
    return int(sum(segment.rows for segment in segments))


def due_times_s(segments: Sequence[Segment], batch_rows: int) -> NDArray[np.float64]:
    """(batches,) seconds from the beginning at which batch i is due: when i x batch_rows rows are due.

    Raises ValueError for a segment of negative length or rate.
    """
    if batch_rows < 1 or any(min(s.seconds, s.from_tps, s.to_tps) < 0 for s in segments):
        raise ValueError("a schedule needs batch_rows >= 1 and segments of no negative length or rate")
    dues, began_s, rows_before, number = [], 0.0, 0.0, 0
    for segment in segments:
        last = rows_before + segment.rows
        count = max(0, int(np.ceil(last / batch_rows - 1e-9)) - number)
        rows = (number + np.arange(count)) * batch_rows - rows_before
        dues.append(began_s + _times_within(segment, rows))
        number, rows_before, began_s = number + count, last, began_s + segment.seconds
    return np.concatenate(dues) if dues else np.empty(0)


def _times_within(segment: Segment, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Solve from_tps t + slope t^2 / 2 = rows for t, in the form that is exact for a slope of zero."""
    slope = (segment.to_tps - segment.from_tps) / segment.seconds if segment.seconds else 0.0
    root = np.sqrt(np.maximum(segment.from_tps**2 + 2 * slope * rows, 0.0))
    divisor = segment.from_tps + root
    times = np.divide(2 * rows, divisor, out=np.zeros(len(rows)), where=divisor > 0)
    return np.asarray(np.clip(times, 0.0, segment.seconds), dtype=np.float64)
