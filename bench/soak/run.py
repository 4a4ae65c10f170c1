"""One soak: phases of load on a running network, faults meanwhile, and what the judge says of the evidence.

warm-up    the rate rises                      faults     one kind after another, in a seeded order
steady     the rate that latencies are held    catch-up   half the rate, nothing else
           against                             drain      no load: all that is under way is answered for
burst      twice the rate
conflicts  one recipient for all, and Zipf's law, beside half the rate
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.console import UserError
from actors.kernels.selection import select
from actors.ledger.hashing import prefixes
from actors.shell import kernel_cache_dir
from bench.generators import Running, ceiling_tps, joined
from bench.load import LoadPlan
from bench.saturation import LoadRun, LoadShape
from bench.soak import judge
from bench.soak.callers import Callers, deploy_examples
from bench.soak.chain_walk import WalkedChain
from bench.soak.contract_evidence import evidence_of
from bench.soak.driver import Driver
from bench.soak.evidence import Expiring, answers_of, audit, ids_of, replay_for, walk, walk_all
from bench.soak.faults import FaultTarget
from bench.soak.isolated_node import IsolatedNode
from bench.soak.judge import CheckResult, SoakEvidence
from bench.soak.load_plans import (
    BATCH_ROWS_MAX,
    CALIBRATION_ACCOUNTS,
    CALIBRATION_ROWS,
    LANES,
    SoakLoad,
    closed,
    faults_s_max,
    only_in_conflicts,
    plan_load,
    refused,
)
from bench.soak.raylets import Raylets
from bench.soak.registers import Payer, Registers
from bench.soak.sabotage import SABOTAGE, Blocks, Sabotage
from bench.soak.watch import Watch
from bench.yardstick import libsodium_verifies_per_s

LOAD_SHARE = 0.2
DRAIN_S_MAX = 120.0
SABOTAGED_DRAIN_S_MAX = 15.0
EXPIRING = 8
# Places among the reserved accounts, of which the first is the probe's, and the next EXPIRING have transfers
# that expire.
DEPLOYER, CALLERS, REGISTERS = 10, (11, 12), 40
NEVER_HEALED_S = 8.0
RESERVED_ACCOUNTS = 400
ACCOUNTS_MIN = 4_000
_START_S = 4.0

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """rate_tps: None measures what the network takes and offers LOAD_SHARE of it.

    prove: after the verdict, tamper with the evidence in every way, and show that each check fails.
    contracts: call contracts, too.
    """

    minutes: float
    seed: int
    kinds: tuple[str, ...]
    rate_tps: float | None = None
    sabotage: tuple[str, ...] = ()
    prove: bool = False
    local: bool = True
    contracts: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the soak, on CLOCK_MONOTONIC."""

    name: str
    begin_s: float
    end_s: float


@dataclass(slots=True)
class Soaked:
    """Everything that a report is made of."""

    options: SoakOptions
    rate_tps: float
    ceiling_tps: float
    yardstick: float
    phases: list[Phase]
    load: dict[str, Any]
    watch: Watch
    driver: Driver
    evidence: SoakEvidence
    findings: list[CheckResult]
    latencies: NDArray[np.float64]
    proofs: dict[str, str]

    @property
    def verdict(self) -> str:
        """pass or fail."""
        return "pass" if all(finding.holds for finding in self.findings) else "fail"


