"""Bringing a durable term that no network reaches back to what the log supports; see `raft/terms.py`.

A member forgets by this what it voted for in the terms between, which is harmless only because the repaired
term is far above every term in which the network can have held an election since the log's last entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from actors.consensus.raft import Entry, HardState, SnapshotMeta
from actors.consensus.raft.terms import TERM_MS
from actors.storage.interface import StoredLog

TERMS_AHEAD = 65_536
_HARD, _ENTRY = msgspec.msgpack.Decoder(HardState), msgspec.msgpack.Decoder(Entry)
_SNAPSHOT = msgspec.msgpack.Decoder(SnapshotMeta)


class TermRepairError(ValueError):
    """Why a term is not, or cannot be, repaired, and what to do instead."""


@dataclass(frozen=True, slots=True)
class TermRepair:
    """hard_state: the new one, in bytes for the disk."""

    term_before: int
    term: int
    last_log_term: int
    term_ceiling: int
    hard_state: bytes


def repair_term(stored: StoredLog, term_ceiling: int) -> TermRepair:
    """The hard state to put in place of that of a stopped member. Raises TermRepairError."""
    before = _HARD.decode(stored.hard_state).term if stored.hard_state else 0
    if before < term_ceiling:
        raise TermRepairError(
            f"this member's term is {before:,}, below the {term_ceiling:,} that elections can have reached "
            "since the genesis: there is nothing to repair"
        )
    last = _last_term(stored)
    if last >= term_ceiling:
        raise TermRepairError(
            f"the log itself ends in term {last:,}, above the {term_ceiling:,} that elections can have "
            "reached, so no term would fit it: if this machine's clock is right, empty this node's folder "
            "but for its node.key, and it catches up from the others"
        )
    term = last + TERMS_AHEAD
    if term >= term_ceiling:
        wait_s = (term - term_ceiling) * TERM_MS // 1000 + 1
        raise TermRepairError(
            f"the repaired term would be {term:,}, and the network is too young for more than "
            f"{term_ceiling:,}: try again in {wait_s:,} s"
        )
    return TermRepair(before, term, last, term_ceiling, msgspec.msgpack.encode(HardState(term)))


def _last_term(stored: StoredLog) -> int:
    """The highest term of the log; terms never fall along it."""
    terms = [_SNAPSHOT.decode(stored.snapshot).term] if stored.snapshot else [0]
    if stored.base:
        terms.append(msgspec.msgpack.decode(stored.base, type=int))
    if stored.entries:
        terms.append(_ENTRY.decode(stored.entries[-1]).term)
    return max(terms)
