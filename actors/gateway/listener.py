"""A listening socket that takes connections some at a time, and from each client at his rate.

The system queues connections in the order in which they came, and an event loop takes all that wait at once:
a flood of one client would have a whole pass to itself, again and again. Here what is above a client's rate
is answered in a few microseconds and closed before anything is made for it, and of the others a few are taken
in each pass.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from actors.gateway.limits import ClientRates

ACCEPTED_AT_ONCE, REFUSED_AT_ONCE = 16, 256


class RatedListener(socket.socket):
    """Takes over the descriptor of `listener`.

    client_of: the name that an address is counted under, None for one that is not counted. cost: units of
    the rate a connection. answer: what is said to those who are refused, which may be nothing.
    """

    def __init__(
        self,
        listener: socket.socket,
        rates: ClientRates,
        client_of: Callable[[str], str | None],
        cost: int,
        answer: bytes,
    ) -> None:
        super().__init__(fileno=listener.detach())
        self.setblocking(False)
        self._rates, self._client_of, self._cost, self._answer = rates, client_of, cost, answer
        self._taken = self.refused = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection of a client within his rate. Raises BlockingIOError when there is none for now, or
        when this pass of the event loop has taken its part: what waits makes the next pass ask again."""
        if self._taken == ACCEPTED_AT_ONCE:
            self._taken = 0
            raise BlockingIOError
        for _ in range(REFUSED_AT_ONCE):
            try:
                connection, address = super().accept()
            except BlockingIOError:
                self._taken = 0
                raise
            client = self._client_of(str(address[0]))
            if client is None or self._rates.take(client, time.monotonic(), self._cost):
                self._taken += 1
                return connection, address
            self._refuse(connection)
        self._taken = 0
        raise BlockingIOError

    def _refuse(self, connection: socket.socket) -> None:
        self.refused += 1
        with contextlib.suppress(OSError):
            if self._answer:
                connection.send(self._answer)
        connection.close()
