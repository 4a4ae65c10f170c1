"""The judge: what must hold after a soak, each check a function of the evidence. No I/O, no clock.

A check answers with what is wrong, nothing if it holds. Every check can fail: `sabotage.py` makes each do so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.storage.interface import Audit
from bench.simulation.raft.linearizability import HistoryTooWideError, Operation, is_linearizable
from bench.soak import contract_evidence
from bench.soak.chain_walk import WalkedChain
from bench.soak.contract_evidence import ContractEvidence

RECOVERY_S_MAX = 120.0
LOST_BLOCKS_PER_S_MIN = 10.0
"""A member that has lost its disk validates its chain once more, beside a network that is at work."""
LATENCY_BACK_SECONDS = 30
CALM_SECONDS = 3
LATENCY_FACTOR = 10.0
LATENCY_SLACK_S = 1.0
ELECTION_AFTER_S = 10.0
SERIES_S_MIN = 15.0
WARM_UP_S = 10.0
# What a node may fill on the way: RocksDB's memory tables, the proof history, caches, the allocator's slack.
RSS_GROWTH_MB_MAX = 400.0
RSS_SLOPE_MB_PER_MIN_MIN = 4.0
HANDLES_GROWTH_MAX = 200.0
DISK_BYTES_PER_ROW_MAX = 4_096
DISK_BYTES_FREE = 512 << 20


@dataclass(slots=True)
class Fault:
    """One injected fault. Times on CLOCK_MONOTONIC; recovered_s None: not within the bound.

    Recovery counts from `healed_s`, which for a kill is the kill itself.
    """

    kind: str
    target: str
    injected_s: float
    healed_s: float = 0.0
    recovered_s: float | None = None
    detail: str = ""


@dataclass(slots=True)
class Sample:
    """An actor's process at one time."""

    at_s: float
    actor: str
    pid: int
    rss_mb: float
    handles: int
    cpu_s: float = 0.0


