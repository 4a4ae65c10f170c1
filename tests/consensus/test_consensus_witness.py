"""Evidence: two signatures of one member at one height and term, and nothing less."""

from __future__ import annotations

import dataclasses

import pytest

from actors.consensus.certifier import Certifier
from actors.consensus.equivocation import PROPOSAL, VOTE, EquivocationDetector, Evidence
from actors.ledger.block import Certificate, Header, sign_proposal, sign_vote
from actors.ledger.signing import Signer

NETWORK = b"\x09" * 32
LIAR, OTHER = Signer(b"\x01" * 32), Signer(b"\x02" * 32)


def header(term: int = 1, tag: int = 0, height: int = 5, signer: Signer = LIAR) -> Header:
    root = bytes([tag]) * 32
    return Header(height, term, 0, 1, 0, bytes(32), root, root, root, signer.public_key)


def proposal(witness: EquivocationDetector, block: Header, signer: Signer = LIAR) -> Evidence | None:
    return witness.header(block, sign_proposal(signer, NETWORK, block.hash()))


def test_two_proposals_of_one_term_convict() -> None:
    witness = EquivocationDetector(NETWORK)
    assert proposal(witness, header()) is None
    assert proposal(witness, header()) is None
    found = proposal(witness, header(tag=1))
    assert found is not None
    assert (found.identity, found.kind, found.verify(NETWORK)) == (LIAR.public_key, PROPOSAL, True)
    assert found.describe()["height"] == 5
    assert witness.evidence == [found]


@pytest.mark.parametrize("changes", [{"term": 2}, {"height": 6}, {"signer": OTHER}])
def test_another_term_height_or_author_is_no_lie(changes: dict[str, object]) -> None:
    witness = EquivocationDetector(NETWORK)
    proposal(witness, header())
    block = header(tag=1, **changes)  # type: ignore[arg-type]
    assert proposal(witness, block, changes.get("signer", LIAR)) is None  # type: ignore[arg-type]


def test_a_forged_signature_convicts_nobody() -> None:
    witness = EquivocationDetector(NETWORK)
    proposal(witness, header())
    assert proposal(witness, header(tag=1), OTHER) is None
    assert witness.evidence == []


def test_a_forged_proposal_that_came_first_shields_nobody() -> None:
    witness = EquivocationDetector(NETWORK)
    assert proposal(witness, header(tag=2), OTHER) is None
    assert proposal(witness, header()) is None
    assert proposal(witness, header(tag=1)) is not None


def test_two_votes_of_one_term_convict_and_evidence_stands_alone() -> None:
    witness = EquivocationDetector(NETWORK)
    certifier = Certifier(NETWORK, [LIAR.public_key, OTHER.public_key], witness.vote)
    one, other = header(signer=OTHER), header(tag=1, term=2, signer=OTHER)
    for block in (one, other, other):
        certifier.add_vote(LIAR.public_key, block, 3, sign_vote(LIAR, NETWORK, block, 3))
    (found,) = witness.evidence
    assert (found.kind, found.term, found.verify(NETWORK)) == (VOTE, 3, True)
    assert not found.verify(bytes(32))
    assert not dataclasses.replace(found, second=found.first).verify(NETWORK)
    assert not dataclasses.replace(found, second_signature=found.first_signature).verify(NETWORK)
    assert not dataclasses.replace(found, term=4).verify(NETWORK)
    assert not dataclasses.replace(found, second=header(height=6, signer=OTHER)).verify(NETWORK)


def test_votes_of_two_terms_are_no_lie() -> None:
    """Another leader may bring another block."""
    witness = EquivocationDetector(NETWORK)
    certifier = Certifier(NETWORK, [LIAR.public_key, OTHER.public_key], witness.vote)
    for term, block in ((3, header(signer=OTHER)), (4, header(tag=1, term=4, signer=OTHER))):
        certifier.add_vote(LIAR.public_key, block, term, sign_vote(LIAR, NETWORK, block, term))
    assert witness.evidence == []


def test_two_certificates_of_one_term_convict_whoever_voted_for_both() -> None:
    witness = EquivocationDetector(NETWORK)
    certifier = Certifier(NETWORK, [LIAR.public_key], witness.vote)
    for block in (header(), header(tag=1)):
        vote = LIAR.public_key, sign_vote(LIAR, NETWORK, block, 1)
        assert certifier.add_certificate(block, Certificate(1, (vote,)).encode())
    assert [found.identity for found in witness.evidence] == [LIAR.public_key]
