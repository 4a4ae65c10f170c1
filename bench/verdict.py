"""What a hunt or a benchmark comes to, in one sentence for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.console import Summary

# What is wrong if there is any of it: a number, a list, or a table by name.
FAULTS = ("checks_failed", "violations", "disagreements", "crashes", "failed", "missed", "regressions")
NAMED_MAX = 5


def verdict_of(result: Mapping[str, Any]) -> Summary | None:
    """Whether it held, and if not, what did not; None for a result that judges nothing."""
    if not ({"passed", "verdict", *FAULTS} & set(result)):
        return None
    wrong = [_named(name, result[name]) for name in FAULTS if result.get(name)]
    held = result.get("passed", True) is True and result.get("verdict", "pass") == "pass" and not wrong
    if held:
        return Summary("Held: everything that was checked is as it must be.", "good")
    checks = {name: value for name, value in result.items() if isinstance(value, bool) and name != "passed"}
    wrong = wrong or [name.replace("_", " ") for name, value in checks.items() if not value]
    return Summary(f"Did not hold: {'; '.join(wrong[:NAMED_MAX]) or 'see what was measured'}.", "bad")


def _named(name: str, found: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(found, int | float):
        return f"{words} {found:,}"
    if isinstance(found, Iterable) and not isinstance(found, str):
        listed = [str(each) for each in found]
        more = f" and {len(listed) - NAMED_MAX} more" if len(listed) > NAMED_MAX else ""
        return f"{words} {', '.join(listed[:NAMED_MAX])}{more}"
    return f"{words} {found}"
