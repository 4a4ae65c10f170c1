"""The wire format: what goes in comes out, and strangers' bytes meet typed errors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.consensus.raft import (
    BlockVote,
    Configuration,
    Entry,
    EntryKind,
    Message,
    MessageError,
    Proposal,
    SnapshotMeta,
    decode,
    encode,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.records import INDEX_MAX, MEMBERS_MAX, TERM_MAX

indexes = st.integers(0, INDEX_MAX)
terms = st.integers(0, TERM_MAX)
members = st.integers(1, 2**32 - 1)
digests = st.binary(min_size=32, max_size=32)
entries = st.builds(
    Entry,
    indexes,
    indexes,
    st.sampled_from(EntryKind),
    digests,
    st.integers(0, 2**40),
    st.binary(max_size=40),
)
votes = st.builds(BlockVote, indexes, indexes, digests, st.binary(min_size=64, max_size=64))
some_members = st.lists(members, max_size=5).map(tuple)
configurations = st.builds(Configuration, some_members, some_members, some_members)
snapshots = st.builds(SnapshotMeta, indexes, indexes, configurations, digests)
proposals = st.builds(Proposal, digests, st.integers(0, 2**40), indexes)
ends = (members, members, terms)
a_few_votes = st.lists(votes, max_size=3).map(tuple)

MESSAGES: dict[type[Message], st.SearchStrategy[Any]] = {
    wire.PreVoteRequest: st.builds(wire.PreVoteRequest, *ends, indexes, indexes),
    wire.PreVoteResponse: st.builds(wire.PreVoteResponse, *ends, st.booleans()),
    wire.VoteRequest: st.builds(wire.VoteRequest, *ends, indexes, indexes, st.booleans()),
    wire.VoteResponse: st.builds(wire.VoteResponse, *ends, st.booleans()),
    wire.AppendRequest: st.builds(
        wire.AppendRequest,
        *ends,
        indexes,
        indexes,
        indexes,
        indexes,
        st.lists(entries, max_size=4).map(tuple),
    ),
    wire.AppendResponse: st.builds(
        wire.AppendResponse, *ends, indexes, st.booleans(), indexes, indexes, indexes, a_few_votes
    ),
    wire.HeartbeatRequest: st.builds(wire.HeartbeatRequest, *ends, indexes, indexes, indexes),
    wire.HeartbeatResponse: st.builds(wire.HeartbeatResponse, *ends, indexes, indexes, a_few_votes),
    wire.SnapshotRequest: st.builds(wire.SnapshotRequest, *ends, snapshots),
    wire.TransferRequest: st.builds(wire.TransferRequest, *ends),
    wire.ReadRequest: st.builds(wire.ReadRequest, *ends, indexes, indexes),
    wire.ReadResponse: st.builds(wire.ReadResponse, *ends, indexes, indexes, indexes),
    wire.ForwardRequest: st.builds(wire.ForwardRequest, *ends, st.lists(proposals, max_size=4).map(tuple)),
    wire.ConfigurationRequest: st.builds(wire.ConfigurationRequest, *ends, indexes),
    wire.ConfigurationResponse: st.builds(wire.ConfigurationResponse, *ends, indexes, configurations),
}
any_message = st.one_of(*MESSAGES.values())


def test_every_message_type_is_generated() -> None:
    assert set(MESSAGES) == set(wire.MESSAGE_TYPES)


@given(any_message)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_noise_is_refused_or_is_a_message(raw: bytes) -> None:
    try:
        message = decode(bytes((wire.WIRE_VERSION,)) + raw)
    except MessageError:
        return
    assert decode(encode(message)) == message


@given(any_message, st.data())
def test_a_damaged_message_is_refused_or_is_another_message(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for damaged in (bytes(raw), bytes(raw[:cut])):
        try:
            found = decode(damaged)
        except MessageError:
            continue
        assert decode(encode(found)) == found


def raw_of(tag: int, *fields: object) -> bytes:
    return bytes((wire.WIRE_VERSION,)) + msgspec.msgpack.encode([tag, *fields])


ENTRY = [1, 1, 1, bytes(32), 10, b""]


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "length"),
        (b"\x01", "length"),
        (bytes(wire.MESSAGE_BYTES_MAX + 1), "length"),
        (b"\x01\x91\x01", "version"),
        (raw_of(99, 1, 2, 3), "tag"),
        (raw_of(10, 0, 2, 3), "sender"),
        (raw_of(10, 1, 2**32, 3), "to"),
        (raw_of(10, 1, 2, -1), "term"),
        (raw_of(10, 1, 2, TERM_MAX + 1), "term"),
        (raw_of(4, 1, 2, 3, "yes"), "granted"),
        (raw_of(4, 1, 2, 3), "message"),
        (raw_of(5, 1, 2, 3, 0, 0, 0, 0, [ENTRY] * (wire.ENTRIES_PER_MESSAGE_MAX + 1)), "entries"),
        (raw_of(5, 1, 2, 3, 0, 0, 0, 0, [[1, 1, 7, bytes(32), 0, b""]]), "entries"),
        (raw_of(5, 1, 2, 3, 0, 0, 0, 0, [[1, 1, 1, bytes(31), 0, b""]]), "entries"),
        (raw_of(6, 1, 2, 3, 0, False, 0, 0, 0, [[1, 1, bytes(32), bytes(63)]]), "votes"),
        (raw_of(9, 1, 2, 3, [0, 0, [list(range(1, MEMBERS_MAX + 2))]]), "snapshot"),
        (b"\x02\x95\x04\x01\x02\x03", "encoding"),
        (b"\x02\x99\x05\x01\x02\x03\x00\x00\x00\x00\xdd\xff\xff\xff\xff", "entries"),
        (raw_of(10, 1, 2, 3) + b"\x00", "encoding"),
    ],
)
def test_an_error_names_the_field(raw: bytes, field: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(raw)
    assert caught.value.field == field


def test_a_message_over_the_limit_is_not_sent() -> None:
    fat = Entry(1, 1, EntryKind.CONFIGURATION, payload=bytes(60_000))
    with pytest.raises(MessageError, match="length"):
        encode(wire.AppendRequest(1, 2, 1, 0, 0, 0, 0, (fat,) * 20))
