"""Many schedules, and the hunt for the planted bugs, on as many processes as there are cores.

A schedule depends on its seed alone, and results are put together in the order of seeds: how many processes
share the work changes nothing but the time.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.consensus.raft import Raft

from .bugs import PLANTED
from .chaos import Schedule
from .violation import ViolationError

HUNT_SEEDS_MAX = 2500
FAILURES_KEPT_MAX = 20
SEEDS_PER_TASK = 20
ALLOCATIONS_PER_COLLECTION = 200_000  # nearly all that a schedule makes is gone by counting references

Progress = Callable[[int, int], None]
Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class ScheduleOutcome:
    """What one schedule came to; the reason is None if nothing was violated."""

    seed: int
    steps: int
    operations: int
    reason: str | None
    features: tuple[str, ...]


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


def simulate(
    seeds: int, start_seed: int = 0, progress: Progress | None = None, processes: int = 1
) -> dict[str, Any]:
    """Runs schedules `start_seed` to `start_seed + seeds - 1`, then hunts each planted bug from seed 0 on.

    `progress` is called with the number of schedules done and their total. The result's `violations` counts
    the schedules that broke an invariant; `failures` names the seeds of the first of them, and why: run
    `simulate(1, seed)` to see one again.
    """
    steps = histories = operations = violations = done = 0
    failures: list[dict[str, Any]] = []
    wanted = range(start_seed, start_seed + seeds)
    spans = [wanted[at : at + SEEDS_PER_TASK] for at in range(0, seeds, SEEDS_PER_TASK)]
    with _spread_over(processes) as spread:
        for outcomes in spread(_run_span, spans):
            for outcome in outcomes:
                steps += outcome.steps
                done += 1
                if outcome.reason is None:
                    histories += 1
                    operations += outcome.operations
                else:
                    violations += 1
                    if len(failures) < FAILURES_KEPT_MAX:
                        said = {"reason": outcome.reason, "features": list(outcome.features)}
                        failures.append({"seed": outcome.seed, **said})
                if progress is not None:
                    progress(done, seeds)
        names = [raft_type.__name__ for raft_type, _ in PLANTED]
        found = dict(zip(names, spread(_hunt_planted, range(len(PLANTED))), strict=True))
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


def _run_span(span: range) -> list[ScheduleOutcome]:
    outcomes = []
    for seed in span:
        schedule, reason = try_schedule(seed)
        world = schedule.world
        features = tuple(sorted(schedule.enabled)) if reason else ()
        outcomes.append(ScheduleOutcome(seed, world.steps, len(world.history), reason, features))
    return outcomes


def _hunt_planted(number: int) -> int | None:
    return hunt(*PLANTED[number])


@contextmanager
def _spread_over(processes: int) -> Iterator[Spread]:
    """A `map` over that many processes, in order; it ends with them, also when it is interrupted."""
    if processes == 1:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes, _begin) as pool:
        yield pool.imap


def _begin() -> None:
    """In a process of the pool: whoever started it hears Ctrl-C, and ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
