"""The send queue of one connection: strict priorities, bounded in bytes and in messages.

Consensus leaves before blocks, blocks before transactions, control (pings, hello, close) before all. A long
message is handed out in fragments, and a more urgent message may pass between two of them, so a vote never
waits for more than one fragment of a block. At the bound `push` raises `QueueFullError`: the caller waits
for room (backpressure) or drops (`offer` in the shell), and the class's neighbours are not affected.

Blocks and transactions are sent on credit: `WINDOW_BYTES` a class to begin with, less the cost of every
message begun, more what the receiver says it has dealt with. So a receiver whose handler of one class is slow
holds back that class alone: without credit it could only stop reading the socket, votes and all. A message
begins while there is any credit, so one is never too large; consensus and control need none.

What waits on credit is charged to an account of all connections of the peer's kind (see `wire.budget`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from actors.peer.errors import QueueFullError
from actors.peer.wire.budget import BudgetShare
from actors.peer.wire.frames import FRAGMENT_BYTES_MAX, HEAD_BYTES_MAX, HEAD_LENGTH_BYTES, Priority

CREDITED = frozenset({Priority.BLOCKS, Priority.TRANSACTIONS})
WINDOW_BYTES = 4 << 20
MESSAGE_COST_BYTES = 16 << 10
"""What a message costs besides its bytes; so at most 256 of them are under way or wait for their handler."""
CREDIT_STEP_BYTES = WINDOW_BYTES // 4


def cost_bytes(size: int) -> int:
    """Credit that a message of `size` bytes, head and body, takes."""
    return MESSAGE_COST_BYTES + size


class CreditDue:
    """The receiver's side: what was dealt with and not yet told, so that few messages carry credit."""

    def __init__(self) -> None:
        self._due = [0] * len(Priority)

    def add(self, priority: Priority, size: int) -> int:
        """A message of `size` bytes was dealt with; returns the credit to give now, mostly 0."""
        if priority not in CREDITED:
            return 0
        self._due[priority] += cost_bytes(size)
        due = self._due[priority]
        if due < CREDIT_STEP_BYTES:
            return 0
        self._due[priority] = 0
        return due


@dataclass(frozen=True, slots=True)
class Fragment:
    """The next piece to send: a view of the message's bytes, and whether it is the last one."""

    priority: Priority
    data: memoryview
    last: bool


class SendQueue:
    """Messages that wait to be sealed, by priority."""

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._waiting: tuple[deque[tuple[bytes, bytes]], ...] = tuple(deque() for _ in Priority)
        self._bytes = [0] * len(Priority)
        self._offset: list[int | None] = [None] * len(Priority)
        self._credit = [WINDOW_BYTES] * len(Priority)
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._backlog_bytes_max = bytes_max
        self._account: BudgetShare | None = None

    def charge_to(self, account: BudgetShare, backlog_bytes_max: int) -> None:
        """Once the peer's kind is known: who answers for what waits, and how many bytes of a class may wait
        unless it is one message alone."""
        self._account, self._backlog_bytes_max = account, backlog_bytes_max

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting)

    def __bool__(self) -> bool:
        return any(self._waiting)

    def waiting_bytes(self, priority: Priority) -> int:
        """Bytes of one class that have not been handed out yet."""
        return self._bytes[priority]

    def has_room(self, priority: Priority, size: int) -> bool:
        """Whether `push` would take a message of `size` bytes now."""
        after = self._bytes[priority] + size
        return (
            len(self._waiting[priority]) < self._messages_max
            and after <= self._bytes_max
            and (after <= self._backlog_bytes_max or not self._waiting[priority])
        )

    def push(self, priority: Priority, body: bytes, head: bytes = b"") -> None:
        """Append a message. Raises `QueueFullError` at any bound, and then takes nothing.

        Raises `ValueError` for a head beyond `HEAD_BYTES_MAX`.
        """
        if len(head) > HEAD_BYTES_MAX:
            raise ValueError(f"head: {len(head)} bytes, limit {HEAD_BYTES_MAX}")
        size = len(head) + len(body)
        if not self.has_room(priority, size):
            raise QueueFullError(
                f"{priority.name.lower()} queue: {len(self._waiting[priority])} messages of "
                f"{self._messages_max}, {self._bytes[priority]} + {size} bytes of {self._backlog_bytes_max}"
            )
        if self._account is not None and priority in CREDITED:
            self._account.take(head, body)
        self._waiting[priority].append((head, body))
        self._bytes[priority] += size

    def credit(self, priority: Priority, size: int) -> None:
        """The receiver gave `size` bytes of credit; more than the window is not saved up."""
        self._credit[priority] = min(WINDOW_BYTES, self._credit[priority] + size)

    def pop(self) -> Fragment | None:
        """The next fragment of the most urgent class that may send, or None."""
        for priority, queue in enumerate(self._waiting):
            if queue and (self._credit[priority] > 0 or self._offset[priority] is not None):
                return self._fragment(Priority(priority), *queue[0])
        return None

    def _fragment(self, priority: Priority, head: bytes, body: bytes) -> Fragment:
        """Cut the next piece off the first message of a class; the head goes in front of the first one."""
        start = self._offset[priority]
        if start is None:
            prefix = len(head).to_bytes(HEAD_LENGTH_BYTES, "little") + head
            end = min(len(body), FRAGMENT_BYTES_MAX - len(prefix))
            data = memoryview(prefix + body[:end])
            self._bytes[priority] -= len(head) + end
            if priority in CREDITED:
                self._credit[priority] -= cost_bytes(len(head) + len(body))
        else:
            end = min(len(body), start + FRAGMENT_BYTES_MAX)
            data = memoryview(body)[start:end]
            self._bytes[priority] -= end - start
        last = end == len(body)
        if self._account is not None and priority in CREDITED:
            self._account.moved()
            if last:
                self._account.release(head, body)
        if last:
            self._waiting[priority].popleft()
        self._offset[priority] = None if last else end
        return Fragment(priority, data, last)

    def clear(self) -> int:
        """Forget everything; returns how many messages were dropped."""
        dropped = len(self)
        for priority in Priority:
            if self._account is not None and priority in CREDITED:
                for head, body in self._waiting[priority]:
                    self._account.release(head, body)
            self._waiting[priority].clear()
            self._bytes[priority] = 0
            self._offset[priority] = None
        return dropped
