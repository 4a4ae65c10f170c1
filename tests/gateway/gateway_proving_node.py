"""The fake node, which also proves what its state holds."""

from __future__ import annotations

from actors.ledger import smt
from actors.storage.interface import AccountProof, RetainedHeights
from tests.gateway.gateway_fake_node import FakeNode


class ProvingNode(FakeNode):
    """Proofs of accounts and entries at all heights, by the plain state tree."""

    async def state_proof(self, key: bytes, height: int | None) -> AccountProof | RetainedHeights:
        self._read()
        at = self.height if height is None else height
        if at not in self.history:
            return RetainedHeights(min(self.history), self.height)
        value, proof = self.history[at].get(key), smt.prove(self.history[at], key)
        block = self.blocks.get(at)
        return AccountProof(
            key=key,
            height=at,
            value=value,
            nonce=int.from_bytes((value or b"")[:8], "little"),
            balance=int.from_bytes((value or b"")[8:16], "little"),
            siblings=proof.siblings,
            leaf_path=proof.leaf_path,
            leaf_value_hash=proof.leaf_value_hash,
            ics23=b"",
            header=block.header.encode() if block else b"",
            signature=block.signature if block else b"",
            certificate=self.votes[at] if block else b"",
        )
