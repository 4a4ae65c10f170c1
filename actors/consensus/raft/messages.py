"""The messages that replicas exchange, and their encoding.

Encoding: one version byte, then a MessagePack array whose first element is the message's tag. Every field is
bounded by its type; a message is at most `MESSAGE_BYTES_MAX` long. `decode` raises `MessageError`, which
names the field, and allocates no more than the message's own length warrants.

A message is a claim about its sender's state at one moment. It may be lost, repeated, delayed and reordered
at will: nothing here depends on the order of arrival.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from .errors import MessageError
from .records import (
    TERM_MAX,
    BlockVote,
    Configuration,
    Disk,
    Entry,
    Index,
    MemberId,
    Proposal,
    SnapshotMeta,
    Term,
)

WIRE_VERSION = 2
MESSAGE_BYTES_MAX = 1024 * 1024
ENTRIES_PER_MESSAGE_MAX = 4096
PROPOSALS_PER_MESSAGE_MAX = 256
VOTES_PER_MESSAGE_MAX = 64
BODIES_PER_MESSAGE_MAX = 16
BODY_BYTES_MAX = 16 * 1024

SaneTerm = Annotated[int, msgspec.Meta(ge=0, le=TERM_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Entries = Annotated[tuple[Entry, ...], msgspec.Meta(max_length=ENTRIES_PER_MESSAGE_MAX)]
Bodies = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=BODY_BYTES_MAX)], ...],
    msgspec.Meta(max_length=BODIES_PER_MESSAGE_MAX),
]
Votes = Annotated[tuple[BlockVote, ...], msgspec.Meta(max_length=VOTES_PER_MESSAGE_MAX)]


class _Origin(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Where a message comes from, after its other fields: the sender's disk, and whether the configuration in
    force there names disks (identity.py). The core stamps what it sends."""

    disk: Disk = b""
    named: bool = False


class Message(_Origin, frozen=True, array_like=True):
    """What all messages share. `term` is the sender's term, except for the proposed term of pre-votes."""

    sender: MemberId
    to: MemberId
    term: SaneTerm


class PreVoteRequest(Message, frozen=True, tag=1):
    """Would you vote for me in `term`? Binds nobody (Raft dissertation, section 9.6)."""

    last_index: Index
    last_term: Term


class PreVoteResponse(Message, frozen=True, tag=2):
    """`term` echoes the request's if granted, and is the responder's own if not."""

    granted: bool


class VoteRequest(Message, frozen=True, tag=3):
    """A candidate's call; `transfer` marks that the leader itself asked for it, so that nobody resists."""

    last_index: Index
    last_term: Term
    transfer: bool = False


class VoteResponse(Message, frozen=True, tag=4):
    """A vote, durable before it is sent. It is for the candidate's disk that asked, and for no copy."""

    granted: bool
    candidate: Disk = b""


class AppendRequest(Message, frozen=True, tag=5):
    """Entries that follow (`prev_index`, `prev_term`). `round` counts the leader's rounds of contact.

    `bodies` are small blocks that the entries name: they ride along for the shell, and the core never looks.
    """

    prev_index: Index
    prev_term: Term
    commit: Index
    round: Count
    entries: Entries = ()
    bodies: Bodies = ()


class AppendResponse(Message, frozen=True, tag=6):
    """`index` is what is durable here up to, or, if rejected, the `prev_index` that did not match.

    A rejection hints where to go on: the last index not beyond `prev_index` whose term does not exceed
    `prev_term`, and that term.
    """

    index: Index
    rejected: bool = False
    hint_index: Index = 0
    hint_term: Term = 0
    round: Count = 0
    votes: Votes = ()


class HeartbeatRequest(Message, frozen=True, tag=7):
    """A sign of life. `commit` never exceeds what this follower has acknowledged from disk `acknowledged`."""

    commit: Index
    round: Count
    sent_ms: Count
    acknowledged: Disk = b""


class HeartbeatResponse(Message, frozen=True, tag=8):
    """Echoes `round` and `sent_ms` (the leader's own clock)."""

    round: Count
    sent_ms: Count
    votes: Votes = ()


class SnapshotRequest(Message, frozen=True, tag=9):
    """The log that you need is gone: fetch this state instead."""

    snapshot: SnapshotMeta


