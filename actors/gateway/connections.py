"""Which connections are open, and which of them make room. No I/O, no clock.

Rules
  * A client (an address, for IPv6 its /64) holds as many connections as are left for others, at least
    CLIENT_CONNECTIONS_MIN. One more ends his longest idle one; where none is idle it is refused.
  * At the bound of all, the longest idle one of the client with most connections ends; where none is idle at
    all, the new one is refused.
  * A proxy that is trusted holds connections for many clients: the first rule does not count them.
  * A connection is idle while no request on it is begun or unanswered. One that has not sent a whole head
    is idle too.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from actors.gateway.backend import BusyError

CLIENT_CONNECTIONS_MIN = 16


Connection = TypeVar("Connection")


class ConnectionTable(Generic[Connection]):
    """Open connections by their client."""

    def __init__(self, connections_max: int) -> None:
        self._connections_max = connections_max
        self._held: Counter[str] = Counter()
        self._client_of: dict[Connection, str] = {}
        self._idle: dict[str, OrderedDict[Connection, None]] = {}
        self.refused = self.evicted = 0

    def __len__(self) -> int:
        return len(self._client_of)

    def opened(self, key: Connection, client: str, shared: bool = False) -> Connection | None:
        """Count a connection in, as idle. Returns the one that is to be closed for it, already counted out.

        shared: the client is a trusted proxy. Raises BusyError when there is no room.
        """
        name = f"proxy:{client}" if shared else client
        ended: Connection | None = None
        full = len(self) >= self._connections_max
        share = max(CLIENT_CONNECTIONS_MIN, self._connections_max - len(self))
        if full or (not shared and self._held[name] >= share):
            ended = self._longest_idle(name if not full or self._idle.get(name) else self._largest())
            if ended is None:
                self.refused += 1
                raise BusyError("connections", self._connections_max)
            self.closed(ended)
            self.evicted += 1
        self._held[name] += 1
        self._client_of[key] = name
        self.rests(key)
        return ended

    def _largest(self) -> str:
        """The client with most connections of those who have an idle one."""
        return max(self._idle, key=self._held.__getitem__, default="")

    def _longest_idle(self, client: str) -> Connection | None:
        return next(iter(self._idle.get(client, ())), None)

    def works(self, key: Connection) -> None:
        """A request begins on it, or it carries a stream: it is not closed for others."""
        client = self._client_of.get(key)
        idle = self._idle.get(client) if client is not None else None
        if client is not None and idle is not None:
            idle.pop(key, None)
            if not idle:
                del self._idle[client]

    def rests(self, key: Connection) -> None:
        """It is idle from now on."""
        client = self._client_of.get(key)
        if client is not None:
            self._idle.setdefault(client, OrderedDict())[key] = None

    def closed(self, key: Connection) -> None:
        """It is gone; idempotent."""
        self.works(key)
        client = self._client_of.pop(key, None)
        if client is not None:
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]

    def figures(self) -> dict[str, int]:
        """Open, refused and closed for others."""
        return {"refused": self.refused, "evicted": self.evicted}
