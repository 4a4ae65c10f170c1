"""Control messages and endpoint records: round trips, bounds, and arbitrary bytes."""

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.peer import messages
from actors.peer.errors import ConfigError, ProtocolError
from actors.peer.kademlia.records import (
    EndpointRecord,
    decode_record,
    node_id,
    sign_record,
    subnet,
)
from actors.peer.messages import (
    Announce,
    Bodies,
    Credit,
    Data,
    Fetch,
    Hello,
    Parcel,
    Ping,
    Pong,
    Request,
    Response,
)
from actors.peer.wire.handshake import LocalIdentity

GENESIS = hashlib.sha256(b"g").digest()
LOCAL = LocalIdentity(b"s" * 32, GENESIS)
HASH = b"h" * 32

EXAMPLES = [
    Hello(b"12345678", b"record", "raychain"),
    Ping(b"12345678"),
    Pong(b"12345678"),
    Data("raft", b"body"),
    Request(7, "find_node", b"body"),
    Response(7, "", b"body"),
    Announce("blocks", [HASH]),
    Fetch("blocks", [HASH]),
    Bodies("transactions", [b"one", b"two"]),
    Credit(3, 1 << 20),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_round_trip(message: msgspec.Struct) -> None:
    assert messages.decode(messages.encode(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m).__name__)
def test_round_trip_in_parts(message: messages.WireMessage) -> None:
    head, body = messages.encode_parts(message)
    assert messages.decode_parts(head, body) == message
    assert b"body" not in head


def test_bodies_belong_where_they_belong() -> None:
    with pytest.raises(ProtocolError, match="a body inside the head"):
        messages.decode_parts(messages.encode(Data("raft", b"body")), b"")
    with pytest.raises(ProtocolError, match="a body inside the head"):
        messages.decode_parts(messages.encode(Bodies("blocks", [b"body"])), b"")
    with pytest.raises(ProtocolError, match="4 bytes of body, limit 0"):
        messages.decode_parts(messages.encode(Ping(b"12345678")), b"body")


def test_items_of_gossip_may_be_longer_than_a_head_and_must_be_as_long_as_announced() -> None:
    long = Bodies("transactions", [bytes([n]) * 70_000 for n in range(3)] + [b""])
    head, body = messages.encode_parts(long)
    assert len(head) < 64
    assert messages.decode_parts(head, body) == long
    for other in (body[:-1], body + b"x", b""):
        with pytest.raises(ProtocolError, match="announced"):
            messages.decode_parts(head, other)


@pytest.mark.parametrize(
    "message",
    [
        Hello(b"1234567", b"", "x"),
        Hello(b"12345678", bytes(messages.RECORD_BYTES_MAX + 1), "x"),
        Ping(b"123456789"),
        Data("", b""),
        Data("x" * 33, b""),
        Request(-1, "m", b""),
        Request(1 << 62, "m", b""),
        Response(1, "e" * 65, b""),
        Announce("t", []),
        Announce("t", [b"h" * 31]),
        Fetch("t", [HASH] * (messages.IDS_MAX + 1)),
        Bodies("t", [b""] * (messages.BODIES_MAX + 1)),
        Parcel("t", [0] * (messages.BODIES_MAX + 1)),
        Parcel("t", []),
        Parcel("t", [1 << 32]),
        Credit(1, 5),
        Credit(4, 5),
        Credit(2, 0),
    ],
    ids=repr,
)
def test_bounds_are_enforced(message: msgspec.Struct) -> None:
    with pytest.raises(ProtocolError, match="message"):
        messages.decode(messages.encode(message))


def test_later_versions_may_append_fields() -> None:
    assert messages.decode(msgspec.msgpack.encode([1, b"12345678", {"new": [1]}])) == Ping(b"12345678")


def test_deep_nesting_is_a_typed_error() -> None:
    with pytest.raises(ProtocolError):
        messages.decode(b"\x93\x01\xc4\x0812345678" + b"\x91" * 100_000)


DECODERS = (
    messages.decode,
    messages.decode_nodes,
    messages.decode_find_node,
    messages.decode_status,
    messages.decode_span,
    messages.decode_blobs,
    messages.decode_block_wanted,
)


@given(data=st.binary(max_size=200), example=st.sampled_from(EXAMPLES), position=st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_decode_or_raise(data: bytes, example: msgspec.Struct, position: int) -> None:
    encoded = messages.encode(example)
    mangled = encoded[:position] + data + encoded[position + 1 :]
    for decode in DECODERS:
        for candidate in (data, mangled):
            try:
                assert isinstance(decode(candidate), msgspec.Struct)
            except ProtocolError as error:
                outcome = error.reason
            else:
                outcome = "message"
            assert outcome == "message"


def test_record_round_trip() -> None:
    record = sign_record(LOCAL, 9, "node.example.org", 65_535)
    decoded = decode_record(record.encoded, GENESIS)
    assert decoded == record
    assert decoded.address == "node.example.org:65535"
    assert decoded.id == node_id(LOCAL.public)
    assert sign_record(LOCAL, 9, "::1", 1).address == "[::1]:1"


def test_record_of_another_network_does_not_verify() -> None:
    with pytest.raises(ProtocolError, match="signature"):
        decode_record(sign_record(LOCAL, 1, "h", 1).encoded, bytes(32))


@given(flip=st.integers(0, 8 * 110))
@settings(max_examples=50, deadline=None)
def test_any_flipped_bit_breaks_a_record(flip: int) -> None:
    encoded = bytearray(sign_record(LOCAL, 1, "10.0.0.1", 9000).encoded)
    encoded[flip // 8 % len(encoded)] ^= 1 << flip % 8
    with pytest.raises(ProtocolError, match="record"):
        decode_record(bytes(encoded), GENESIS)


@given(data=st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_arbitrary_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="record"):
        decode_record(data, GENESIS)


@pytest.mark.parametrize("host", [b"a b", b"\xff", b"a\n", b"", b"a/b"])
def test_undialable_host_is_refused_even_when_signed(host: bytes) -> None:
    body = LOCAL.public + bytes(8) + (1).to_bytes(2, "little") + bytes([len(host)]) + host
    signed = LOCAL.sign(b"raychain endpoint v1" + GENESIS + body) + body
    with pytest.raises(ProtocolError, match="endpoint"):
        decode_record(signed, GENESIS)


def test_unfit_endpoint_cannot_be_signed() -> None:
    for host, port in (("", 1), ("a" * 254, 1), ("ä", 1), ("a", 0), ("a", 65_536)):
        with pytest.raises(ConfigError, match="endpoint"):
            sign_record(LOCAL, 1, host, port)


def test_subnets() -> None:
    assert subnet("10.1.2.3") == subnet("10.1.2.250") != subnet("10.1.3.3")
    assert subnet("2001:db8:1::1") == subnet("2001:db8:1:ffff::2") != subnet("2001:db8:2::1")
    assert subnet("Host.example") == "host.example"


def test_equal_records_are_equal_whatever_was_computed_on_them() -> None:
    first, second = EndpointRecord(HASH, 1, "10.0.0.1", 1), EndpointRecord(HASH, 1, "10.0.0.1", 1)
    assert first.id == node_id(HASH)
    assert first == second
