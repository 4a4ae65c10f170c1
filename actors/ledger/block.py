"""Blocks: the header that commits to everything, its signatures, and the bytes that disk and wire carry.

A header is 200 bytes, little-endian. Its hash is SHA-256("raychain/header/1" ‖ header). The proposer signs
"raychain/propose/2" ‖ network ‖ hash, where the network is the genesis hash. Each member whose own
computation found the block valid votes by signing "raychain/vote/2" ‖ network ‖ height u64 ‖ term u64 ‖ hash;
the term is that of the leader under whom it acknowledged the block, which may be later than the header's.
Votes of a majority over exactly one term are the commit certificate. Block 0 is the genesis: the parent hash
of block 1 is the genesis hash.

A certificate proves that its block is committed, and that no other block of its height ever is, since a
member votes only by the rule of `actors/consensus/raft/signing.py`, which has the proof.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from actors.ledger.hashing import sha256
from actors.ledger.quorum import quorum
from actors.ledger.rows import Batch, FormatError, batch_parts, decode_batch
from actors.ledger.signing import KEY_BYTES, SIGNATURE_BYTES, Signer

HEADER_VERSION = 1
_HEADER = struct.Struct("<IIQQQQ32s32s32s32s32s")
HEADER_BYTES = _HEADER.size
_HASH_DOMAIN = b"raychain/header/1"
_PROPOSE_DOMAIN = b"raychain/propose/2"
_VOTE_DOMAIN = b"raychain/vote/2"
_VOTE_PLACE = struct.Struct("<QQ")

CERTIFICATE_VERSION = 2
_CERTIFICATE_HEAD = struct.Struct("<HHQ")
_VOTE_BYTES = KEY_BYTES + SIGNATURE_BYTES
CERTIFICATE_VOTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Header:
    """What the members sign. What time_ms promises is in `block_time.py`; the state depends on no time."""

    height: int
    term: int
    time_ms: int
    transaction_count: int
    payload_bytes: int
    parent_hash: bytes
    transaction_root: bytes
    state_root: bytes
    receipts_root: bytes
    proposer: bytes

    def encode(self) -> bytes:
        """200 bytes."""
        return _HEADER.pack(
            HEADER_VERSION,
            self.transaction_count,
            self.height,
            self.term,
            self.time_ms,
            self.payload_bytes,
            self.parent_hash,
            self.transaction_root,
            self.state_root,
            self.receipts_root,
            self.proposer,
        )

    def hash(self) -> bytes:
        """32-byte hash that the parent link, the proposer and the votes refer to."""
        return sha256(_HASH_DOMAIN + self.encode())


def decode_header(data: bytes) -> Header:
    """Raises FormatError on a wrong length or version."""
    if len(data) != HEADER_BYTES:
        raise FormatError("header", f"{len(data)} bytes", f"{HEADER_BYTES} bytes")
    version, count, height, term, time_ms, payload_bytes, *digests = _HEADER.unpack(data)
    if version != HEADER_VERSION:
        raise FormatError("header.version", version, HEADER_VERSION)
    return Header(height, term, time_ms, count, payload_bytes, *digests)


def sign_proposal(signer: Signer, network: bytes, header_hash: bytes) -> bytes:
    """The proposer's 64-byte signature, for the network of this genesis hash."""
    return signer.sign(_PROPOSE_DOMAIN + network + header_hash)


def sign_vote(signer: Signer, network: bytes, header: Header, term: int) -> bytes:
    """A member's 64-byte vote: it holds the block, found it valid, and acknowledged it to the leader of
    `term`.
    """
    return signer.sign(_vote_message(network, header, term))


def verify_proposal(network: bytes, header: Header, signature: bytes) -> bool:
    """True if the header's proposer signed it for this network."""
    return _verify(header.proposer, _PROPOSE_DOMAIN + network + header.hash(), signature)


def verify_vote(identity: bytes, network: bytes, header: Header, term: int, signature: bytes) -> bool:
    """True if `identity` voted for the header in `term`."""
    return _verify(identity, _vote_message(network, header, term), signature)


def _vote_message(network: bytes, header: Header, term: int) -> bytes:
    return _VOTE_DOMAIN + network + _VOTE_PLACE.pack(header.height, term) + header.hash()


def _verify(key: bytes, message: bytes, signature: bytes) -> bool:
    if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Certificate:
    """Votes of members over one header in one term: (identity, signature) in ascending order of identity."""

    term: int
    votes: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        """Version u16, count u16, term u64, then 96 bytes a vote."""
        head = _CERTIFICATE_HEAD.pack(CERTIFICATE_VERSION, len(self.votes), self.term)
        return head + b"".join(key + sig for key, sig in self.votes)

    def verify(self, network: bytes, header: Header, members: list[bytes]) -> bool:
        """True if a quorum of `members` voted for the header in this certificate's term, each once, no vote
        is false, and the term is not older than the header's."""
        identities = [identity for identity, _ in self.votes]
        if identities != sorted(set(identities)) or not set(identities) <= set(members):
            return False
        if len(identities) < quorum(len(members)) or self.term < header.term:
            return False
        message = _vote_message(network, header, self.term)
        return all(_verify(identity, message, signature) for identity, signature in self.votes)


