"""A small network on a temporary directory, and a consensus of one that drives its storage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from actors.ledger import merkle
from actors.ledger.block import Certificate, Header, sign_proposal, sign_vote
from actors.ledger.delta import Delta
from actors.ledger.genesis import GENESIS_VERSION, Allocation, Genesis, Member
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer
from actors.storage.accounts import funded
from actors.storage.chain import Chain
from actors.storage.disk import Disk
from actors.storage.interface import Execute, Persist, Written
from actors.storage.state import ExecutedBlock, Execution, build_tree
from tests.storage.storage_batches import key, transfers

SIGNER = Signer(b"\x07" * 32)
BALANCE = 1_000_000
T = TypeVar("T")


def make_genesis(accounts: int = 20, network: str = "test") -> tuple[Genesis, Allocation]:
    """A genesis with accounts key(0..accounts-1) of equal balance."""
    keys = np.frombuffer(b"".join(key(i) for i in range(accounts)), dtype=np.uint8).reshape(-1, 32)
    balances = np.full(accounts, BALANCE, dtype=np.uint64)
    root = build_tree(funded(keys, balances)).root
    member = Member("one", SIGNER.public_key.hex())
    genesis = Genesis(
        GENESIS_VERSION, network, 0, [member], accounts, accounts * BALANCE, root.hex(), 20_000, 1 << 20, 0, 1
    )
    return genesis, Allocation(keys, balances)


def open_chain(directory: Path, genesis: Genesis, allocation: Allocation | None, sync: bool = False) -> Chain:
    """A chain on a directory, with the plain hasher. allocation: None where it is not asked for."""
    disk = Disk(directory)
    try:
        return Chain(disk, genesis, lambda: present(allocation), sha256_rows, 1, time.perf_counter_ns, sync)
    except BaseException:
        disk.close()
        raise


def present(value: T | None) -> T:
    """A value that is there."""
    assert value is not None
    return value


def done(execution: Execution) -> ExecutedBlock:
    """The block of an execution in which no row failed."""
    return present(execution.block)


class Driver:
    """Executes and persists blocks on anything with the calls of `Chain`."""

    def __init__(self, chain: Chain, accounts: int, seed: int = 1) -> None:
        self.chain, self.accounts = chain, accounts
        self.epoch = chain.fence()
        self.rng = np.random.default_rng(seed)
        columns = chain.state.committed_columns()[1]
        index = {row.tobytes(): int(nonce) for row, nonce in zip(columns[0], columns[1], strict=True)}
        self.nonces = np.array([index.get(key(i), 0) for i in range(accounts)], dtype=np.uint64)

    def batch(self, count: int) -> Batch:
        """`count` valid transfers."""
        return transfers(self.accounts, self.nonces, count, self.rng, self.chain.genesis.chain_tag)

    def execute(self, count: int) -> ExecutedBlock:
        """Execute the next block; returns it."""
        height = self.chain.state.executed_height + 1
        batch = self.batch(count)
        return done(self.chain.execute(self.epoch, Execute(height, True, SIGNER.public_key), batch))

    def header(self, block: ExecutedBlock, parent: bytes | None = None, **changes: Any) -> Header:
        """The header of an executed block."""
        fields = {
            "height": block.height,
            "term": 1,
            "time_ms": 1000 + block.height,
            "transaction_count": len(block.batch),
            "payload_bytes": len(block.batch.payloads),
            "parent_hash": parent or self.chain.hash_at(block.height - 1),
            "transaction_root": merkle.root(block.batch.ids()),
            "state_root": block.state_root,
            "receipts_root": block.receipts_root,
            "proposer": SIGNER.public_key,
        }
        return Header(**{**fields, **changes})

    def persist(self, block: ExecutedBlock, certify: bool = True, **changes: Any) -> tuple[Written, Delta]:
        """Persist an executed block; returns (written, delta)."""
        header = self.header(block, **changes)
        network = self.chain.genesis.hash()
        proof = certificate(header, network) if certify else b""
        signature = sign_proposal(SIGNER, network, header.hash())
        return self.chain.persist(self.epoch, Persist(block.height, header.encode(), signature, proof))

    def run(self, blocks: int, count: int = 30) -> list[bytes]:
        """Commit blocks; their hashes."""
        return [self.persist(self.execute(count))[0].hash for _ in range(blocks)]


def stopped_node(data: Path, blocks: int, accounts: int = 20) -> tuple[Path, Chain]:
    """The folder of a node with so many blocks in a data directory, and its chain, still open."""
    genesis, allocation = make_genesis(accounts)
    folder = data / "node-1"
    folder.mkdir(parents=True)
    (folder / "node.key").touch()
    (data / "genesis.json").write_bytes(genesis.encode())
    (data / "allocation.bin").write_bytes(allocation.encode())
    chain = open_chain(folder / "db", genesis, allocation)
    Driver(chain, accounts).run(blocks)
    return folder, chain


def certificate(header: Header, network: bytes = bytes(32)) -> bytes:
    """The certificate of the only member; Storage itself does not look at the network."""
    vote = sign_vote(SIGNER, network, header, header.term)
    return Certificate(header.term, ((SIGNER.public_key, vote),)).encode()
