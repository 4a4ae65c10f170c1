"""Figures as people read them: how many, how long, how large, when, and which key. Knows no clock.

`figure` finds the unit at the end of a value's name, where all names of this house have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FOREVER = 2**64 - 1
"""The expiry height of what never expires."""
SHORT_DIGITS = 8
MOMENT_MS_MIN = 1 << 40
"""Milliseconds from here on, 2004, are a moment and not a span."""
_UNITS_S = {"_us": 1e-6, "_ms": 1e-3, "_s": 1.0}
_UNITS_BYTES = {"_bytes": 1, "_kb": 1_000, "_mb": 1_000_000}
_SIZES = ("B", "KB", "MB", "GB", "TB", "PB", "EB")
_SPANS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def count(number: float) -> str:
    """12,345; what has a fraction with three digits that matter."""
    if isinstance(number, int) or abs(number) >= 1_000:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def counted(number: int, thing: str, things: str = "") -> str:
    """1 block, 2 blocks."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def span(seconds: float) -> str:
    """How long: 35 us, 4.2 ms, 3.5 s, 2 min 5 s, 3 h 10 min, 2 d 4 h."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    for unit_s, unit, rest_s, rest in _SPANS:
        if seconds >= unit_s:
            whole, left = divmod(int(seconds), unit_s)
            return f"{whole} {unit}" + (f" {left // rest_s} {rest}" if left // rest_s else "")
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return "0 s" if not seconds else f"{seconds * 1e6:.2g} us"


def size(many_bytes: float) -> str:
    """How large: 512 B, 3.4 KB, 120 MB; thousands, as disks count."""
    value, steps = float(many_bytes), 0
    while abs(value) >= 999.5 and steps < len(_SIZES) - 1:
        value, steps = value / 1_000, steps + 1
    return f"{value:.3g} {_SIZES[steps]}"


def moment(time_ms: int) -> str:
    """When, in UTC."""
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(time_ms: int, now_ms: int) -> str:
    """How long before now; clocks of two machines may differ by a little."""
    return f"{span((now_ms - time_ms) // 1_000)} ago" if now_ms - time_ms >= 1_000 else "just now"


def short(digits: str) -> str:
    """The first digits of a key, hash or id: enough to know it by, not to use it."""
    return digits if len(digits) <= SHORT_DIGITS + 1 else f"{digits[:SHORT_DIGITS]}…"


def figure(name: str, value: Any) -> str:
    """A value by its name, whose end may be a unit: `p99_ms`, `disk_bytes`, `uptime_s`, `time_ms`."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {figure(key, item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "\n".join(figure(name, item) for item in value) or "none"
    return str(value)


def _number(name: str, value: float) -> str:
    if name == "expiry_height" and value == FOREVER:
        return "never"
    if name == "chain_tag":
        return str(value)
    if name.endswith("_ms") and value >= MOMENT_MS_MIN:
        return moment(int(value))
    stem = name.removesuffix("_max").removesuffix("_min")
    for ending, unit_s in _UNITS_S.items():
        if stem.endswith(ending):
            return span(value * unit_s)
    for ending, unit_bytes in _UNITS_BYTES.items():
        if stem.endswith(ending):
            return size(value * unit_bytes)
    return count(value)
