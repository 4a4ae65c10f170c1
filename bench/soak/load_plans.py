"""What a soak offers: signed pools, and plans that offer them phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from actors.ledger.genesis import Genesis
from bench.generators import run_plans
from bench.load import REFUSED, LoadPlan
from bench.schedule import Segment, constant, rows_due
from bench.workload import CallsPlan, PoolPlan, Shape

SHARES = {"warm-up": 0.05, "steady": 0.1, "burst": 0.04, "conflicts": 0.06, "faults": 0.65, "catch-up": 0.1}
RATES = {"warm-up": 1.0, "steady": 1.0, "burst": 2.0, "conflicts": 0.5, "faults": 1.0, "catch-up": 1.0}
FAULTS_STRETCH_MAX = 4.0
FAULTS_LATE_S_MAX = 600.0
LANES = 2
REQUESTS_PER_S, BATCH_ROWS_MIN, BATCH_ROWS_MAX = 4.0, 20, 500
DURABLE_EVERY = 5
PAYLOAD_BYTES = (0, 0, 0, 64, 512)
INVALID_SHARE = DUPLICATE_SHARE = 0.01
RETRY_S = 120.0
CALIBRATION_ROWS = 20_000
CALIBRATION_ACCOUNTS = 1_200
CALLS_SHARE, CALLS_PER_S_MAX = 0.2, 150.0
DEPLOY_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class SoakLoad:
    """Where a load goes and what it may use. accounts_end: the first development account that is not its own.
    deployer: of the contracts that one lane calls, None for transfers alone."""

    urls: Sequence[str]
    genesis: Genesis
    scratch: Path
    stop_file: Path
    accounts_end: int
    minutes: float
    seed: int
    deployer: int | None = None


def plan_load(load: SoakLoad, rate: float) -> tuple[list[LoadPlan], dict[str, float]]:
    """Signed pools, plans that offer them, and the lengths of the phases (s).

    Plans: LANES for all phases, then two for the conflicts, then one for calls of contracts, if any, for all
    phases. Whatever the rate, there are about REQUESTS_PER_S, as what a request costs on a small machine
    would drown what its rows cost.
    """
    total_s = load.minutes * 60
    lengths = {name: share * total_s for name, share in SHARES.items()}
    everywhere = _segments(lengths, rate / LANES)
    conflicts = [constant(lengths["conflicts"], rate / 4)]
    shapes: list[tuple[Shape, list[Segment], CallsPlan | None]] = [("uniform", everywhere, None)] * LANES
    shapes += [("hot", conflicts, None), ("zipf", conflicts, None)]
    if load.deployer is not None:
        calls_tps = min(CALLS_SHARE * rate, CALLS_PER_S_MAX)
        shapes.append(("uniform", _segments(lengths, calls_tps), _calls_plan(load.genesis, load.deployer)))
    room = (load.accounts_end - CALIBRATION_ACCOUNTS) // len(shapes)
    pools, plans = [], []
    for number, (shape, schedule, calls) in enumerate(shapes):
        own = CALLS_PER_S_MAX if calls else rate
        batch_rows = int(min(max(own / REQUESTS_PER_S, BATCH_ROWS_MIN), BATCH_ROWS_MAX))
        path, rows = str(load.scratch / f"soak-{number}.npy"), max(rows_due(schedule), batch_rows)
        first, seed = CALIBRATION_ACCOUNTS + number * room, load.seed * 16 + number
        pools.append(
            PoolPlan(
                path, load.genesis.network, load.genesis.chain_tag, room, rows, first, shape, seed,
                PAYLOAD_BYTES, INVALID_SHARE, DUPLICATE_SHARE, calls,
            )
        )  # fmt: skip
        urls = [*load.urls[number % len(load.urls) :], *load.urls[: number % len(load.urls)]]
        history = str(load.scratch / f"soak-history-{number}")
        plans.append(
            LoadPlan(
                urls[0], path, 0, rows, batch_rows, "open", more_urls=urls[1:], segments=schedule,
                retry_s=RETRY_S, durable_every=DURABLE_EVERY, history=history,
                stop_file=str(load.stop_file),
            )
        )  # fmt: skip
    run_plans(load.scratch, pools, "sign")
    return plans, lengths


def only_in_conflicts(number: int) -> bool:
    """Whether a plan, by its place, is for the phase of conflicts alone."""
    return LANES <= number < 2 * LANES


def _segments(lengths: dict[str, float], tps: float) -> list[Segment]:
    """A lane's schedule over all phases; that of the faults is as long as they may take."""
    offered = {**lengths, "faults": faults_s_max(lengths["faults"])}
    return [
        Segment(length, 0.1 * tps if name == "warm-up" else RATES[name] * tps, RATES[name] * tps)
        for name, length in offered.items()
    ]


def _calls_plan(genesis: Genesis, deployer: int) -> CallsPlan:
    return CallsPlan(deployer, genesis.fee_min, genesis.gas_per_unit, genesis.entry_deposit, DEPLOY_SHARE)


def faults_s_max(planned_s: float) -> float:
    """How long the faults may take."""
    return min(FAULTS_STRETCH_MAX * planned_s, planned_s + FAULTS_LATE_S_MAX)


def refused(plans: list[LoadPlan]) -> int:
    """Valid rows that were refused in the end."""
    return sum(int(np.count_nonzero(np.load(f"{plan.history}.fate.npy") == REFUSED)) for plan in plans)


def closed(plan: LoadPlan) -> LoadPlan:
    """The first rows of a plan as fast as they are answered."""
    stop = min(plan.stop, CALIBRATION_ROWS)
    return msgspec.structs.replace(
        plan, mode="closed", stop=stop, segments=[], begin_s=0.0, retry_s=0.0, durable_every=0
    )
