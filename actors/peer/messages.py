"""What peers say to each other once the wire is up: msgpack arrays, tagged, every field bounded.

A message of an unknown tag, a wrong type or a field beyond its bound raises `ProtocolError("message")` that
names the field and the limit. Trailing array elements are ignored, so a later version may append fields.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from actors.peer.errors import ProtocolError

IDS_MAX: Final = 1_024
BODIES_MAX: Final = 256
NAME_CHARS_MAX: Final = 32
RECORD_BYTES_MAX: Final = 512
SPAN_MAX: Final = 256
RECORDS_MAX: Final = 16

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Nonce = Annotated[bytes, Meta(min_length=8, max_length=8)]
RequestId = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Hello(Struct, frozen=True, array_like=True, tag=0):
    """First message each way. `incarnation` is drawn when the process starts; `record` is the sender's
    signed endpoint record (see `kademlia.records`), empty when it does not want to be dialled."""

    incarnation: Nonce
    record: Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)]
    software: Annotated[str, Meta(max_length=64)]


class Ping(Struct, frozen=True, array_like=True, tag=1):
    """Asks for a `Pong` with the same nonce."""

    nonce: Nonce


class Pong(Struct, frozen=True, array_like=True, tag=2):
    """Answers a `Ping`."""

    nonce: Nonce


class Data(Struct, frozen=True, array_like=True, tag=3):
    """A message for the node's part that listens on `channel`; no answer is expected."""

    channel: Name
    body: bytes


class Request(Struct, frozen=True, array_like=True, tag=4):
    """Asks `method` of the peer; `id` is unique among the sender's open requests."""

    id: RequestId
    method: Name
    body: bytes


class Response(Struct, frozen=True, array_like=True, tag=5):
    """Answers a `Request`; `error` is empty on success, else a short reason and `body` is empty."""

    id: RequestId
    error: Annotated[str, Meta(max_length=64)]
    body: bytes


class Announce(Struct, frozen=True, array_like=True, tag=6):
    """The sender holds these gossip items."""

    topic: Name
    ids: Annotated[list[Hash], Meta(min_length=1, max_length=IDS_MAX)]


class Fetch(Struct, frozen=True, array_like=True, tag=7):
    """Asks for announced gossip items."""

    topic: Name
    ids: Annotated[list[Hash], Meta(min_length=1, max_length=IDS_MAX)]


class Bodies(Struct, frozen=True, array_like=True, tag=8):
    """Gossip items themselves; an item's id is the hash of its topic and body."""

    topic: Name
    bodies: Annotated[list[bytes], Meta(min_length=1, max_length=BODIES_MAX)]


class Parcel(Struct, frozen=True, array_like=True, tag=9):
    """Head of a `Bodies`, whose items lie behind it: heads are short, items may be long."""

    topic: Name
    sizes: Annotated[list[Annotated[int, Meta(ge=0, lt=1 << 32)]], Meta(min_length=1, max_length=BODIES_MAX)]


class FindNode(Struct, frozen=True, array_like=True):
    """Body of the `find_node` request."""

    target: Hash


class Nodes(Struct, frozen=True, array_like=True):
    """Body of its response: signed endpoint records, nearest first."""

    records: Annotated[
        list[Annotated[bytes, Meta(max_length=RECORD_BYTES_MAX)]], Meta(max_length=RECORDS_MAX)
    ]


class Status(Struct, frozen=True, array_like=True):
    """Body of the answer to `sync_status`: height of the last committed block."""

    height: RequestId


class Span(Struct, frozen=True, array_like=True):
    """Body of a `sync_headers` or `sync_bodies` request: `count` items from height `start` on."""

    start: RequestId
    count: Annotated[int, Meta(ge=1, le=SPAN_MAX)]


class Blobs(Struct, frozen=True, array_like=True):
    """Body of its answer."""

    items: Annotated[list[bytes], Meta(max_length=SPAN_MAX)]


class BlockWanted(Struct, frozen=True, array_like=True):
    """Body of a `stored_block` request: the block of this height whose header has this hash. The answer is
    `Blobs` of its certificate, perhaps empty, and its bytes; of nothing when it is not there."""

    height: RequestId
    hash: Hash


