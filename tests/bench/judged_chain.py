"""A little chain of three members, made by the reference rules, and the evidence of a soak of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from actors.directory import NodeFolder, build_genesis, development_allocation
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, state_root, supply
from actors.ledger.block import Certificate, Header, SealedHeader, sign_proposal, sign_vote
from actors.ledger.delta import AccountStates
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import prefixes, sha256_rows
from actors.ledger.merkle import root
from actors.ledger.receipts import RECEIPT_BYTES, Receipts
from actors.ledger.rows import KIND_TRANSFER, Batch, concatenate
from actors.ledger.signing import Signer, development_signer, sign_transfer
from actors.settings import NetworkSettings
from actors.storage.interface import Audit, StateValues
from bench.contract_examples import Catalog
from bench.simulation.raft.linearizability import Operation
from bench.soak.chain_walk import ChainWalk, WalkedChain, compare_accounts
from bench.soak.contract_evidence import ContractEvidence, evidence_of, hold_against
from bench.soak.judge import Fault, Sample, SoakEvidence
from bench.soak.replay import Replay, Told, as_told
from bench.soak.sabotage import Sabotage
from bench.workload import CallsPlan, PoolPlan, SignedPool, build_pool

MEMBERS = sorted((Signer(bytes([n]) * 32) for n in (1, 2, 3)), key=lambda signer: signer.public_key)
ROWS, BLOCKS, ACCOUNTS = 20, 4, 12
DEPLOYER = ACCOUNTS - 1
NETWORK = NetworkSettings(name="judged", development_accounts=ACCOUNTS)
Blocks = list[tuple[SealedHeader, Batch]]


class JudgedChain:
    """contracts: after the examples are deployed each block has calls among its transfers."""

    def __init__(self, contracts: bool = False) -> None:
        folders = [NodeFolder(f"node-{n}", Path(), s.public_key) for n, s in enumerate(MEMBERS)]
        self.contracts = contracts
        self.allocation: Allocation = development_allocation(NETWORK)
        self.genesis: Genesis = build_genesis(NETWORK, self.allocation, folders, 0)
        self.state = {
            development_signer("judged", n).public_key: Account(0, NETWORK.development_balance)
            for n in range(ACCOUNTS)
        }
        self.entries = Entries()
        self.told: list[tuple[bytes, Told]] = []
        self.receipts: dict[int, bytes] = {}
        self.blocks: Blocks = []
        parent = self.genesis.hash()
        for number, batch in enumerate(self._batches()):
            sealed = self._sealed(number + 1, parent, batch)
            self.blocks.append((sealed, batch))
            parent = sealed.header.hash()

    def _batches(self) -> Iterator[Batch]:
        transfers = self._pool(None, 0)
        if not self.contracts:
            yield from _cut(transfers)
            return
        signer, prices = development_signer("judged", DEPLOYER), self.genesis.prices
        opening = Catalog(signer.public_key, prices).opening()
        yield concatenate([sign_transfer(signer, self.genesis.chain_tag, said) for said in opening])
        plan = CallsPlan(DEPLOYER, prices.fee_min, prices.gas_per_unit, prices.entry_deposit, 0.05)
        for some, calls in zip(_cut(transfers), _cut(self._pool(plan, ACCOUNTS // 2)), strict=True):
            yield concatenate([some, calls])

    def _pool(self, calls: CallsPlan | None, first_account: int) -> SignedPool:
        accounts = ACCOUNTS // 2 - 1 if self.contracts else ACCOUNTS
        rows, tag = ROWS * BLOCKS, self.genesis.chain_tag
        return build_pool(PoolPlan("", "judged", tag, accounts, rows, first_account, "zipf", calls=calls))

    def _sealed(self, height: int, parent: bytes, batch: Batch) -> SealedHeader:
        proposer = MEMBERS[height % 3]
        header = Header(
            height, 1, 1000 * height, len(batch), len(batch.payloads), parent, root(batch.ids()), bytes(32),
            bytes(32), proposer.public_key,
        )  # fmt: skip
        outcome = rules.apply_batch(
            self.state, batch, rules.environment_of(header, self.genesis), self.entries
        )
        assert set(outcome.verdicts) == {0}
        self._note(height, batch, outcome)
        header = replace(
            header,
            state_root=state_root(self.state, self.entries),
            receipts_root=rules.receipts_root(outcome.receipts),
        )
        network = self.genesis.hash()
        votes = tuple((s.public_key, sign_vote(s, network, header, 1)) for s in MEMBERS[:2])
        return SealedHeader(header, sign_proposal(proposer, network, header.hash()), Certificate(1, votes))

    def _note(self, height: int, batch: Batch, outcome: rules.Outcome) -> None:
        """What nodes have stored of a block, and what clients were told of its calls."""
        heads = [receipt[:RECEIPT_BYTES] for receipt in outcome.receipts]
        calls = np.flatnonzero(batch.rows["kind"] != KIND_TRANSFER).tolist()
        rows = np.frombuffer(b"".join(heads), dtype=np.uint8).reshape(-1, RECEIPT_BYTES)
        outputs = tuple(outcome.applied[at].output(at) for at in calls)
        self.receipts[height] = b"".join(Receipts(rows, outputs).encode())
        ids = batch.ids()
        self.told += [(ids[at].tobytes(), as_told(heads[at], outcome.applied[at], height)) for at in calls]

    def call(self, actor: str, method: str, *arguments: Any) -> Any:
        """As a node's Storage answers."""
        assert actor == "storage"
        if method == "receipts":
            return self.receipts[arguments[0]]
        assert method == "state_values"
        return StateValues(len(self.blocks), tuple(self.entries.get(key, b"") for key in arguments[0]))

    def walked(
        self,
        node: str,
        blocks: Iterator[tuple[SealedHeader, Batch]],
        replay: Replay | None = None,
        twin: WalkedChain | None = None,
    ) -> WalkedChain:
        """The chain as a walk finds it."""
        walker = ChainWalk(node, self.genesis, self.allocation, replay=replay, twin=twin)
        for sealed, batch in blocks:
            walker.take(sealed, batch)
        chain = walker.finish()
        keys = np.frombuffer(b"".join(self.state), dtype=np.uint8).reshape(-1, 32)
        nonces = np.array([account.nonce for account in self.state.values()], dtype=np.uint64)
        balances = np.array([account.balance for account in self.state.values()], dtype=np.uint64)
        compare_accounts(chain, AccountStates(1, keys, nonces, balances))
        return chain

    def evidence(self, sabotage: Sabotage | None = None) -> SoakEvidence:
        """What an honest run leaves behind, unless the blocks that are read are tampered with."""
        first = iter(self.blocks)
        if sabotage is not None and sabotage.blocks is not None:
            first = sabotage.blocks(first)
        replay = self.replay() if self.contracts else None
        chains = [self.walked("node-0", first, replay)]
        twin = chains[0] if self.contracts else None
        chains += [self.walked(f"node-{n}", iter(self.blocks), twin=twin) for n in (1, 2)]
        found: ContractEvidence | None = None
        if replay is not None:
            found = evidence_of(replay, list(self.told))
            for chain in chains:
                hold_against(chain, self, replay)
        audit = Audit(
            len(self.blocks), len(self.blocks), "", state_root(self.state, self.entries), supply(self.state),
            self.genesis.supply,
        )  # fmt: skip
        ids = concatenate([batch for _, batch in self.blocks]).ids()
        times = np.arange(0.0, 100.0, 0.1)
        return SoakEvidence(
            began_s=0.0, ended_s=100.0, steady=(5.0, 20.0), chains=chains,
            audits={chain.node: audit for chain in chains}, supply=self.genesis.supply,
            acknowledged=prefixes(ids), must_not=np.array([1, 2], dtype=np.uint64), refused=0, unanswered=0,
            answers=np.column_stack((times, times + 0.05, np.full(len(times), 10.0))),
            registers=[[Operation(True, 1, 0.0, 1.0), Operation(False, 1, 2.0, 3.0)]],
            expiring=[(3, 2, True)],
            faults=[Fault("kill_storage", "node-1/storage", 30.0, 30.0, 32.5)],
            samples=[Sample(float(t), "node-1/storage", 7, 100 + t / 60, 40) for t in range(100)],
            terms=[(1.0, "node-1", 1), (20.0, "node-1", 1), (31.0, "node-2", 2)],
            disk=[(0.0, "node-1", 1_000), (100.0, "node-1", 500_000)],
            contracts=found,
        )  # fmt: skip

    def replay(self) -> Replay:
        """At the genesis."""
        return Replay(self.genesis, self.allocation, sha256_rows, [tx_id for tx_id, _ in self.told])


def _cut(pool: SignedPool) -> Iterator[Batch]:
    """BLOCKS batches of ROWS rows."""
    whole = Batch(pool.rows, pool.payloads)
    for at in range(0, ROWS * BLOCKS, ROWS):
        yield whole.take(np.arange(at, at + ROWS))