@dataclass(slots=True)
class SoakEvidence:
    """What the judge is given. Times on CLOCK_MONOTONIC, ids as eight-byte prefixes.

    acknowledged: ids reported durable or committed. must_not: ids that no chain may hold. expiring: (id,
    expiry height, whether absence is proven) of acknowledged rows that could never commit. answers: due and
    answered time of every batch. terms: (time, node, term). disk: (time, node, bytes). contracts: None where
    none were called.
    """

    began_s: float
    ended_s: float
    steady: tuple[float, float]
    chains: list[WalkedChain]
    audits: dict[str, Audit]
    supply: int
    acknowledged: NDArray[np.uint64]
    must_not: NDArray[np.uint64]
    refused: int
    unanswered: int
    answers: NDArray[np.float64]
    registers: list[list[Operation]] = field(default_factory=list)
    expiring: list[tuple[int, int, bool]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    terms: list[tuple[float, str, int]] = field(default_factory=list)
    disk: list[tuple[float, str, int]] = field(default_factory=list)
    contracts: ContractEvidence | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check's outcome; `problem` is empty if it holds."""

    check: str
    asks: str
    problem: str

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


def judge(evidence: SoakEvidence) -> list[CheckResult]:
    """Every check, in order; those of contracts where any were called."""
    checks = CHECKS if evidence.contracts is None else CHECKS | CONTRACT_CHECKS
    return [CheckResult(name, asks, check(evidence)) for name, (asks, check) in checks.items()]


def lost(evidence: SoakEvidence) -> int:
    """Acknowledged transactions that the chain does not hold; those proven expired are not lost."""
    if not evidence.chains:
        return len(evidence.acknowledged)
    return int(np.count_nonzero(~np.isin(evidence.acknowledged, evidence.chains[0].prefixes)))


def duplicated(evidence: SoakEvidence) -> int:
    """Occurrences of a transaction beyond its first in the chain."""
    if not evidence.chains:
        return 0
    return len(evidence.chains[0].prefixes) - len(np.unique(evidence.chains[0].prefixes))


def forks(evidence: SoakEvidence) -> int:
    """Heights at which two nodes hold different blocks."""
    count = 0
    for other in evidence.chains[1:]:
        count += sum(a != b for a, b in zip(evidence.chains[0].hashes, other.hashes, strict=False))
    return count + sum(chain.counts.get("no_forks", 0) for chain in evidence.chains)


def slope_per_min(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Theil-Sen: the median of the slopes between points, so that a few outliers do not tilt it."""
    t, v = np.asarray(times_s, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(t) > 200:
        chosen = np.linspace(0, len(t) - 1, 200).astype(np.int64)
        t, v = t[chosen], v[chosen]
    first, second = np.triu_indices(len(t), k=1)
    apart = t[second] - t[first]
    slopes = (v[second] - v[first])[apart > 0] / apart[apart > 0]
    return float(np.median(slopes)) * 60 if len(slopes) else 0.0


def slopes(evidence: SoakEvidence, what: str) -> dict[str, float]:
    """Growth a minute of `rss_mb` or `handles`, by actor: of its longest-lived process, in the second half of
    its life. In the first half fills what has a bound, as caches do; a leak goes on growing."""
    lives: dict[tuple[str, int], list[Sample]] = {}
    for sample in evidence.samples:
        lives.setdefault((sample.actor, sample.pid), []).append(sample)
    longest: dict[str, list[Sample]] = {}
    for (actor, _), life in lives.items():
        warm_s = max(WARM_UP_S, (life[-1].at_s - life[0].at_s) / 2)
        warm = [sample for sample in life if sample.at_s >= life[0].at_s + warm_s]
        if warm and warm[-1].at_s - warm[0].at_s >= SERIES_S_MIN and len(warm) > len(longest.get(actor, [])):
            longest[actor] = warm
    return {
        actor: round(slope_per_min([s.at_s for s in life], [getattr(s, what) for s in life]), 3)
        for actor, life in sorted(longest.items())
    }


def recovery_ms(faults: Sequence[Fault]) -> dict[str, float]:
    """The longest recovery of each kind."""
    worst: dict[str, float] = {}
    for fault in faults:
        if fault.recovered_s is not None:
            took = round((fault.recovered_s - fault.healed_s) * 1000, 1)
            worst[fault.kind] = max(worst.get(fault.kind, 0.0), took)
    return worst


# The checks


def _nothing_lost(evidence: SoakEvidence) -> str:
    missing = lost(evidence)
    return f"{missing} of {len(evidence.acknowledged)} acknowledged are in no block" if missing else ""


def _nothing_unanswered(evidence: SoakEvidence) -> str:
    bad = [f"{evidence.refused} valid transactions were refused"] if evidence.refused else []
    bad += [f"{evidence.unanswered} were never answered for"] if evidence.unanswered else []
    return "; ".join(bad)


def _nothing_duplicated(evidence: SoakEvidence) -> str:
    extra = duplicated(evidence)
    return f"{extra} transactions are committed more than once" if extra else ""


def _no_forks(evidence: SoakEvidence) -> str:
    differing = forks(evidence)
    if differing:
        return f"{differing} heights differ; {_noted(evidence, 'no_forks')}".rstrip("; ")
    heights = {chain.node: len(chain.hashes) for chain in evidence.chains}
    return f"after the drain heads differ: {heights}" if len(set(heights.values())) > 1 else ""


def _roots_agree(evidence: SoakEvidence) -> str:
    said = [f"{node}: {audit.problem}" for node, audit in evidence.audits.items() if audit.problem]
    heads = {chain.state_root for chain in evidence.chains}
    said += ["state roots of the heads differ"] if len(heads) > 1 else []
    said += [
        f"{chain.node}: its head says state root {chain.state_root.hex()[:16]}, its accounts otherwise"
        for chain in evidence.chains
        if evidence.audits[chain.node].state_root != chain.state_root
    ]
    return "; ".join([*said, _noted(evidence, "roots_agree")]).strip("; ")


def _supply(evidence: SoakEvidence) -> str:
    said = []
    for chain in evidence.chains:
        walked, told = sum(chain.balances.tolist()), evidence.audits[chain.node].supply
        if {walked, told} != {evidence.supply}:
            said.append(
                f"{chain.node}: {walked} by its blocks, {told} by its accounts, not {evidence.supply}"
            )
        if (chain.balances < 0).any():
            said.append(f"{chain.node}: an account spent more than it had")
    return "; ".join(said)


def _expired(evidence: SoakEvidence) -> str:
    said = [_noted(evidence, "nothing_expired")]
    head = max((len(chain.hashes) for chain in evidence.chains), default=0)
    for prefix, expiry_height, absence_proven in evidence.expiring:
        if any((chain.prefixes == np.uint64(prefix)).any() for chain in evidence.chains):
            said.append("a transaction that could never be valid is committed")
        elif head <= expiry_height or not absence_proven:
            said.append(f"no proof of absence of one that expired at {expiry_height} (head {head})")
    return "; ".join(said).strip("; ")


def _invalid(evidence: SoakEvidence) -> str:
    held = sum(int(np.isin(chain.prefixes, evidence.must_not).sum()) for chain in evidence.chains)
    return f"{held} transactions with a false signature are committed" if held else ""


def _linearizable(evidence: SoakEvidence) -> str:
    for number, history in enumerate(evidence.registers):
        try:
            if not is_linearizable(history):
                return f"no order of the {len(history)} operations on account {number} explains every read"
        except HistoryTooWideError as error:
            return f"account {number}: undecided, {error}"
    return "" if evidence.registers else "no client recorded a history"


def _no_leak(evidence: SoakEvidence) -> str:
    minutes = max((evidence.ended_s - evidence.began_s) / 60, 1e-9)
    rss_max = max(RSS_SLOPE_MB_PER_MIN_MIN, RSS_GROWTH_MB_MAX / minutes)
    handles_max = HANDLES_GROWTH_MAX / minutes
    said = [
        f"{actor} grows by {slope} MB a minute, limit {rss_max:.1f}"
        for actor, slope in slopes(evidence, "rss_mb").items()
        if slope > rss_max
    ]
    said += [
        f"{actor} opens {slope} files a minute, limit {handles_max:.0f}"
        for actor, slope in slopes(evidence, "handles").items()
        if slope > handles_max
    ]
    rows = len(evidence.chains[0].prefixes) if evidence.chains else 0
    allowed = DISK_BYTES_FREE + rows * DISK_BYTES_PER_ROW_MAX
    for node in sorted({node for _, node, _ in evidence.disk}):
        sizes = [size for _, name, size in evidence.disk if name == node]
        if sizes[-1] - sizes[0] > allowed:
            said.append(f"{node}: its disk grew by {sizes[-1] - sizes[0]} bytes, limit {allowed}")
    return "; ".join(said)


def _elections(evidence: SoakEvidence) -> str:
    said, known = [], 0
    for at_s, node, term in sorted(evidence.terms):
        if known and term > known and not _has_cause(evidence, at_s):
            said.append(f"term {term} at {node}, {at_s - evidence.began_s:.1f} s: no fault before it")
        known = max(known, term)
    return "; ".join(said)


def _has_cause(evidence: SoakEvidence, at_s: float) -> bool:
    return any(
        fault.injected_s <= at_s <= max(fault.healed_s, fault.recovered_s or at_s) + ELECTION_AFTER_S
        for fault in evidence.faults
    )


def _recovered(evidence: SoakEvidence) -> str:
    late = [f"{f.kind} of {f.target}" for f in evidence.faults if f.recovered_s is None]
    allowed = f"{RECOVERY_S_MAX:.0f} s, and a second for {LOST_BLOCKS_PER_S_MIN:.0f} blocks that were lost,"
    return f"no commit within {allowed} after: {', '.join(late)}" if late else ""


def _latencies_back(evidence: SoakEvidence) -> str:
    """Median latency of the batches of a second that no fault disturbs, after each, against the steady
    phase's."""
    if not len(evidence.answers):
        return "no batch was answered"
    due, took = evidence.answers[:, 0], evidence.answers[:, 1] - evidence.answers[:, 0]
    calm = took[(due >= evidence.steady[0]) & (due < evidence.steady[1])]
    if not len(calm):
        return "no batch was answered in the steady phase"
    bound_s = max(float(np.median(calm)) * LATENCY_FACTOR, float(np.median(calm)) + LATENCY_SLACK_S)
    seconds = np.floor(due).astype(np.int64)
    disturbed = np.zeros(len(due), dtype=np.bool_)
    for fault in evidence.faults:
        disturbed |= (due >= fault.injected_s - 1) & (due < (fault.recovered_s or np.inf))
    said = []
    for fault in evidence.faults:
        if fault.recovered_s is None:
            continue
        after = ~disturbed & (due >= fault.recovered_s)
        nearest = np.unique(seconds[after])[:LATENCY_BACK_SECONDS]
        medians = [float(np.median(took[after & (seconds == second)])) for second in nearest]
        if medians and _longest_calm(medians, bound_s) < min(CALM_SECONDS, len(medians)):
            said.append(f"{fault.kind} of {fault.target}: {min(medians) * 1000:.0f} ms at best")
    undisturbed = f"{LATENCY_BACK_SECONDS} seconds without a fault"
    within = f"not within {bound_s * 1000:.0f} ms for {CALM_SECONDS} seconds"
    return f"{within} of {undisturbed}: {', '.join(said)}" if said else ""


def _longest_calm(medians_s: list[float], bound_s: float) -> int:
    """How many seconds in a row were within the bound."""
    longest = current = 0
    for median_s in medians_s:
        current = current + 1 if median_s <= bound_s else 0
        longest = max(longest, current)
    return longest


def _contracts_agree(evidence: SoakEvidence) -> str:
    said = [] if evidence.contracts is None else contract_evidence.faults_of(evidence.contracts)
    return "; ".join([*said, _noted(evidence, contract_evidence.CHECK)]).strip("; ")


def _noted(evidence: SoakEvidence, check: str) -> str:
    return "; ".join(text for chain in evidence.chains for text in chain.problems.get(check, []))


CHECKS: dict[str, tuple[str, Callable[[SoakEvidence], str]]] = {
    "nothing_lost": ("every acknowledged transaction is in a block", _nothing_lost),
    "nothing_unanswered": ("every valid transaction was taken and answered for", _nothing_unanswered),
    "nothing_duplicated": ("no transaction is in two places", _nothing_duplicated),
    "nothing_expired": ("what expired is in no block, and its absence is proven", _expired),
    "nothing_invalid": ("no false signature is in a block", _invalid),
    "no_forks": ("all nodes hold the same blocks, each linked to its parent", _no_forks),
    "roots_agree": ("roots of transactions and state follow from the transactions", _roots_agree),
    "supply_conserved": ("balances sum to the genesis supply", _supply),
    "certificates": ("a majority of the members signed each block", lambda e: _noted(e, "certificates")),
    "block_times": (
        "no block is before its parent, or far ahead of the time",
        lambda e: _noted(e, "block_times"),
    ),
    "nonces": ("each sender's nonces come in order, without gaps", lambda e: _noted(e, "nonces")),
    "linearizable": ("some order of all operations explains what each client read", _linearizable),
    "elections": ("no term began without a fault before it", _elections),
    "recovered": ("commits went on after each fault", _recovered),
    "latencies_back": ("latencies came back after each fault", _latencies_back),
    "no_leak": ("memory, files and disk grow within their bounds", _no_leak),
}
CONTRACT_CHECKS: dict[str, tuple[str, Callable[[SoakEvidence], str]]] = {
    contract_evidence.CHECK: (
        "receipts, entries and what clients were told of calls are what the interpreter makes of the blocks",
        _contracts_agree,
    ),
}
