"""What a soak comes to: the command's result."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.soak import judge
from bench.soak.contract_evidence import ContractEvidence
from bench.soak.run import Soaked
from bench.soak.sabotage import SABOTAGE


def summary(soaked: Soaked) -> dict[str, Any]:
    """The result of the command."""
    evidence, load = soaked.evidence, soaked.load
    kinds = [fault.kind for fault in soaked.driver.faults]
    failed = {finding.check: finding.problem for finding in soaked.findings if not finding.holds}
    steady = evidence.steady
    calm = soaked.latencies[(soaked.latencies[:, 0] >= steady[0]) & (soaked.latencies[:, 0] < steady[1])]
    calm_ms = (calm[:, 1] - calm[:, 0]) * 1000 if len(calm) else np.zeros(1)
    result = {
        "submitted": load["sent"],
        "acknowledged": len(evidence.acknowledged),
        "committed": len(evidence.chains[0].prefixes) if evidence.chains else 0,
        "lost": judge.lost(evidence),
        "duplicated": judge.duplicated(evidence),
        "forks": judge.forks(evidence),
        "expired": len(evidence.expiring),
        "refused": evidence.refused,
        "unanswered": evidence.unanswered,
        "false_signatures": load["false_signatures"],
        "repetitions": load["repetitions"],
        "faults_injected": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "faults_not_injected": soaked.driver.not_injected,
        "recovery_ms": judge.recovery_ms(soaked.driver.faults),
        "rss_slope_mb_per_min": judge.slopes(evidence, "rss_mb"),
        "linearizable": next(f.holds for f in soaked.findings if f.check == "linearizable"),
        "operations_checked": sum(map(len, evidence.registers)),
        "heights": {chain.node: len(chain.hashes) for chain in evidence.chains},
        "rate_tps": round(soaked.rate_tps, 1),
        "steady_p50_ms": round(float(np.percentile(calm_ms, 50)), 1),
        "steady_p99_ms": round(float(np.percentile(calm_ms, 99)), 1),
        **{name: round(load[name], 1) for name in ("p50_ms", "p99_ms", "p999_ms")},
        "errors_by_kind": load["errors"],
        "generator_ceiling_tps": round(soaked.ceiling_tps, 1),
        "signature_yardstick_per_core": round(soaked.yardstick, 1),
        "ratio_to_yardstick": round(soaked.rate_tps / soaked.yardstick, 3),
        "checks_failed": failed,
        "checks": {finding.check: finding.holds for finding in soaked.findings},
        "minutes": soaked.options.minutes,
        "nodes": len(evidence.chains),
        "seed": soaked.options.seed,
        "verdict": soaked.verdict,
    }
    if evidence.contracts is not None:
        result["contracts"] = _of_contracts(evidence.contracts)
    if soaked.options.sabotage:
        result["sabotage"] = {
            name: {
                "must_fail": SABOTAGE[name].check,
                "caught": SABOTAGE[name].check in failed,
                "problem": failed.get(SABOTAGE[name].check, ""),
            }
            for name in soaked.options.sabotage
        }
    if soaked.options.prove:
        result["proofs"] = {
            name: {"must_fail": SABOTAGE[name].check, "caught": bool(problem), "problem": problem}
            for name, problem in soaked.proofs.items()
        }
    return result


def _of_contracts(contracts: ContractEvidence) -> dict[str, Any]:
    """Counts of the chain's calls and deployments, as the interpreter makes them."""
    return {
        "deployed": contracts.deployed,
        "calls_succeeded": contracts.succeeded,
        "failed": dict(sorted(contracts.failed.items())),
        "gas": contracts.gas,
        "events": contracts.events,
        "entries": contracts.entries,
        "receipts_told": len(contracts.told),
    }
