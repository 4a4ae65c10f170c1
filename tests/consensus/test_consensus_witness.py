"""Evidence: two signatures of one member at one height and term, and nothing less."""

from __future__ import annotations

import dataclasses

import pytest

from actors.consensus.certifier import Certifier
from actors.consensus.witness import PROPOSAL, VOTE, Evidence, Witness
from actors.ledger.block import Header, sign_proposal, sign_vote
from actors.ledger.signing import Signer

LIAR, OTHER = Signer(b"\x01" * 32), Signer(b"\x02" * 32)


def header(term: int = 1, tag: int = 0, height: int = 5, signer: Signer = LIAR) -> Header:
    root = bytes([tag]) * 32
    return Header(height, term, 0, 1, 0, bytes(32), root, root, root, signer.public_key)


def proposal(witness: Witness, block: Header, signer: Signer = LIAR) -> Evidence | None:
    return witness.header(block, sign_proposal(signer, block.hash()))


def test_two_proposals_of_one_term_convict() -> None:
    witness = Witness()
    assert proposal(witness, header()) is None
    assert proposal(witness, header()) is None
    found = proposal(witness, header(tag=1))
    assert found is not None
    assert (found.identity, found.kind, found.verify()) == (LIAR.public_key, PROPOSAL, True)
    assert found.describe()["height"] == 5
    assert witness.evidence == [found]


@pytest.mark.parametrize("changes", [{"term": 2}, {"height": 6}, {"signer": OTHER}])
def test_another_term_height_or_author_is_no_lie(changes: dict[str, object]) -> None:
    witness = Witness()
    proposal(witness, header())
    block = header(tag=1, **changes)  # type: ignore[arg-type]
    assert proposal(witness, block, changes.get("signer", LIAR)) is None  # type: ignore[arg-type]


def test_a_forged_signature_convicts_nobody() -> None:
    witness = Witness()
    proposal(witness, header())
    assert proposal(witness, header(tag=1), OTHER) is None
    assert witness.evidence == []


def test_two_votes_of_one_term_convict_and_evidence_stands_alone() -> None:
    witness = Witness()
    certifier = Certifier([LIAR.public_key, OTHER.public_key], witness.vote)
    one, other = header(signer=OTHER), header(tag=1, signer=OTHER)
    for block in (one, other):
        witness.header(block, b"")
    for block in (one, other, other):
        certifier.add_vote(LIAR.public_key, block.hash(), sign_vote(LIAR, block.hash()))
    (found,) = witness.evidence
    assert (found.kind, found.verify()) == (VOTE, True)
    assert not dataclasses.replace(found, second=found.first).verify()
    assert not dataclasses.replace(found, second_signature=found.first_signature).verify()
    assert not dataclasses.replace(found, second=header(term=2, tag=1, signer=OTHER)).verify()
