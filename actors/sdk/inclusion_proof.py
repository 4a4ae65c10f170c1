"""The inclusion proof as the API gives it, and the error of a proof that does not hold."""

from __future__ import annotations

import msgspec

from actors.ledger.block import InclusionProof


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
