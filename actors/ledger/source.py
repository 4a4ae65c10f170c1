"""Who hands transactions in, as a name "kind:name", which rooms make and read here alone.

A member is a node of this network, a known one a client that has shown who it is, an anonymous one anybody
else; "" is whoever was not named. A member vouches for the kind of what it passes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import FormatError

ANONYMOUS, KNOWN = "anonymous", "known"
KINDS = ANONYMOUS, KNOWN, "member"
SOURCE_CHARS_MAX, NAMES_MAX = 128, 65_535
_OF_MEMBER, _OF_PEER = "member-", "peer-"


def client_source(client: str, known: bool) -> str:
    """A client by the name of its key, or, if it has none, by its address."""
    return f"{KNOWN if known else ANONYMOUS}:{client}"[:SOURCE_CHARS_MAX]


def relayed_source(identity: bytes, member: bool, kind: str) -> str:
    """A node that passes rows on: by the kind that a member vouches for; anybody else's are anonymous."""
    return f"{kind}:{_OF_MEMBER}{identity.hex()}" if member else f"{ANONYMOUS}:{_OF_PEER}{identity.hex()}"


def kind_of(source: str) -> int:
    """Index into KINDS. Raises FormatError when the source is too long or of no kind."""
    if not source:
        return 0
    if len(source) > SOURCE_CHARS_MAX:
        raise FormatError("source", f"{len(source)} characters", f"at most {SOURCE_CHARS_MAX}")
    kind, colon, _ = source.partition(":")
    if kind not in KINDS or not colon:
        raise FormatError("source", repr(source), f"one of {', '.join(KINDS)}, a colon and a name")
    return KINDS.index(kind)


def speaks_for_many(source: str) -> bool:
    """Whether a source is a member that passes on what its clients sent."""
    return source.partition(":")[2].startswith(_OF_MEMBER)


@dataclass(frozen=True, slots=True, eq=False)
class RowSources:
    """Row i of a batch was handed in by names[of_row[i]]; without `of_row` all rows by names[0]."""

    names: Sequence[str]
    of_row: NDArray[np.uint16] | None = None

    @classmethod
    def joined(cls, parts: Sequence[tuple[RowSources, int]]) -> RowSources:
        """Of batches of so many rows behind each other; a source stands in `names` once."""
        if len(parts) == 1:
            return parts[0][0]
        places: dict[str, int] = {}
        rows = []
        for part, count in parts:
            mine = np.array([places.setdefault(name, len(places)) for name in part.names], dtype=np.uint16)
            rows.append(np.full(count, mine[0]) if part.of_row is None else mine[part.of_row])
        names = tuple(places)
        return cls(names) if len(names) == 1 else cls(names, np.concatenate(rows))

    def check(self, rows: int) -> None:
        """Raise FormatError unless every row of a batch of that many has a well-formed source."""
        if not 0 < len(self.names) <= NAMES_MAX:
            raise FormatError("sources", f"{len(self.names)} names", f"1 to {NAMES_MAX}")
        for name in self.names:
            kind_of(name)
        of_row = self.of_row
        if of_row is None:
            return
        if of_row.dtype != np.uint16 or of_row.shape != (rows,):
            raise FormatError("origins", f"{of_row.dtype} {of_row.shape}", f"uint16 ({rows},)")
        if rows and int(of_row.max()) >= len(self.names):
            raise FormatError("origins", int(of_row.max()), f"below {len(self.names)}")

    def take(self, mask: NDArray[np.bool_]) -> RowSources:
        """Of the rows that the mask picks."""
        return self if self.of_row is None else RowSources(self.names, self.of_row[mask])

    def counts(self, of_rows: NDArray[np.bool_]) -> list[int]:
        """How many of the rows that the mask picks each of `names` handed in."""
        if self.of_row is None:
            return [int(np.count_nonzero(of_rows))]
        counts: list[int] = np.bincount(self.of_row[of_rows], minlength=len(self.names)).tolist()
        return counts

    def kinds(self, rows: int) -> NDArray[np.uint8]:
        """(n,) kinds of the rows' sources."""
        kinds = np.array([kind_of(name) for name in self.names], dtype=np.uint8)
        return np.full(rows, kinds[0]) if self.of_row is None else kinds[self.of_row]
