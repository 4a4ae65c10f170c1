"""Many schedules, and the hunt for the planted bugs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.consensus.raft import Raft

from .bugs import PLANTED
from .chaos import Schedule
from .violation import ViolationError

HUNT_SEEDS_MAX = 2500
FAILURES_KEPT_MAX = 20

Progress = Callable[[int, int], None]


def try_schedule(
    seed: int, raft_type: type[Raft] = Raft, features: frozenset[str] = frozenset()
) -> tuple[Schedule, str | None]:
    """Runs one schedule; the reason is None if nothing was violated."""
    schedule = Schedule(seed, raft_type, features)
    try:
        schedule.run()
    except ViolationError as violation:
        return schedule, str(violation)
    except Exception as error:  # noqa: BLE001 - whatever a core raises is what the simulator looks for
        return schedule, f"core raised {type(error).__name__}: {error}"
    return schedule, None


def hunt(raft_type: type[Raft], features: frozenset[str], seeds_max: int = HUNT_SEEDS_MAX) -> int | None:
    """The first seed, from 0 on, that shows what is wrong with `raft_type`. None if none does.

    A schedule counts only if the real core survives it: it is the planted bug that must be found.
    """
    for seed in range(seeds_max):
        if try_schedule(seed, raft_type, features)[1] is None:
            continue
        if try_schedule(seed, Raft, features)[1] is None:
            return seed
    return None


def simulate(seeds: int, start_seed: int = 0, progress: Progress | None = None) -> dict[str, Any]:
    """Runs schedules `start_seed` to `start_seed + seeds - 1`, then hunts each planted bug from seed 0 on.

    `progress` is called with the number of schedules done and their total. The result's `violations` counts
    the schedules that broke an invariant; `failures` names the seeds of the first of them, and why: run
    `simulate(1, seed)` to see one again.
    """
    steps = histories = operations = violations = 0
    failures: list[dict[str, Any]] = []
    for done, seed in enumerate(range(start_seed, start_seed + seeds), start=1):
        schedule, reason = try_schedule(seed)
        steps += schedule.world.steps
        if reason is None:
            histories += 1
            operations += len(schedule.world.history)
        else:
            violations += 1
            if len(failures) < FAILURES_KEPT_MAX:
                failures.append({"seed": seed, "reason": reason, "features": sorted(schedule.enabled)})
        if progress is not None:
            progress(done, seeds)
    found = {raft_type.__name__: hunt(raft_type, features) for raft_type, features in PLANTED}
    return {
        "seeds": seeds,
        "start_seed": start_seed,
        "steps": steps,
        "violations": violations,
        "failures": failures,
        "histories_checked": histories,
        "operations_checked": operations,
        "planted_bugs": len(found),
        "planted_bugs_found": sum(1 for seed in found.values() if seed is not None),
        "planted_bugs_seeds": found,
    }
