"""Checking an inclusion proof with nothing but a trusted genesis: no node has to be believed.

The chain of reasons: the id is a leaf of the tree under the header's transaction root (RFC 9162, section
2.1.3.2); the header is signed by its proposer, a member; and more than half of the genesis members voted for
the header's hash in one term, each having found the block valid. All signatures bind the genesis.
"""

from __future__ import annotations

import msgspec

from actors.ledger.block import Header, InclusionProof, decode_certificate, decode_header, verify_proposal
from actors.ledger.genesis import Genesis
from actors.ledger.merkle import verify_inclusion
from actors.ledger.rows import FormatError


class ProofError(ValueError):
    """A proof does not hold. `check` names the step that failed."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check


class InclusionDocument(msgspec.Struct, frozen=True):
    """The API's inclusion proof: bytes are hexadecimal."""

    height: int
    index: int
    size: int
    leaf: str
    proof: list[str]
    header: str
    signature: str
    certificate: str

    def decoded(self) -> InclusionProof:
        """The same with bytes. Raises ProofError for what is no hexadecimal."""
        nodes = [from_hex("proof", node) for node in self.proof]
        sealed = (from_hex("block", text) for text in (self.header, self.signature, self.certificate))
        return InclusionProof(self.height, self.index, self.size, from_hex("leaf", self.leaf), nodes, *sealed)


def from_hex(check: str, text: str) -> bytes:
    """The bytes of a document's text. Raises ProofError for what is no hexadecimal."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ProofError(check, "is not hexadecimal") from None


def verify_proof(genesis: Genesis, tx_id: bytes, proof: InclusionProof) -> Header:
    """Header of the final block that holds `tx_id`. Raises ProofError naming the check that fails."""
    if proof.leaf != tx_id:
        raise ProofError("leaf", "the proof is for another transaction")
    try:
        header = decode_header(proof.header)
        certificate = decode_certificate(proof.certificate)
    except FormatError as error:
        raise ProofError(error.field, str(error)) from error
    if header.height != proof.height:
        raise ProofError("header.height", f"{header.height}, and not {proof.height} as claimed")
    if header.transaction_count != proof.size:
        raise ProofError("size", f"the block has {header.transaction_count} transactions")
    if not verify_inclusion(tx_id, proof.index, proof.size, proof.proof, header.transaction_root):
        raise ProofError("proof", "does not lead to the transaction root")
    members, network = genesis.member_keys, genesis.hash()
    if header.proposer not in members:
        raise ProofError("header.proposer", "is no member of the genesis")
    if not verify_proposal(network, header, proof.signature):
        raise ProofError("signature", "is not the proposer's")
    if not certificate.verify(network, header, members):
        raise ProofError("certificate", "is not that of a majority of the members")
    return header
