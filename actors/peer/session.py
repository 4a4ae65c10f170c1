"""The asyncio side of one TCP connection: socket callbacks in, `WireConnection` between, owner calls out.

A session seals at most `SEAL_AHEAD_BYTES` ahead of what the socket takes, and the kernel takes at most
`UNSENT_BYTES` ahead of what it sends (else megabytes), because sealed bytes cannot be overtaken; everything
else waits in the send queue, in order of priority.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Protocol, cast

from actors.peer import messages
from actors.peer.admission import source_of
from actors.peer.config import PeerIntervals, format_address
from actors.peer.errors import NotConnectedError, ProtocolError, QueueFullError, RequestError
from actors.peer.greylist import TokenBucket
from actors.peer.messages import Credit, Hello, WireMessage
from actors.peer.wire.connection import (
    Authenticated,
    ConnectionState,
    Ended,
    Event,
    Violated,
    WireConnection,
)
from actors.peer.wire.frames import FramedMessage, Priority
from actors.peer.wire.queues import CreditDue

SEAL_AHEAD_BYTES = 256 << 10
UNSENT_BYTES = 128 << 10
READ_BYTES = 256 << 10
HANDSHAKE_READ_BYTES = 512
"""Read at once before the peer is known: more than its handshake, little for a stranger to occupy."""


class SessionOwner(Protocol):
    """What a session tells the network. All calls come on the event loop's thread."""

    def on_opened(self, session: PeerSession) -> None:
        """The socket is open. May abort the session."""

    def on_authenticated(self, session: PeerSession) -> None:
        """The handshake proved `session.identity`. Raises `ProtocolError` to refuse it."""

    def on_message(self, session: PeerSession, message: FramedMessage) -> None:
        """A message arrived. Raises `ProtocolError` when it is not acceptable."""

    def on_held(self, session: PeerSession, change: int) -> None:
        """What is held of the peer's unfinished messages grew by `change` bytes. May abort any session."""

    def on_violation(self, session: PeerSession, error: ProtocolError) -> None:
        """The peer broke the protocol; the session is aborted after this call."""

    def on_lost(self, session: PeerSession) -> None:
        """The socket is gone. Called once for a session whose socket was open."""


