"""Encrypted frames: a libsodium secretstream each way, cut into bounded frames and joined to messages.

Rules
1. A length is checked against its limit before a byte of it is awaited.
2. Frames open in the order they were sealed; a replay, a gap or a flipped bit ends the stream.
3. A stream ends with a FINAL frame; an end without one is a truncation.

Theory of operation

    frame      length u32 little-endian (of what follows) || secretstream ciphertext
    plaintext  priority u8 || flags u8 || fragment
    message    head length u16 little-endian || head || body

A message is split into fragments of `FRAGMENT_BYTES_MAX`, the last one shorter, so that many tiny fragments
cannot make one message expensive. Fragments of different priorities
interleave, those of one priority do not, so one partial message a priority is all there is to hold, and all
of them together stay under `message_bytes_max`. Secretstream numbers frames itself, which is what refuses
replays; every `REKEY_FRAMES` frames the sender ratchets the key forward (TAG_REKEY), so a key that leaks
later does not open what was sent before. The head lies in the first fragment, so that a long body is copied
once, when its fragments are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from actors.peer.errors import ProtocolError
from actors.peer.wire.handshake import StreamKey

LENGTH_BYTES = 4
FRAME_HEADER_BYTES = 2
FRAGMENT_BYTES_MAX = 1 << 16
STREAM_TAG_BYTES = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
FRAME_BYTES_MIN = FRAME_HEADER_BYTES + STREAM_TAG_BYTES
FRAME_BYTES_MAX = FRAME_HEADER_BYTES + FRAGMENT_BYTES_MAX + STREAM_TAG_BYTES
REKEY_FRAMES = 4_096
HEAD_LENGTH_BYTES = 2
HEAD_BYTES_MAX = FRAGMENT_BYTES_MAX - HEAD_LENGTH_BYTES
"""A head fits the first fragment."""
FLAG_LAST = 1
"""The fragment ends its message."""
FLAG_CLOSE = 2
"""The fragment ends the stream; only valid in a frame that secretstream tags FINAL."""

_MESSAGE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_REKEY = sodium.crypto_secretstream_xchacha20poly1305_TAG_REKEY
_FINAL = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL


class Priority(IntEnum):
    """Classes of traffic; a lower number leaves first."""

    CONTROL = 0
    CONSENSUS = 1
    BLOCKS = 2
    TRANSACTIONS = 3


@dataclass(frozen=True, slots=True)
class FramedMessage:
    """One whole message of one priority: a short head, which is parsed, and a body, which is carried."""

    priority: Priority
    body: bytes
    head: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of head and body."""
        return len(self.head) + len(self.body)


class FrameSealer:
    """The sending half: fragments in, wire bytes out."""

    def __init__(self, stream_key: StreamKey) -> None:
        self._state = _open_stream(stream_key)
        self._frames = 0

    def seal(self, priority: Priority, fragment: bytes | memoryview, *, last: bool) -> tuple[bytes, bytes]:
        """One frame: its length prefix and its ciphertext.

        Raises `ValueError` when the fragment is longer than `FRAGMENT_BYTES_MAX`.
        """
        if len(fragment) > FRAGMENT_BYTES_MAX:
            raise ValueError(f"fragment: {len(fragment)} bytes, limit {FRAGMENT_BYTES_MAX}")
        self._frames += 1
        tag = _REKEY if self._frames % REKEY_FRAMES == 0 else _MESSAGE
        return self._push(b"".join((bytes((priority, FLAG_LAST if last else 0)), fragment)), tag)

    def close(self) -> tuple[bytes, bytes]:
        """The frame that ends the stream."""
        return self._push(bytes((Priority.CONTROL, FLAG_LAST | FLAG_CLOSE)), _FINAL)

    def _push(self, plain: bytes, tag: int) -> tuple[bytes, bytes]:
        sealed = sodium.crypto_secretstream_xchacha20poly1305_push(self._state, plain, None, tag)
        return len(sealed).to_bytes(LENGTH_BYTES, "little"), sealed