def decode_certificate(data: bytes) -> Certificate:
    """Raises FormatError on a wrong version, a count over its bound, or a length that does not fit it."""
    if len(data) < _CERTIFICATE_HEAD.size:
        raise FormatError("certificate", f"{len(data)} bytes", f"at least {_CERTIFICATE_HEAD.size} bytes")
    version, count, term = _CERTIFICATE_HEAD.unpack_from(data)
    if version != CERTIFICATE_VERSION:
        raise FormatError("certificate.version", version, CERTIFICATE_VERSION)
    if count > CERTIFICATE_VOTES_MAX:
        raise FormatError("certificate.count", count, f"at most {CERTIFICATE_VOTES_MAX}")
    expected = _CERTIFICATE_HEAD.size + count * _VOTE_BYTES
    if len(data) != expected:
        raise FormatError("certificate", f"{len(data)} bytes", f"{expected} bytes for {count} votes")
    votes = []
    for at in range(_CERTIFICATE_HEAD.size, expected, _VOTE_BYTES):
        votes.append((data[at : at + KEY_BYTES], data[at + KEY_BYTES : at + _VOTE_BYTES]))
    return Certificate(term, tuple(votes))


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """A header with all that proves it: what light clients check and nodes announce to each other."""

    header: Header
    signature: bytes
    certificate: Certificate

    def encode(self) -> bytes:
        """Header, signature, certificate."""
        return b"".join((self.header.encode(), self.signature, self.certificate.encode()))

    def verify(self, network: bytes, members: list[bytes]) -> str:
        """Empty if a member proposed it and a majority of members voted for it, else what is wrong.

        network: the genesis hash, which every signature binds.
        """
        if self.header.proposer not in members:
            return "proposer"
        if not verify_proposal(network, self.header, self.signature):
            return "signature"
        return "" if self.certificate.verify(network, self.header, members) else "certificate"


def decode_sealed_header(data: bytes) -> SealedHeader:
    """Raises FormatError naming the part that is malformed."""
    start = HEADER_BYTES + SIGNATURE_BYTES
    if len(data) < start:
        raise FormatError("sealed_header", f"{len(data)} bytes", f"at least {start} bytes")
    header = decode_header(data[:HEADER_BYTES])
    return SealedHeader(header, data[HEADER_BYTES:start], decode_certificate(data[start:]))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A header, the proposer's signature, and the transactions."""

    header: Header
    signature: bytes
    batch: Batch

    def parts(self) -> tuple[bytes | memoryview, ...]:
        """Header, signature, batch, the large ones in place."""
        return self.header.encode(), self.signature, *batch_parts(self.batch)

    def encode(self) -> bytes:
        """Header, signature, batch."""
        return b"".join(self.parts())


class InclusionProof(msgspec.Struct, frozen=True):
    """That the transaction `leaf` stands at `index` of the `size` transactions of the block at `height`.

    leaf: 32 bytes, the transaction's id. proof: sibling hashes (RFC 9162) from the leaf up. header: 200
    bytes.
    """

    height: int
    index: int
    size: int
    leaf: bytes
    proof: list[bytes]
    header: bytes
    signature: bytes
    certificate: bytes


class OfferedBlock(msgspec.Struct, frozen=True, eq=False):
    """A block of somebody else on its way between actors. rows, payloads: its columns, or references to those
    that are large. certificate may be empty."""

    header: Header
    signature: bytes
    certificate: bytes
    rows: Any
    payloads: Any


class BlockRefused(msgspec.Struct, frozen=True):
    """Why a block that was offered is not committed. row: the first one that fails, if one does."""

    height: int
    reason: str
    row: int | None = None


BlockOutcome: TypeAlias = Header | BlockRefused
"""What became of an offered block; its header says that it is committed."""


class PushReceipt(msgspec.Struct, frozen=True):
    """A pushed block at one peer: `error` is empty when it acknowledged, `elapsed_ms` until then."""

    identity: bytes
    error: str
    elapsed_ms: float


def decode_block(data: bytes, rows_max: int, payload_bytes_max: int) -> Block:
    """Read a block. Raises FormatError naming the field, also when header and body disagree in counts."""
    start = HEADER_BYTES + SIGNATURE_BYTES
    if len(data) < start:
        raise FormatError("block", f"{len(data)} bytes", f"at least {start} bytes")
    header = decode_header(data[:HEADER_BYTES])
    batch = decode_batch(memoryview(data)[start:], rows_max, payload_bytes_max)
    if header.transaction_count != len(batch):
        raise FormatError(
            "header.transaction_count", header.transaction_count, f"{len(batch)} as in the body"
        )
    if header.payload_bytes != len(batch.payloads):
        raise FormatError(
            "header.payload_bytes", header.payload_bytes, f"{len(batch.payloads)} as in the body"
        )
    return Block(header, bytes(data[HEADER_BYTES:start]), batch)
