"""The log in memory: what follows the last compacted entry.

Rules
- `base_index` is the last entry that was dropped; entries run from `base_index + 1` without a gap.
- `snapshot` stands for all up to `snapshot.index`, which is never below `base_index`: some entries under the
  snapshot are kept, so that a follower that trails a little need not fetch a state.
- Terms never fall along the log, so searches by term bisect.
- The latest configuration in the log is in force (see membership.py); the bottom one is the snapshot's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from .errors import CompactionError
from .membership import configuration_of
from .records import Configuration, DurableState, Entry, EntryKind, SnapshotMeta

PAYLOADS_PER_BATCH_BYTES_MAX = 512 * 1024  # so that a request fits into a message


def _term_at(durable: DurableState, index: int) -> int | None:
    """The term of a durable entry, before the log is built."""
    offset = index - durable.base_index
    if offset > len(durable.entries):
        return None
    return durable.entries[offset - 1].term if offset else durable.base_term


class Log:
    """Entries by index, with O(1) access. Mutated by the core only."""

    __slots__ = (
        "base_index",
        "base_term",
        "configurations",
        "entries",
        "last_index",
        "last_term",
        "snapshot",
        "was_reset",
    )

    def __init__(self, durable: DurableState) -> None:
        """Raises CompactionError if the durable parts do not fit together."""
        self.snapshot = durable.snapshot
        self.base_index = durable.base_index
        self.base_term = durable.base_term
        self.entries: list[Entry] = []
        self.configurations: list[tuple[int, Configuration]] = []
        self.last_index = durable.base_index
        self.last_term = durable.base_term
        self.was_reset = False  # the durable entries were of no use: the disk's log must be reset too
        if durable.base_index > durable.snapshot.index:
            raise CompactionError(f"log starts at {durable.base_index}, after {durable.snapshot.index}")
        if _term_at(durable, durable.snapshot.index) != durable.snapshot.term:
            # A crash between the snapshot and the reset of the log: the log is not this state's history.
            self.restore(durable.snapshot)
            self.was_reset = True
            return
        self.configurations.append((durable.snapshot.index, durable.snapshot.configuration))
        self.append(durable.entries)

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self.configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """The index of the entry (or snapshot) that the configuration in force comes from."""
        return self.configurations[-1][0]

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`, or None if it is compacted or not there yet."""
        offset = index - self.base_index
        if offset > 0:
            return self.entries[offset - 1].term if offset <= len(self.entries) else None
        return self.base_term if offset == 0 else None

    def entry(self, index: int) -> Entry:
        """The entry at `index`. Raises IndexError if it is compacted or not there yet."""
        offset = index - self.base_index
        if not 1 <= offset <= len(self.entries):
            raise IndexError(f"entry {index} is not in ({self.base_index}, {self.last_index}]")
        return self.entries[offset - 1]

    def slice(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries from `first` to `last`, both included."""
        return tuple(self.entries[first - self.base_index - 1 : last - self.base_index])

    def batch(self, first: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from `first` on, within both bounds and that of a message, but at least one."""
        offset = first - self.base_index - 1
        chunk = self.entries[offset : offset + entries_max]
        total_bytes = payload_bytes = 0
        for count, entry in enumerate(chunk):
            total_bytes += entry.size_bytes
            payload_bytes += len(entry.payload)
            if count and (total_bytes > bytes_max or payload_bytes > PAYLOADS_PER_BATCH_BYTES_MAX):
                return tuple(chunk[:count])
        return tuple(chunk)

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries that follow the last one. Raises CompactionError at a gap or a falling term."""
        for entry in entries:
            if entry.index != self.last_index + 1 or entry.term < self.last_term:
                raise CompactionError(f"entry {entry.index} does not follow {self.last_index}")
            self.entries.append(entry)
            self.last_index = entry.index
            self.last_term = entry.term
            if entry.kind is EntryKind.CONFIGURATION and entry.index > self.snapshot.index:
                self.configurations.append((entry.index, configuration_of(entry)))

    def truncate(self, first: int) -> None:
        """Drops the entry at `first` and all that follow, with the configurations among them."""
        del self.entries[first - self.base_index - 1 :]
        self.last_index = self.base_index + len(self.entries)
        self.last_term = self.entries[-1].term if self.entries else self.base_term
        while self.configurations[-1][0] >= first:
            self.configurations.pop()

    def last_not_after(self, index: int, term: int) -> tuple[int, int]:
        """The largest index up to `index` whose term is at most `term`, and its term."""
        offset = min(index, self.last_index) - self.base_index
        found = bisect_right(self.entries, term, 0, max(offset, 0), key=lambda entry: entry.term)
        if found:
            return self.base_index + found, self.entries[found - 1].term
        return self.base_index, self.base_term

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """True if a log that ends so is at least as complete as this one (Raft paper, section 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def snapshot_at(self, index: int, digest: bytes) -> SnapshotMeta:
        """The record of a state taken at `index`, with the configuration in force there."""
        term = self.term_at(index)
        if term is None or index < self.snapshot.index:
            raise CompactionError(f"no snapshot at {index}: log is ({self.base_index}, {self.last_index}]")
        configuration = next(found for at, found in reversed(self.configurations) if at <= index)
        return SnapshotMeta(index, term, configuration, digest)

    def compact(self, snapshot: SnapshotMeta, retain_entries: int) -> None:
        """Lets `snapshot` stand for the log up to its index, and drops all but the last entries before."""
        self.snapshot = snapshot
        kept = [(at, found) for at, found in self.configurations if at > snapshot.index]
        self.configurations = [(snapshot.index, snapshot.configuration), *kept]
        base = max(self.base_index, snapshot.index - retain_entries)
        base_term = self.term_at(base)
        if base_term is not None:
            del self.entries[: base - self.base_index]
            self.base_index, self.base_term = base, base_term

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Replaces the whole log by a snapshot from elsewhere."""
        self.snapshot = snapshot
        self.entries.clear()
        self.base_index = self.last_index = snapshot.index
        self.base_term = self.last_term = snapshot.term
        self.configurations = [(snapshot.index, snapshot.configuration)]