class FrameOpener:
    """The receiving half: wire bytes in, whole messages out."""

    def __init__(self, stream_key: StreamKey, message_bytes_max: int) -> None:
        self._state = _open_stream(stream_key)
        self._buffer = bytearray()
        self._partial: dict[Priority, list[memoryview]] = {}
        self._partial_bytes = 0
        self._message_bytes_max = message_bytes_max
        self.ended = False

    @property
    def held_bytes(self) -> int:
        """Bytes of incomplete frames and messages: at most one frame and `message_bytes_max`."""
        return len(self._buffer) + self._partial_bytes

    @property
    def mid_message(self) -> bool:
        """Whether part of a frame or message has arrived and its end has not."""
        return bool(self._buffer or self._partial)

    def set_limit(self, message_bytes_max: int) -> None:
        """Change the bound of what partial messages may hold."""
        self._message_bytes_max = message_bytes_max

    def receive(self, data: bytes | memoryview) -> list[FramedMessage]:
        """Take wire bytes, return the messages they complete.

        Raises `ProtocolError` with reason `frame_length`, `frame_seal`, `frame_header`, `message_length`
        or `after_end`; the stream is dead then.
        """
        messages: list[FramedMessage] = []
        with memoryview(data) as view:
            taken = self._complete_buffered(view, messages)
            while len(view) - taken >= LENGTH_BYTES:
                end = taken + LENGTH_BYTES + _frame_length(view[taken : taken + LENGTH_BYTES])
                if end > len(view):
                    break
                self._add(messages, view[taken + LENGTH_BYTES : end].tobytes())
                taken = end
            self._buffer += view[taken:]
        return messages

    def _complete_buffered(self, view: memoryview, messages: list[FramedMessage]) -> int:
        """Complete the frame whose beginning is buffered; returns how much of `view` that took.

        Only that frame is copied into the buffer: the others are opened from where they arrived.
        """
        taken = 0
        if self._buffer and len(self._buffer) < LENGTH_BYTES:
            taken = min(LENGTH_BYTES - len(self._buffer), len(view))
            self._buffer += view[:taken]
        if len(self._buffer) < LENGTH_BYTES:
            return taken
        missing = LENGTH_BYTES + _frame_length(self._buffer[:LENGTH_BYTES]) - len(self._buffer)
        more = min(missing, len(view) - taken)
        self._buffer += view[taken : taken + more]
        if more == missing:
            sealed = bytes(self._buffer[LENGTH_BYTES:])
            self._buffer.clear()
            self._add(messages, sealed)
        return taken + more

    def _add(self, messages: list[FramedMessage], sealed: bytes) -> None:
        message = self._open(sealed)
        if message is not None:
            messages.append(message)

    def _open(self, sealed: bytes) -> FramedMessage | None:
        if self.ended:
            raise ProtocolError("after_end", "a frame after the final one")
        try:
            plain, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(self._state, sealed)
        except CryptoError as error:
            raise ProtocolError("frame_seal", "a frame does not open: forged, replayed or lost") from error
        flags = plain[1]
        if plain[0] > Priority.TRANSACTIONS or flags > FLAG_LAST | FLAG_CLOSE:
            raise ProtocolError("frame_header", f"priority {plain[0]}, flags {flags}")
        if (tag == _FINAL) != bool(flags & FLAG_CLOSE):
            raise ProtocolError("frame_header", "the final tag and the close flag disagree")
        if flags & FLAG_CLOSE:
            self.ended = True
            return None
        return self._join(Priority(plain[0]), plain, last=bool(flags & FLAG_LAST))

    def _join(self, priority: Priority, plain: bytes, *, last: bool) -> FramedMessage | None:
        size = len(plain) - FRAME_HEADER_BYTES
        if self._partial_bytes + size > self._message_bytes_max:
            raise ProtocolError("message_length", f"more than {self._message_bytes_max} bytes")
        if not last and size != FRAGMENT_BYTES_MAX:
            raise ProtocolError("frame_header", f"a fragment of {size} bytes that does not end its message")
        fragment = memoryview(plain)[FRAME_HEADER_BYTES:]
        parts = self._partial.get(priority)
        if parts is None:
            head_end = _head_end(fragment)
            if last:
                return FramedMessage(priority, fragment[head_end:].tobytes(), _head(fragment, head_end))
            parts = self._partial[priority] = []
        parts.append(fragment)
        self._partial_bytes += size
        if not last:
            return None
        del self._partial[priority]
        self._partial_bytes -= sum(len(part) for part in parts)
        head_end = _head_end(parts[0])
        head, parts[0] = _head(parts[0], head_end), parts[0][head_end:]
        return FramedMessage(priority, b"".join(parts), head)


def _head_end(fragment: memoryview) -> int:
    end = HEAD_LENGTH_BYTES + int.from_bytes(fragment[:HEAD_LENGTH_BYTES], "little")
    if len(fragment) < end:
        raise ProtocolError("frame_header", f"a head of {end} bytes in a fragment of {len(fragment)}")
    return end


def _head(fragment: memoryview, head_end: int) -> bytes:
    return fragment[HEAD_LENGTH_BYTES:head_end].tobytes()


def _frame_length(prefix: bytes | bytearray | memoryview) -> int:
    length = int.from_bytes(prefix, "little")
    if not FRAME_BYTES_MIN <= length <= FRAME_BYTES_MAX:
        limits = f"{FRAME_BYTES_MIN}..{FRAME_BYTES_MAX}"
        raise ProtocolError("frame_length", f"{length} bytes, outside {limits}")
    return length


def _open_stream(stream_key: StreamKey) -> sodium.crypto_secretstream_xchacha20poly1305_state:
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, stream_key.header, stream_key.key)
    return state
