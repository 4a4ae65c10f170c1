"""Networks and valid blocks for benchmarks: many accounts, some of which send, in chosen patterns.

Blocks are executed by the compiled state as they are made; whoever validates them compares every root.

    uniform   sender and recipient drawn evenly
    zipf      both drawn by rank, the r-th with a weight of 1 / r
    hot       senders drawn evenly, one recipient for all
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from actors.directory import (
    ALLOCATION_FILE,
    GENESIS_FILE,
    KEY_FILE,
    NetworkDirectory,
    NodeFolder,
    write_secret,
)
from actors.kernels.interface import Kernels
from actors.ledger import merkle
from actors.ledger.block import Block, Header, sign_proposal
from actors.ledger.environment import Environment
from actors.ledger.genesis import GENESIS_VERSION, Allocation, Genesis, Member
from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch
from actors.ledger.signing import Signer, development_signer, sign_rows
from actors.settings import NetworkSettings
from actors.storage.accounts import Accounts, funded
from actors.storage.state import State

Workload = Literal["uniform", "zipf", "hot"]
WORKLOADS: tuple[Workload, ...] = get_args(Workload)
_NODE = "node-1"


class BenchChain:
    """A network of one node in `path`, and blocks on top of its genesis, one after the other."""

    def __init__(
        self, path: Path, network: NetworkSettings, accounts: int, senders: int, kernels: Kernels
    ) -> None:
        """accounts: in the state; the first `senders` of them are development accounts, which send."""
        self._kernels, self._rng = kernels, np.random.default_rng(1)
        self._signers = [development_signer(network.name, number) for number in range(senders)]
        sending = np.frombuffer(b"".join(s.public_key for s in self._signers), dtype=np.uint8).reshape(-1, 32)
        others = self._rng.integers(0, 256, (accounts - senders, 32), dtype=np.uint8)
        self._keys = np.concatenate((sending, others))
        balances = np.full(accounts, network.development_balance, dtype=np.uint64)
        columns = Accounts(accounts, seed=secrets.randbits(128))
        columns.put(funded(self._keys, balances))
        self._state = State(columns, 0, kernels.hash_rows)
        self._nonces = np.zeros(senders, dtype=np.uint64)
        seed = secrets.token_bytes(32)
        self._proposer = Signer(seed)
        self.directory = self._found(path, network, Allocation(self._keys, balances), seed)
        self._parent = self._network = self.directory.genesis.hash()

    def _found(
        self, path: Path, network: NetworkSettings, allocation: Allocation, seed: bytes
    ) -> NetworkDirectory:
        write_secret(path / _NODE / KEY_FILE, seed)
        genesis = Genesis(
            version=GENESIS_VERSION,
            network=network.name,
            created_ms=time.time_ns() // 1_000_000,
            members=[Member(_NODE, self._proposer.public_key.hex())],
            accounts=len(allocation.keys),
            supply=allocation.supply(),
            state_root=self._state.tree.root.hex(),
            block_transactions_max=network.block_transactions_max,
            block_payload_bytes_max=network.block_payload_bytes_max,
            fee_min=network.fee_min,
            balance_min=network.balance_min,
            gas_per_unit=network.gas_per_unit,
            entry_deposit=network.entry_deposit,
            block_gas_max=network.block_gas_max,
        )
        (path / ALLOCATION_FILE).write_bytes(allocation.encode())
        (path / GENESIS_FILE).write_bytes(genesis.encode())
        folder = NodeFolder(_NODE, path / _NODE, self._proposer.public_key)
        return NetworkDirectory(path, genesis, [folder], created=True)

    def block(self, workload: Workload, rows: int) -> Block:
        """The next block, of signed transfers."""
        return self._sealed(Batch(self._transfers(workload, rows), np.empty(0, dtype=np.uint8)))

    def _sealed(self, batch: Batch) -> Block:
        """The next block, of these rows."""
        genesis, height = self.directory.genesis, self._state.height + 1
        proposer, time_ms = self._proposer.public_key, genesis.created_ms + height
        env = Environment(genesis.chain_tag, height, proposer, genesis.prices, time_ms)
        executed = self._state.execute(batch, env, True, time.perf_counter_ns).block
        if executed is None:
            raise RuntimeError(f"block {height} of the benchmark is not valid")
        self._state.commit()
        hash_rows = self._kernels.hash_rows
        header = Header(
            height=height,
            term=1,
            time_ms=time_ms,
            transaction_count=len(batch),
            payload_bytes=len(batch.payloads),
            parent_hash=self._parent,
            transaction_root=merkle.root(batch.ids(hash_rows), hash_rows),
            state_root=executed.state_root,
            receipts_root=executed.receipts_root,
            proposer=proposer,
        )
        self._parent = header.hash()
        return Block(header, sign_proposal(self._proposer, self._network, self._parent), batch)

    def _transfers(self, workload: Workload, rows: int) -> NDArray[Any]:
        senders = self._drawn(workload, len(self._signers), rows)
        recipients = self._drawn(workload, len(self._keys), rows)
        if workload == "hot":
            recipients[:] = len(self._keys) - 1
        table = np.zeros(rows, dtype=ROW_DTYPE)
        table["version"], table["kind"] = ROW_VERSION, KIND_TRANSFER
        table["chain_tag"] = self.directory.genesis.chain_tag
        table["expiry_height"], table["amount"], table["fee"] = NEVER_EXPIRES_HEIGHT, 1, 1
        table["nonce"] = self._nonces[senders] + earlier_uses(senders)
        table["sender"], table["recipient"] = self._keys[senders], self._keys[recipients]
        np.add.at(self._nonces, senders, np.uint64(1))
        sign_rows(table, self._signers, senders)
        return table

    def _drawn(self, workload: Workload, count: int, rows: int) -> NDArray[np.int64]:
        """(rows,) numbers below `count`."""
        if workload != "zipf":
            return self._rng.integers(0, count, rows)
        # The sum of 1 / r up to a rank is about its logarithm.
        ranks = np.exp(self._rng.random(rows) * np.log(count + 1))
        numbers: NDArray[np.int64] = np.minimum(ranks.astype(np.int64), count) - 1
        return numbers


def earlier_uses(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """For each entry, how many before it are equal to it."""
    order = np.argsort(numbers, kind="stable")
    first = np.searchsorted(numbers[order], numbers[order])
    earlier = np.empty(len(numbers), dtype=np.uint64)
    earlier[order] = np.arange(len(numbers)) - first
    return earlier
