"""Takes the connections of a listening socket some at a time, and of each client at his rate.

The system queues connections in the order in which they came, and an event loop takes all that wait at once:
a flood of one client would have a whole pass to itself, again and again. Here what is above a client's rate
is answered in a few microseconds and closed before anything is made for it, and of the others a few are taken
in each pass. A TLS handshake costs memory before there is a connection that the server counts: of those under
way each client has a share, and they end by time.

The loop only says that connections wait, so that it makes no difference which loop it is (uvloop accepts by
itself whatever it is told to serve).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from actors.gateway.limits import ClientRates
from actors.sharing import Shares, reach_of

ACCEPTED_AT_ONCE, REFUSED_AT_ONCE = 16, 256
HANDSHAKES_MAX, HANDSHAKES_SHARE = 1024, 0.5
PROXY_REACH = reach_of(0.9)
FULL_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Admission:
    """client_of: the name that an address is counted under, None for one that speaks for many. cost: units of
    the rate a connection. answer: what is said to those who are refused, which may be nothing."""

    rates: ClientRates
    client_of: Callable[[str], str | None]
    cost: int
    answer: bytes


class Acceptor:
    """Serves a listening socket, which it closes. tls: of the server, None for none."""

    def __init__(
        self, listener: socket.socket, admission: Admission, tls: ssl.SSLContext | None, timeout_s: float
    ) -> None:
        self._listener, self._admission, self._tls, self._timeout_s = listener, admission, tls, timeout_s
        self._handshakes = Shares(HANDSHAKES_MAX, HANDSHAKES_SHARE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resumes: asyncio.TimerHandle | None = None
        self.refused = 0

    @property
    def handshakes(self) -> int:
        """TLS handshakes under way."""
        return self._handshakes.held

    def start(self, connected: Callable[[], asyncio.Protocol]) -> None:
        """Begin; each connection that is let in gets a protocol."""
        self._connected = connected
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listener, self._take_some)

    def close(self) -> None:
        """Listen no more, and end handshakes; idempotent."""
        if self._resumes is not None:
            self._resumes.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for task in self._tasks:
            task.cancel()

    def _take_some(self) -> None:
        """One pass: what waits beyond it makes the loop call again."""
        taken = 0
        for _ in range(REFUSED_AT_ONCE):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:  # hung up already
                continue
            except OSError as error:  # no descriptor or memory is free: those that wait go on waiting
                logger.warning("connections have to wait: {}", error)
                self._loop.remove_reader(self._listener)
                self._resumes = self._loop.call_later(FULL_PAUSE_S, self._resume)
                return
            taken += self._begin(connection, str(address[0]))
            if taken == ACCEPTED_AT_ONCE:
                return

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._take_some)

    def _begin(self, connection: socket.socket, address: str) -> bool:
        """Whether a connection is let in."""
        asked = self._admission
        client = asked.client_of(address)
        in_time = client is None or asked.rates.take(client, time.monotonic(), asked.cost)
        if not in_time or (self._tls is not None and not self._hold(client)):
            self._refuse(connection)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _hold(self, client: str | None) -> bool:
        return self._handshakes.take(client or "", 1, PROXY_REACH if client is None else None)

    async def _connect(self, connection: socket.socket, client: str | None) -> None:
        """Make a connection the server's, which counts it from then on."""
        try:
            async with asyncio.timeout(self._timeout_s):  # uvloop's own bound leaves us waiting
                await self._loop.connect_accepted_socket(self._connected, connection, ssl=self._tls)
        except OSError:  # the client is gone, or no TLS is to be had with him, or not in time
            connection.close()
        finally:
            if self._tls is not None:
                self._handshakes.give(client or "", 1)

    def _refuse(self, connection: socket.socket) -> None:
        self.refused += 1
        try:
            if self._admission.answer:
                connection.setblocking(False)
                connection.send(self._admission.answer)
        except OSError:  # he does not stay for the answer
            return
        finally:
            connection.close()
