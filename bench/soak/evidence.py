"""Gathers what the judge is given: chains read from the nodes, and what the clients were told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.directory import read_allocation
from actors.ledger.block import SealedHeader, decode_sealed_header
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import Hasher, prefixes
from actors.ledger.rows import Batch, decode_batch
from actors.ledger.signing import Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.inclusion_proof import ProofError
from actors.settings import ConsensusSettings
from actors.storage.interface import Audit
from bench.load import COMMITTED, DURABLE, LoadPlan
from bench.soak.chain_walk import ChainWalk, WalkedChain, compare_accounts
from bench.soak.contract_evidence import hold_against
from bench.soak.replay import Replay
from bench.soak.sabotage import Blocks
from bench.workload import FALSE_SIGNATURE, open_pool

HEADERS_AT_ONCE = 256
BODY_BYTES_AT_ONCE = 8 << 20
ROWS_AT_ONCE = 200_000
EXPIRES_AFTER_BLOCKS = 20
_AUDIT_TIMEOUT_S = 600


def blocks_of(node: Any, genesis: Genesis) -> Iterator[tuple[SealedHeader, Batch]]:
    """A node's committed blocks from the first on, as its Storage holds them."""
    bounds = genesis.block_transactions_max, genesis.block_payload_bytes_max
    height = 1
    while headers := node.call("storage", "sealed_headers", height, HEADERS_AT_ONCE):
        at = 0
        while at < len(headers):
            bodies = node.call("storage", "bodies", height + at, len(headers) - at, BODY_BYTES_AT_ONCE)
            if not bodies:
                return
            for header, body in zip(headers[at:], bodies, strict=False):
                yield decode_sealed_header(header), decode_batch(body, *bounds)
            at += len(bodies)
        height += len(headers)


def walk(
    node: Any,
    hash_rows: Hasher,
    tamper: Sequence[Callable[[Blocks], Blocks]],
    replay: Replay | None = None,
    twin: WalkedChain | None = None,
) -> WalkedChain:
    """Read and check a node's chain, and hold its accounts against it. `tamper` changes what is read; replay,
    twin: see ChainWalk."""
    directory = node.directory
    allocation: Allocation = read_allocation(directory.allocation_path)
    latest_ms = time.time_ns() // 1_000_000 + ConsensusSettings().clock_ahead_ms_max
    walker = ChainWalk(node.folder.name, directory.genesis, allocation, hash_rows, latest_ms, replay, twin)
    blocks = blocks_of(node, directory.genesis)
    for change in tamper:
        blocks = change(blocks)
    for sealed, batch in blocks:
        walker.take(sealed, batch)
    chain = walker.finish()
    compare_accounts(chain, node.call("storage", "shard_accounts", 0, 1))
    return chain


def walk_all(
    nodes: Sequence[Any], hash_rows: Hasher, contracts: bool, watched: Iterable[bytes] = ()
) -> tuple[list[WalkedChain], Replay | None]:
    """The chains of all nodes. Where contracts are among the transactions, the first is played again by the
    plain rules, and all nodes are held against that. watched: see Replay."""
    if not contracts:
        return [walk(node, hash_rows, ()) for node in nodes], None
    replay = replay_for(nodes[0], hash_rows, watched)
    first = walk(nodes[0], hash_rows, (), replay)
    chains = [first, *(walk(node, hash_rows, (), twin=first) for node in nodes[1:])]
    for chain, node in zip(chains, nodes, strict=True):
        hold_against(chain, node, replay)
    return chains, replay


def replay_for(node: Any, hash_rows: Hasher, watched: Iterable[bytes] = ()) -> Replay:
    """Begins with the genesis of a node's network."""
    directory = node.directory
    return Replay(directory.genesis, read_allocation(directory.allocation_path), hash_rows, watched)


def audit(node: Any) -> Audit:
    """What Storage finds when it recomputes its own roots."""
    found: Audit = node.call("storage", "audit", timeout_s=_AUDIT_TIMEOUT_S)
    return found


def ids_of(plans: Iterable[LoadPlan], hash_rows: Hasher) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Prefixes of what was acknowledged as durable or committed, and of all false signatures."""
    acknowledged, false = [], []
    for plan in plans:
        pool, fate = open_pool(plan.path), np.load(f"{plan.history}.fate.npy")
        for at in range(0, plan.stop - plan.start, ROWS_AT_ONCE):
            place = slice(plan.start + at, min(plan.start + at + ROWS_AT_ONCE, plan.stop))
            told = fate[at : at + ROWS_AT_ONCE]
            found = prefixes(Batch(np.array(pool.rows[place]), np.empty(0, dtype=np.uint8)).ids(hash_rows))
            acknowledged.append(found[(told == COMMITTED) | (told == DURABLE)])
            false.append(found[pool.kinds[place] == FALSE_SIGNATURE])
    none = [np.empty(0, dtype=np.uint64)]
    return np.concatenate([*acknowledged, *none]), np.concatenate([*false, *none])


def answers_of(plans: Iterable[LoadPlan]) -> NDArray[np.float64]:
    """(n, 3) due time, answered time and rows of every batch that was answered, in order of due time."""
    batches = np.concatenate([np.load(f"{plan.history}.batches.npy") for plan in plans])
    batches = batches[batches["answered_s"] > 0]
    table = np.column_stack((batches["due_s"], batches["answered_s"], batches["rows"]))
    return np.asarray(table[np.argsort(table[:, 0], kind="stable")], dtype=np.float64)


class Expiring:
    """Transfers that are acknowledged as durable and can never commit: the nonce before theirs is missing."""

    def __init__(self, url: str, genesis: Genesis, accounts: Sequence[int]) -> None:
        self._url, self._genesis = url, genesis
        self._sent: list[tuple[bytes, int, int]] = []
        with Client(url) as client:
            expiry = int(client.status()["head"]["height"]) + EXPIRES_AFTER_BLOCKS
            for account in accounts:
                signer = development_signer(genesis.network, account)
                transfer = Transfer(bytes(31) + b"\x07", 1, nonce=1, fee=1, expiry_height=expiry)
                batch = sign_transfer(signer, genesis.chain_tag, transfer)
                if client.submit(batch, wait="durable").accepted:
                    prefix = int(prefixes(batch.ids())[0])
                    self._sent.append((signer.public_key, prefix, expiry))

    def proofs(self) -> list[tuple[int, int, bool]]:
        """(id, expiry height, whether a verified proof shows the sender's nonce before the transfer's)."""
        found = []
        with Client(self._url) as client:
            for key, prefix, expiry in self._sent:
                try:
                    absent = int(client.verified_account(key, self._genesis)["nonce"]) <= 1
                except (ProofError, ApiError):
                    absent = False
                found.append((prefix, expiry, absent))
        return found