class Soak:
    """A soak of a running network."""

    def __init__(
        self,
        options: SoakOptions,
        nodes: Sequence[Any],
        scratch: Path,
        log: Log,
        raylets: Raylets | None = None,
        outposts: Sequence[IsolatedNode] = (),
    ) -> None:
        self._options, self._nodes, self._scratch, self._log = options, list(nodes), scratch, log
        self._raylets, self._outposts = raylets, outposts
        self._genesis = nodes[0].directory.genesis
        self._urls = [node.url for node in nodes]
        self._accounts = self._genesis.accounts
        if self._accounts < ACCOUNTS_MIN:
            raise UserError(f"network.development_accounts={self._accounts}: a soak needs {ACCOUNTS_MIN}")
        self._reserved = self._accounts - RESERVED_ACCOUNTS
        self._hash_rows = select("auto", kernel_cache_dir()).hash_rows
        self._stop_file = scratch / "soak-stop"
        self._end_sabotage: list[Callable[[], None]] = []
        self._callers: Callers | None = None
        self._opening: list[bytes] = []

    def run(self) -> Soaked:
        """All phases, the drain and the verdict."""
        yardstick = libsodium_verifies_per_s(1.0)
        rate = self._options.rate_tps or self._calibrated()
        plans, lengths = self._plans(rate)
        if self._options.contracts:
            self._deploy()
        self._log(f"{rate:,.0f} transactions/s, {sum(plan.stop for plan in plans):,} signed")
        watch = Watch(self._nodes)
        began_s = time.monotonic() + _START_S
        phases = _phases(began_s, lengths)
        of = {phase.name: phase for phase in phases}
        aimed = [
            self._aimed(plan, of["conflicts" if only_in_conflicts(n) else "warm-up"])
            for n, plan in enumerate(plans)
        ]
        probe = Payer(self._urls, self._genesis, self._reserved)
        registers = Registers(
            self._urls, self._genesis, range(self._reserved + REGISTERS, self._accounts), self._options.seed,
            stale="stale_read" in self._options.sabotage,
        )  # fmt: skip
        target = self._target(random.Random(self._options.seed))
        never_heal = "never_heal" in self._options.sabotage
        driver = Driver(
            target, list(self._options.kinds), probe, NEVER_HEALED_S if never_heal else judge.RECOVERY_S_MAX
        )
        expiring = Expiring(
            self._urls[0], self._genesis, range(self._reserved + 1, self._reserved + 1 + EXPIRING)
        )
        with ExitStack() as stack:
            stack.enter_context(watch)
            generators = Running(self._scratch, aimed)
            stack.callback(generators.kill)
            stack.enter_context(registers)
            if self._callers is not None:
                stack.enter_context(self._callers)
            self._undermine(stack, of["steady"], of["faults"])
            phases = self._follow(phases, driver)
            load = joined(generators.results())
        self._log("draining")
        self._drained()
        probe.close()
        self._log("judging")
        evidence = self._evidence(aimed, watch, driver, registers, probe, expiring, phases)
        proofs = self._proofs(evidence) if self._options.prove else {}
        if self._options.sabotage:
            evidence = self._tampered(evidence, self._options.sabotage)
        findings = judge.judge(evidence)
        ceiling = ceiling_tps(self._scratch, [closed(plan) for plan in aimed[:LANES]])
        latencies = answers_of(aimed)
        return Soaked(
            self._options,
            rate,
            ceiling,
            yardstick,
            phases,
            load,
            watch,
            driver,
            evidence,
            findings,
            latencies,
            proofs,
        )

    def _target(self, chance: random.Random) -> FaultTarget:
        options = self._options
        return FaultTarget(
            self._nodes, chance, options.seed, self._log, options.local, self._raylets, self._outposts
        )

    def _plans(self, rate: float) -> tuple[list[LoadPlan], dict[str, float]]:
        options, deployer = self._options, self._reserved + DEPLOYER
        load = SoakLoad(
            self._urls, self._genesis, self._scratch, self._stop_file, self._reserved, options.minutes,
            options.seed, deployer if options.contracts else None,
        )  # fmt: skip
        return plan_load(load, rate)

    def _deploy(self) -> None:
        self._log("deploying contracts")
        deployer, accounts = self._reserved + DEPLOYER, [self._reserved + place for place in CALLERS]
        self._opening = deploy_examples(self._urls, self._genesis, deployer)
        self._callers = Callers(self._urls, self._genesis, deployer, accounts, self._options.seed)

    def _calibrated(self) -> float:
        self._log("calibrating: what does the network take?")
        shape = LoadShape(
            1, 1, None, CALIBRATION_ACCOUNTS, batch_rows=BATCH_ROWS_MAX, seed=self._options.seed
        )
        run = LoadRun(shape, self._urls, self._genesis, self._scratch)
        run.require_unused()
        return float(run.closed(CALIBRATION_ROWS)["tps"]) * LOAD_SHARE

    def _aimed(self, plan: LoadPlan, phase: Phase) -> LoadPlan:
        """A plan with its beginning, and with what sabotage makes of it."""
        changes: dict[str, Any] = {"begin_s": phase.begin_s}
        if "skip_fsync" in self._options.sabotage:
            changes |= {"durable_every": 1, "durable_wait": "accepted"}
        if "no_retry" in self._options.sabotage:
            changes |= {"retry_s": 0.0}
        return msgspec.structs.replace(plan, **changes)

    def _undermine(self, stack: ExitStack, steady: Phase, faults: Phase) -> None:
        """Have sabotage act: from the steady phase on, or from the faults on if it spoils their healing."""
        for name in self._options.sabotage:
            if SABOTAGE[name].act is not None:
                begin_s = faults.begin_s if SABOTAGE[name].with_faults else steady.begin_s
                self._end_sabotage.append(self._act_later(SABOTAGE[name], begin_s))
                stack.callback(self._end_sabotage[-1])

    def _act_later(self, sabotage: Sabotage, begin_s: float) -> Callable[[], None]:
        """Act in a thread from `begin_s` on; what ends it."""
        stop = threading.Event()

        def act() -> None:
            if sabotage.act is not None and not stop.wait(max(0.0, begin_s - time.monotonic())):
                sabotage.act(self._nodes, stop)

        thread = threading.Thread(target=act, name="sabotage", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(timeout=30)

        return end

    def _follow(self, phases: list[Phase], driver: Driver) -> list[Phase]:
        """Go through the phases; as they were, for faults may take longer than planned."""
        passed, late_s = [], 0.0
        for phase in phases:
            begin_s, end_s = phase.begin_s + late_s, phase.end_s + late_s
            time.sleep(max(0.0, begin_s - time.monotonic()))
            self._log(f"phase {phase.name}")
            if phase.name == "faults":
                driver.run(end_s, begin_s + faults_s_max(end_s - begin_s))
                if "never_heal" in self._options.sabotage:
                    self._sabotage_ends()
                late_s = max(0.0, time.monotonic() - end_s)
            passed.append(Phase(phase.name, begin_s, phase.end_s + late_s))
        time.sleep(max(0.0, passed[-1].end_s - time.monotonic()))
        self._sabotage_ends()
        self._stop_file.touch()
        return passed

    def _sabotage_ends(self) -> None:
        while self._end_sabotage:
            self._end_sabotage.pop()()

    def _drained(self) -> None:
        """Until all nodes stand at one height and their mempools hold no more than what cannot commit."""
        target = self._target(random.Random())
        limit_s = SABOTAGED_DRAIN_S_MAX if self._options.sabotage else DRAIN_S_MAX
        until, before = time.monotonic() + limit_s, [-1]
        while time.monotonic() < until:
            heads, pending = target.heads(), target.pending()
            if heads == before and min(heads) >= 0 and len(set(heads)) == 1 and 0 <= pending <= EXPIRING:
                return
            before = heads
            time.sleep(1.0)
        self._log(f"not drained after {limit_s:.0f} s: heights {before}, {pending} pending")

    def _evidence(
        self, plans: list[LoadPlan], watch: Watch, driver: Driver, registers: Registers, probe: Payer,
        expiring: Expiring, phases: list[Phase],
    ) -> SoakEvidence:  # fmt: skip
        callers, committed = self._callers, [*probe.committed, *registers.committed, *self._opening]
        told = [] if callers is None else callers.told
        committed += [] if callers is None else callers.committed
        watched = [tx_id for tx_id, _ in told]
        chains, replay = walk_all(self._nodes, self._hash_rows, self._options.contracts, watched)
        acknowledged, false = ids_of(plans, self._hash_rows)
        own = np.frombuffer(b"".join(committed), dtype=np.uint8).reshape(-1, 32)
        fates = [np.load(f"{plan.history}.batches.npy") for plan in plans]
        steady = next(phase for phase in phases if phase.name == "steady")
        return SoakEvidence(
            began_s=phases[0].begin_s,
            ended_s=phases[-1].end_s,
            steady=(steady.begin_s, steady.end_s),
            chains=chains,
            audits={node.folder.name: audit(node) for node in self._nodes},
            supply=self._genesis.supply,
            acknowledged=np.concatenate((acknowledged, prefixes(own))),
            must_not=false,
            refused=refused(plans),
            unanswered=int(sum(b["rows"][b["answered_s"] == 0].sum() for b in fates)),
            answers=answers_of(plans),
            registers=registers.histories,
            expiring=expiring.proofs(),
            faults=driver.faults,
            samples=watch.samples,
            terms=watch.terms,
            disk=watch.disk,
            contracts=None if replay is None else evidence_of(replay, told),
        )

    def _tampered(self, evidence: SoakEvidence, names: tuple[str, ...]) -> SoakEvidence:
        """The evidence as a lying node would give it: the first one, or all where a block is lost."""
        kinds = [SABOTAGE[name] for name in names]
        streams = [kind.blocks for kind in kinds if kind.blocks is not None]
        lying = self._nodes if "drop_block" in names else self._nodes[:1]
        chains = deepcopy(evidence.chains)
        if streams:
            chains[: len(lying)] = [self._walk_tampered(node, streams) for node in lying]
        tampered = replace(
            evidence, chains=chains, audits=dict(evidence.audits), expiring=list(evidence.expiring)
        )
        for kind in kinds:
            if kind.evidence is not None:
                kind.evidence(tampered)
        return tampered

    def _walk_tampered(self, node: Any, streams: Sequence[Callable[[Blocks], Blocks]]) -> WalkedChain:
        replay = replay_for(node, self._hash_rows) if self._options.contracts else None
        return walk(node, self._hash_rows, streams, replay)

    def _proofs(self, evidence: SoakEvidence) -> dict[str, str]:
        """By kind of tampering, what its check says then; empty for one that was not caught."""
        found = {}
        for name, kind in SABOTAGE.items():
            if kind.of_contracts and not self._options.contracts:
                continue
            if kind.blocks is not None or kind.evidence is not None:
                said = {f.check: f.problem for f in judge.judge(self._tampered(evidence, (name,)))}
                found[name] = said[kind.check]
        return found


def _phases(began_s: float, lengths: dict[str, float]) -> list[Phase]:
    phases, at_s = [], began_s
    for name, seconds in lengths.items():
        phases.append(Phase(name, at_s, at_s + seconds))
        at_s += seconds
    return phases
