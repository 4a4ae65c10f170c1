"""Mutual authentication of two nodes: SIGMA-I over X25519 and Ed25519, without I/O.

Rules
1. Nothing is believed before the proof that covers it has been checked; any failure is final.
2. An ephemeral key serves one handshake. Randomness comes in as an argument.
3. The initiator's identity is shown only to a responder that has proved its own.

Theory of operation (Krawczyk, "SIGMA: the SIGn-and-MAc approach", 2003, section 5.2; HKDF is RFC 5869)

    hello     I -> R   magic, version, eI, tag = BLAKE2b-128(key = genesis hash, magic || version || eI)
    response  R -> I   eR, seal(kR, identity R || sign R)
    proof     I -> R   seal(kI, identity I || sign I)

The tag costs a stranger of another network his connection before any curve operation. The transcript hash
h = SHA-256(protocol name || genesis hash || everything sent so far); both signatures cover the role, the
transcript up to that point and the signer's own identity, so a proof fits one handshake of one network, one
version and one direction. The seal (ChaCha20-Poly1305, RFC 8439, a key that is used once, so nonce zero) is
SIGMA's MAC under the session's key and hides identities from a listener. Session keys come from the
Diffie-Hellman secret salted with the whole transcript: two secretstream keys and two secretstream headers,
one pair a direction. Deriving the headers spares their exchange: `init_push` differs from `init_pull` only
in drawing the header at random, and a key here lives for one stream.

    initiator   RESPONSE --response--> DONE
    responder   HELLO --hello--> PROOF --proof--> DONE          anything else --> FAILED

A responder that fails a hello for its network or version says so before it closes (`alert`): unproved, for
people who look for a mistake. No response begins like it, but by a chance of 2^-48.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import nacl.bindings as sodium
from nacl.exceptions import BadSignatureError, CryptoError

from actors.peer.errors import ProtocolError

MAGIC = b"RYCH"
VERSION = 1
PROTOCOL_NAME = b"raychain peer wire v1: SIGMA-I X25519 Ed25519 SHA-256 ChaCha20-Poly1305"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
TAG_BYTES = 16
STREAM_HEADER_BYTES = 24
HELLO_BYTES = len(MAGIC) + 2 + KEY_BYTES + TAG_BYTES
SEALED_BYTES = KEY_BYTES + SIGNATURE_BYTES + TAG_BYTES
RESPONSE_BYTES = KEY_BYTES + SEALED_BYTES
PROOF_BYTES = SEALED_BYTES
ONE_TIME_NONCE = bytes(12)


class HandshakeState(Enum):
    """What the handshake waits for."""

    HELLO = "hello"
    RESPONSE = "response"
    PROOF = "proof"
    DONE = "done"
    FAILED = "failed"


ALERT_PREFIX = MAGIC + bytes(2)
ALERTS = {"network": b"\x01", "version": b"\x02"}
"""Reasons of a responder that tells the initiator, which raises them as `another_network` and so on."""
ALERT_BYTES = len(ALERT_PREFIX) + 1

EXPECTED_BYTES = {
    HandshakeState.HELLO: HELLO_BYTES,
    HandshakeState.RESPONSE: RESPONSE_BYTES,
    HandshakeState.PROOF: PROOF_BYTES,
}


@dataclass(frozen=True, slots=True)
class StreamKey:
    """Key (32 bytes) and header (24 bytes) of one direction's secretstream."""

    key: bytes = field(repr=False)
    header: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecureSession:
    """What a finished handshake yields: who the peer is, and the two streams."""

    peer_identity: bytes
    send: StreamKey
    receive: StreamKey
    transcript_hash: bytes


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """This node's Ed25519 key pair and its network."""

    seed: bytes = field(repr=False)
    genesis_hash: bytes
    public: bytes = field(init=False)
    secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        public, secret = sodium.crypto_sign_seed_keypair(self.seed)
        object.__setattr__(self, "public", public)
        object.__setattr__(self, "secret", secret)

    def sign(self, message: bytes) -> bytes:
        """64-byte detached Ed25519 signature."""
        signed: bytes = sodium.crypto_sign(message, self.secret)
        return signed[:SIGNATURE_BYTES]


