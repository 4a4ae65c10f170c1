"""Takes the connections of a listening socket, and begins each in its client's turn and at his rate.

The system queues connections in the order in which they came, and drops those for which its queue has no
room, whose clients then try again after seconds: so what waits there is taken at once. What is above a
client's rate, or his share of those that wait here, is answered in a few microseconds and closed before
anything is made for it. A TLS handshake costs memory before there is a connection that the server counts: of
those under way each client has a share, and they end by time.

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
from functools import partial

from loguru import logger

from actors.gateway.limits import ClientRates
from actors.gateway.shares import FairStarts
from actors.sharing import Shares, reach_of

ACCEPTED_AT_ONCE = 256
WAITING_MAX, WAITING_SHARE = 4096, 0.5
HANDSHAKES_MAX, HANDSHAKES_SHARE = 1024, 0.5
PROXY_REACH = reach_of(0.9)
FULL_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionTerms:
    """client_of: the name that an address is counted under, None for one that speaks for many. cost: units of
    the rate, and of the turns, a connection. answer: what those are told who are refused, or nothing."""

    rates: ClientRates
    client_of: Callable[[str], str | None]
    cost: int
    answer: bytes


class Acceptor:
    """Serves a listening socket, which it closes. tls: of the server, None for none."""

    def __init__(
        self,
        listener: socket.socket,
        admission: ConnectionTerms,
        starts: FairStarts,
        tls: ssl.SSLContext | None,
        timeout_s: float,
    ) -> None:
        self._listener, self._admission, self._starts = listener, admission, starts
        self._tls, self._timeout_s = tls, timeout_s
        self._waiting = Shares(WAITING_MAX, WAITING_SHARE)
        self._sockets: set[socket.socket] = set()
        self._handshakes = Shares(HANDSHAKES_MAX, HANDSHAKES_SHARE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resumes: asyncio.TimerHandle | None = None
        self.refused = 0

    @property
    def handshakes(self) -> int:
        """TLS handshakes under way."""
        return self._handshakes.held

    @property
    def waiting(self) -> int:
        """Connections that were taken, and have not begun."""
        return len(self._sockets)

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
        while self._sockets:
            self._sockets.pop().close()
        for task in self._tasks:
            task.cancel()

    def _take_some(self) -> None:
        """One pass: what waits beyond it makes the loop call again."""
        for _ in range(ACCEPTED_AT_ONCE):
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
            self._taken(connection, self._admission.client_of(str(address[0])))

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._take_some)

    def _taken(self, connection: socket.socket, client: str | None) -> None:
        """Refuse a connection, or let it begin in its turn."""
        asked = self._admission
        connection.setblocking(False)
        in_time = client is None or asked.rates.take(client, time.monotonic(), asked.cost)
        if not in_time or not _hold(self._waiting, client):
            self._refuse(connection)
            return
        self._sockets.add(connection)
        self._starts.begin(client or "", asked.cost, partial(self._begin, connection, client))

    def _begin(self, connection: socket.socket, client: str | None) -> None:
        self._sockets.discard(connection)
        self._waiting.give(client or "", 1)
        if connection.fileno() < 0:
            return  # closed while it waited
        if self._tls is not None and not _hold(self._handshakes, client):
            self._refuse(connection)
            return
        task = self._loop.create_task(self._connect(connection, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
                connection.send(self._admission.answer)
        except OSError:  # he does not stay for the answer
            return
        finally:
            connection.close()


def _hold(shares: Shares, client: str | None) -> bool:
    """Count one in for a client, or for a proxy, who speaks for many."""
    return shares.take(client or "", 1, PROXY_REACH if client is None else None)
