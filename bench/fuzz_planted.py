"""Bugs that are planted in native code, hunted by fuzzing: what it would find, and how soon."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.contract_fuzz.planted import PLANTED, planted
from bench.fuzz_contracts import INTERPRETER, NATIVE, Counts, fuzz_program

PROGRAMS_MAX = 60
"""For one bug."""


def fuzz_planted(
    bugs: Sequence[str],
    seed: int,
    progress: Callable[[str, int], None],
    programs_max: int = PROGRAMS_MAX,
) -> dict[str, object]:
    """Hunt each bug with the programs of a seed, from the first on. Raises ValueError for an unknown one.

    Answers `planted` and `found`, how many; `taken`, by bug, how many programs; and `missed`. progress is
    told a bug and how many programs it has taken.
    """
    if unknown := sorted(set(bugs) - set(PLANTED)):
        raise ValueError(f"no planted bug {unknown[0]!r}: there are {', '.join(PLANTED)}")
    taken = dict[str, int]()
    for bug in bugs:
        with planted(bug):
            found = _hunt(bug, seed, progress, programs_max)
        if found is not None:
            taken[bug] = found + 1
    missed = [bug for bug in bugs if bug not in taken]
    return {
        "seed": seed, "planted": len(bugs), "found": len(taken), "taken": taken, "missed": missed,
    }  # fmt: skip


def _hunt(bug: str, seed: int, progress: Callable[[str, int], None], programs_max: int) -> int | None:
    """The number of the first program that shows it."""
    for number in range(programs_max):
        if shows(seed, number):
            return number
        progress(bug, number + 1)
    return None


def shows(seed: int, number: int) -> bool:
    """Whether native code is not what the interpreter says, in one program."""
    counts = Counts()
    fuzz_program(seed, number, counts, (INTERPRETER, NATIVE))
    return bool(counts.disagreements or counts.crashes)
