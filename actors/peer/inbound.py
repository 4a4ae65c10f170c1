"""Received messages that wait for their handlers: one queue a priority, fair between peers.

A flooding peer fills its own share and nothing else: each priority is drained on its own, peers within it
take turns, and a peer whose share is full is not read from until it has drained (`push` says so, and the
shell stops reading its socket). Members take every other turn while any of theirs waits, so that observers,
however many, have half of the turns at most.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class PeerQueues(Generic[Item]):
    """Round-robin over peers; a peer's share is full at `backlog_max` items or `bytes_max` bytes."""

    def __init__(self, backlog_max: int, bytes_max: int) -> None:
        self._backlog_max = backlog_max
        self._bytes_max = bytes_max
        self._shares: dict[bytes, deque[tuple[Item, int]]] = {}
        self._bytes: dict[bytes, int] = {}
        self._turns: dict[bool, deque[bytes]] = {True: deque(), False: deque()}
        self._first: dict[bytes, bool] = {}
        self._firsts_turn = True

    def __len__(self) -> int:
        return sum(len(share) for share in self._shares.values())

    def backlog(self, peer: bytes) -> int:
        """How many items of `peer` wait."""
        return len(self._shares.get(peer, ()))

    def push(self, peer: bytes, item: Item, size: int = 0, *, first: bool = False) -> bool:
        """Append an item of `size` bytes; returns whether the peer has room for more. `first`: a member's.

        Never refuses: what was read is kept, so a share exceeds its bounds by one read at most.
        """
        share = self._shares.get(peer)
        if share is None:
            share = self._shares[peer] = deque()
            self._bytes[peer] = 0
            self._first[peer] = first
            self._turns[first].append(peer)
        share.append((item, size))
        self._bytes[peer] += size
        return len(share) < self._backlog_max and self._bytes[peer] < self._bytes_max

    def pop(self) -> tuple[bytes, Item] | None:
        """The next item, of the peer whose turn it is."""
        firsts = bool(self._turns[True]) and (self._firsts_turn or not self._turns[False])
        self._firsts_turn = not firsts
        turns = self._turns[firsts]
        if not turns:
            return None
        peer = turns.popleft()
        share = self._shares[peer]
        item, size = share.popleft()
        self._bytes[peer] -= size
        if share:
            turns.append(peer)
        else:
            del self._shares[peer], self._bytes[peer], self._first[peer]
        return peer, item

    def has_room(self, peer: bytes) -> bool:
        """Whether the peer's share has drained to half, which is when reading resumes."""
        half_full = self.backlog(peer) > self._backlog_max // 2
        return not half_full and self._bytes.get(peer, 0) <= self._bytes_max // 2

    def drop(self, peer: bytes) -> list[Item]:
        """Forget a peer's items; returns them."""
        share = self._shares.pop(peer, None)
        if share is None:
            return []
        del self._bytes[peer]
        self._turns[self._first.pop(peer)].remove(peer)
        return [item for item, _ in share]
