"""How what all share is divided among those who ask: room by `Shares`, turns by `FairQueue`.

`Shares` is the dynamic threshold of Choudhury and Hahne (IEEE/ACM Trans. Networking 6(2), 1998): nobody may
hold more than a fixed multiple of what is free. One who is alone gets most of the whole, many get less each,
and some always stays free for whoever comes next; nothing is reserved for those who do not come.

`FairQueue` is start-time fair queueing (Goyal, Vin, Cheng, IEEE/ACM Trans. Networking 5(5), 1997): what one
has asked for waits behind his own, and who asks for little waits about one turn of each of the others.

Both are plain state without a clock. Their callers bound how many there are who ask.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")
REACH_UNIT = 1024
FLOWS_KEPT_MAX = 4_096


def reach_of(share: float) -> int:
    """How many REACH_UNITs of a thing one may hold for each REACH_UNIT that is free, so that one who is alone
    gets `share` (above 0, below 1) of the whole."""
    return max(1, round(REACH_UNIT * share / (1 - share)))


class Shares:
    """Who holds how much of `total`. `share`: the part that one alone may hold; see the module."""

    def __init__(self, total: int, share: float) -> None:
        self.total, self._reach = total, reach_of(share)
        self._held: dict[str, int] = {}
        self.held = 0

    def allows(self, who: str, amount: int, reach: int | None = None) -> bool:
        """Whether `who` may take that much more now. What is free as a whole is one's for the asking.

        reach: another multiple than the usual one (`reach_of`), for one who speaks for many.
        """
        free = self.total - self.held - amount
        if free < 0:
            return False
        mine = self._held.get(who, 0) + amount
        return self.held == 0 or mine * REACH_UNIT <= (reach or self._reach) * free

    def take(self, who: str, amount: int, reach: int | None = None) -> bool:
        """Take it, if that is allowed."""
        if not self.allows(who, amount, reach):
            return False
        self._held[who] = self._held.get(who, 0) + amount
        self.held += amount
        return True

    def give(self, who: str, amount: int) -> None:
        """Give back what was taken."""
        left = self._held.get(who, 0) - amount
        if left < 0:
            raise ValueError(f"{who} gives back {amount}, and holds {left + amount}")
        self.held -= amount
        if left:
            self._held[who] = left
        else:
            self._held.pop(who, None)

    def most(self, who: str) -> int:
        """How much `who` could hold now, with what is held already."""
        rest = self.total - self.held + self._held.get(who, 0)
        return rest * self._reach // (self._reach + REACH_UNIT)

    def holds(self, who: str) -> int:
        """How much somebody holds."""
        return self._held.get(who, 0)


class _Flow(Generic[Item]):
    __slots__ = ("finish", "items", "paused", "queued")

    def __init__(self) -> None:
        self.items: deque[tuple[Item, int]] = deque()
        self.finish = 0
        self.paused = self.queued = False


class FairQueue(Generic[Item]):
    """Items of many flows; `take` gives the one whose flow has had least. cost: any unit, 1 at least."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow[Item]] = {}
        self._turns: list[tuple[int, int, str]] = []
        self._order = count()
        self._now = self._latest = self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, flow: str, item: Item, cost: int) -> None:
        """Append an item to its flow."""
        entry = self._flows.get(flow)
        if entry is None:
            entry = self._flows[flow] = _Flow()
        entry.items.append((item, max(cost, 1)))
        self._length += 1
        self._queue(flow, entry)

    def peek(self) -> tuple[str, Item] | None:
        """(flow, item) that `take` would give; None if there is none whose flow is not paused."""
        while self._turns:
            start, order, flow = self._turns[0]
            entry = self._flows[flow]
            if not entry.items or entry.paused:
                heapq.heappop(self._turns)
                entry.queued = False
            elif entry.finish > start:
                heapq.heapreplace(self._turns, (entry.finish, order, flow))
            else:
                return flow, entry.items[0][0]
        return None

    def take(self) -> tuple[str, Item] | None:
        """Take the item whose turn it is, with its flow; None as `peek`."""
        if self.peek() is None:
            return None
        start, _, flow = heapq.heappop(self._turns)
        entry = self._flows[flow]
        item, cost = entry.items.popleft()
        self._now, entry.queued = start, False
        self._taken(entry, start + cost)
        self._queue(flow, entry)
        self._forget()
        return flow, item

    def pop(self) -> Item:
        """The item whose turn it is. Raises LookupError if there is none."""
        if (turn := self.take()) is None:
            raise LookupError("nobody waits whose flow is not paused")
        return turn[1]

    def take_next_of(self, flow: str) -> Item | None:
        """Take one more item of a flow in the same turn; its flow pays for it. None if it has no more."""
        entry = self._flows.get(flow)
        if entry is None or not entry.items:
            return None
        item, cost = entry.items.popleft()
        self._taken(entry, max(entry.finish, self._now) + cost)
        return item

    def next_of(self, flow: str) -> Item | None:
        """What `take_next_of` would give."""
        entry = self._flows.get(flow)
        return entry.items[0][0] if entry is not None and entry.items else None

    def pause(self, flow: str) -> None:
        """Give nothing of a flow until `resume`."""
        if (entry := self._flows.get(flow)) is not None:
            entry.paused = True

    def resume(self, flow: str) -> None:
        """Let a paused flow have its turns again."""
        if (entry := self._flows.get(flow)) is not None:
            entry.paused = False
            self._queue(flow, entry)

    def _taken(self, entry: _Flow[Item], finish: int) -> None:
        entry.finish, self._latest = finish, max(self._latest, finish)
        self._length -= 1
        if not self._length:
            self._now = self._latest  # nobody waits: whoever comes next owes nobody anything

    def _queue(self, flow: str, entry: _Flow[Item]) -> None:
        if entry.items and not entry.queued and not entry.paused:
            entry.queued = True
            heapq.heappush(self._turns, (max(self._now, entry.finish), next(self._order), flow))

    def _forget(self) -> None:
        """Flows that have nothing here and had no more than others are as good as new ones."""
        if len(self._flows) <= FLOWS_KEPT_MAX:
            return
        idle = [
            f for f, entry in self._flows.items() if not entry.items and not entry.paused and not entry.queued
        ]
        for flow in sorted(idle, key=lambda f: self._flows[f].finish)[: len(idle) - FLOWS_KEPT_MAX // 2]:
            del self._flows[flow]