class TransferRequest(Message, frozen=True, tag=10):
    """Campaign now: the leader hands over (`TimeoutNow` in the literature)."""


class ReadRequest(Message, frozen=True, tag=11):
    """Asks the leader for a read index. `incarnation` tells a restarted asker's requests apart."""

    incarnation: Count
    read_id: Count


class ReadResponse(Message, frozen=True, tag=12):
    """The state at `index` or later answers the read."""

    incarnation: Count
    read_id: Count
    index: Index
    reader: Disk = b""  # that asked


class ForwardRequest(Message, frozen=True, tag=13):
    """Proposals from a replica that is not the leader."""

    proposals: Annotated[tuple[Proposal, ...], msgspec.Meta(max_length=PROPOSALS_PER_MESSAGE_MAX)]


class ConfigurationRequest(Message, frozen=True, tag=14):
    """I hear no leader that I know: do you know a committed configuration after the one at `index`?"""

    index: Index


class ConfigurationResponse(Message, frozen=True, tag=15):
    """The latest configuration that is known, or was told, to be committed, and the index of its entry."""

    index: Index
    configuration: Configuration


MESSAGE_TYPES: tuple[type[Message], ...] = (
    PreVoteRequest,
    PreVoteResponse,
    VoteRequest,
    VoteResponse,
    AppendRequest,
    AppendResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    SnapshotRequest,
    TransferRequest,
    ReadRequest,
    ReadResponse,
    ForwardRequest,
    ConfigurationRequest,
    ConfigurationResponse,
)

_ANY_MESSAGE: Any = (
    PreVoteRequest
    | PreVoteResponse
    | VoteRequest
    | VoteResponse
    | AppendRequest
    | AppendResponse
    | HeartbeatRequest
    | HeartbeatResponse
    | SnapshotRequest
    | TransferRequest
    | ReadRequest
    | ReadResponse
    | ForwardRequest
    | ConfigurationRequest
    | ConfigurationResponse
)
OF_LEADERS = (
    AppendRequest,
    HeartbeatRequest,
    SnapshotRequest,
    TransferRequest,
    PreVoteRequest,
    VoteRequest,
)
"""What a member says as a leader or candidate, besides whatever bears a later term."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(_ANY_MESSAGE)
_VERSION_PREFIX = bytes((WIRE_VERSION,))
_PATH = re.compile(r"`\$((?:\[[^\]]*\])*)`$")


def encode(message: Message) -> bytes:
    """One message as bytes. Raises MessageError if it would exceed MESSAGE_BYTES_MAX."""
    raw = _VERSION_PREFIX + _ENCODER.encode(message)
    if len(raw) > MESSAGE_BYTES_MAX:
        raise MessageError("length", f"{len(raw)} bytes exceed {MESSAGE_BYTES_MAX}")
    return raw


def decode(raw: bytes) -> Message:
    """The message in `raw`, which may come from a stranger. Raises MessageError."""
    if len(raw) > MESSAGE_BYTES_MAX:
        raise MessageError("length", f"{len(raw)} bytes exceed {MESSAGE_BYTES_MAX}")
    if len(raw) < 2:
        raise MessageError("length", f"{len(raw)} bytes are too few for a message")
    if raw[0] != WIRE_VERSION:
        raise MessageError("version", f"{raw[0]} is not {WIRE_VERSION}")
    body = memoryview(raw)[1:]
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise MessageError(_field_of(body, str(error)), str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageError("encoding", str(error)) from error


def _field_of(body: memoryview, reason: str) -> str:
    """The field's name behind a validation error's path such as `$[7][...][3]`."""
    found = _PATH.search(reason)
    if found is None or not found.group(1):
        return "message"
    position = int(found.group(1)[1:].split("]")[0])
    if position == 0:
        return "tag"
    # The tag is the second byte of a message that came this far: array header, then a small integer.
    tag = body[1]
    by_tag = {kind.__struct_config__.tag: kind for kind in MESSAGE_TYPES}
    fields = by_tag[tag].__struct_fields__ if tag in by_tag else ()
    return fields[position - 1] if position <= len(fields) else "message"
