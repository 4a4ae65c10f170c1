"""A network on a disk of its own, and a proposer that fills its blocks: what benchmarks and torture drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.ledger.block import Certificate, Header, sign_proposal, sign_vote
from actors.ledger.delta import Delta
from actors.ledger.genesis import GENESIS_VERSION, Allocation, Genesis, Member
from actors.ledger.hashing import Hasher
from actors.ledger.merkle import root
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer
from actors.storage.accounts import funded
from actors.storage.chain import Chain
from actors.storage.disk import Disk
from actors.storage.history import Retention
from actors.storage.interface import Execute, Persist, Written
from actors.storage.state import ExecutedBlock, build_tree
from bench.state import make_block

SIGNER = Signer(b"\x07" * 32)
BALANCE = 1 << 30


@dataclass(frozen=True, slots=True)
class WorkloadNetwork:
    """A genesis of one member, its allocation, and how to hash."""

    genesis: Genesis
    allocation: Allocation
    hash_rows: Hasher

    def open(
        self,
        directory: Path,
        sync: bool = True,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        retention: Retention = Retention(),
    ) -> Chain:
        """The chain in a directory."""
        disk = Disk(directory)
        try:
            return Chain(
                disk, self.genesis, lambda: self.allocation, self.hash_rows, 1, clock_ns, sync, retention
            )
        except BaseException:
            disk.close()
            raise


def found(accounts: int, hash_rows: Hasher, block_transactions_max: int = 10_000) -> WorkloadNetwork:
    """A network whose accounts have random keys and equal balances."""
    keys = np.random.default_rng(1).integers(0, 256, (accounts, 32), dtype=np.uint8)
    balances = np.full(accounts, BALANCE, dtype=np.uint64)
    state_root = build_tree(funded(keys, balances), hash_rows).root.hex()
    genesis = Genesis(
        GENESIS_VERSION, "torture", 0, [Member("one", SIGNER.public_key.hex())], accounts, accounts * BALANCE,
        state_root, block_transactions_max, 1 << 20, 0, 1,
    )  # fmt: skip
    return WorkloadNetwork(genesis, Allocation(keys, balances), hash_rows)


@dataclass(slots=True)
class Proposer:
    """Proposes, signs and certifies blocks on a chain. `keys` and `nonces` are of the funded accounts."""

    chain: Chain
    keys: NDArray[np.uint8]
    rng: np.random.Generator
    epoch: int = 0
    nonces: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a new epoch on the committed state."""
        self.epoch = self.chain.fence()
        self.nonces = self.chain.state.committed_columns(0, len(self.keys))[1].nonces

    def batch(self, rows: int) -> Batch:
        """Valid unsigned transfers."""
        batch = make_block(self.keys, self.nonces, rows, self.rng)
        batch.rows["chain_tag"] = self.chain.genesis.chain_tag
        return batch

    def execute(self, batch: Batch) -> ExecutedBlock:
        """Execute a batch as the next block."""
        height = self.chain.state.executed_height + 1
        request = Execute(height, True, SIGNER.public_key, time_ms=_time_ms(height))
        block = self.chain.execute(self.epoch, request, batch).block
        if block is None:
            raise RuntimeError(f"block {height} of the workload is not valid")
        return block

    def follow(self, batch: Batch) -> ExecutedBlock:
        """Execute a batch as a block of another node, which comes with its header; its parent is on disk."""
        block = self.execute(batch)
        header = self.header(block)
        self.chain.rollback(self.epoch, block.height - 1)
        sealed = header.encode() + sign_proposal(SIGNER, self.chain.genesis.hash(), header.hash())
        request = Execute(
            block.height, True, SIGNER.public_key, sealed=sealed, time_ms=_time_ms(block.height)
        )
        again = self.chain.execute(self.epoch, request, batch).block
        if again is None:
            raise RuntimeError(f"block {block.height} of the workload is not valid a second time")
        return again

    def header(self, block: ExecutedBlock) -> Header:
        """The header of an executed block whose parent is on disk."""
        ids = block.batch.ids(self.chain.hash_rows)
        return Header(
            block.height, 1, _time_ms(block.height), len(block.batch), len(block.batch.payloads),
            self.chain.hash_at(block.height - 1), root(ids, self.chain.hash_rows), block.state_root,
            block.receipts_root, SIGNER.public_key,
        )  # fmt: skip

    def persist(self, header: Header, certify: bool = True) -> tuple[Written, Delta]:
        """Persist the block of a header, committed if `certify`."""
        proof = certificate(self.chain.genesis.hash(), header) if certify else b""
        signature = sign_proposal(SIGNER, self.chain.genesis.hash(), header.hash())
        return self.chain.persist(self.epoch, Persist(header.height, header.encode(), signature, proof))


def _time_ms(height: int) -> int:
    return 1000 * height


def certificate(network: bytes, header: Header) -> bytes:
    """The certificate of the only member of the network with this genesis hash."""
    vote = sign_vote(SIGNER, network, header, header.term)
    return Certificate(header.term, ((SIGNER.public_key, vote),)).encode()
