"""Two connections wired together in memory, for the tests of the wire."""

import hashlib

from actors.peer.wire.connection import Event, WireConnection
from actors.peer.wire.handshake import Handshake, LocalIdentity
from actors.peer.wire.queues import SendQueue

GENESIS = hashlib.sha256(b"genesis").digest()
ALICE = LocalIdentity(b"a" * 32, GENESIS)
BOB = LocalIdentity(b"b" * 32, GENESIS)


def connected(
    message_bytes_max: int = 1 << 20, queue_messages_max: int = 64
) -> tuple[WireConnection, WireConnection]:
    """An open connection from Alice to Bob: (Alice's side, Bob's side)."""
    alice = WireConnection(
        Handshake(ALICE, b"1" * 32, initiator=True), SendQueue(queue_messages_max, 8 << 20), message_bytes_max
    )
    bob = WireConnection(
        Handshake(BOB, b"2" * 32, initiator=False), SendQueue(queue_messages_max, 8 << 20), message_bytes_max
    )
    move(alice, bob)
    move(bob, alice)
    move(alice, bob)
    return alice, bob


def move(source: WireConnection, sink: WireConnection, budget_bytes: int = 1 << 30) -> list[Event]:
    """Carry everything that one side has to send to the other; returns its events."""
    return sink.receive(b"".join(source.data_to_send(budget_bytes)))
