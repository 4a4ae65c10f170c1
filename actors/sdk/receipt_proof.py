"""Receipts proven to somebody who trusts a genesis alone: what a transaction did, answered and told.

The API's document has the proof of the transaction, which says what makes its block final, beside that of its
receipt under the receipts root of the same header.
"""

from __future__ import annotations

import msgspec

from actors.ledger.genesis import Genesis
from actors.ledger.receipts import Output, ReceiptProof
from actors.sdk.inclusion_proof import InclusionDocument, ProofError, from_hex
from actors.sdk.light_client import verify_proof


class EventDocument(msgspec.Struct, frozen=True):
    """An event. data: the bytes of its fields."""

    contract: str
    number: int
    data: str


class OutputDocument(msgspec.Struct, frozen=True):
    """What a deployment or a call left besides. gas: digits from 2^53 on."""

    gas: int | str
    results: str
    events: list[EventDocument]


class ReceiptDocument(msgspec.Struct, frozen=True):
    """The API's proof of a receipt: bytes are hexadecimal."""

    transaction: InclusionDocument
    receipt: str
    output: OutputDocument | None
    proof: list[str]

    def decoded(self) -> ReceiptProof:
        """The same with bytes. Raises ProofError for what is no hexadecimal, or no event."""
        inclusion, output = self.transaction.decoded(), None
        if self.output is not None:
            try:
                gas = int(self.output.gas)
            except ValueError:
                raise ProofError("output.gas", "is no number") from None
            results = from_hex("output.results", self.output.results)
            events = tuple(_event(event) for event in self.output.events)
            if not 0 <= gas < 1 << 64:
                raise ProofError("output.gas", f"{gas}, expected 0 to 2^64-1")
            output = Output(inclusion.index, gas, results, events)
        nodes = [from_hex("proof", node) for node in self.proof]
        return ReceiptProof(inclusion, from_hex("receipt", self.receipt), output, nodes)


def _event(document: EventDocument) -> tuple[bytes, int, bytes]:
    contract = from_hex("output.events.contract", document.contract)
    if len(contract) != 32 or not 0 <= document.number < 256:
        raise ProofError("output.events", "one has no contract of 32 bytes and number below 256")
    return contract, document.number, from_hex("output.events.data", document.data)


def proven_receipt(genesis: Genesis, tx_id: bytes, proof: ReceiptProof | None) -> ReceiptProof:
    """The proof of what `tx_id` did, checked. Raises ProofError naming the check that fails."""
    if proof is None:
        raise ProofError("proof", "the node knows no committed transaction of this id")
    header = verify_proof(genesis, tx_id, proof.transaction)
    if not proof.leads_to(header.receipts_root):
        raise ProofError("receipt", "does not lead to the receipts root")
    return proof
