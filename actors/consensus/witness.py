"""Evidence of lies: two headers that one member signed for the same height and term.

A member proposes and votes for at most one block at a height in a term; in a later term it may well vote for
another. So two signatures of one identity over different headers of one height and term convict it, to anyone
who holds its key: the evidence is self-contained, header, kind of signature and signature, twice.

Headers are remembered for `HEADERS_MAX` blocks, at most `SIGNATURES_MAX` signatures; the oldest go first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from actors.ledger.block import Header, verify_proposal, verify_vote

HEADERS_MAX, SIGNATURES_MAX, EVIDENCE_MAX = 4096, 16_384, 1024
PROPOSAL, VOTE = "proposal", "vote"


@dataclass(frozen=True, slots=True)
class Evidence:
    """`identity` signed both headers, of one height and term, as `kind`: its proposal or its vote."""

    identity: bytes
    kind: str
    first: Header
    first_signature: bytes
    second: Header
    second_signature: bytes

    def verify(self) -> bool:
        """True if both signatures hold and contradict each other."""
        one, other = self.first, self.second
        if (one.height, one.term) != (other.height, other.term) or one == other:
            return False
        return all(
            (
                verify_proposal(header, signature) and header.proposer == self.identity
                if self.kind == PROPOSAL
                else verify_vote(self.identity, header.hash(), signature)
            )
            for header, signature in ((one, self.first_signature), (other, self.second_signature))
        )

    def describe(self) -> dict[str, object]:
        """For people and for JSON: everything that a third party needs to check it."""
        return {
            "identity": self.identity.hex(),
            "kind": self.kind,
            "height": self.first.height,
            "term": self.first.term,
            "first_header": self.first.encode().hex(),
            "first_signature": self.first_signature.hex(),
            "second_header": self.second.encode().hex(),
            "second_signature": self.second_signature.hex(),
        }


class Witness:
    """Sees headers and signatures go by; keeps what convicts."""

    def __init__(self) -> None:
        self._headers: OrderedDict[bytes, Header] = OrderedDict()
        self._signed: OrderedDict[tuple[bytes, str, int, int], tuple[bytes, bytes]] = OrderedDict()
        self.evidence: list[Evidence] = []

    def header(self, header: Header, signature: bytes) -> Evidence | None:
        """A proposed block went by."""
        digest = header.hash()
        self._headers[digest] = header
        while len(self._headers) > HEADERS_MAX:
            self._headers.popitem(last=False)
        return self._signature(header.proposer, PROPOSAL, digest, signature)

    def vote(self, identity: bytes, digest: bytes, signature: bytes) -> Evidence | None:
        """A vote went by."""
        return self._signature(identity, VOTE, digest, signature)

    def _signature(self, identity: bytes, kind: str, digest: bytes, signature: bytes) -> Evidence | None:
        header = self._headers.get(digest)
        if header is None:
            return None
        place = identity, kind, header.height, header.term
        known_digest, known_signature = self._signed.setdefault(place, (digest, signature))
        while len(self._signed) > SIGNATURES_MAX:
            self._signed.popitem(last=False)
        known = self._headers.get(known_digest)
        if known_digest == digest or known is None or len(self.evidence) >= EVIDENCE_MAX:
            return None
        found = Evidence(identity, kind, known, known_signature, header, signature)
        if not found.verify():
            return None
        self.evidence.append(found)
        return found
