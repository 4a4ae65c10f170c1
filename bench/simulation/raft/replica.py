"""One simulated replica: the core, its disk, its state machine, its clock, and what clients wait for."""

from __future__ import annotations

from random import Random

from actors.consensus.raft import (
    Effects,
    Entry,
    EntryKind,
    Message,
    Raft,
    RaftOptions,
    SnapshotMeta,
)

from .disk import SimulatedDisk, State
from .linearizability import Operation

CRASHED_TICK_MS = float("inf")


class Clock:
    """A clock that runs at `rate` of true time, from an offset of its own. Never runs backwards."""

    def __init__(self, offset_ms: float, rate: float) -> None:
        self._since_ms = 0.0
        self._base_ms = offset_ms
        self.rate = rate

    def read(self, now_ms: float) -> int:
        """What the clock shows at true time `now_ms`."""
        return int(self._base_ms + (now_ms - self._since_ms) * self.rate)

    def drift(self, now_ms: float, rate: float) -> None:
        """Runs at another rate from now on."""
        self._base_ms += (now_ms - self._since_ms) * self.rate
        self._since_ms = now_ms
        self.rate = rate

    def when(self, local_ms: int) -> float:
        """The true time at which the clock will show `local_ms`."""
        return self._since_ms + (local_ms - self._base_ms + 1) / self.rate


class SimulatedReplica:
    """Everything of one member. `raft` is None while it is down."""

    def __init__(self, member: int, disk: SimulatedDisk, clock: Clock, disk_id: bytes) -> None:
        self.id = member
        self.clock = clock
        self.disk, self.disk_id = disk, disk_id
        self.raft: Raft | None = None
        self.incarnation = 0
        self.paused_until_ms = 0.0
        self.tick_at_ms = CRASHED_TICK_MS
        self.writing = False
        self.fetching = False
        self.after_write: dict[int, tuple[Message, ...]] = {}
        self.state: State = ()
        self.applied_index = 0
        self.checked_commit = 0
        self.checked_durable = 0
        self.led_term = 0
        self.signed_term = self.signed_index = 0
        self.writes_waiting: dict[int, Operation] = {}
        self.reads_waiting: dict[int, Operation] = {}
        self.reads_ready: list[tuple[int, Operation]] = []
        self.next_read_id = 0

    def start(self, raft_type: type[Raft], options: RaftOptions, rng: Random, now_ms: float) -> Raft:
        """Starts, or restarts, from what the disk holds."""
        durable = self.disk.durable_state()
        self.incarnation += 1
        self.raft = raft_type(
            self.id,
            durable,
            rng,
            self.clock.read(now_ms),
            options,
            incarnation=self.incarnation,
            disk=self.disk_id,
        )
        self.state = self.disk.snapshot_state
        self.applied_index = self.checked_commit = durable.applied_index
        self.checked_durable = 0
        self.led_term = 0
        self.signed_term = self.signed_index = 0
        self.next_read_id = 0
        return self.raft

    def crash(self, rng: Random) -> None:
        """Dies with all that was not durable. Its clients never learn how their calls ended."""
        self.disk.crash(rng)
        self.raft = None
        self.writing = self.fetching = False
        self.tick_at_ms = CRASHED_TICK_MS
        self.after_write.clear()
        self.writes_waiting.clear()
        self.reads_waiting.clear()
        self.reads_ready.clear()

    def apply(self, entries: tuple[Entry, ...], now_ms: float) -> None:
        """Applies committed entries; a write that was proposed twice counts once."""
        for entry in entries:
            self.applied_index = entry.index
            if entry.kind is EntryKind.BLOCK:
                written = int.from_bytes(entry.digest, "big")
                if written not in self.state:
                    self.state = (*self.state, written)
                operation = self.writes_waiting.pop(written, None)
                if operation is not None:
                    operation.returned_at = now_ms

    def answer_reads(self, effects: Effects, now_ms: float) -> None:
        """Answers the reads whose index is applied."""
        for ready in effects.reads:
            operation = self.reads_waiting.pop(ready.read_id, None)
            if operation is not None:
                self.reads_ready.append((ready.index, operation))
        for read_id in effects.reads_failed:
            self.reads_waiting.pop(read_id, None)
        if not self.reads_ready:
            return
        waiting = []
        for index, operation in self.reads_ready:
            if index <= self.applied_index:
                operation.value = self.state[-1] if self.state else 0
                operation.returned_at = now_ms
            else:
                waiting.append((index, operation))
        self.reads_ready = waiting

    def take_snapshot(self, retain_entries: int) -> SnapshotMeta | None:
        """Keeps the present state durably and compacts the log, in memory and on disk."""
        raft = self.raft
        if raft is None or not raft.log.snapshot.index < self.applied_index <= raft.durable_index:
            return None
        if self.disk.snapshot.index >= self.applied_index:
            return None
        snapshot = raft.snapshot_at(self.applied_index, self.applied_index.to_bytes(32, "big"))
        self.disk.keep_snapshot(snapshot, self.state)
        raft.compact(snapshot, retain_entries)
        self.disk.compact(raft.log.base_index, raft.log.base_term)
        return snapshot

    def install(self, snapshot: SnapshotMeta, state: State) -> bool:
        """Puts a fetched state in use, unless the log has passed it meanwhile."""
        raft = self.raft
        if raft is None or snapshot.index <= raft.handed_index:
            return False
        self.disk.keep_snapshot(snapshot, state)
        raft.snapshot_installed(snapshot)
        self.state = state
        self.applied_index = snapshot.index
        return True