class PeerSession(asyncio.BufferedProtocol):
    """One connection's socket. `identity` is None until it is proved."""

    def __init__(
        self,
        connection: WireConnection,
        owner: SessionOwner,
        intervals: PeerIntervals,
        *,
        outbound: bool,
        dialled: str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.connection = connection
        self._owner = owner
        self._intervals = intervals
        self.outbound = outbound
        self.dialled = dialled
        self.identity: bytes | None = None
        self.hello: Hello | None = None
        self.host = ""
        self.source = ""
        self.address = dialled or ""
        self.bucket: TokenBucket | None = None
        self.ping: tuple[bytes, float] | None = None
        self.ready: asyncio.Future[bytes] = self._loop.create_future()
        """Resolves to the peer's identity once both hellos are through; fails with the reason if not."""
        self.closed = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._room = asyncio.Event()
        self._stalled_since_s: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._held: set[Priority] = set()
        self._credit_due = CreditDue()
        self.held_bytes = 0
        self._held_since_s: float | None = None
        self._inbound = memoryview(bytearray(HANDSHAKE_READ_BYTES))

    # -- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake and its deadline."""
        self._transport = cast(asyncio.Transport, transport)
        remote = transport.get_extra_info("peername")
        if remote:
            self.host = str(remote[0])
            self.source = source_of(self.host)
            self.address = self.address or format_address(str(remote[0]), int(remote[1]))
        self._transport.set_write_buffer_limits(high=SEAL_AHEAD_BYTES)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):  # a kernel without it is only less prompt
                own = transport.get_extra_info("socket")
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._deadline = self._loop.call_later(self._intervals.handshake_timeout_s, self._on_deadline)
        self._owner.on_opened(self)
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the socket puts what it reads: one buffer a session, overwritten by the next read."""
        del sizehint
        return self._inbound

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the connection; hand its events to the owner in order."""
        events = self.connection.receive(self._inbound[:nbytes])
        try:
            for event in events:
                self._on_event(event)
            if not self.connection.mid_message:
                self._stalled_since_s = None
            elif events or self._stalled_since_s is None:
                self._stalled_since_s = self._loop.time()
            self._count_held(self.connection.held_bytes)
        except ProtocolError as error:
            self.violated(error)
            return
        self.flush()

    def _count_held(self, held_bytes: int) -> None:
        if change := held_bytes - self.held_bytes:
            self.held_bytes = held_bytes
            if not held_bytes:
                self._held_since_s = None
            elif self._held_since_s is None:
                self._held_since_s = self._loop.time()
            self._owner.on_held(self, change)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Authenticated):
            self.identity = event.identity
            self._inbound = memoryview(bytearray(READ_BYTES))
            if not self.connection.closing:
                self._owner.on_authenticated(self)
        elif isinstance(event, Violated):
            raise event.error
        elif isinstance(event, Ended):
            self._refuse(RequestError("closed", "the peer ended the connection"))
        elif self.connection.state is ConnectionState.OPEN:
            self._owner.on_message(self, event)

    def eof_received(self) -> bool:
        """The peer's side of the socket ended."""
        try:
            self.connection.receive_eof()
        except ProtocolError as error:
            if self.connection.transcript_hash and self.identity is not None:
                self._owner.on_violation(self, error)
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """The socket is gone."""
        said = "after the handshake" if self.identity is not None else "before it proved itself"
        self.connection.abort()
        self._count_held(0)
        self._cancel_deadline()
        self._refuse(RequestError("closed", f"the peer ended the connection {said}"))
        self._transport = None
        self._room.set()
        self.closed.set()
        self._owner.on_lost(self)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._writable = False

    def resume_writing(self) -> None:
        """The socket drained."""
        self._writable = True
        self.flush()

    # -- the owner's side

    def established(self) -> None:
        """Both hellos are through: the handshake's deadline is off."""
        self._cancel_deadline()
        if not self.ready.done() and self.identity is not None:
            self.ready.set_result(self.identity)

    def violated(self, error: ProtocolError) -> None:
        """Report a violation and end the connection at once."""
        self._refuse(RequestError(error.reason, error.detail))
        self._owner.on_violation(self, error)
        if self._transport is not None and (words := self.connection.last_words):
            self._cancel_deadline()
            self._transport.write(words)
            self._transport.close()
            return
        self.abort()

    def send(self, priority: Priority, message: WireMessage) -> None:
        """Queue a message. Raises `QueueFullError` or `NotConnectedError`."""
        head, body = messages.encode_parts(message)
        self.connection.send(priority, body, head)
        self.flush()

    async def send_when_room(self, priority: Priority, message: WireMessage) -> None:
        """Queue a message, waiting for room. Raises `NotConnectedError` once closed, and `QueueFullError`
        for a message that would not even fit an empty queue."""
        head, body = messages.encode_parts(message)
        queue, size = self.connection.queue, len(head) + len(body)
        while queue.waiting_bytes(priority) and not queue.has_room(priority, size):
            if self.connection.closing:
                raise NotConnectedError("the connection closed while the message waited")
            self._room.clear()
            await self._room.wait()
        self.connection.send(priority, body, head)
        self.flush()

    def flush(self) -> None:
        """Seal and write while the socket takes it."""
        transport = self._transport
        while transport is not None and self._writable:
            chunks = self.connection.data_to_send(SEAL_AHEAD_BYTES)
            if not chunks:
                break
            transport.writelines(chunks)
        self._room.set()
        if transport is not None and self.connection.finished and self.connection.ended_by_peer:
            transport.close()

    def dealt_with(self, priority: Priority, size: int) -> None:
        """A received message of `size` bytes, head and body, is off this node's hands."""
        credit = self._credit_due.add(priority, size)
        if credit and not self.connection.closing:
            with contextlib.suppress(QueueFullError):  # the peer reads nothing: it will not miss credit
                self.send(Priority.CONTROL, Credit(priority, credit))

    def credited(self, credit: Credit) -> None:
        """The peer dealt with some of what was sent."""
        self.connection.queue.credit(Priority(credit.priority), credit.size)
        self.flush()

    def close(self) -> None:
        """End in order: flush, final frame, wait for the peer's; aborted after `handshake_timeout_s`."""
        self.connection.close()
        self._cancel_deadline()
        self._deadline = self._loop.call_later(self._intervals.handshake_timeout_s, self.abort)
        self.flush()

    def abort(self) -> None:
        """Drop the socket, everything queued and everything received in part."""
        self.connection.abort()
        self._count_held(0)
        self._cancel_deadline()
        if self._transport is not None:
            self._transport.abort()

    def hold(self, priority: Priority) -> None:
        """Stop reading the socket until `release` of the same class: the peer's share is full."""
        if not self._held and self._transport is not None:
            self._transport.pause_reading()
        self._held.add(priority)

    def release(self, priority: Priority) -> None:
        """Read again once no class is held."""
        if priority not in self._held:
            return
        self._held.discard(priority)
        if not self._held and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            # A socket that was not read cannot be blamed for what did not arrive.
            self._stalled_since_s = self._loop.time() if self._stalled_since_s is not None else None

    def held(self) -> frozenset[Priority]:
        """Classes that hold the socket back now."""
        return frozenset(self._held)

    def stalled_s(self, now_s: float) -> float:
        """For how long the peer has owed the rest of a message; 0 while this side does not read."""
        return 0.0 if self._stalled_since_s is None or self._held else now_s - self._stalled_since_s

    def held_s(self, now_s: float) -> float:
        """For how long something of the peer's unfinished messages has been held without a break."""
        return 0.0 if self._held_since_s is None else now_s - self._held_since_s

    def _on_deadline(self) -> None:
        if self.connection.state is ConnectionState.CLOSED:
            return
        limit_s = self._intervals.handshake_timeout_s
        self.violated(ProtocolError("handshake_timeout", f"no hello within {limit_s} s"))

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, error: RequestError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # marks it retrieved: inbound sessions have nobody waiting
