"""The judge on synthetic histories: every check holds on an honest one, and each sabotage fails its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bench.simulation.raft.linearizability import Operation
from bench.soak.judge import (
    CHECKS,
    CONTRACT_CHECKS,
    SoakEvidence,
    judge,
    lost,
    recovery_ms,
    slope_per_min,
    slopes,
)
from bench.soak.sabotage import SABOTAGE
from tests.bench.judged_chain import JudgedChain

OF_EVIDENCE = [
    name for name, kind in SABOTAGE.items() if (kind.blocks or kind.evidence) and not kind.of_contracts
]


@pytest.fixture(scope="module")
def world() -> JudgedChain:
    return JudgedChain()


def failed(evidence: SoakEvidence) -> dict[str, str]:
    return {finding.check: finding.problem for finding in judge(evidence) if not finding.holds}


def test_an_honest_history_passes_every_check(world: JudgedChain) -> None:
    assert failed(world.evidence()) == {}


@pytest.mark.parametrize("name", OF_EVIDENCE)
def test_tampered_evidence_fails_the_check_that_is_named(world: JudgedChain, name: str) -> None:
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
    world: JudgedChain, check: str, tamper: Callable[[SoakEvidence], None]
) -> None:
    evidence = world.evidence()
    tamper(evidence)
    assert set(failed(evidence)) == {check}


def test_every_check_has_a_sabotage_and_every_sabotage_a_check() -> None:
    assert {kind.check for kind in SABOTAGE.values()} == set(CHECKS) | set(CONTRACT_CHECKS)


def test_an_election_right_after_a_fault_has_a_cause(world: JudgedChain) -> None:
    evidence = world.evidence()
    evidence.terms = [(1.0, "node-1", 1), (41.0, "node-1", 2)]
    assert failed(evidence) == {}
    evidence.terms = [(1.0, "node-1", 1), (44.0, "node-1", 2)]
    assert set(failed(evidence)) == {"elections"}


def test_figures_of_the_evidence(world: JudgedChain) -> None:
    evidence = world.evidence()
    assert lost(evidence) == 0
    assert recovery_ms(evidence.faults) == {"kill_storage": 2_500.0}
    assert slopes(evidence, "rss_mb") == {"node-1/storage": 1.0}
    assert slope_per_min([0, 1, 2, 3, 4], [0, 1, 50, 3, 4]) == pytest.approx(60)
    assert slope_per_min([1.0], [5.0]) == 0.0


def test_a_walk_agrees_with_the_reference_rules(world: JudgedChain) -> None:
    chain = world.walked("node-0", iter(world.blocks))
    assert chain.problems == {}
    walked = dict(
        zip((bytes(key).ljust(32, b"\0") for key in chain.keys), chain.balances.tolist(), strict=True)
    )
    assert walked == {key: account.balance for key, account in world.state.items()}
