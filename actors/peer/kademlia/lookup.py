"""Iterative lookups over disjoint paths, without I/O: it says whom to ask, the caller tells what came back.

Theory of operation. The contacts to start from are dealt to `paths` paths; each path asks its nearest
contact not asked yet, and no contact is asked by two paths (S/Kademlia, Baumgart and Mies 2007, section 4.4):
a liar on one path cannot mislead the others. A path is exhausted when its `width` nearest contacts that did
not fail have all answered. The result is the union, nearest first. Records are signed, so when the caller
looks for one identity the first record of it ends the lookup.

A lookup asks at most `QUERIES_MAX` contacts and holds at most `QUERIES_MAX` * 16 records.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from actors.peer.kademlia.buckets import ALPHA, K
from actors.peer.kademlia.records import EndpointRecord

PATHS = 3
QUERIES_MAX = 256


@dataclass(slots=True)
class Candidate:
    """A contact that a path knows. `hop` counts the answers that led to it; 0 is the local table."""

    record: EndpointRecord
    hop: int
    state: str = "known"  # then "asked", then "answered" or "failed"


@dataclass(slots=True)
class Path:
    """One of the disjoint paths: candidates by identity, and in order of distance."""

    candidates: dict[bytes, Candidate] = field(default_factory=dict)
    nearest: list[tuple[int, Candidate]] = field(default_factory=list)
    in_flight: int = 0


class Lookup:
    """One lookup. Ask `next_queries` until it is empty and nothing is in flight, which is `finished`."""

    def __init__(
        self,
        target: int,
        start: Sequence[EndpointRecord],
        *,
        wanted: bytes | None = None,
        local_identity: bytes = b"",
        k: int = K,
        alpha: int = ALPHA,
        paths: int = PATHS,
    ) -> None:
        """`wanted`: the identity whose record ends the lookup early; None to find the `k` nearest."""
        self.target = target
        self.wanted = wanted
        self.found: EndpointRecord | None = None
        self.hops = 0
        self.queries = 0
        self._k = k
        self._width = max(1, (k + paths - 1) // paths) + 1
        self._alpha = max(1, alpha // paths)
        self._local_identity = local_identity
        self._taken: dict[bytes, int] = {}
        self._paths = [Path() for _ in range(paths)]
        for index, record in enumerate(sorted(start, key=lambda record: record.id ^ target)):
            self._learn(index % paths, record, 0)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to ask or to wait for."""
        if self.found is not None:
            return True
        return all(not path.in_flight and self._next(path) is None for path in self._paths)

    def next_queries(self) -> list[EndpointRecord]:
        """Contacts to ask now; each must be reported by `answered` or `failed`."""
        queries: list[EndpointRecord] = []
        if self.found is not None:
            return queries
        for number, path in enumerate(self._paths):
            while path.in_flight < self._alpha and self.queries < QUERIES_MAX:
                candidate = self._next(path)
                if candidate is None:
                    break
                candidate.state = "asked"
                self._taken[candidate.record.identity] = number
                path.in_flight += 1
                self.queries += 1
                queries.append(candidate.record)
        return queries

    def answered(self, identity: bytes, records: Sequence[EndpointRecord]) -> None:
        """A contact answered with records (verified by the caller; at most `k` are looked at)."""
        candidate = self._settle(identity, "answered")
        if candidate is None:
            return
        for record in records[: self._k]:
            self._learn(self._taken[identity], record, candidate.hop + 1)

    def failed(self, identity: bytes) -> None:
        """A contact did not answer, or answered rubbish."""
        self._settle(identity, "failed")

    def nearest(self) -> list[EndpointRecord]:
        """The `k` nearest contacts that answered, over all paths."""
        answered = {
            identity: candidate.record
            for path in self._paths
            for identity, candidate in path.candidates.items()
            if candidate.state == "answered"
        }
        return sorted(answered.values(), key=lambda record: record.id ^ self.target)[: self._k]

    def _settle(self, identity: bytes, state: str) -> Candidate | None:
        number = self._taken.get(identity)
        if number is None:
            return None
        candidate = self._paths[number].candidates[identity]
        if candidate.state != "asked":
            return None
        candidate.state = state
        self._paths[number].in_flight -= 1
        return candidate

    def _learn(self, number: int, record: EndpointRecord, hop: int) -> None:
        if record.identity == self._local_identity:
            return
        if record.identity == self.wanted and self.found is None:
            self.found, self.hops = record, hop
        path = self._paths[number]
        if record.identity not in path.candidates:
            candidate = path.candidates[record.identity] = Candidate(record, hop)
            bisect.insort(path.nearest, (record.id ^ self.target, candidate), key=lambda entry: entry[0])

    def _next(self, path: Path) -> Candidate | None:
        """The nearest candidate not taken by any path, among the `width` nearest that are this path's."""
        if self.queries >= QUERIES_MAX:
            return None
        considered = 0
        for _, candidate in path.nearest:
            if candidate.state == "failed":
                continue
            if candidate.state == "known":
                if candidate.record.identity in self._taken:
                    continue
                return candidate
            considered += 1
            if considered >= self._width:
                return None
        return None
