"""A durable term that no network reaches is brought back, and only that."""

from __future__ import annotations

import msgspec
import pytest

from actors.consensus.raft import Entry, EntryKind, HardState, SnapshotMeta
from actors.consensus.raft.records import Configuration
from actors.consensus.raft_node.term_repair import TERMS_AHEAD, TermRepairError, repair_term
from actors.storage.interface import StoredLog

CEILING = 2**20
encode = msgspec.msgpack.encode


def stored(term: int, entries: tuple[int, ...] = (), base_term: int = 0, snapshot_term: int = 0) -> StoredLog:
    snapshot = SnapshotMeta(7, snapshot_term, Configuration((1, 2, 3)))
    return StoredLog(
        encode(HardState(term, 2, b"d" * 16)),
        encode(snapshot) if snapshot_term else b"",
        7 if base_term else 0,
        encode(base_term) if base_term else b"",
        tuple(encode(Entry(at, of, EntryKind.NOOP)) for at, of in enumerate(entries, 8)),
    )


@pytest.mark.parametrize(
    ("log", "last"),
    [
        (stored(2**61, (3, 5, 900)), 900),
        (stored(2**61, (), base_term=12, snapshot_term=12), 12),
        (stored(2**61, (), snapshot_term=40), 40),
        (stored(2**61), 0),
        (stored(CEILING, (5,)), 5),
    ],
)
def test_the_term_becomes_what_the_log_supports_and_votes_for_nobody(log: StoredLog, last: int) -> None:
    repair = repair_term(log, CEILING)
    assert (repair.term, repair.last_log_term) == (last + TERMS_AHEAD, last)
    assert msgspec.msgpack.decode(repair.hard_state, type=HardState) == HardState(last + TERMS_AHEAD, 0, b"")


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (stored(CEILING - 1, (5,)), "nothing to repair"),
        (StoredLog(b"", b"", 0, b"", ()), "nothing to repair"),
        (stored(2**61, (5, 2**60)), "empty this node's folder but for its node.key"),
        (stored(2**61, (), base_term=CEILING), "the log itself ends in term"),
        (stored(2**61, (CEILING - TERMS_AHEAD,)), "try again in 1 s"),
        (stored(2**61, (CEILING - 1,)), "try again in 3,277 s"),
    ],
)
def test_what_needs_no_repair_or_cannot_be_repaired_is_refused_with_the_way_out(
    log: StoredLog, words: str
) -> None:
    with pytest.raises(TermRepairError, match=words):
        repair_term(log, CEILING)
