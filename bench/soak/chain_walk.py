"""Reads a node's chain from the genesis on, trusting nothing that the node says of it.

Each block is checked against its parent, its transactions against their root, its certificate against the
members; every transaction is applied to accounts of its own, as columns where all are transfers, by the plain
rules (replay.py) where contracts are among them. What is found wrong is kept by the name of the check that it
fails, the first few of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.accounts import U64_MAX
from actors.ledger.block import SealedHeader
from actors.ledger.block_time import time_fault
from actors.ledger.delta import AccountStates
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import Hasher, prefixes, sha256_rows
from actors.ledger.prices import first_nonce
from actors.ledger.rows import Batch
from actors.ledger.succession import Parent, genesis_as_parent
from bench.soak.replay import Replay
from bench.workload import occurrence

PROBLEMS_KEPT = 5


@dataclass(slots=True)
class WalkedChain:
    """What a walk found. hashes: of blocks 1.. in order. prefixes: (n,) of all committed ids, in order:
    two of ten million meet once in 400,000 runs.

    keys: (m,) S32 sorted; nonces, balances: (m,) int64, as the transactions make them.
    """

    node: str
    hashes: list[bytes]
    state_root: bytes
    prefixes: NDArray[np.uint64]
    keys: NDArray[Any]
    nonces: NDArray[np.int64]
    balances: NDArray[np.int64]
    problems: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def problem(self, check: str, text: str) -> None:
        """Note what is wrong, under the check's name."""
        self.counts[check] = self.counts.get(check, 0) + 1
        kept = self.problems.setdefault(check, [])
        if len(kept) < PROBLEMS_KEPT:
            kept.append(text)


