"""What must hold at every step, checked incrementally against a record of all that ever happened.

- Election safety: at most one leader a term.
- Log matching: entries with one index and term are the same entry, after the same term.
- Leader completeness: a leader has every entry that was committed in an earlier term.
- State-machine safety: all replicas commit the same entry at an index, and never take one back.
- Durability: what a leader commits survives a crash on every majority that its configuration asks for.
- Persistence: what a core counts as durable survives a crash.
- Certificates: see certification.py.
- Membership: a core uses the latest configuration of its log, and a snapshot carries the one of its index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors.consensus.raft import Configuration, Entry, EntryKind, Raft, Role, SnapshotMeta
from actors.consensus.raft.membership import configuration_of
from actors.consensus.raft.quorum import agreed

from .certification import Certification
from .disk import SimulatedDisk, State
from .violation import ViolationError

if TYPE_CHECKING:
    from .replica import SimulatedReplica


class Invariants:
    """The omniscient record of one simulated network."""

    def __init__(self, configuration: Configuration, members: int) -> None:
        """members: how many the genesis names, those included that join later."""
        self.certification = Certification(members)
        self.disks: dict[bytes, SimulatedDisk] = {}  # by identity, the lost ones too
        self.leaders: dict[int, tuple[int, bytes]] = {}
        self.entries: dict[tuple[int, int], tuple[bytes, int | None]] = {}
        self.committed: list[tuple[int, bytes]] = []  # term and digest, from index 1 on
        self.commit_terms: list[int] = []  # the term of whoever committed it first
        self.configurations: list[tuple[int, Configuration]] = [(0, configuration)]
        self.states: dict[int, State] = {}

    def check(self, replica: SimulatedReplica, replicas: dict[int, SimulatedReplica]) -> None:
        """After a step of `replica`."""
        raft = replica.raft
        if raft is None:
            return
        if raft.role is Role.LEADER and replica.led_term != raft.term:
            replica.led_term = raft.term
            self._check_leader(raft)
        if raft.commit_index != replica.checked_commit:
            self._check_commit(replica, raft, replicas)
        durable = raft.durable_index
        if durable != replica.checked_durable:
            replica.checked_durable = durable
            if not replica.disk.holds(durable, raft.log.term_at(durable)):
                raise ViolationError(
                    f"persistence: {raft.id} counts on entry {durable}, which is not on disk"
                )
        self.certification.sign(replica, replicas)

    def _check_leader(self, raft: Raft) -> None:
        other = self.leaders.setdefault(raft.term, (raft.id, raft.disk))
        if other != (raft.id, raft.disk):
            raise ViolationError(f"election safety: {other} and {raft.id} lead term {raft.term}")
        index = len(self.committed)
        while index and self.commit_terms[index - 1] >= raft.term:
            index -= 1
        if index > raft.log.base_index and raft.log.term_at(index) != self.committed[index - 1][0]:
            raise ViolationError(f"leader completeness: {raft.id} leads {raft.term} without entry {index}")
        self.certification.check_leader(raft)

    def _check_commit(
        self, replica: SimulatedReplica, raft: Raft, replicas: dict[int, SimulatedReplica]
    ) -> None:
        if raft.commit_index < replica.checked_commit:
            raise ViolationError(f"monotonic commit: {raft.id} fell back to {raft.commit_index}")
        first = max(replica.checked_commit, raft.log.base_index) + 1
        for entry in raft.log.slice(first, raft.commit_index):
            if entry.index > len(self.committed):
                self._record_commit(entry, raft, replicas)
            elif self.committed[entry.index - 1] != (entry.term, entry.digest):
                raise ViolationError(f"state-machine safety: {raft.id} commits another entry {entry.index}")
        replica.checked_commit = raft.commit_index

    def _record_commit(self, entry: Entry, raft: Raft, replicas: dict[int, SimulatedReplica]) -> None:
        if entry.index != len(self.committed) + 1:
            raise ViolationError(f"state-machine safety: {raft.id} skips to entry {entry.index}")
        if raft.role is Role.LEADER:
            held = agreed(
                raft.configuration,
                lambda member: int(self._holds(raft.configuration, replicas[member], entry)),
            )
            if not held:
                raise ViolationError(f"durability: entry {entry.index} is committed without a majority")
        self.committed.append((entry.term, entry.digest))
        self.commit_terms.append(raft.term)
        if entry.kind is EntryKind.CONFIGURATION:
            self.configurations.append((entry.index, configuration_of(entry)))

    def check_entries(self, raft: Raft, entries: tuple[Entry, ...]) -> None:
        """Before `raft` writes `entries`."""
        self.certification.saw(raft, entries)
        for entry in entries:
            key = (entry.index, entry.term)
            found = (entry.digest, raft.log.term_at(entry.index - 1))
            known = self.entries.setdefault(key, found)
            if known != found and found[1] is not None:
                raise ViolationError(f"log matching: {raft.id} holds another entry {key}")
        latest = raft.log.configurations[0]
        for entry in reversed(raft.log.entries):
            if entry.kind is EntryKind.CONFIGURATION and entry.index > raft.log.snapshot.index:
                latest = (entry.index, configuration_of(entry))
                break
        if raft.configuration != latest[1]:
            raise ViolationError(f"membership: {raft.id} uses another configuration than its log's")

    def check_snapshot(self, snapshot: SnapshotMeta) -> None:
        """When a replica starts from a snapshot, takes or installs one."""
        if snapshot.index == 0:
            return
        if snapshot.index > len(self.committed) or self.committed[snapshot.index - 1][0] != snapshot.term:
            raise ViolationError(f"state-machine safety: snapshot {snapshot.index} was not committed")
        expected = next(found for at, found in reversed(self.configurations) if at <= snapshot.index)
        # A disk that was emptied begins with a genesis that names none.
        unnamed = msgspec.structs.replace(self.configurations[0][1], disks=())
        begins = expected is self.configurations[0][1] and snapshot.configuration == unnamed
        if snapshot.configuration != expected and not begins:
            raise ViolationError(f"membership: snapshot {snapshot.index} has another configuration")

    def check_state(self, index: int, state: State) -> None:
        """When a replica has applied `index`."""
        if self.states.setdefault(index, state) != state:
            raise ViolationError(f"state-machine safety: states differ at {index}")

    def _holds(self, configuration: Configuration, replica: SimulatedReplica, entry: Entry) -> bool:
        """Whether a member's named disk has the entry, or had it when it was lost."""
        disk = self.disks.get(configuration.disk_of(replica.id) or replica.disk_id)
        return disk is not None and disk.holds(entry.index, entry.term)
