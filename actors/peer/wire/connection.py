"""One connection without I/O: handshake, then frames, then an orderly end.

    HANDSHAKE --handshake done--> OPEN --close sent, end received--> CLOSED
        any protocol error, or bytes that stop without a FINAL frame --> CLOSED

`receive` takes what the socket gave and returns events in order; `data_to_send` gives what the socket should
take, at most about `budget_bytes` at a time, so that what is sealed early does not delay what becomes urgent
later: bytes already sealed cannot be overtaken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from actors.peer.errors import NotConnectedError, ProtocolError
from actors.peer.wire.frames import FramedMessage, FrameOpener, FrameSealer, Priority
from actors.peer.wire.handshake import Handshake
from actors.peer.wire.queues import SendQueue


class ConnectionState(Enum):
    """Where the connection stands."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The handshake is done; `identity` is the peer's Ed25519 key (32 bytes)."""

    identity: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer ended its stream in order: nothing was cut off."""


@dataclass(frozen=True, slots=True)
class Violated:
    """The peer broke the protocol; always the last event. What came before it in the same bytes stands, so
    that an offence right behind the proof is its identity's."""

    error: ProtocolError


Event = Authenticated | FramedMessage | Ended | Violated


class WireConnection:
    """Sans-I/O protocol object of one TCP connection."""

    def __init__(self, handshake: Handshake, queue: SendQueue, message_bytes_max: int) -> None:
        self._handshake = handshake
        self.queue = queue
        self._message_bytes_max = message_bytes_max
        self._sealer: FrameSealer | None = None
        self._opener: FrameOpener | None = None
        self._final_sent = False
        self._closing = False
        self.state = ConnectionState.HANDSHAKE
        self.transcript_hash = b""

    @property
    def mid_message(self) -> bool:
        """Whether the peer owes the rest of a frame or message."""
        return self._opener is not None and self._opener.mid_message

    @property
    def last_words(self) -> bytes:
        """What a refused handshake still says to the peer, before its socket is closed; handed out once."""
        return self._handshake.data_to_send() if self.state is ConnectionState.CLOSED else b""

    @property
    def held_bytes(self) -> int:
        """Bytes held of what the peer has not finished sending."""
        return 0 if self._opener is None else self._opener.held_bytes

    @property
    def closing(self) -> bool:
        """Whether nothing can be queued any more."""
        return self._closing

    @property
    def ended_by_peer(self) -> bool:
        """Whether the peer's final frame has arrived."""
        return self._opener is not None and self._opener.ended

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """Take bytes from the socket; returns what they mean, in order."""
        events: list[Event] = []
        if self.state is not ConnectionState.CLOSED:
            try:
                self._receive(data, events)
            except ProtocolError as error:
                self.abort()
                events.append(Violated(error))
        return events

    def _receive(self, data: bytes | memoryview, events: list[Event]) -> None:
        if self._opener is None:
            data = self._handshake.receive(data)
            session = self._handshake.session
            if session is None:
                return
            self._sealer = FrameSealer(session.send)
            self._opener = FrameOpener(session.receive, self._message_bytes_max)
            self.transcript_hash = session.transcript_hash
            self.state = ConnectionState.OPEN
            events.append(Authenticated(session.peer_identity))
        if data:
            events.extend(self._opener.receive(data))
        if self._opener.ended:
            events.append(Ended())
            self.close()

    def receive_eof(self) -> None:
        """The socket ended. Raises `ProtocolError("truncated")` unless the peer had said so in the stream."""
        ended = self._opener is not None and self._opener.ended
        self.abort()
        if not ended:
            raise ProtocolError("truncated", "the connection ended without a final frame")

    def send(self, priority: Priority, body: bytes, head: bytes = b"") -> None:
        """Queue a message. Raises `QueueFullError` at the bound, `NotConnectedError` once closing."""
        if self._closing or self.state is ConnectionState.CLOSED:
            raise NotConnectedError("the connection is closing")
        self.queue.push(priority, body, head)

    def close(self) -> None:
        """Send what is queued, then end the stream; nothing can be queued any more."""
        self._closing = True

    def abort(self) -> None:
        """Drop everything at once."""
        self.state = ConnectionState.CLOSED
        self._closing = True
        self._opener = None
        self.queue.clear()

    def data_to_send(self, budget_bytes: int) -> list[bytes]:
        """Sealed bytes for the socket, stopping at the first frame that reaches `budget_bytes`."""
        chunks = [data] if (data := self._handshake.data_to_send()) else []
        if self._sealer is None or self.state is ConnectionState.CLOSED:
            return chunks
        sealed = 0
        while sealed < budget_bytes and (fragment := self.queue.pop()) is not None:
            chunks += self._sealer.seal(fragment.priority, fragment.data, last=fragment.last)
            sealed += len(chunks[-1])
        if self._closing and not self.queue and not self._final_sent:
            chunks += self._sealer.close()
            self._final_sent = True
        return chunks

    @property
    def finished(self) -> bool:
        """Whether everything, the final frame included, has been handed to the socket."""
        return self.state is ConnectionState.CLOSED or self._final_sent

    def allow_message_bytes(self, message_bytes_max: int) -> None:
        """Set the bound of partial messages, once the peer's role is known."""
        self._message_bytes_max = message_bytes_max
        if self._opener is not None:
            self._opener.set_limit(message_bytes_max)
