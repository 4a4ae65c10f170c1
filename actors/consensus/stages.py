"""Time and depth of each stage of the block pipeline, for `status` and benchmarks."""

from __future__ import annotations

from collections import defaultdict


class StageTimes:
    """Microseconds spent and transactions handled, a stage. The clock is the caller's."""

    def __init__(self) -> None:
        self._us: defaultdict[str, int] = defaultdict(int)
        self._transactions: defaultdict[str, int] = defaultdict(int)

    def add(self, stage: str, elapsed_us: float, transactions: int) -> None:
        """One pass of `transactions` through `stage`."""
        self._us[stage] += int(elapsed_us)
        self._transactions[stage] += transactions

    def us_per_transaction(self) -> dict[str, float]:
        """Mean microseconds per transaction of every stage seen."""
        return {
            stage: round(self._us[stage] / count, 3)
            for stage, count in sorted(self._transactions.items())
            if count
        }

    def reset(self) -> None:
        """Start counting anew, as a benchmark does after its warm-up."""
        self._us.clear()
        self._transactions.clear()
