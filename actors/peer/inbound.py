"""Received messages that wait for their handlers: one queue a priority, fair between peers.

A flooding peer fills its own share and nothing else: each priority is drained on its own, peers within it
take turns, and a peer whose share is full is not read from until it has drained (`push` says so, and the
shell stops reading its socket).
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Round-robin over peers; `backlog_max` items a peer."""

    def __init__(self, backlog_max: int) -> None:
        self._backlog_max = backlog_max
        self._shares: dict[bytes, deque[Item]] = {}
        self._turns: deque[bytes] = deque()

    def __len__(self) -> int:
        return sum(len(share) for share in self._shares.values())

    def backlog(self, peer: bytes) -> int:
        """How many items of `peer` wait."""
        return len(self._shares.get(peer, ()))

    def push(self, peer: bytes, item: Item) -> bool:
        """Append; returns whether the peer has room for more. Never refuses: what was read is kept."""
        share = self._shares.get(peer)
        if share is None:
            share = self._shares[peer] = deque()
            self._turns.append(peer)
        share.append(item)
        return len(share) < self._backlog_max

    def pop(self) -> tuple[bytes, Item] | None:
        """The next item, of the peer whose turn it is."""
        if not self._turns:
            return None
        peer = self._turns.popleft()
        share = self._shares[peer]
        item = share.popleft()
        if share:
            self._turns.append(peer)
        else:
            del self._shares[peer]
        return peer, item

    def has_room(self, peer: bytes) -> bool:
        """Whether the peer's share has drained to half, which is when reading resumes."""
        return self.backlog(peer) <= self._backlog_max // 2

    def drop(self, peer: bytes) -> int:
        """Forget a peer's items; returns how many."""
        share = self._shares.pop(peer, None)
        if share is None:
            return 0
        self._turns.remove(peer)
        return len(share)
