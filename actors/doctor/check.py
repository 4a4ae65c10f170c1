"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """ok: whether it is as it should be. found: what there is. advice: what to do about it if not ok.

    A check that is not `required` advises only.
    """

    name: str
    ok: bool
    found: str
    advice: str
    required: bool = True
