"""Evidence of lies: what one member signed twice for the same height and term, over different headers.

A member proposes at most one block at a height in a term, that of the header. It votes for at most one block
at a height in a term, that of the leader under whom it votes; under a later leader it may well vote for
another. So two signatures of one identity over different headers of one height and term convict it, to anyone
who holds its key and the genesis hash: the evidence is self-contained, both headers, their term and both
signatures.

Headers are not remembered by themselves; at most `SIGNATURES_MAX` signatures are, with theirs; the oldest go
first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from actors.ledger.block import Header, verify_proposal, verify_vote

SIGNATURES_MAX, EVIDENCE_MAX = 16_384, 1024
PROPOSAL, VOTE = "proposal", "vote"


@dataclass(frozen=True, slots=True)
class Evidence:
    """`identity` signed both headers, of one height, in `term`, as `kind`: its proposal or its vote."""

    identity: bytes
    kind: str
    term: int
    first: Header
    first_signature: bytes
    second: Header
    second_signature: bytes

    def verify(self, network: bytes) -> bool:
        """True if both signatures hold in the network of this genesis hash and contradict each other."""
        one, other = self.first, self.second
        if one.height != other.height or one == other:
            return False
        return all(
            (
                header.term == self.term
                and header.proposer == self.identity
                and verify_proposal(network, header, signature)
                if self.kind == PROPOSAL
                else verify_vote(self.identity, network, header, self.term, signature)
            )
            for header, signature in ((one, self.first_signature), (other, self.second_signature))
        )

    def describe(self) -> dict[str, object]:
        """For people and for JSON: everything that a third party needs to check it."""
        return {
            "identity": self.identity.hex(),
            "kind": self.kind,
            "height": self.first.height,
            "term": self.term,
            "first_header": self.first.encode().hex(),
            "first_signature": self.first_signature.hex(),
            "second_header": self.second.encode().hex(),
            "second_signature": self.second_signature.hex(),
        }


class EquivocationDetector:
    """Sees headers and signatures go by; keeps what convicts. `network` is the genesis hash."""

    def __init__(self, network: bytes) -> None:
        self._network = network
        self._signed: OrderedDict[tuple[bytes, str, int, int], tuple[Header, bytes]] = OrderedDict()
        self.evidence: list[Evidence] = []

    def header(self, header: Header, signature: bytes) -> Evidence | None:
        """A proposed block went by; its signature need not hold."""
        return self._signature(header.proposer, PROPOSAL, header, header.term, signature)

    def vote(self, identity: bytes, header: Header, term: int, signature: bytes) -> Evidence | None:
        """A true vote went by."""
        return self._signature(identity, VOTE, header, term, signature)

    def _signature(
        self, identity: bytes, kind: str, header: Header, term: int, signature: bytes
    ) -> Evidence | None:
        place = identity, kind, header.height, term
        known, known_signature = self._signed.setdefault(place, (header, signature))
        while len(self._signed) > SIGNATURES_MAX:
            self._signed.popitem(last=False)
        if known == header or len(self.evidence) >= EVIDENCE_MAX:
            return None
        found = Evidence(identity, kind, term, known, known_signature, header, signature)
        if found.verify(self._network):
            self.evidence.append(found)
            return found
        if kind == PROPOSAL and not verify_proposal(self._network, known, known_signature):
            self._signed[place] = header, signature  # what was there was forged, and shields nobody
        return None
