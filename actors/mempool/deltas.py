"""Committed blocks' deltas that may arrive in any order, handed out by height without a gap."""

from __future__ import annotations

from typing import Any

WAITING_MAX = 64


class DeltaQueue:
    """At most WAITING_MAX deltas wait for one before them; more are not kept, only that they exist."""

    def __init__(self) -> None:
        self._waiting: dict[int, dict[str, Any]] = {}
        self.seen_height = 0

    def add(self, height: int, settled_height: int, delta: dict[str, Any]) -> bool:
        """Keep a delta. False if it is settled already."""
        if height <= settled_height:
            return False
        self.seen_height = max(self.seen_height, height)
        if height == settled_height + 1 or len(self._waiting) < WAITING_MAX:
            self._waiting[height] = delta
        return True

    def take(self, settled_height: int) -> dict[str, Any] | None:
        """The delta of the next height, if it is here. What is settled meanwhile is forgotten."""
        for height in [height for height in self._waiting if height <= settled_height]:
            del self._waiting[height]
        return self._waiting.pop(settled_height + 1, None)

    def behind(self, settled_height: int) -> bool:
        """Whether a later height than the settled one is known."""
        return self.seen_height > settled_height