def verify(identity: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is `identity`'s over `message`, by libsodium's strict criteria."""
    try:
        sodium.crypto_sign_open(signature + message, identity)
    except (BadSignatureError, CryptoError):
        return False
    return True


class Handshake:
    """One side of one handshake. Feed it bytes with `receive`, send what `data_to_send` gives."""

    def __init__(
        self,
        local: LocalIdentity,
        ephemeral_secret: bytes,
        *,
        initiator: bool,
        expected_identity: bytes | None = None,
        admit: Callable[[bytes], None] | None = None,
    ) -> None:
        """`ephemeral_secret`: 32 fresh random bytes. `expected_identity`: whom the initiator means.

        `admit`: asked with the ephemeral key of a well-formed hello before the responder computes anything on
        a curve; raises `ProtocolError` to refuse it.
        """
        self._local = local
        self._ephemeral_secret = ephemeral_secret
        self._admit = admit
        self._expected_identity = expected_identity
        self._initiator = initiator
        self._inbound = bytearray()
        self._outbound = b""
        self._transcript = hashlib.sha256(PROTOCOL_NAME + local.genesis_hash)
        self._pseudorandom_key = b""
        self.session: SecureSession | None = None
        self.state = HandshakeState.RESPONSE if initiator else HandshakeState.HELLO
        if initiator:
            hello = _hello(local.genesis_hash, VERSION, sodium.crypto_scalarmult_base(ephemeral_secret))
            self._transcript.update(hello)
            self._outbound = hello

    def data_to_send(self) -> bytes:
        """Bytes for the peer, handed out once."""
        data, self._outbound = self._outbound, b""
        return data

    def receive(self, data: bytes | memoryview) -> bytes | memoryview:
        """Take bytes from the peer; returns those that follow the handshake (empty until it is done).

        Raises `ProtocolError` with reason `magic`, `version`, `network`, `key_share`, `proof`, `identity`,
        `self`, `another_network`, `another_version` or what `admit` raises. Holds one message at most.
        """
        if self.state is HandshakeState.FAILED:
            raise ProtocolError("failed", "the handshake has already failed")
        try:
            while self.state is not HandshakeState.DONE and data:
                wanted = EXPECTED_BYTES[self.state] - len(self._inbound)
                self._inbound += data[:wanted]
                data = data[wanted:]
                if self.state is HandshakeState.HELLO:
                    _check_prefix(self._inbound)
                elif self.state is HandshakeState.RESPONSE:
                    _check_alert(self._inbound)
                if len(self._inbound) == EXPECTED_BYTES[self.state]:
                    message = bytes(self._inbound)
                    self._inbound.clear()
                    self._step(message)
        except ProtocolError as error:
            if self.state is HandshakeState.HELLO and error.reason in ALERTS:
                self._outbound = ALERT_PREFIX + ALERTS[error.reason]
            self.state = HandshakeState.FAILED
            raise
        return data if self.state is HandshakeState.DONE else b""

    def _step(self, message: bytes) -> None:
        if self.state is HandshakeState.HELLO:
            self._on_hello(message)
        elif self.state is HandshakeState.RESPONSE:
            self._on_response(message)
        else:
            self._on_proof(message)

    def _on_hello(self, message: bytes) -> None:
        ephemeral_start = len(MAGIC) + 2
        peer_ephemeral = message[ephemeral_start : ephemeral_start + KEY_BYTES]
        if not hmac.compare_digest(message, _hello(self._local.genesis_hash, VERSION, peer_ephemeral)):
            raise ProtocolError("network", "hello is not of this genesis")
        if self._admit is not None:
            self._admit(peer_ephemeral)
        self._transcript.update(message)
        ephemeral_public = sodium.crypto_scalarmult_base(self._ephemeral_secret)
        self._agree(peer_ephemeral, ephemeral_public)
        sealed = self._seal(b"responder", self._prove(b"responder"))
        self._transcript.update(sealed)
        self._outbound = ephemeral_public + sealed
        self.state = HandshakeState.PROOF

    def _on_response(self, message: bytes) -> None:
        peer_ephemeral, sealed = message[:KEY_BYTES], message[KEY_BYTES:]
        self._agree(peer_ephemeral, peer_ephemeral)
        identity = self._check(b"responder", sealed)
        if self._expected_identity is not None and identity != self._expected_identity:
            raise ProtocolError("identity", f"reached {identity.hex()}, not {self._expected_identity.hex()}")
        self._transcript.update(sealed)
        proof = self._seal(b"initiator", self._prove(b"initiator"))
        self._transcript.update(proof)
        self._outbound = proof
        self._finish(identity)

    def _on_proof(self, message: bytes) -> None:
        identity = self._check(b"initiator", message)
        self._transcript.update(message)
        self._finish(identity)

    def _agree(self, peer_ephemeral: bytes, responder_ephemeral: bytes) -> None:
        try:
            shared = sodium.crypto_scalarmult(self._ephemeral_secret, peer_ephemeral)
        except (CryptoError, RuntimeError) as error:
            raise ProtocolError("key_share", "a point of small order") from error
        self._ephemeral_secret = b""
        self._transcript.update(responder_ephemeral)
        self._pseudorandom_key = hmac.digest(self._transcript.digest(), shared, "sha256")

    def _prove(self, role: bytes) -> bytes:
        return self._local.public + self._local.sign(self._statement(role, self._local.public))

    def _statement(self, role: bytes, identity: bytes) -> bytes:
        return PROTOCOL_NAME + b"|" + role + b"|" + self._transcript.digest() + identity

    def _seal(self, role: bytes, plain: bytes) -> bytes:
        key = expand(self._pseudorandom_key, role + b" seal", KEY_BYTES)
        sealed: bytes = sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
            plain, self._transcript.digest(), ONE_TIME_NONCE, key
        )
        return sealed

    def _check(self, role: bytes, sealed: bytes) -> bytes:
        key = expand(self._pseudorandom_key, role + b" seal", KEY_BYTES)
        try:
            plain: bytes = sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
                sealed, self._transcript.digest(), ONE_TIME_NONCE, key
            )
        except CryptoError as error:
            raise ProtocolError("proof", f"the {role.decode()}'s seal does not open") from error
        identity, signature = plain[:KEY_BYTES], plain[KEY_BYTES:]
        if identity == self._local.public:
            raise ProtocolError("self", "the peer has this node's own identity")
        if not verify(identity, signature, self._statement(role, identity)):
            raise ProtocolError("proof", f"the {role.decode()}'s signature does not verify")
        return identity

    def _finish(self, peer_identity: bytes) -> None:
        transcript_hash = self._transcript.digest()
        forward = _stream_key(self._pseudorandom_key, b"initiator to responder", transcript_hash)
        backward = _stream_key(self._pseudorandom_key, b"responder to initiator", transcript_hash)
        send, receive = (forward, backward) if self._initiator else (backward, forward)
        self.session = SecureSession(peer_identity, send, receive, transcript_hash)
        self._pseudorandom_key = b""
        self.state = HandshakeState.DONE


def expand(pseudorandom_key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869 section 2.3); `length` at most 255 * 32 bytes."""
    block, output, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(pseudorandom_key, block + info + bytes([counter]), "sha256")
        output += block
        counter += 1
    return output[:length]


def _stream_key(pseudorandom_key: bytes, direction: bytes, transcript_hash: bytes) -> StreamKey:
    material = expand(pseudorandom_key, direction + b"|" + transcript_hash, KEY_BYTES + STREAM_HEADER_BYTES)
    return StreamKey(material[:KEY_BYTES], material[KEY_BYTES:])


def _hello(genesis_hash: bytes, version: int, ephemeral_public: bytes) -> bytes:
    body = MAGIC + version.to_bytes(2, "little") + ephemeral_public
    return body + hashlib.blake2b(body, digest_size=TAG_BYTES, key=genesis_hash).digest()


def _check_prefix(received: bytearray) -> None:
    """Fail on the first wrong byte, so that garbage never waits for a whole message."""
    if bytes(received[: len(MAGIC)]) != MAGIC[: len(received)]:
        raise ProtocolError("magic", "the connection does not speak this protocol")
    if len(received) >= len(MAGIC) + 2:
        version = int.from_bytes(received[len(MAGIC) : len(MAGIC) + 2], "little")
        if version != VERSION:
            raise ProtocolError("version", f"peer speaks version {version}, this node version {VERSION}")


def _check_alert(received: bytearray) -> None:
    if len(received) < ALERT_BYTES or received[: len(ALERT_PREFIX)] != ALERT_PREFIX:
        return
    code = bytes(received[len(ALERT_PREFIX) : ALERT_BYTES])
    reason = next((name for name, value in ALERTS.items() if value == code), "refusal")
    raise ProtocolError(f"another_{reason}", f"the peer says that it is of another {reason}")
