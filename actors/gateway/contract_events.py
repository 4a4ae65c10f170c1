"""What the calls of a block have left, and the messages that subscribers to contracts get of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.contracts.running import EmittedEvent
from actors.gateway.contract_render import named_event
from actors.gateway.contract_topics import ContractTopic
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.service import Service
from actors.ledger.block import Block
from actors.ledger.hashing import sha256
from actors.ledger.receipts import Output, decode_receipts
from actors.ledger.rows import LEAF_PREFIX, FormatError

Chosen = list[tuple[int, int, EmittedEvent]]
"""Of each event: the place of its transaction in the block, its own among those of the transaction."""


class ContractEvents:
    """Events of blocks. What was read last is kept, since many subscribers are told of it at once."""

    def __init__(self, source: Service, contracts: KnownContracts) -> None:
        self._source, self._contracts = source, contracts
        self._last: tuple[int, tuple[Output, ...]] | None = None

    async def choose(self, topics: Iterable[ContractTopic], height: int, count: int) -> Chosen | None:
        """Events of a block of `count` transactions, in order; None if this node does not have them."""
        outputs = await self._outputs(height, count)
        if outputs is None:
            return None
        return [
            (output.position, place, event)
            for output in outputs
            for place, event in enumerate(output.events)
            if any(topic.takes(event) for topic in topics)
        ]

    async def _outputs(self, height: int, count: int) -> tuple[Output, ...] | None:
        if not count:
            return ()
        if self._last is not None and self._last[0] == height:
            return self._last[1]
        data = await self._source.receipts(height)
        try:
            outputs = None if data is None else decode_receipts(data, count).outputs
        except FormatError:  # of a block whose body is not kept there are none, either
            return None
        if outputs is not None:
            self._last = height, outputs
        return outputs

    async def messages(self, chosen: Chosen, block: Block) -> list[dict[str, Any]]:
        """The messages of events of a block."""
        named = await self._contracts.find_all(event[0] for _, _, event in chosen)
        rows = block.batch.rows
        return [
            {
                "type": "event",
                "height": block.header.height,
                "transaction": sha256(LEAF_PREFIX + rows[at : at + 1].tobytes()).hex(),
                "position": place,
                "contract": event[0].hex(),
                "event": event[1],
                **(named_event(event, named) or {"name": None, "fields": None}),
                "data": event[2].hex(),
            }
            for at, place, event in chosen
        ]
