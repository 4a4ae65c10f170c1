"""Is a history of reads and writes of one register linearizable?

Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with Lowe's memory of visited
configurations: take any operation that no other one precedes, apply it to the model, and go on; go back if a
read does not see its value. Values are unique, so a write whose outcome is unknown and whose value nobody
read can be left out: it may just as well never have happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

VISITED_MAX = 500_000


class HistoryTooWideError(Exception):
    """Too many operations at once to decide within VISITED_MAX configurations."""


@dataclass(slots=True)
class Operation:
    """One call. `returned_at` is infinite while its outcome is unknown; `value` is written or was read."""

    is_write: bool
    value: int
    invoked_at: float
    returned_at: float = inf


def is_linearizable(history: list[Operation], initial: int = 0) -> bool:
    """True if some order of the operations, true to real time, explains every read."""
    seen = {op.value for op in history if not op.is_write and op.returned_at < inf}
    operations = sorted(
        (op for op in history if op.returned_at < inf or (op.is_write and op.value in seen)),
        key=lambda op: op.invoked_at,
    )
    required = 0
    for position, op in enumerate(operations):
        if op.returned_at < inf:
            required |= 1 << position
    visited: set[tuple[int, int]] = set()
    stack = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & required == required:
            return True
        if (done, value) in visited:
            continue
        visited.add((done, value))
        earliest_return = min(op.returned_at for at, op in enumerate(operations) if not done >> at & 1)
        if len(visited) > VISITED_MAX:
            raise HistoryTooWideError(
                f"more than {VISITED_MAX} configurations in {len(operations)} operations"
            )
        branches = []
        for at, op in enumerate(operations):
            if op.invoked_at > earliest_return:
                break
            if done >> at & 1:
                continue
            if op.is_write:
                branches.append((done | 1 << at, op.value))
            elif op.value == value:
                # A read that may come now and sees its value changes nothing: no other order is better.
                branches = [(done | 1 << at, value)]
                break
        stack += branches
    return False
