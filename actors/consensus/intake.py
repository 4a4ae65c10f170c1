"""Blocks that others hand over: pushed ahead by a leader, riding on a message, or proven, to be committed.

See `OfferedBlock`: rows and payloads may be references.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.consensus.agreement import Agreement
from actors.consensus.block_body_cache import BlockBodyCache
from actors.consensus.pipeline import BlockRefusedError, Work
from actors.consensus.proving import Proving
from actors.ledger.block import BlockOutcome, BlockRefused, Header, OfferedBlock, decode_block
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError

if TYPE_CHECKING:
    from loguru import Logger


class Intake:
    """The ways of others' blocks into one node. Whatever goes by is held against what was signed before."""

    def __init__(self, genesis: Genesis, bodies: BlockBodyCache, proving: Proving, log: Logger) -> None:
        self._genesis, self._bodies, self._proving, self._log = genesis, bodies, proving, log

    def pushed(self, block: OfferedBlock) -> None:
        """A leader has sent it before anybody asked."""
        self._bodies.put(block.header.hash(), block)
        self._proving.proposed(block.header, block.signature)

    def read(self, raw: bytes) -> OfferedBlock | None:
        """A small block that rode on a message of the leader; None for a malformed one."""
        genesis = self._genesis
        try:
            block = decode_block(raw, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        except FormatError as error:
            self._log.warning("a block on a message is malformed: {}", error)
            return None
        self._proving.proposed(block.header, block.signature)
        return OfferedBlock(block.header, block.signature, b"", block.batch.rows, block.batch.payloads)

    async def commit_proven(self, agreement: Agreement, blocks: list[OfferedBlock]) -> list[BlockOutcome]:
        """See `Consensus.validate_blocks`."""
        outcomes = []
        for block in blocks:
            header, certificate = block.header, block.certificate
            if not certificate and len(self._genesis.members) > 1:
                raise ValueError(f"block {header.height}: only what has a certificate is taken")
            parts, count = (block.rows, block.payloads), header.transaction_count
            work = Work(parts, count, header=header, signature=block.signature, certificate=certificate)
            outcomes.append(await agreement.submit_proven(work))
        results: list[BlockOutcome] = []
        ends = await asyncio.gather(*outcomes, return_exceptions=True)
        for block, outcome in zip(blocks, ends, strict=True):
            if isinstance(outcome, Header):
                results.append(outcome)
            elif isinstance(outcome, BlockRefusedError):
                if outcome.misplaced or not block.certificate:
                    self._log.warning("{}", outcome)
                else:
                    agreement.halt(f"a certified block is not valid here: {outcome}")
                results.append(BlockRefused(outcome.height, outcome.reason, outcome.row))
            else:
                results.append(BlockRefused(block.header.height, str(outcome)))
        return results
