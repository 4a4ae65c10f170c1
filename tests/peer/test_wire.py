"""Frames, queues and connections: joined again whatever the cut, refused whatever the forgery."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.peer.errors import NotConnectedError, ProtocolError, QueueFullError
from actors.peer.wire import frames
from actors.peer.wire.connection import Authenticated, ConnectionState, Ended, Violated, WireConnection
from actors.peer.wire.frames import FramedMessage, FrameOpener, FrameSealer, Priority
from actors.peer.wire.handshake import Handshake, StreamKey
from actors.peer.wire.queues import CREDIT_STEP_BYTES, WINDOW_BYTES, CreditDue, SendQueue, cost_bytes
from tests.peer.pairs import ALICE, BOB, connected, move

KEY = StreamKey(b"k" * 32, b"h" * 24)


def seal(sealer: FrameSealer, priority: Priority, fragment: bytes, *, last: bool) -> bytes:
    """One frame of a message without a head, in one piece."""
    return b"".join(sealer.seal(priority, bytes(2) + fragment, last=last))


@given(
    bodies=st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 150_000)), max_size=6),
    cut=st.integers(1, 70_000),
)
@settings(max_examples=40, deadline=None)
def test_messages_survive_any_cut(bodies: list[tuple[Priority, int]], cut: int) -> None:
    alice, bob = connected()
    sent = [FramedMessage(priority, bytes([index]) * size) for index, (priority, size) in enumerate(bodies)]
    for message in sent:
        alice.send(message.priority, message.body)
    data = b"".join(alice.data_to_send(1 << 30))
    got = [event for start in range(0, len(data), cut) for event in bob.receive(data[start : start + cut])]
    for priority in Priority:
        assert [m for m in got if isinstance(m, FramedMessage) and m.priority is priority] == [
            m for m in sent if m.priority is priority
        ]
    assert bob.held_bytes == 0


def test_urgent_message_passes_between_fragments() -> None:
    alice, bob = connected()
    block = b"B" * (5 * frames.FRAGMENT_BYTES_MAX)
    alice.send(Priority.BLOCKS, block)
    assert move(alice, bob, budget_bytes=1) == []
    alice.send(Priority.TRANSACTIONS, b"transactions")
    alice.send(Priority.CONSENSUS, b"vote")
    assert move(alice, bob, budget_bytes=1) == [FramedMessage(Priority.CONSENSUS, b"vote")]
    assert move(alice, bob) == [
        FramedMessage(Priority.BLOCKS, block),
        FramedMessage(Priority.TRANSACTIONS, b"transactions"),
    ]


def test_queue_bounds_each_class_alone() -> None:
    queue = SendQueue(messages_max=2, bytes_max=10)
    queue.push(Priority.TRANSACTIONS, b"12345")
    with pytest.raises(QueueFullError, match="transactions queue: 1 messages of 2, 5 \\+ 6 bytes of 10"):
        queue.push(Priority.TRANSACTIONS, b"123456")
    queue.push(Priority.TRANSACTIONS, b"1")
    with pytest.raises(QueueFullError):
        queue.push(Priority.TRANSACTIONS, b"")
    queue.push(Priority.CONSENSUS, b"1234567890")
    assert len(queue) == 3
    assert queue.clear() == 3
    assert queue.pop() is None
    assert queue.waiting_bytes(Priority.CONSENSUS) == 0


def test_a_class_without_credit_waits_alone() -> None:
    queue = SendQueue(messages_max=10, bytes_max=64 << 20)
    for body in (bytes(WINDOW_BYTES + 1), b"second"):
        queue.push(Priority.TRANSACTIONS, body)
    first = queue.pop()
    assert first is not None
    assert not first.last
    queue.push(Priority.BLOCKS, b"block")
    queue.push(Priority.CONSENSUS, b"vote")
    assert [fragment.priority for fragment in (queue.pop(), queue.pop()) if fragment] == [1, 2]
    while (fragment := queue.pop()) is not None and not fragment.last:
        assert fragment.priority is Priority.TRANSACTIONS
    assert queue.pop() is None
    owed = cost_bytes(WINDOW_BYTES + 1) - WINDOW_BYTES
    queue.credit(Priority.TRANSACTIONS, owed)
    assert queue.pop() is None
    queue.credit(Priority.TRANSACTIONS, 1)
    last = queue.pop()
    assert last is not None
    assert bytes(last.data[-6:]) == b"second"


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 3 << 20)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_credit_given_is_what_was_dealt_with_and_never_stalls_a_sender(
    dealt: list[tuple[Priority, int]],
) -> None:
    due, given_bytes = CreditDue(), [0] * len(Priority)
    for priority, size in dealt:
        given_bytes[priority] += due.add(priority, size)
    for priority in Priority:
        credited = sum(cost_bytes(size) for kind, size in dealt if kind is priority)
        if priority in (Priority.CONTROL, Priority.CONSENSUS):
            assert given_bytes[priority] == 0
        else:
            assert 0 <= credited - given_bytes[priority] < CREDIT_STEP_BYTES < WINDOW_BYTES


@given(head=st.integers(0, 70_000), body=st.integers(0, 150_000))
@settings(max_examples=40, deadline=None)
def test_head_and_body_come_apart_as_they_went_in(head: int, body: int) -> None:
    alice, bob = connected()
    if head > frames.HEAD_BYTES_MAX:
        with pytest.raises(ValueError, match="head"):
            alice.send(Priority.BLOCKS, bytes(body), b"h" * head)
        return
    alice.send(Priority.BLOCKS, b"b" * body, b"h" * head)
    assert move(alice, bob) == [FramedMessage(Priority.BLOCKS, b"b" * body, b"h" * head)]
    assert alice.queue.waiting_bytes(Priority.BLOCKS) == bob.held_bytes == 0


def test_rekey_keeps_the_stream_readable() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY, 100)
    for index in range(frames.REKEY_FRAMES + 3):
        body = index.to_bytes(4, "little")
        assert opener.receive(seal(sealer, Priority.CONSENSUS, body, last=True)) == [
            FramedMessage(Priority.CONSENSUS, body)
        ]


def test_replayed_reordered_or_lost_frames_end_the_stream() -> None:
    for order in ([0, 0], [1], [0, 2]):
        sealer, opener = FrameSealer(KEY), FrameOpener(KEY, 100)
        sealed = [seal(sealer, Priority.BLOCKS, b"x", last=True) for _ in range(3)]
        with pytest.raises(ProtocolError, match="frame_seal"):
            opener.receive(b"".join(sealed[index] for index in order))


@pytest.mark.parametrize("length", [0, frames.FRAME_BYTES_MIN - 1, frames.FRAME_BYTES_MAX + 1, 2**32 - 1])
def test_length_is_refused_before_its_bytes_arrive(length: int) -> None:
    with pytest.raises(ProtocolError, match="frame_length"):
        FrameOpener(KEY, 100).receive(length.to_bytes(4, "little"))


def test_oversize_message_is_refused_as_it_grows() -> None:
    alice, bob = connected(message_bytes_max=3 * frames.FRAGMENT_BYTES_MAX)
    alice.send(Priority.BLOCKS, b"b" * (2 * frames.FRAGMENT_BYTES_MAX + 1))
    alice.send(Priority.TRANSACTIONS, b"t" * (2 * frames.FRAGMENT_BYTES_MAX))
    data = b"".join(alice.data_to_send(1) + alice.data_to_send(1))
    assert bob.receive(data) == []
    assert bob.held_bytes == 2 * frames.FRAGMENT_BYTES_MAX
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY, frames.FRAGMENT_BYTES_MAX)
    piece = bytes(frames.FRAGMENT_BYTES_MAX - 2)
    opener.receive(seal(sealer, Priority.BLOCKS, piece, last=False))
    with pytest.raises(ProtocolError, match="message_length"):
        opener.receive(seal(sealer, Priority.TRANSACTIONS, b"1", last=True))


@pytest.mark.parametrize(
    ("priority", "flags", "size"),
    [(4, 1, 0), (255, 1, 0), (1, 4, 0), (1, 255, 0), (1, 2, 0), (1, 0, 1), (1, 0, 0)],
)
def test_bad_frame_header(priority: int, flags: int, size: int) -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY, 100)
    with pytest.raises(ProtocolError, match="frame_header"):
        opener.receive(b"".join(sealer._push(bytes((priority, flags)) + bytes(size), frames._MESSAGE)))


def test_nothing_follows_the_final_frame() -> None:
    sealer, opener = FrameSealer(KEY), FrameOpener(KEY, 100)
    with pytest.raises(ProtocolError, match="after_end"):
        opener.receive(b"".join(sealer.close()) + seal(sealer, Priority.CONSENSUS, b"late", last=True))


def test_close_flushes_then_ends_both_ways() -> None:
    alice, bob = connected()
    alice.send(Priority.BLOCKS, b"last words")
    alice.close()
    with pytest.raises(NotConnectedError):
        alice.send(Priority.BLOCKS, b"too late")
    assert move(alice, bob) == [FramedMessage(Priority.BLOCKS, b"last words"), Ended()]
    assert move(bob, alice) == [Ended()]
    bob.receive_eof()
    assert bob.state is ConnectionState.CLOSED
    assert alice.finished


def test_end_without_final_frame_is_a_truncation() -> None:
    _alice, bob = connected()
    with pytest.raises(ProtocolError, match="truncated"):
        bob.receive_eof()


def test_frames_may_ride_on_the_proof() -> None:
    alice = WireConnection(Handshake(ALICE, b"1" * 32, initiator=True), SendQueue(8, 1000), 1000)
    bob = WireConnection(Handshake(BOB, b"2" * 32, initiator=False), SendQueue(8, 1000), 1000)
    alice.send(Priority.CONTROL, b"hello")
    move(alice, bob)
    assert move(bob, alice) == [Authenticated(BOB.public)]
    assert move(alice, bob) == [Authenticated(ALICE.public), FramedMessage(Priority.CONTROL, b"hello")]
    assert alice.transcript_hash == bob.transcript_hash


@given(data=st.binary(max_size=300), cut=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_strangers_bytes_never_open(data: bytes, cut: int) -> None:
    opener, reason = FrameOpener(KEY, 100), ""
    try:
        for start in range(0, len(data), cut):
            assert opener.receive(data[start : start + cut]) == []
    except ProtocolError as error:
        reason = error.reason
    assert reason in {"", "frame_length", "frame_seal"}
    assert opener.held_bytes <= frames.FRAME_BYTES_MAX + frames.LENGTH_BYTES


@given(plain=st.binary(min_size=2, max_size=60), tag=st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_an_authenticated_peers_plaintext_is_still_checked(plain: bytes, tag: int) -> None:
    opener, reason = FrameOpener(KEY, 40), ""
    try:
        for message in opener.receive(b"".join(FrameSealer(KEY)._push(plain, tag))):
            assert isinstance(message, FramedMessage)
            assert len(message.head).to_bytes(2, "little") + message.head + message.body == plain[2:]
    except ProtocolError as error:
        reason = error.reason
    assert reason in {"", "frame_header", "message_length"}
    assert opener.held_bytes <= 40


def test_offence_behind_the_proof_still_names_its_identity() -> None:
    alice = WireConnection(Handshake(ALICE, b"1" * 32, initiator=True), SendQueue(8, 1000), 1000)
    bob = WireConnection(Handshake(BOB, b"2" * 32, initiator=False), SendQueue(8, 1000), 1000)
    move(alice, bob)
    move(bob, alice)
    authenticated, violated = bob.receive(b"".join(alice.data_to_send(1)) + bytes(100))
    assert authenticated == Authenticated(ALICE.public)
    assert isinstance(violated, Violated)
    assert violated.error.reason == "frame_length"
    assert bob.state is ConnectionState.CLOSED
    assert bob.receive(b"more") == []
