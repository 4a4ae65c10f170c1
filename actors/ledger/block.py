"""Blocks: the header that commits to everything, its signatures, and the bytes that disk and wire carry.

A header is 200 bytes, little-endian. Its hash is SHA-256("raychain/header/1" ‖ header). The proposer signs
"raychain/propose/1" ‖ hash; each member whose own computation found the block valid votes by signing
"raychain/vote/1" ‖ hash; votes of a majority are the commit certificate. Block 0 is the genesis: the parent
hash of block 1 is the genesis hash.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from actors.ledger.hashing import sha256
from actors.ledger.rows import Batch, FormatError, batch_parts, decode_batch
from actors.ledger.signing import KEY_BYTES, SIGNATURE_BYTES, Signer

HEADER_VERSION = 1
_HEADER = struct.Struct("<IIQQQQ32s32s32s32s32s")
HEADER_BYTES = _HEADER.size
_HASH_DOMAIN = b"raychain/header/1"
_PROPOSE_DOMAIN = b"raychain/propose/1"
_VOTE_DOMAIN = b"raychain/vote/1"

_CERTIFICATE_COUNT = struct.Struct("<H")
_VOTE_BYTES = KEY_BYTES + SIGNATURE_BYTES
CERTIFICATE_VOTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Header:
    """What the members sign. time_ms is the proposer's clock and decides nothing."""

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


def sign_proposal(signer: Signer, header_hash: bytes) -> bytes:
    """The proposer's 64-byte signature."""
    return signer.sign(_PROPOSE_DOMAIN + header_hash)


def sign_vote(signer: Signer, header_hash: bytes) -> bytes:
    """A member's 64-byte vote: it holds the block and found it valid."""
    return signer.sign(_VOTE_DOMAIN + header_hash)


def verify_proposal(header: Header, signature: bytes) -> bool:
    """True if the header's proposer signed it."""
    return _verify(header.proposer, _PROPOSE_DOMAIN + header.hash(), signature)


def verify_vote(identity: bytes, header_hash: bytes, signature: bytes) -> bool:
    """True if `identity` voted for the header hash."""
    return _verify(identity, _VOTE_DOMAIN + header_hash, signature)


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
    """Votes of members over one header hash: (identity, signature) in ascending order of identity."""

    votes: tuple[tuple[bytes, bytes], ...]

    def encode(self) -> bytes:
        """Count u16, then 96 bytes a vote."""
        return _CERTIFICATE_COUNT.pack(len(self.votes)) + b"".join(key + sig for key, sig in self.votes)

    def verify(self, header_hash: bytes, members: list[bytes]) -> bool:
        """True if more than half of `members` voted for the hash, each once, and no vote is false."""
        identities = [identity for identity, _ in self.votes]
        if identities != sorted(set(identities)) or not set(identities) <= set(members):
            return False
        if 2 * len(identities) <= len(members):
            return False
        return all(verify_vote(identity, header_hash, sig) for identity, sig in self.votes)


def decode_certificate(data: bytes) -> Certificate:
    """Raises FormatError when the length does not fit the count, or the count its bound."""
    if len(data) < _CERTIFICATE_COUNT.size:
        raise FormatError("certificate", f"{len(data)} bytes", f"at least {_CERTIFICATE_COUNT.size} bytes")
    (count,) = _CERTIFICATE_COUNT.unpack_from(data)
    if count > CERTIFICATE_VOTES_MAX:
        raise FormatError("certificate.count", count, f"at most {CERTIFICATE_VOTES_MAX}")
    expected = _CERTIFICATE_COUNT.size + count * _VOTE_BYTES
    if len(data) != expected:
        raise FormatError("certificate", f"{len(data)} bytes", f"{expected} bytes for {count} votes")
    votes = []
    for at in range(_CERTIFICATE_COUNT.size, expected, _VOTE_BYTES):
        votes.append((data[at : at + KEY_BYTES], data[at + KEY_BYTES : at + _VOTE_BYTES]))
    return Certificate(tuple(votes))


@dataclass(frozen=True, slots=True)
class SealedHeader:
    """A header with all that proves it: what light clients check and nodes announce to each other."""

    header: Header
    signature: bytes
    certificate: Certificate

    def encode(self) -> bytes:
        """Header, signature, certificate."""
        return b"".join((self.header.encode(), self.signature, self.certificate.encode()))

    def verify(self, members: list[bytes]) -> str:
        """Empty if a member proposed it and a majority of members voted for it, else what is wrong."""
        if self.header.proposer not in members:
            return "proposer"
        if not verify_proposal(self.header, self.signature):
            return "signature"
        return "" if self.certificate.verify(self.header.hash(), members) else "certificate"


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
