"""Handshake: two sides wired together in memory, and everything a hostile third can do to their bytes."""

import hashlib
import hmac

import nacl.bindings as sodium
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.peer.errors import ProtocolError
from actors.peer.wire import handshake as hs
from actors.peer.wire.handshake import Handshake, HandshakeState, LocalIdentity, SecureSession

GENESIS = hashlib.sha256(b"genesis").digest()
ALICE = LocalIdentity(b"a" * 32, GENESIS)
BOB = LocalIdentity(b"b" * 32, GENESIS)
EVE = LocalIdentity(b"e" * 32, GENESIS)


def pair(
    initiator: LocalIdentity = ALICE, responder: LocalIdentity = BOB, expected: bytes | None = None
) -> tuple[Handshake, Handshake]:
    return (
        Handshake(initiator, b"1" * 32, initiator=True, expected_identity=expected),
        Handshake(responder, b"2" * 32, initiator=False),
    )


def finished(handshake: Handshake) -> SecureSession:
    assert handshake.session is not None
    return handshake.session


def test_both_sides_agree() -> None:
    initiator, responder = pair(expected=BOB.public)
    assert responder.receive(initiator.data_to_send()) == b""
    assert initiator.receive(responder.data_to_send() + b"early frame") == b"early frame"
    assert responder.receive(initiator.data_to_send() + b"frame") == b"frame"
    ours, theirs = finished(initiator), finished(responder)
    assert ours.peer_identity == BOB.public
    assert theirs.peer_identity == ALICE.public
    assert ours.send == theirs.receive
    assert ours.receive == theirs.send
    assert ours.send != ours.receive
    assert ours.transcript_hash == theirs.transcript_hash


def test_byte_at_a_time() -> None:
    initiator, responder = pair()
    for source, sink in ((initiator, responder), (responder, initiator), (initiator, responder)):
        for byte in source.data_to_send():
            sink.receive(bytes([byte]))
    assert initiator.state is responder.state is HandshakeState.DONE


def test_identities_do_not_cross_the_wire_in_clear() -> None:
    initiator, responder = pair()
    hello = initiator.data_to_send()
    responder.receive(hello)
    response = responder.data_to_send()
    initiator.receive(response)
    proof = initiator.data_to_send()
    for identity in (ALICE.public, BOB.public):
        assert identity not in hello + response + proof


def test_other_network_is_refused_at_hello() -> None:
    initiator, responder = pair(initiator=LocalIdentity(b"a" * 32, bytes(32)))
    with pytest.raises(ProtocolError, match="network"):
        responder.receive(initiator.data_to_send())
    with pytest.raises(ProtocolError, match="failed"):
        responder.receive(b"x")


def test_other_version_is_named() -> None:
    hello = bytearray(pair()[0].data_to_send())
    hello[4] = 9
    with pytest.raises(ProtocolError, match="version 9"):
        pair()[1].receive(bytes(hello))


def test_garbage_fails_on_its_first_byte() -> None:
    with pytest.raises(ProtocolError, match="magic"):
        pair()[1].receive(b"G")


def test_wrong_identity_learns_nothing_of_the_initiator() -> None:
    initiator, responder = pair(responder=EVE, expected=BOB.public)
    responder.receive(initiator.data_to_send())
    with pytest.raises(ProtocolError, match="identity"):
        initiator.receive(responder.data_to_send())
    assert initiator.data_to_send() == b""


def test_own_identity_is_refused() -> None:
    initiator, responder = pair(responder=ALICE)
    responder.receive(initiator.data_to_send())
    with pytest.raises(ProtocolError, match="self"):
        initiator.receive(responder.data_to_send())


def test_small_order_key_share_is_refused() -> None:
    for point in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(ProtocolError, match="key_share"):
            pair()[1].receive(hs._hello(GENESIS, hs.VERSION, point))


def test_replayed_initiator_cannot_finish() -> None:
    initiator, responder = pair()
    hello = initiator.data_to_send()
    responder.receive(hello)
    initiator.receive(responder.data_to_send())
    proof = initiator.data_to_send()
    responder.receive(proof)
    again = Handshake(BOB, b"3" * 32, initiator=False)
    again.receive(hello)
    with pytest.raises(ProtocolError, match="proof"):
        again.receive(proof)


def test_relayed_proof_does_not_authenticate_the_relay() -> None:
    """Eve answers Alice with Bob's sealed proof from her own handshake with him: it opens for neither."""
    alice, _ = pair()
    eve, bob = Handshake(EVE, b"5" * 32, initiator=True), pair()[1]
    alice.data_to_send()
    bob.receive(eve.data_to_send())
    with pytest.raises(ProtocolError, match="proof"):
        alice.receive(bob.data_to_send())


def test_signature_of_another_key_is_refused() -> None:
    """A responder that seals Bob's identity over its own signature."""
    initiator, responder = pair(responder=EVE)
    object.__setattr__(forged := LocalIdentity(b"e" * 32, GENESIS), "public", BOB.public)
    responder._local = forged
    responder.receive(initiator.data_to_send())
    with pytest.raises(ProtocolError, match="signature"):
        initiator.receive(responder.data_to_send())


@given(flip=st.integers(0, 8 * (hs.HELLO_BYTES + hs.RESPONSE_BYTES + hs.PROOF_BYTES) - 1))
@settings(max_examples=50, deadline=None)
def test_any_flipped_bit_fails_one_side(flip: int) -> None:
    initiator, responder = pair()
    position, done = flip // 8, 0
    with pytest.raises(ProtocolError):  # noqa: PT012 - which of the steps fails depends on the bit
        for source, sink in ((initiator, responder), (responder, initiator), (initiator, responder)):
            data = bytearray(source.data_to_send())
            if done <= position < done + len(data):
                data[position - done] ^= 1 << (flip % 8)
            done += len(data)
            sink.receive(bytes(data))


@given(data=st.binary(max_size=400), initiator=st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_bytes_give_a_typed_error_or_wait(data: bytes, initiator: bool) -> None:
    side = pair()[0 if initiator else 1]
    try:
        assert side.receive(data) == b""
    except ProtocolError:
        assert side.state is HandshakeState.FAILED
    assert len(side._inbound) <= hs.RESPONSE_BYTES
    assert side.session is None


def test_expand_agrees_with_an_independent_hkdf() -> None:
    key = hmac.digest(b"salt", b"secret", "sha256")
    for length in (1, 32, 56, 100):
        assert hs.expand(key, b"info", length) == HKDFExpand(SHA256(), length, b"info").derive(key)


def test_derived_header_equals_a_drawn_one() -> None:
    """A state from `init_pull` pushes the same stream that `init_push` would with that header."""
    key = b"k" * 32
    drawn = sodium.crypto_secretstream_xchacha20poly1305_state()
    header = sodium.crypto_secretstream_xchacha20poly1305_init_push(drawn, key)
    derived = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(derived, header, key)
    for text in (b"one", b"two"):
        assert sodium.crypto_secretstream_xchacha20poly1305_push(
            drawn, text
        ) == sodium.crypto_secretstream_xchacha20poly1305_push(derived, text)


def test_secrets_stay_out_of_repr() -> None:
    initiator, responder = pair()
    responder.receive(initiator.data_to_send())
    initiator.receive(responder.data_to_send())
    shown = repr(ALICE) + repr(finished(initiator))
    for secret in (ALICE.seed, ALICE.secret, finished(initiator).send.key):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
