"""A proposer whose blocks have deployments and calls of contracts among the transfers.

Account 0 deploys the examples with its first transactions, the next CALLERS call them, and transfers go
between all others: so each part has its nonces, and the parts are mixed in any way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import payload_hash
from actors.ledger.genesis import Genesis
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch, concatenate
from actors.ledger.signing import Transfer
from bench.chains import earlier_uses
from bench.contract_calls import CallFiller
from bench.contract_examples import Catalog
from bench.state import make_block
from bench.storage_workload import Proposer, WorkloadNetwork

CALLERS = 200
DEPLOY_SHARE = 0.03


@dataclass(slots=True)
class ContractProposer(Proposer):
    """calls_max: in a block, besides the transfers; the opening of the examples comes in the first one."""

    calls_max: int = 12

    def batch(self, rows: int) -> Batch:
        """Valid unsigned rows: so many transfers, and some of contracts."""
        transfers = make_block(self.keys[1 + CALLERS :], self.nonces[1 + CALLERS :], rows, self.rng)
        transfers.rows["chain_tag"] = self.chain.genesis.chain_tag
        calls = self._calls(int(self.rng.integers(self.calls_max + 1)))
        return mixed(transfers, calls, self.rng)

    def _calls(self, count: int) -> Batch:
        tag, catalog = self.chain.genesis.chain_tag, self._catalog
        opening = [] if self.nonces[0] else catalog.opening()
        self.nonces[0] += np.uint64(len(opening))
        who = self.rng.integers(1, 1 + CALLERS, count)
        table = np.zeros(count, dtype=ROW_DTYPE)
        table["version"], table["chain_tag"], table["expiry_height"] = ROW_VERSION, tag, NEVER_EXPIRES_HEIGHT
        table["nonce"], table["sender"] = self.nonces[who] + earlier_uses(who), self.keys[who]
        np.add.at(self.nonces, who, np.uint64(1))
        filler = CallFiller(catalog, self.keys[1 : 1 + CALLERS], self.rng, DEPLOY_SHARE, self.chain.hash_rows)
        payloads = filler.fill(table)
        return concatenate([unsigned(opening, catalog.deployer, tag), Batch(table, payloads)])

    @property
    def _catalog(self) -> Catalog:
        return _catalog_of(self.keys, self.chain.genesis)


def _catalog_of(keys: NDArray[np.uint8], genesis: Genesis) -> Catalog:
    return Catalog(keys[0].tobytes(), genesis.prices)


def warm(network: WorkloadNetwork) -> None:
    """Compile the examples, for processes that are forked from this one."""
    _catalog_of(network.allocation.keys, network.genesis).opening()


def unsigned(transfers: Sequence[Transfer], sender: bytes, chain_tag: int) -> Batch:
    """Rows without signatures, for what does not look at them."""
    table = np.zeros(len(transfers), dtype=ROW_DTYPE)
    for row, said in zip(table, transfers, strict=True):
        row["version"], row["kind"], row["chain_tag"] = ROW_VERSION, said.kind, chain_tag
        row["nonce"], row["amount"], row["fee"] = said.nonce, said.amount, said.fee
        row["expiry_height"], row["payload_bytes"] = said.expiry_height, len(said.payload)
        row["sender"] = np.frombuffer(sender, dtype=np.uint8)
        row["recipient"] = np.frombuffer(said.recipient, dtype=np.uint8)
        row["payload_hash"] = np.frombuffer(payload_hash(said.payload), dtype=np.uint8)
    return Batch(table, np.frombuffer(b"".join(said.payload for said in transfers), dtype=np.uint8))


def mixed(first: Batch, second: Batch, chance: np.random.Generator) -> Batch:
    """Both, each in its own order, and otherwise mixed."""
    count = len(first) + len(second)
    from_second = np.zeros(count, dtype=np.bool_)
    from_second[chance.choice(count, len(second), replace=False)] = True
    order = np.empty(count, dtype=np.int64)
    order[~from_second] = np.arange(len(first))
    order[from_second] = len(first) + np.arange(len(second))
    return concatenate([first, second]).take(order)
