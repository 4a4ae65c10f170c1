"""Where the time of a block of calls goes: functions of the chain's own way, timed while they run.

A stage is told without the stages that run inside it, and for the thread that asks alone: what other threads
do meanwhile is time of whoever waits for them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actors.execution import passes
from actors.execution.cells import process
from actors.execution.passes import Division
from actors.storage import contract_jobs, transition

STAGES: tuple[tuple[str, Any, str], ...] = (
    ("checks", transition, "static_verdicts"),
    ("plan", contract_jobs, "plan_touches"),
    ("read", contract_jobs, "_read"),
    ("islands", passes, "islands_of"),
    ("islands", passes, "pack"),
    ("divide", passes._Parts, "_part"),
    ("pack", process, "pack"),
    ("join", passes._Parts, "_together"),
    ("write", contract_jobs, "_write"),
)
"""Stages, and what they are called where."""


class Stopwatch:
    """Nanoseconds of stages since the last `take`, and how the last span was divided."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._inside = list[int]()
        self._spent_ns = Counter[str]()
        self.division = Division(0, 0, 0)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def run(*arguments: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*arguments, **named)
            began = time.perf_counter_ns()
            self._inside.append(0)
            try:
                return function(*arguments, **named)
            finally:
                taken_ns = time.perf_counter_ns() - began
                self._spent_ns[stage] += taken_ns - self._inside.pop()
                if self._inside:
                    self._inside[-1] += taken_ns

        return run

    def take(self) -> dict[str, float]:
        """Microseconds of each stage; they begin anew."""
        spent_us = {stage: spent_ns / 1_000 for stage, spent_ns in self._spent_ns.items()}
        self._spent_ns.clear()
        return spent_us

    def noted(self, run: Callable[..., tuple[Any, Division]]) -> Callable[..., tuple[Any, Division]]:
        """The same function, of whose answer the division is kept."""

        def noting(*arguments: Any) -> tuple[Any, Division]:
            outcome, self.division = run(*arguments)
            return outcome, self.division

        return noting


@contextmanager
def watched() -> Iterator[Stopwatch]:
    """All stages are timed for as long as the context lasts."""
    watch, divides = Stopwatch(), "run_divided"
    places = [(contract_jobs, divides), *((where, name) for _, where, name in STAGES)]
    before = [getattr(where, name) for where, name in places]
    setattr(contract_jobs, divides, watch.noted(before[0]))
    for stage, where, name in STAGES:
        setattr(where, name, watch.timed(stage, getattr(where, name)))
    try:
        yield watch
    finally:
        for (where, name), function in zip(places, before, strict=True):
            setattr(where, name, function)
