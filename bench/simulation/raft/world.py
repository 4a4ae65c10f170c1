"""One seeded schedule: replicas, network and time in one event queue.

Every input of every core comes from here, in an order that the seed alone decides. After each of a core's
steps its effects are carried out (messages into the network, writes onto the disk, committed entries into the
state machine) and the invariants are checked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from actors.consensus.raft import (
    Configuration,
    Entry,
    Message,
    Proposal,
    Raft,
    RaftError,
    RaftOptions,
    Role,
    SnapshotMeta,
    Write,
    decode,
    encode,
    genesis,
)
from actors.consensus.raft.terms import TERM_MS

from .disk import SimulatedDisk, State
from .invariants import Invariants
from .linearizability import Operation
from .network import Faults, SimulatedNetwork
from .replica import CRASHED_TICK_MS, Clock, SimulatedReplica
from .violation import ViolationError

TERMS_AT_START = 100_000


class RaftWorld:
    """A network of simulated replicas."""

    def __init__(
        self,
        rng: Random,
        voters: int,
        spares: int,
        options: RaftOptions,
        raft_type: type[Raft] = Raft,
        faults: Faults | None = None,
        clock_error: float = 0.0,
        over_the_wire: bool = False,
        founded: bool = True,
    ) -> None:
        self.rng = rng
        self.options = options
        self.raft_type = raft_type
        self.clock_error = clock_error
        self.over_the_wire = over_the_wire
        self.now_ms = 0.0
        self.steps = 0
        self.network = SimulatedNetwork(rng, faults or Faults())
        self.history: list[Operation] = []
        self.snapshots: dict[SnapshotMeta, State] = {}
        self.write_ms_max = 4.0
        self.slow_write_chance = 0.0
        self.on_leader: Callable[[SimulatedReplica], None] | None = None
        self.on_vote: Callable[[SimulatedReplica], None] | None = None
        self.voters = tuple(range(1, voters + 1))
        self.twins: dict[int, SimulatedReplica] = {}  # second copies, by the member that they speak for
        self.deaf_until_ms: dict[int, float] = {}  # members whose copy alone is reached
        self._disks_made = 0
        disks = {member: self.new_disk() for member in range(1, voters + spares + 1)}
        named = tuple((member, disks[member]) for member in self.voters) if founded else ()
        self.invariants = Invariants(Configuration(self.voters, disks=named), voters + spares)
        self.replicas = {
            member: SimulatedReplica(
                member, SimulatedDisk(genesis(self.voters, (), named)), self.clock(), disks[member]
            )
            for member in disks
        }
        for replica in self.replicas.values():
            self.invariants.disks[replica.disk_id] = replica.disk
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._sequence = 0
        for replica in self.replicas.values():
            self.restart(replica)

    def clock(self) -> Clock:
        """A clock of somebody's own."""
        return Clock(self.rng.random() * 1e6, self.draw_rate())

    def new_disk(self) -> bytes:
        """An identity that no disk has had."""
        self._disks_made += 1
        return self._disks_made.to_bytes(16, "big")

    def put_disk(self, replica: SimulatedReplica, disk: SimulatedDisk) -> None:
        """Give a replica another memory, which has an identity of its own."""
        replica.disk, replica.disk_id = disk, self.new_disk()
        self.invariants.disks[replica.disk_id] = disk

    def term_ceiling(self) -> int:
        """As the shell gives it to a core, by a genesis of this world's time 0."""
        return TERMS_AT_START + int(self.now_ms) // TERM_MS

    def draw_rate(self) -> float:
        """A rate for a clock, within the error that this schedule's clocks have."""
        return 1.0 + self.clock_error * (2.0 * self.rng.random() - 1.0)

    # --- time --------------------------------------------------------------------------------------------

    def at(self, time_ms: float, action: Callable[..., object], *arguments: Any) -> None:
        """Does `action` at a true time."""
        self._sequence += 1
        heapq.heappush(self._queue, (time_ms, self._sequence, action, arguments))

    def run_until(self, end_ms: float, done: Callable[[], bool] | None = None) -> bool:
        """Lets events happen up to a time; True if `done` came true before."""
        queue = self._queue
        while queue and queue[0][0] <= end_ms:
            self.now_ms, _, action, arguments = heapq.heappop(queue)
            self.steps += 1
            action(*arguments)
            if done is not None and done():
                return True
        self.now_ms = end_ms
        return False

    # --- inputs of a core --------------------------------------------------------------------------------

    def _deliver(self, message: Message) -> None:
        self._take(self._reached(message.to), message)

    def _reached(self, member: int) -> SimulatedReplica:
        """Of two copies of a member, one at random."""
        twin = self.twins.get(member)
        if twin is None:
            return self.replicas[member]
        deaf = self.deaf_until_ms.get(member, 0.0) > self.now_ms
        return twin if deaf or self.rng.random() < 0.5 else self.replicas[member]

    def end_twin(self, member: int) -> None:
        """The second copy of a member is stopped for good."""
        twin = self.twins.pop(member, None)
        if twin is not None:
            self.crash(twin)

    def _take(self, replica: SimulatedReplica, message: Message) -> None:
        if replica.raft is None:
            return
        if replica.paused_until_ms > self.now_ms:
            self.at(replica.paused_until_ms, self._take, replica, message)
            return
        replica.raft.term_ceiling = self.term_ceiling()
        replica.raft.step(message, replica.clock.read(self.now_ms))
        self.settle(replica)

    def _tick(self, replica: SimulatedReplica, due_ms: float) -> None:
        if replica.raft is None or replica.tick_at_ms != due_ms:
            return
        replica.tick_at_ms = CRASHED_TICK_MS
        if replica.paused_until_ms > self.now_ms:
            self._plan_tick(replica, replica.paused_until_ms)
            return
        local_ms = replica.clock.read(self.now_ms)
        if local_ms >= replica.raft.next_deadline_ms:
            replica.raft.term_ceiling = self.term_ceiling()
            replica.raft.tick(local_ms)
            self.settle(replica)
        else:
            self._plan_tick(replica, replica.clock.when(replica.raft.next_deadline_ms))

    def _plan_tick(self, replica: SimulatedReplica, due_ms: float) -> None:
        if due_ms < replica.tick_at_ms:
            replica.tick_at_ms = max(due_ms, self.now_ms)
            self.at(replica.tick_at_ms, self._tick, replica, replica.tick_at_ms)

    def _written(self, replica: SimulatedReplica, incarnation: int) -> None:
        """The disk has finished its oldest write."""
        if replica.raft is None or replica.incarnation != incarnation:
            return
        write = replica.disk.complete_next()
        replica.writing = False
        self._plan_write(replica)
        self._acknowledge_write(replica, incarnation, write.ticket)

    def _acknowledge_write(self, replica: SimulatedReplica, incarnation: int, ticket: int) -> None:
        if replica.raft is None or replica.incarnation != incarnation:
            return
        if replica.paused_until_ms > self.now_ms:
            self.at(replica.paused_until_ms, self._acknowledge_write, replica, incarnation, ticket)
            return
        for message in replica.after_write.pop(ticket, ()):
            self._send(message)
        replica.raft.persisted(ticket)
        self.settle(replica)

    # --- effects of a core -------------------------------------------------------------------------------

    def settle(self, replica: SimulatedReplica) -> None:
        """Carries out what a core wants, and checks what must hold."""
        raft = replica.raft
        if raft is None:
            return
        if raft.role is Role.LEADER and replica.led_term != raft.term and self.on_leader is not None:
            self.on_leader(replica)
        while True:
            effects = raft.take_effects()
            if effects.write is not None:
                self._take_write(replica, raft, effects.write, effects.messages_after_write)
            for message in effects.messages:
                self._send(message)
            if effects.committed:
                self._apply(replica, effects.committed)
            if effects.snapshot_offer is not None and not replica.fetching:
                self._fetch(replica, effects.snapshot_offer.snapshot)
            if effects.reads or effects.reads_failed or replica.reads_ready:
                replica.answer_reads(effects, self.now_ms)
            if not raft.has_effects:
                break
        self.invariants.check(replica, self.replicas)
        due_ms = replica.clock.when(raft.next_deadline_ms)
        if due_ms < replica.tick_at_ms:
            self._plan_tick(replica, due_ms)

    def _take_write(
        self, replica: SimulatedReplica, raft: Raft, write: Write, messages_after_write: tuple[Message, ...]
    ) -> None:
        self.invariants.check_entries(raft, write.entries)
        replica.disk.pending.append(write)
        if write.hard_state is not None and raft.vote and self.on_vote is not None:
            self.on_vote(replica)
        if messages_after_write:
            replica.after_write[write.ticket] = messages_after_write
        self._plan_write(replica)

    def _apply(self, replica: SimulatedReplica, committed: tuple[Entry, ...]) -> None:
        if committed[0].index != replica.applied_index + 1:
            raise ViolationError(f"state-machine safety: {replica.id} skips entries")
        replica.apply(committed, self.now_ms)
        self.invariants.check_state(replica.applied_index, replica.state)

    def _send(self, message: Message) -> None:
        if self.over_the_wire:
            message = decode(encode(message))
        for delay_ms in self.network.delays_ms(message.sender, message.to, self.now_ms):
            self.at(self.now_ms + delay_ms, self._deliver, message)

    def _plan_write(self, replica: SimulatedReplica) -> None:
        if replica.writing or not replica.disk.pending:
            return
        replica.writing = True
        took_ms = 0.0
        if not replica.disk.pending[0].is_barrier:
            took_ms = 0.2 + self.rng.random() * self.write_ms_max
            if self.rng.random() < self.slow_write_chance:
                took_ms += 80.0 * self.rng.random()
        self.at(self.now_ms + took_ms, self._written, replica, replica.incarnation)

    def _fetch(self, replica: SimulatedReplica, snapshot: SnapshotMeta) -> None:
        replica.fetching = True
        took_ms = 2.0 + 40.0 * self.rng.random()
        self.at(self.now_ms + took_ms, self._fetched, replica, replica.incarnation, snapshot)

    def _fetched(self, replica: SimulatedReplica, incarnation: int, snapshot: SnapshotMeta) -> None:
        if replica.raft is None or replica.incarnation != incarnation:
            return
        replica.fetching = False
        if replica.install(snapshot, self.snapshots[snapshot]):
            self.invariants.check_snapshot(snapshot)
            self.invariants.check_state(replica.applied_index, replica.state)
            self.settle(replica)

    # --- faults and operations ---------------------------------------------------------------------------

    def crash(self, replica: SimulatedReplica) -> None:
        """Kills a replica at whatever point its writes have reached."""
        if replica.raft is not None:
            replica.crash(self.rng)

    def restart(self, replica: SimulatedReplica) -> None:
        """Starts a replica that is down, from its disk."""
        if replica.raft is None:
            self.invariants.check_snapshot(replica.disk.snapshot)
            raft = replica.start(self.raft_type, self.options, self.rng, self.now_ms)
            raft.term_ceiling = self.term_ceiling()
            self.settle(replica)

    def snapshot(self, replica: SimulatedReplica, retain_entries: int) -> None:
        """Takes a snapshot of a replica's state, and compacts its log."""
        taken = replica.take_snapshot(retain_entries)
        if taken is not None:
            self.invariants.check_snapshot(taken)
            self.snapshots[taken] = replica.state

    def leaders(self) -> list[SimulatedReplica]:
        """Replicas that believe they lead, the latest term first."""
        found = [r for r in self.replicas.values() if r.raft is not None and r.raft.role is Role.LEADER]
        return sorted(found, key=lambda r: -r.raft.term if r.raft else 0)

    def write(self, replica: SimulatedReplica) -> Operation | None:
        """A client writes a new value through a replica. None if the replica refused outright."""
        raft = replica.raft
        if raft is None or replica.paused_until_ms > self.now_ms:
            return None
        operation = Operation(True, len(self.history) + 1, self.now_ms)
        proposal = Proposal(operation.value.to_bytes(32, "big"), self.rng.randint(0, 2000))
        try:
            raft.propose(proposal, replica.clock.read(self.now_ms))
        except RaftError:
            return None
        self.history.append(operation)
        replica.writes_waiting[operation.value] = operation
        self.settle(replica)
        return operation

    def read(self, replica: SimulatedReplica) -> None:
        """A client reads the register through a replica."""
        raft = replica.raft
        if raft is None or replica.paused_until_ms > self.now_ms:
            return
        operation = Operation(False, 0, self.now_ms)
        try:
            raft.read(replica.next_read_id + 1, replica.clock.read(self.now_ms))
        except RaftError:
            return
        replica.next_read_id += 1
        self.history.append(operation)
        replica.reads_waiting[replica.next_read_id] = operation
        self.settle(replica)
