"""One member's replica: the Raft core, and what ties its log of hashes to the chain of blocks.

The log holds blocks, but also entries that are none, so a block's index is not its height. What is applied
ends with the chain's head; behind it, the tail of the log names the blocks at the next heights in order.

Member ids are positions in the genesis, from 1 on. What is durable is encoded here; Storage keeps the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import msgspec

from actors.consensus.raft import (
    CompactionError,
    DurableState,
    Entry,
    EntryKind,
    HardState,
    Raft,
    RaftOptions,
    Role,
    SnapshotMeta,
    TraceRecord,
    Write,
    genesis,
)
from actors.storage.interface import LogRecord, StoredLog

_ENTRY, _HARD = msgspec.msgpack.Decoder(Entry), msgspec.msgpack.Decoder(HardState)
_SNAPSHOT = msgspec.msgpack.Decoder(SnapshotMeta)
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class AppliedBlock:
    """The last block that is committed and applied here."""

    height: int
    digest: bytes


def encode_write(write: Write) -> LogRecord:
    """What a write of the core puts on the disk."""
    snapshot = write.snapshot
    return LogRecord(
        _encode(write.hard_state) if write.hard_state else b"",
        _encode(snapshot) if snapshot else b"",
        snapshot.index if snapshot else 0,
        _encode(snapshot.term) if snapshot else b"",
        write.entries[0].index if write.entries else 0,
        tuple(_encode(entry) for entry in write.entries),
    )


def decode_log(stored: StoredLog, voters: tuple[int, ...], head: AppliedBlock) -> DurableState:
    """The core's view of what is on disk; a new log belongs to the `voters`.

    Raises CompactionError when the chain's head is not in the log.
    """
    entries = tuple(_ENTRY.decode(entry) for entry in stored.entries)
    snapshot = _SNAPSHOT.decode(stored.snapshot) if stored.snapshot else genesis(voters).snapshot
    return DurableState(
        snapshot,
        _HARD.decode(stored.hard_state) if stored.hard_state else HardState(),
        stored.base_index,
        msgspec.msgpack.decode(stored.base, type=int) if stored.base else 0,
        entries,
        _applied_index(entries, snapshot, head),
    )


def _applied_index(entries: tuple[Entry, ...], snapshot: SnapshotMeta, head: AppliedBlock) -> int:
    for entry in reversed(entries):
        if entry.kind is EntryKind.BLOCK and entry.digest == head.digest:
            return entry.index
    if head.height == 0 or snapshot.digest == head.digest:
        return snapshot.index
    raise CompactionError(f"the log does not know block {head.height}, {head.digest.hex()}")


class Replica:
    """The core together with the head of the chain. Not thread-safe, like the core."""

    def __init__(
        self,
        member: int,
        members: list[bytes],
        stored: StoredLog,
        head: AppliedBlock,
        rng: Random,
        now_ms: int,
        options: RaftOptions,
        incarnation: int,
        on_trace: Callable[[TraceRecord], None] | None = None,
    ) -> None:
        """Raises CompactionError or MessageError when log and chain do not fit together."""
        self.members = members
        self.head = head
        voters = tuple(range(1, len(members) + 1))
        durable = decode_log(stored, voters, head)
        self.applied_index = durable.applied_index
        self.raft = Raft(member, durable, rng, now_ms, options, incarnation, on_trace, stored.disk)

    @property
    def leads(self) -> bool:
        """True while this replica is the leader of its term."""
        return self.raft.role is Role.LEADER

    def identity(self, member: int) -> bytes:
        """A member's key. Raises IndexError for an id that is not of the genesis."""
        if not 1 <= member <= len(self.members):
            raise IndexError(f"member {member} is not one of {len(self.members)}")
        return self.members[member - 1]

    def others(self) -> list[bytes]:
        """Identities of all that this replica's configuration names besides itself."""
        return [self.identity(m) for m in sorted(self.raft.configuration.members()) if m != self.raft.id]

    def heir(self, silent_ms_max: int) -> int | None:
        """The other voter, of those heard in time, that has most of this leader's log; None if none was."""
        raft = self.raft
        heirs = [
            known
            for known in raft.followers()
            if known.member in raft.configuration.voters and known.silent_ms <= silent_ms_max
        ]
        return max(heirs, key=lambda known: (known.match, -known.member)).member if heirs else None

    def tail(self, below: int | None = None) -> list[Entry]:
        """Blocks of the log that are not applied yet, at the heights after the head's; only those under
        index `below`, if given."""
        log = self.raft.log
        last = log.last_index if below is None else min(below - 1, log.last_index)
        return [e for e in log.slice(self.applied_index + 1, last) if e.kind is EntryKind.BLOCK]

    @property
    def tip_height(self) -> int:
        """Height of the last block in the log."""
        return self.head.height + len(self.tail())

    def applied(self, entry: Entry) -> None:
        """`entry` is applied: for a block, the chain's head has moved to it."""
        if entry.index <= self.applied_index:
            raise CompactionError(f"entry {entry.index} was applied before {self.applied_index}")
        self.applied_index = entry.index
        if entry.kind is EntryKind.BLOCK:
            self.head = AppliedBlock(self.head.height + 1, entry.digest)

    def compaction(self, retain_entries: int) -> LogRecord | None:
        """Let the head stand for the log before it, but for the last entries; what to write for that.

        None while the applied entry is no block, or little would be dropped.
        """
        raft, index = self.raft, self.applied_index
        if index > raft.durable_index or index - raft.log.base_index < 2 * retain_entries:
            return None
        if raft.log.entry(index).digest != self.head.digest:
            return None
        snapshot = raft.snapshot_at(index, self.head.digest)
        raft.compact(snapshot, retain_entries)
        base_term = _encode(raft.log.base_term)
        return LogRecord(snapshot=_encode(snapshot), base_index=raft.log.base_index, base=base_term)


def installation(snapshot: SnapshotMeta) -> LogRecord:
    """What to write when the chain stands at a snapshot's block: a log that holds nothing but that."""
    return LogRecord(snapshot=_encode(snapshot), base_index=snapshot.index, base=_encode(snapshot.term))
