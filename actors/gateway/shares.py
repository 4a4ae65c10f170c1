"""Shares of what all clients of the HTTP edge use: nobody takes so much that others find it closed. No I/O.

`ClientShares` divides amounts (streams, bytes) as `actors/sharing.py` says: one client alone gets half of the
total, and something is free whoever came before. `FairTurns` divides work: clients that wait are served round
robin, so that who asks for much waits behind his own requests and not before those of others. `FairStarts`
divides the event loop: so much begins in each pass of it, in the turn of its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from actors.gateway.backend import BusyError, ShareError
from actors.sharing import FairQueue, Shares

TURN_TIMEOUT_S = 10.0
SHARE_ALONE = 0.5


class ClientShares:
    """Amounts of one thing that clients hold."""

    def __init__(self, what: str, total: int, share: float = SHARE_ALONE) -> None:
        self._what, self._shares = what, Shares(total, share)

    @property
    def held(self) -> int:
        """What all clients hold."""
        return self._shares.held

    def take(self, client: str, amount: int = 1) -> None:
        """Hold more. Raises ShareError at the client's share, BusyError where the total has no more; nothing
        is taken then."""
        if not self._shares.take(client, amount):
            if self._shares.held + amount > self._shares.total:
                raise BusyError(self._what, self._shares.total)
            raise ShareError(f"your {self._what}", self._shares.most(client))

    def give(self, client: str, amount: int = 1) -> None:
        """Hold less."""
        self._shares.give(client, amount)


class FairTurns:
    """At most `total` turns at a time, of one client at most half of them; who waits is served round robin.

    How many may wait is bounded by whoever counts requests in flight. A turn that does not come within
    TURN_TIMEOUT_S is given up with BusyError.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._of_client = what, total, max(1, total - total // 2)
        self._taken: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """Turns that are waited for."""
        return sum(len(queue) for queue in self._waiting.values())

    async def enter(self, client: str) -> None:
        """Wait for a turn; `leave` ends it. Raises BusyError when it does not come in time."""
        if client not in self._waiting and self._free(client):
            self._begin(client)
        else:
            await self._wait(client)

    def leave(self, client: str) -> None:
        """A turn is over."""
        self.taken -= 1
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
        if self._waiting:
            self._serve()

    def _free(self, client: str) -> bool:
        return self.taken < self._total and self._taken[client] < self._of_client

    def _begin(self, client: str) -> None:
        self.taken += 1
        self._taken[client] += 1

    async def _wait(self, client: str) -> None:
        ours: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(ours)
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                await ours
        except BaseException as error:
            if ours.done() and not ours.cancelled():  # served while it was given up
                self.leave(client)
            else:
                self._withdraw(client, ours)
            if isinstance(error, TimeoutError):
                raise BusyError(self._what, self._total) from None
            raise

    def _withdraw(self, client: str, ours: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is not None:
            with contextlib.suppress(ValueError):
                queue.remove(ours)
            if not queue:
                del self._waiting[client]

    def _serve(self) -> None:
        """Give free turns to those who wait, a client after the other."""
        for client in list(self._waiting):
            if self.taken >= self._total:
                return
            if not self._free(client):
                continue
            queue = self._waiting[client]
            ours = queue.popleft()
            if queue:
                self._waiting.move_to_end(client)
            else:
                del self._waiting[client]
            if not ours.done():
                self._begin(client)
                ours.set_result(None)


class FairStarts:
    """Begins at most `each_pass` units of work in a pass of the event loop; what waits, in its clients' turn.

    So a pass stays short however much one client sends at once, and others have their turn in the next one.
    A unit is about what a small request costs. Who is alone waits for nothing: passes follow one another.
    How many may wait is bounded by whoever counts connections.
    """

    def __init__(self, each_pass: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._each_pass = self._left = each_pass
        self._waiting: FairQueue[tuple[Callable[[], None], int]] = FairQueue()
        self._looks = False

    @property
    def waiting(self) -> int:
        """What has not begun yet."""
        return len(self._waiting)

    def begin(self, client: str, cost: int, start: Callable[[], None]) -> None:
        """Call `start` when it is the client's turn, at once where nobody waits. cost: units, 1 at least."""
        if self._at_once(cost):
            start()
        else:
            self._waiting.put(client, (start, cost), cost)

    async def enter(self, client: str, cost: int) -> None:
        """Return when it is the client's turn."""
        if self._at_once(cost):
            return
        ours: asyncio.Future[None] = self._loop.create_future()

        def start() -> None:
            if not ours.done():
                ours.set_result(None)

        self._waiting.put(client, (start, cost), cost)
        await ours

    def _at_once(self, cost: int) -> bool:
        if self._left <= 0 or len(self._waiting):
            return False
        self._left -= cost
        if not self._looks:
            self._looks = True
            self._loop.call_soon(self._pass)
        return True

    def _pass(self) -> None:
        """Once in each pass of the loop, until nothing waits and nothing is owed."""
        self._left = min(self._each_pass, self._left + self._each_pass)
        while self._left > 0 and (turn := self._waiting.take()) is not None:
            start, cost = turn[1]
            self._left -= cost
            self._loop.call_soon(start)
        self._looks = self._left < self._each_pass
        if self._looks:
            self._loop.call_soon(self._pass)
