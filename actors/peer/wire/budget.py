"""Bytes that wait to be sent, over all connections of one kind of peer, members or observers.

Rules
1. Each kind has a budget of its own, so that observers, however many, never take what members need.
2. A body that waits for several peers is held once, and counts once.
3. At the bound the connection gives way that holds most for longest without moving any of it. If that is the
   one that asks for more, it is refused.

The account of a connection says what it holds; `give_way` is how its owner ends it, which clears its queue.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.peer.errors import QueueFullError

MESSAGE_BYTES = 512
"""What a waiting message holds besides its head and body."""


class SendBudget:
    """At most `bytes_max` bytes wait for all accounts together."""

    def __init__(self, kind: str, bytes_max: int) -> None:
        self._kind = kind
        self._bytes_max = bytes_max
        self._bodies: dict[int, int] = {}
        self._accounts: set[BudgetShare] = set()
        self.held_bytes = 0
        self.turns = 0

    def open(self, give_way: Callable[[], object]) -> BudgetShare:
        """An account for one connection."""
        return BudgetShare(self, give_way)

    def take(self, account: BudgetShare, head: bytes, body: bytes) -> None:
        """Hold a message. Raises `QueueFullError` when nobody else has to give way for it."""
        own = MESSAGE_BYTES + len(head)
        while True:
            more = own + (0 if id(body) in self._bodies else len(body))
            if self.held_bytes + more <= self._bytes_max:
                break
            slowest = max(self._accounts, key=BudgetShare.weight, default=account)
            if slowest is account or slowest.weight() <= account.weight():
                held = f"{self.held_bytes} + {more} bytes of {self._bytes_max}"
                raise QueueFullError(f"{self._kind}: {held} wait for all of them")
            slowest.give_way()
            if slowest in self._accounts:
                raise ValueError("give_way: the queue was not cleared")
        self._bodies[id(body)] = self._bodies.get(id(body), 0) + 1
        self.held_bytes += more
        if not account.held_bytes:
            account.moved_turn = self.turns
        account.held_bytes += own + len(body)
        self._accounts.add(account)

    def release(self, account: BudgetShare, head: bytes, body: bytes) -> None:
        """A message that was taken is gone."""
        own, left = MESSAGE_BYTES + len(head), self._bodies[id(body)] - 1
        self.held_bytes -= own
        if left:
            self._bodies[id(body)] = left
        else:
            del self._bodies[id(body)]
            self.held_bytes -= len(body)
        account.held_bytes -= own + len(body)
        if not account.held_bytes:
            self._accounts.discard(account)


class BudgetShare:
    """What one connection holds of a budget."""

    __slots__ = ("_budget", "give_way", "held_bytes", "moved_turn")

    def __init__(self, budget: SendBudget, give_way: Callable[[], object]) -> None:
        self._budget = budget
        self.give_way = give_way
        self.held_bytes = 0
        self.moved_turn = 0

    def weight(self) -> int:
        """Bytes held times how many pieces others moved since this one moved any."""
        return self.held_bytes * (1 + self._budget.turns - self.moved_turn)

    def moved(self) -> None:
        """A piece of what is held went out."""
        self._budget.turns += 1
        self.moved_turn = self._budget.turns

    def take(self, head: bytes, body: bytes) -> None:
        """Hold a message. Raises `QueueFullError` at the bound of all."""
        self._budget.take(self, head, body)

    def release(self, head: bytes, body: bytes) -> None:
        """It was sent, or dropped."""
        self._budget.release(self, head, body)
