"""A replica's simulated disk: writes wait in order, a crash keeps a torn prefix of the unsynced ones."""

from __future__ import annotations

from collections import deque
from random import Random

from actors.consensus.raft import DurableState, Entry, HardState, SnapshotMeta, Write

State = tuple[int, ...]  # the state machine: the ids of the writes that it has applied, in order


class SimulatedDisk:
    """What survives, and what is still on its way there."""

    def __init__(self, genesis: DurableState) -> None:
        self.hard_state: HardState = genesis.hard_state
        self.snapshot: SnapshotMeta = genesis.snapshot
        self.snapshot_state: State = ()
        self.base_index = genesis.base_index
        self.base_term = genesis.base_term
        self.entries: list[Entry] = list(genesis.entries)
        self.pending: deque[Write] = deque()

    def complete_next(self) -> Write:
        """The oldest write becomes durable."""
        write = self.pending.popleft()
        self._put(write, len(write.entries), hard_state=True)
        return write

    def crash(self, rng: Random) -> None:
        """Loses the unsynced writes, all but a random prefix whose last write may be torn."""
        for _ in range(rng.randint(0, len(self.pending))):
            self.complete_next()
        if self.pending and rng.random() < 0.5:
            torn = self.pending[0]
            self._put(torn, rng.randint(0, len(torn.entries)), hard_state=rng.random() < 0.8)
        self.pending.clear()

    def _put(self, write: Write, entries: int, hard_state: bool) -> None:
        if write.snapshot is not None:
            self.base_index, self.base_term = write.snapshot.index, write.snapshot.term
            self.entries.clear()
        if not hard_state:
            return  # torn before the hard state, so before the entries too
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.entries and entries:
            del self.entries[write.entries[0].index - self.base_index - 1 :]
            self.entries += write.entries[:entries]

    def keep_snapshot(self, snapshot: SnapshotMeta, state: State) -> None:
        """A state becomes durable beside the log."""
        self.snapshot = snapshot
        self.snapshot_state = state

    def compact(self, base_index: int, base_term: int) -> None:
        """Drops the log up to `base_index`, which a durable snapshot covers."""
        if base_index > self.base_index:
            del self.entries[: base_index - self.base_index]
            self.base_index, self.base_term = base_index, base_term

    def holds(self, index: int, term: int | None) -> bool:
        """True if the entry survives a crash now, as itself or within a snapshot."""
        if index <= self.snapshot.index or index == self.base_index:
            return True
        offset = index - self.base_index
        return 0 < offset <= len(self.entries) and self.entries[offset - 1].term == term

    def durable_state(self) -> DurableState:
        """What a restarting replica finds."""
        return DurableState(
            self.snapshot,
            self.hard_state,
            self.base_index,
            self.base_term,
            tuple(self.entries),
            self.snapshot.index,
        )
