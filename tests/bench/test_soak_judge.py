"""The judge on synthetic histories: every check holds on an honest one, and each sabotage fails its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from actors.directory import NodeFolder, build_genesis, development_allocation
from actors.ledger import rules
from actors.ledger.accounts import Account, state_root, supply
from actors.ledger.block import Certificate, Header, SealedHeader, sign_proposal, sign_vote
from actors.ledger.delta import AccountStates
from actors.ledger.environment import Environment
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import prefixes
from actors.ledger.merkle import root
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, development_signer
from actors.settings import NetworkSettings
from actors.storage.interface import Audit
from bench.simulation.raft.linearizability import Operation
from bench.soak.chain_walk import ChainWalk, WalkedChain, compare_accounts
from bench.soak.judge import (
    CHECKS,
    Fault,
    Sample,
    SoakEvidence,
    judge,
    lost,
    recovery_ms,
    slope_per_min,
    slopes,
)
from bench.soak.sabotage import SABOTAGE, Sabotage
from bench.workload import PoolPlan, build_pool

MEMBERS = sorted((Signer(bytes([n]) * 32) for n in (1, 2, 3)), key=lambda signer: signer.public_key)
ROWS, BLOCKS = 20, 4
NETWORK = NetworkSettings(name="judged", development_accounts=10)
Blocks = list[tuple[SealedHeader, Batch]]


class World:
    """A little chain of three members, made by the reference rules."""

    def __init__(self) -> None:
        from pathlib import Path

        folders = [NodeFolder(f"node-{n}", Path(), s.public_key) for n, s in enumerate(MEMBERS)]
        self.allocation: Allocation = development_allocation(NETWORK)
        self.genesis: Genesis = build_genesis(NETWORK, self.allocation, folders, 0)
        plan = PoolPlan("", "judged", self.genesis.chain_tag, 10, ROWS * BLOCKS, shape="zipf")
        self.rows = build_pool(plan).rows
        self.state = {
            development_signer("judged", n).public_key: Account(0, NETWORK.development_balance)
            for n in range(10)
        }
        self.blocks: Blocks = []
        parent = self.genesis.hash()
        for number in range(BLOCKS):
            batch = Batch(self.rows[number * ROWS : (number + 1) * ROWS], np.empty(0, dtype=np.uint8))
            sealed = self._sealed(number + 1, parent, batch)
            self.blocks.append((sealed, batch))
            parent = sealed.header.hash()

    def _sealed(self, height: int, parent: bytes, batch: Batch) -> SealedHeader:
        proposer = MEMBERS[height % 3]
        outcome = rules.apply_batch(
            self.state,
            batch,
            Environment(self.genesis.chain_tag, height, proposer.public_key, self.genesis.prices),
        )
        assert set(outcome.verdicts) == {0}
        roots = root(batch.ids()), state_root(self.state), rules.receipts_root(outcome.receipts)
        header = Header(height, 1, 0, len(batch), 0, parent, *roots, proposer.public_key)
        network = self.genesis.hash()
        votes = tuple((s.public_key, sign_vote(s, network, header, 1)) for s in MEMBERS[:2])
        return SealedHeader(header, sign_proposal(proposer, network, header.hash()), Certificate(1, votes))

    def walked(self, node: str, blocks: Iterator[tuple[SealedHeader, Batch]]) -> WalkedChain:
        walker = ChainWalk(node, self.genesis, self.allocation)
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
        chains = []
        for number in range(3):
            blocks = iter(self.blocks)
            if sabotage is not None and sabotage.blocks is not None:
                blocks = sabotage.blocks(blocks) if number == 0 else blocks
            chains.append(self.walked(f"node-{number}", blocks))
        audit = Audit(
            len(self.blocks),
            len(self.blocks),
            "",
            state_root(self.state),
            supply(self.state),
            self.genesis.supply,
        )
        ids = Batch(self.rows, np.empty(0, dtype=np.uint8)).ids()
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
        )  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def failed(evidence: SoakEvidence) -> dict[str, str]:
    return {finding.check: finding.problem for finding in judge(evidence) if not finding.holds}


def test_an_honest_history_passes_every_check(world: World) -> None:
    assert failed(world.evidence()) == {}


@pytest.mark.parametrize("name", [name for name, kind in SABOTAGE.items() if kind.blocks or kind.evidence])
def test_tampered_evidence_fails_the_check_that_is_named(world: World, name: str) -> None:
    sabotage = SABOTAGE[name]
    evidence = world.evidence(sabotage)
    if sabotage.evidence is not None:
        sabotage.evidence(evidence)
    assert sabotage.check in failed(evidence)


def _lose(evidence: SoakEvidence) -> None:
    evidence.acknowledged = np.append(evidence.acknowledged, np.uint64(5))


def _stale(evidence: SoakEvidence) -> None:
    evidence.registers[0].append(Operation(False, 0, 4.0, 5.0))


def _elect(evidence: SoakEvidence) -> None:
    evidence.terms.append((80.0, "node-1", 3))


def _never_recover(evidence: SoakEvidence) -> None:
    evidence.faults[0].recovered_s = None


def _stay_slow(evidence: SoakEvidence) -> None:
    evidence.answers[evidence.answers[:, 0] > 30, 1] += 2.0


def _stall_again_and_again(evidence: SoakEvidence) -> None:
    """One second in four is as before."""
    due = evidence.answers[:, 0]
    evidence.answers[(due > 30) & (np.floor(due) % 4 != 0), 1] += 2.0


def _leak(evidence: SoakEvidence) -> None:
    evidence.samples = [replace(sample, rss_mb=100 + 8 * sample.at_s) for sample in evidence.samples]


def _leak_files(evidence: SoakEvidence) -> None:
    evidence.samples = [replace(sample, handles=int(4 * sample.at_s)) for sample in evidence.samples]


def _fill_disk(evidence: SoakEvidence) -> None:
    evidence.disk.append((101.0, "node-1", 1 << 40))


def _refuse(evidence: SoakEvidence) -> None:
    evidence.refused = 1


def _leave_open(evidence: SoakEvidence) -> None:
    evidence.unanswered = 3


def _lag(evidence: SoakEvidence) -> None:
    evidence.chains[1].hashes.pop()


def _no_absence(evidence: SoakEvidence) -> None:
    evidence.expiring = [(3, 2, False)]


@pytest.mark.parametrize(
    ("check", "tamper"),
    [
        ("nothing_lost", _lose),
        ("nothing_unanswered", _refuse),
        ("nothing_unanswered", _leave_open),
        ("no_forks", _lag),
        ("nothing_expired", _no_absence),
        ("linearizable", _stale),
        ("elections", _elect),
        ("recovered", _never_recover),
        ("latencies_back", _stay_slow),
        ("latencies_back", _stall_again_and_again),
        ("no_leak", _leak),
        ("no_leak", _leak_files),
        ("no_leak", _fill_disk),
    ],
)
def test_what_a_running_network_does_wrong_fails_its_check_alone(
    world: World, check: str, tamper: Callable[[SoakEvidence], None]
) -> None:
    evidence = world.evidence()
    tamper(evidence)
    assert set(failed(evidence)) == {check}


def test_every_check_has_a_sabotage_and_every_sabotage_a_check() -> None:
    assert {kind.check for kind in SABOTAGE.values()} == set(CHECKS)


def test_an_election_right_after_a_fault_has_a_cause(world: World) -> None:
    evidence = world.evidence()
    evidence.terms = [(1.0, "node-1", 1), (41.0, "node-1", 2)]
    assert failed(evidence) == {}
    evidence.terms = [(1.0, "node-1", 1), (44.0, "node-1", 2)]
    assert set(failed(evidence)) == {"elections"}


def test_figures_of_the_evidence(world: World) -> None:
    evidence = world.evidence()
    assert lost(evidence) == 0
    assert recovery_ms(evidence.faults) == {"kill_storage": 2_500.0}
    assert slopes(evidence, "rss_mb") == {"node-1/storage": 1.0}
    assert slope_per_min([0, 1, 2, 3, 4], [0, 1, 50, 3, 4]) == pytest.approx(60)
    assert slope_per_min([1.0], [5.0]) == 0.0


def test_a_walk_agrees_with_the_reference_rules(world: World) -> None:
    chain = world.walked("node-0", iter(world.blocks))
    assert chain.problems == {}
    walked = dict(
        zip((bytes(key).ljust(32, b"\0") for key in chain.keys), chain.balances.tolist(), strict=True)
    )
    assert walked == {key: account.balance for key, account in world.state.items()}