class ChainWalk:
    """Give it sealed headers and bodies in order of height, then ask for `finish`.

    No block's time may be after `latest_ms`. replay: applies the transactions. twin: a chain whose accounts
    are taken over if this one has the same blocks, so that each is applied once.
    """

    def __init__(
        self,
        node: str,
        genesis: Genesis,
        allocation: Allocation,
        hash_rows: Hasher = sha256_rows,
        latest_ms: int = U64_MAX,
        replay: Replay | None = None,
        twin: WalkedChain | None = None,
    ) -> None:
        self._replay, self._twin = replay, twin
        self._genesis, self._hash_rows = genesis, hash_rows
        self._members = genesis.member_keys
        self._parent, self._latest_ms = genesis_as_parent(genesis), latest_ms
        keys = _as_keys(allocation.keys)
        order = np.argsort(keys)
        none = np.empty(0, dtype=np.uint64)
        balances = allocation.balances[order].astype(np.int64)
        nonces = np.zeros(len(keys), dtype=np.int64)
        self.chain = WalkedChain(node, [], b"", none, keys[order], nonces, balances)
        self._prefixes: list[NDArray[np.uint64]] = []

    def take(self, sealed: SealedHeader, batch: Batch) -> None:
        """Check and apply one block."""
        chain, header = self.chain, sealed.header
        height = len(chain.hashes) + 1
        digest = header.hash()
        if header.height != height or header.parent_hash != self._parent.hash:
            chain.problem(
                "no_forks", f"{chain.node}: block {header.height} does not follow block {height - 1}"
            )
        fault = time_fault(header.time_ms, self._parent.time_ms)
        if fault or header.time_ms > self._latest_ms:
            fault = fault or f"time {header.time_ms} ms has not come yet"
            chain.problem("block_times", f"{chain.node}: block {height}: {fault}")
        wrong = sealed.verify(self._genesis.hash(), self._members)
        if wrong:
            chain.problem("certificates", f"{chain.node}: block {height}: {wrong}")
        ids = batch.ids(self._hash_rows) if len(batch) else np.empty((0, 32), dtype=np.uint8)
        if merkle.root(ids, self._hash_rows) != header.transaction_root:
            chain.problem("roots_agree", f"{chain.node}: block {height}: transaction root")
        if (batch.rows["expiry_height"] < height).any():
            chain.problem("nothing_expired", f"{chain.node}: block {height} holds an expired transaction")
        self._prefixes.append(prefixes(ids))
        if self._replay is not None:
            for check, text in self._replay.take(header, batch):
                chain.problem(check, f"{chain.node}: block {height}: {text}")
        elif self._twin is None:
            self._apply(height, header.proposer, batch.rows)
        chain.hashes.append(digest)
        chain.state_root = header.state_root
        self._parent = Parent(header.height, digest, header.time_ms)

    def finish(self) -> WalkedChain:
        """The chain that was walked."""
        chain, twin = self.chain, self._twin
        if self._prefixes:
            chain.prefixes = np.concatenate(self._prefixes)
        if self._replay is not None:
            for check, text in self._replay.finish():
                chain.problem(check, f"{chain.node}: {text}")
            chain.keys, chain.nonces, chain.balances = self._replay.columns()
        elif twin is not None and chain.hashes == twin.hashes:
            chain.keys, chain.nonces, chain.balances = twin.keys, twin.nonces, twin.balances
        return chain

    def _apply(self, height: int, proposer: bytes, rows: NDArray[Any]) -> None:
        chain = self.chain
        if not len(rows):
            return
        parties = np.concatenate(
            (_as_keys(rows["sender"]), _as_keys(rows["recipient"]), np.array([proposer], dtype="S32"))
        )
        at = self._places(parties)
        sender, recipient, earner = at[: len(rows)], at[len(rows) : -1], at[-1]
        absent = at[chain.balances[at] == 0]
        chain.nonces[absent] = np.maximum(chain.nonces[absent], first_nonce(height))
        expected = chain.nonces[sender] + occurrence(sender)
        wrong = np.flatnonzero(rows["nonce"].astype(np.int64) != expected)
        if len(wrong):
            nonce = int(rows["nonce"][wrong[0]])
            text = f"{chain.node}: block {height} row {wrong[0]}: nonce {nonce}, not {expected[wrong[0]]}"
            chain.problem("nonces", text)
        np.maximum.at(chain.nonces, sender, rows["nonce"].astype(np.int64) + 1)
        amount, fee = rows["amount"].astype(np.int64), rows["fee"].astype(np.int64)
        np.subtract.at(chain.balances, sender, amount + fee)
        np.add.at(chain.balances, recipient, amount)
        chain.balances[earner] += int(fee.sum())

    def _places(self, wanted: NDArray[Any]) -> NDArray[np.int64]:
        """Where the keys stand among the known ones; unknown ones become known."""
        chain = self.chain
        at = np.searchsorted(chain.keys, wanted)
        known = at < len(chain.keys)
        known[known] = chain.keys[at[known]] == wanted[known]
        if not known.all():
            fresh = np.unique(wanted[~known])
            where = np.searchsorted(chain.keys, fresh)
            chain.keys = np.insert(chain.keys, where, fresh)
            chain.nonces = np.insert(chain.nonces, where, 0)
            chain.balances = np.insert(chain.balances, where, 0)
            at = np.searchsorted(chain.keys, wanted)
        return np.asarray(at, dtype=np.int64)


def compare_accounts(chain: WalkedChain, accounts: AccountStates) -> None:
    """Note accounts that the node holds otherwise than the walked transactions make them."""
    told = _as_keys(accounts.keys)
    order = np.argsort(told)
    existing = chain.balances != 0
    same_keys = np.array_equal(told[order], chain.keys[existing])
    if not same_keys:
        chain.problem("roots_agree", f"{chain.node}: {len(told)} accounts, {int(existing.sum())} expected")
        return
    nonces, balances = (accounts.nonces, chain.nonces), (accounts.balances, chain.balances)
    for name, (column, own) in (("nonce", nonces), ("balance", balances)):
        differing = int(np.count_nonzero(column[order].astype(np.int64) != own[existing]))
        if differing:
            chain.problem("roots_agree", f"{chain.node}: {name} of {differing} accounts differs")


def _as_keys(column: NDArray[np.uint8]) -> NDArray[Any]:
    """(n,) S32 of (n, 32) bytes. NumPy ignores trailing zeros in comparing: of equal lengths no harm."""
    return np.ascontiguousarray(column).view("S32").reshape(-1)