class Credit(Struct, frozen=True, array_like=True, tag=10):
    """The receiver has dealt with `size` more bytes of class `priority` (see `wire.queues`)."""

    priority: Annotated[int, Meta(ge=2, le=3)]
    size: Annotated[int, Meta(ge=1, lt=1 << 62)]


WireMessage = Hello | Ping | Pong | Data | Request | Response | Announce | Fetch | Bodies | Credit

DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises on hostile bytes; text that is not UTF-8 comes as `UnicodeDecodeError`."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(WireMessage | Parcel)
_FIND_NODE_DECODER = msgspec.msgpack.Decoder(FindNode)
_NODES_DECODER = msgspec.msgpack.Decoder(Nodes)
_STATUS_DECODER = msgspec.msgpack.Decoder(Status)
_SPAN_DECODER = msgspec.msgpack.Decoder(Span)
_BLOBS_DECODER = msgspec.msgpack.Decoder(Blobs)
_BLOCK_WANTED_DECODER = msgspec.msgpack.Decoder(BlockWanted)
T = TypeVar("T")


def encode(message: Struct) -> bytes:
    """Message to wire bytes."""
    return _ENCODER.encode(message)


def decode(data: bytes) -> WireMessage | Parcel:
    """Wire bytes to message. Raises `ProtocolError("message")`."""
    message: WireMessage | Parcel = _decode(_DECODER, data)
    return message


def encode_parts(message: WireMessage) -> tuple[bytes, bytes]:
    """Message to (head, body): bodies, and the items of a `Bodies`, travel outside of msgpack."""
    if isinstance(message, Bodies):
        head = Parcel(message.topic, [len(body) for body in message.bodies])
        return _ENCODER.encode(head), b"".join(message.bodies)
    if isinstance(message, Data | Request | Response):
        return _ENCODER.encode(msgspec.structs.replace(message, body=b"")), message.body
    return _ENCODER.encode(message), b""


def decode_parts(head: bytes, body: bytes) -> WireMessage:
    """(head, body) to message. Raises `ProtocolError("message")`."""
    message = decode(head)
    if isinstance(message, Data | Request | Response):
        if message.body:
            raise ProtocolError("message", f"{type(message).__name__}: a body inside the head")
        return msgspec.structs.replace(message, body=body)
    if isinstance(message, Bodies):
        raise ProtocolError("message", "Bodies: a body inside the head")
    if isinstance(message, Parcel):
        return _unpack(message, body)
    if body:
        raise ProtocolError("message", f"{type(message).__name__}: {len(body)} bytes of body, limit 0")
    return message


def _unpack(head: Parcel, body: bytes) -> Bodies:
    if sum(head.sizes) != len(body):
        raise ProtocolError("message", f"Bodies: {len(body)} bytes of items, {sum(head.sizes)} announced")
    ends = list(accumulate(head.sizes))
    return Bodies(head.topic, [body[end - size : end] for end, size in zip(ends, head.sizes, strict=True)])


def decode_find_node(data: bytes) -> FindNode:
    """Body of a `find_node` request. Raises `ProtocolError("message")`."""
    return _decode(_FIND_NODE_DECODER, data)


def decode_nodes(data: bytes) -> Nodes:
    """Body of a `find_node` response. Raises `ProtocolError("message")`."""
    return _decode(_NODES_DECODER, data)


def decode_status(data: bytes) -> Status:
    """Body of a `sync_status` response. Raises `ProtocolError("message")`."""
    return _decode(_STATUS_DECODER, data)


def decode_span(data: bytes) -> Span:
    """Body of a `sync_headers` or `sync_bodies` request. Raises `ProtocolError("message")`."""
    return _decode(_SPAN_DECODER, data)


def decode_blobs(data: bytes) -> Blobs:
    """Body of its response. Raises `ProtocolError("message")`."""
    return _decode(_BLOBS_DECODER, data)


def decode_block_wanted(data: bytes) -> BlockWanted:
    """Body of a `stored_block` request. Raises `ProtocolError("message")`."""
    return _decode(_BLOCK_WANTED_DECODER, data)


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except DECODE_ERRORS as error:
        raise ProtocolError("message", str(error)) from error
