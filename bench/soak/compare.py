"""What changed between two soaks beyond their own noise, from the JSON beside their reports."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

REGRESSION_SHARE = 0.10
NOISE_DEVIATIONS = 2.0
_HIGHER_IS_WORSE = ("p50_ms", "p99_ms")


def compare(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What changed from one report's data to another's, and which changes are regressions.

    Throughput and latencies are compared by the medians of their seconds in the steady phase; a change counts
    beyond REGRESSION_SHARE and beyond NOISE_DEVIATIONS standard errors of the difference of the two medians.
    """
    changes, regressions = {}, []
    for name in ("tps", *_HIGHER_IS_WORSE):
        old, new = (_steady(data, name) for data in (before, after))
        if not len(old) or not len(new) or not np.median(old):
            continue
        change = float(np.median(new) / np.median(old) - 1)
        noise = NOISE_DEVIATIONS * float(np.hypot(_error(old), _error(new)) / abs(np.median(old)))
        worse = change if name in _HIGHER_IS_WORSE else -change
        real = abs(change) > noise
        changes[name] = {
            "before": round(float(np.median(old)), 2), "after": round(float(np.median(new)), 2),
            "change": round(change, 4), "noise": round(noise, 4), "beyond_noise": real,
        }  # fmt: skip
        if worse > REGRESSION_SHARE and real:
            regressions.append(name)
    for check, held in before["result"]["checks"].items():
        if held and after["result"]["checks"].get(check) is False:
            regressions.append(check)
    same = {name: before["result"][name] == after["result"][name] for name in ("seed", "minutes", "nodes")}
    return {"changes": changes, "regressions": regressions, "same": same, "passed": not regressions}


def _steady(data: dict[str, Any], name: str) -> NDArray[np.float64]:
    """A series' seconds that lie wholly in the steady phase."""
    phase = next(phase for phase in data["phases"] if phase["name"] == "steady")
    at = np.array(data["seconds"]["at_s"], dtype=np.float64)
    inside = (at >= phase["begin_s"]) & (at + 1 <= phase["end_s"])
    return np.asarray(np.array(data["seconds"][name], dtype=np.float64)[inside])


def _error(values: NDArray[np.float64]) -> float:
    """Standard error of a median, as of a normal distribution: 1.2533 times the mean's."""
    return float(1.2533 * np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
