"""Votes and certificates that come and go: checked, held against what this node did, and told to who asks.

An announcement is a header and its certificate. Who asks for a proof gets the certificate, or the term (u64)
and the signature of this node's vote where it may give one, or nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from actors.consensus.agreement import Agreement
from actors.consensus.certifier import Certifier
from actors.consensus.convictions import Convictions
from actors.consensus.equivocation import Evidence
from actors.ledger.block import HEADER_BYTES, Header, decode_header, decode_sealed_header
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.ledger.signing import SIGNATURE_BYTES

if TYPE_CHECKING:
    from loguru import Logger

_TERM = struct.Struct("<Q")
Stored = Callable[[int, bytes], Awaitable[tuple[bytes, bytes] | None]]


class Proving:
    """heed(header) is told of every certificate that others brought and that proved itself."""

    def __init__(self, genesis: Genesis, heed: Callable[[Header], None], log: Logger) -> None:
        self.network = genesis.hash()
        self.convictions = Convictions(self.network)
        self.certifier = Certifier(self.network, genesis.member_keys, self._on_vote)
        self._heed, self._log = heed, log

    def announced(self, message: bytes) -> None:
        """A certificate that a leader announced."""
        try:
            header = decode_header(message[:HEADER_BYTES])
        except FormatError as error:
            self._log.warning("an announced certificate is malformed: {}", error)
            return
        self._take(header, message[HEADER_BYTES:])

    def shown(self, sealed_header: bytes) -> None:
        """A header with all that proves it, which somebody was asked for."""
        try:
            sealed = decode_sealed_header(sealed_header)
        except FormatError as error:
            self._log.warning("a header that was asked for is malformed: {}", error)
            return
        self._take(sealed.header, sealed.certificate.encode())

    def answered(self, identity: bytes, header: Header, answer: bytes) -> None:
        """What a member answered who was asked to prove a block."""
        if len(answer) == _TERM.size + SIGNATURE_BYTES:
            (term,) = _TERM.unpack_from(answer)
            self.certifier.add_vote(identity, header, term, answer[_TERM.size :])
        elif answer:
            self._take(header, answer)

    def _take(self, header: Header, certificate: bytes) -> None:
        if self.certifier.add_certificate(header, certificate):
            self._heed(header)

    async def prove(self, height: int, digest: bytes, agreement: Agreement, stored: Stored) -> bytes:
        """The answer to who asks for a proof of a block; stored(height, digest) reads a block of the disk."""
        certificate = self.certifier.certificate(digest)
        if certificate or not agreement.takes_part:
            return certificate
        if (vote := agreement.vote(digest)) is not None:
            term, signature = vote
            return _TERM.pack(term) + signature
        found = await stored(height, digest)
        return found[1] if found is not None else b""

    def proposed(self, header: Header, signature: bytes) -> None:
        """A proposal went by."""
        self._report(self.convictions.witness.header(header, signature))

    def _on_vote(self, identity: bytes, header: Header, term: int, signature: bytes) -> None:
        self._report(self.convictions.witness.vote(identity, header, term, signature))

    def _report(self, evidence: Evidence | None) -> None:
        if evidence is not None:
            self._log.critical("a member signed two blocks: {}", evidence.describe())
