"""Committed blocks' deltas that may arrive in any order, handed out by height without a gap."""

from __future__ import annotations

from actors.ledger.delta import AccountStates, Delta

WAITING_MAX = 64


class DeltaQueue:
    """At most WAITING_MAX deltas wait for one before them; more are not kept, only that they exist."""

    def __init__(self) -> None:
        self._waiting: dict[int, AccountStates] = {}
        self.seen_height = 0

    def add(self, delta: Delta, settled_height: int) -> bool:
        """Keep a delta's accounts. False if it is settled already."""
        height = delta.height
        if height <= settled_height:
            return False
        self.seen_height = max(self.seen_height, height)
        if height == settled_height + 1 or len(self._waiting) < WAITING_MAX:
            self._waiting[height] = delta.accounts()
        return True

    def take(self, settled_height: int) -> AccountStates | None:
        """The accounts of the next height, if it is here. What is settled meanwhile is forgotten."""
        for height in [height for height in self._waiting if height <= settled_height]:
            del self._waiting[height]
        return self._waiting.pop(settled_height + 1, None)

    def behind(self, settled_height: int) -> bool:
        """Whether a later height than the settled one is known."""
        return self.seen_height > settled_height
