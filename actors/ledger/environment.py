"""What a transaction sees of the block that it stands in."""

from __future__ import annotations

from dataclasses import dataclass

from actors.ledger.governed_payloads import NO_GOVERNORS, Governors
from actors.ledger.prices import FREE, Prices


@dataclass(frozen=True, slots=True)
class Environment:
    """chain_tag: of the network. time_ms: of the block, which a header yet to be sealed will say."""

    chain_tag: int
    height: int
    proposer: bytes
    prices: Prices = FREE
    time_ms: int = 0
    governors: Governors = NO_GOVERNORS
