"""What a check of a directory found: figures, and what is wrong and where."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

PROBLEMS_MAX = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and where. offset: of the first wrong byte in the value, -1 where it is not known."""

    family: str
    key: str
    what: str
    offset: int = -1


@dataclass(slots=True)
class Findings:
    """values: read, by family. replayed_from: height that execution began at, -1 if it was not possible.

    entries: of contracts, at the head. contracts: those that the executed blocks have deployed.
    """

    height: int = 0
    accounts: int = 0
    entries: int = 0
    contracts: int = 0
    transactions: int = 0
    blocks: int = 0
    headers: int = 0
    executed: int = 0
    replayed_from: int = -1
    state_root: str = ""
    supply: int = 0
    values: dict[str, int] = field(default_factory=dict)
    value_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Note a problem; PROBLEMS_MAX are kept."""
        known = {(p.family, p.key) for p in self.problems}
        if len(self.problems) < PROBLEMS_MAX and (problem.family, problem.key) not in known:
            self.problems.append(problem)

    def sharpen(self, problem: Problem) -> None:
        """As `add`; a problem of the same value whose offset was not known is replaced."""
        for index, known in enumerate(self.problems):
            if (known.family, known.key) == (problem.family, problem.key):
                self.problems[index] = problem if known.offset < 0 else known
                return
        self.add(problem)

    def report(self) -> dict[str, object]:
        """`ok`, the first problem, and the figures."""
        told = asdict(self)
        return {"ok": not self.problems, "problem": told["problems"][0] if self.problems else None, **told}
