"""Members that forget: disks that are emptied, set back to an old backup, or that run twice; and lies.

A disk that is not the one that a member last wrote has another identity, as Storage would give it. What a
schedule may do to disks without ending all progress is what the network promises to survive: every half of
every configuration that may be in force keeps a majority of its disks. Now and then a schedule is reckless;
then nothing need go on, but nothing may go wrong either.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import takewhile
from random import Random

from actors.consensus.raft import Configuration, EntryKind, Message, genesis
from actors.consensus.raft.membership import configuration_of
from actors.consensus.raft.messages import AppendResponse, HeartbeatRequest, VoteRequest
from actors.ledger.quorum import quorum

from .disk import SimulatedDisk
from .replica import SimulatedReplica
from .violation import ViolationError
from .world import RaftWorld

MEMORY_FAULTS = ("wipe", "backup", "twin", "refound", "outcast")
RECKLESS = 0.1


class Amnesia:
    """The lost memories of one schedule, until `end_ms`. `lost` is true once progress is not promised."""

    def __init__(self, world: RaftWorld, rng: Random, enabled: set[str], end_ms: float) -> None:
        self.world, self.rng, self.end_ms = world, rng, end_ms
        self.lost = False
        self._losses_early = 0
        storms = {"wipe": self._wipe, "backup": self._back_up, "twin": self._run_twice, "outcast": self._lie}
        for name, storm in storms.items():
            if name in enabled:
                for _ in range(rng.randint(1, 4)):
                    world.at(rng.uniform(100.0, end_ms), storm)
        if "wipe" in enabled:
            for _ in range(rng.randint(0, 3)):
                world.at(rng.uniform(300.0, end_ms), self._side_with_the_deposed)
        if {"wipe", "founding"} <= enabled:
            world.at(rng.uniform(100.0, 700.0), self._wipe)
        if "refound" in enabled:
            world.at(1.0, self._found_without_one)

    # --- disks -------------------------------------------------------------------------------------------

    def _wipe(self) -> None:
        """A member loses its disk while it is down."""
        replica = self.rng.choice(list(self.world.replicas.values()))
        self._replace(replica, self._empty())

    def _side_with_the_deposed(self) -> None:
        """A leader is cut off, and another one elected. Then one of those who elected it loses its disk, and
        comes back at the side of the leader that was cut off, which may not have noticed."""
        world = self.world
        for leader in world.leaders()[:1]:
            name = world.network.cut(self._between(leader, list(world.replicas)))
            world.at(world.now_ms + 600.0, world.network.heal, name)
            self._await_rival(leader, name, world.now_ms + 400.0)

    def _between(self, replica: SimulatedReplica, others: list[int]) -> frozenset[tuple[int, int]]:
        pairs = [pair for m in others for pair in ((replica.id, m), (m, replica.id))]
        return frozenset(pair for pair in pairs if pair[0] != pair[1])

    def _await_rival(self, leader: SimulatedReplica, cut: int, until_ms: float) -> None:
        world, rng = self.world, self.rng
        leaders = world.leaders()
        if world.now_ms > until_ms or leader not in leaders:
            return
        if leaders[0] is leader:
            world.at(world.now_ms + 3.0, self._await_rival, leader, cut, until_ms)
            return
        rival = leaders[0]
        others = [r for r in world.replicas.values() if r not in (leader, rival)]
        if not others:
            return
        turncoat = rng.choice(others)
        world.write(rival)
        after_ms = world.now_ms + rng.uniform(5.0, 40.0)
        world.at(after_ms, self._replace, turncoat, self._empty(), False, 1.0)
        world.at(after_ms, world.network.heal, cut)
        apart = self._between(rival, list(world.replicas)) | self._between(
            turncoat, [m for m in world.replicas if m != leader.id]
        )
        world.at(after_ms, self._part, apart, 400.0)
        for _ in range(4):
            world.at(after_ms + rng.uniform(50.0, 300.0), self._write_somewhere)

    def _empty(self) -> SimulatedDisk:
        return SimulatedDisk(genesis(self.world.voters))

    def _back_up(self) -> None:
        """A copy of a member's disk is made, and later put in its place."""
        replica = self.rng.choice(list(self.world.replicas.values()))
        copy = deepcopy(replica.disk)
        copy.pending.clear()
        self.world.at(self.world.now_ms + self.rng.uniform(10.0, 900.0), self._replace, replica, copy)

    def _run_twice(self) -> None:
        """A copy of a member's disk is started elsewhere, while the member runs on."""
        world, rng = self.world, self.rng
        replica = rng.choice(list(world.replicas.values()))
        if replica.id in world.twins or self._is_last_to_know(replica):
            return
        copy = deepcopy(replica.disk)
        copy.pending.clear()
        twin = SimulatedReplica(replica.id, copy, world.clock(), b"")
        world.put_disk(twin, copy)
        world.twins[replica.id] = twin
        world.restart(twin)
        if rng.random() < 0.5:
            world.at(world.now_ms + rng.uniform(20.0, 600.0), self._isolate, replica)
        world.at(world.now_ms + rng.uniform(200.0, 1500.0), world.end_twin, replica.id)

    def _isolate(self, replica: SimulatedReplica) -> None:
        """The network leads to the copy alone for a while."""
        self.world.deaf_until_ms[replica.id] = self.world.now_ms + self.rng.uniform(50.0, 500.0)

    def _replace(
        self, replica: SimulatedReplica, disk: SimulatedDisk, reckless: bool = False, down_ms_max: float = 0.0
    ) -> None:
        world, rng = self.world, self.rng
        if world.now_ms > self.end_ms or self._is_last_to_know(replica):
            return
        if not self._survives_without(replica):
            if not reckless and rng.random() >= RECKLESS:
                return
            self.lost = True
        world.crash(replica)
        world.put_disk(replica, disk)
        down_ms = (down_ms_max or rng.choice((1.0, 30.0, 400.0))) * rng.random()
        world.at(world.now_ms + down_ms, world.restart, replica)

    def _is_last_to_know(self, victim: SimulatedReplica) -> bool:
        """Whether nobody would be left who knows this network: what begins then is another, and not judged.

        Before it is founded it bears one loss, whatever stage the founding is in.
        """
        if not self.world.invariants.committed:
            self._losses_early += 1
            return self._losses_early > 1
        halves = [(c, half) for c in self._configurations() for half in (c.voters, c.outgoing) if half]
        return not all(any(self._is_kept(c, member, victim) for member in half) for c, half in halves)

    @property
    def may_be_stuck(self) -> bool:
        """True if a configuration that may be in force has lost a majority of its disks."""
        return self.lost or not self._survives_without(None)

    def _survives_without(self, victim: SimulatedReplica | None) -> bool:
        """Whether every configuration that may be in force keeps its majorities."""
        for configuration in self._configurations():
            for half in (configuration.voters, configuration.outgoing):
                kept = [member for member in half if self._is_kept(configuration, member, victim)]
                if half and len(kept) < quorum(len(half)):
                    return False
        return True

    def _is_kept(self, configuration: Configuration, member: int, victim: SimulatedReplica | None) -> bool:
        if victim is not None and member == victim.id:
            return False
        return not configuration.disks or self.world.replicas[member].disk_id == configuration.disk_of(member)

    def _configurations(self) -> list[Configuration]:
        found = []
        for replica in self.world.replicas.values():
            found.append(replica.disk.snapshot.configuration)
            entries = [*replica.disk.entries, *(e for write in replica.disk.pending for e in write.entries)]
            named = [configuration_of(entry) for entry in entries if entry.kind is EntryKind.CONFIGURATION]
            founding = takewhile(lambda known: not known.is_joint, named)
            found += [*founding, *named[-2:]]
        return [c for c in found if c.disks] or found

    # --- founding twice ----------------------------------------------------------------------------------

    def _found_without_one(self) -> None:
        """One member is away from the beginning. Then the others write, one of them loses its disk, and the
        third is away: the one that knows nothing yet and the one that has forgotten are a majority."""
        world, rng = self.world, self.rng
        late, forgetful, *rest = rng.sample(list(world.replicas), len(world.replicas))
        apart = frozenset((a, b) for m in world.replicas for a, b in ((late, m), (m, late)) if m != late)
        name = world.network.cut(apart)
        then_ms = world.now_ms + rng.uniform(500.0, 900.0)
        for _ in range(4):
            world.at(then_ms - 100.0 * rng.random(), self._write_somewhere)
        world.at(then_ms, self._replace, world.replicas[forgetful], self._empty(), True)
        gone, everybody = rest[: len(rest) // 2 + 1], world.replicas
        away = [(a, b) for m in gone for other in everybody for a, b in ((m, other), (other, m))]
        world.at(then_ms, world.network.heal, name)
        world.at(then_ms, self._part, frozenset(pair for pair in away if pair[0] != pair[1]))
        for _ in range(6):
            world.at(then_ms + rng.uniform(300.0, 900.0), self._write_somewhere)

    def _part(self, pairs: frozenset[tuple[int, int]], for_ms: float = 1000.0) -> None:
        name = self.world.network.cut(pairs)
        self.world.at(self.world.now_ms + for_ms, self.world.network.heal, name)

    def _write_somewhere(self) -> None:
        for leader in self.world.leaders():
            self.world.write(leader)

    # --- lies --------------------------------------------------------------------------------------------

    def _lie(self) -> None:
        """Somebody who is no member, and a member that claims a term that no election made."""
        world, rng = self.world, self.rng
        for replica in world.replicas.values():
            raft = replica.raft
            if raft is None or replica.paused_until_ms > world.now_ms or rng.random() < 0.3:
                continue
            heard = raft._whom_to_hear()
            strangers = [m for m in (*world.replicas, 99) if m not in heard and m != raft.id]
            stranger = rng.choice(strangers)
            member = rng.choice(list(world.replicas))
            for sender, term in ((stranger, raft.term + rng.randint(0, 3)), (member, 2**40)):
                if sender != raft.id:
                    self._send_lie(replica, self._forged(sender, raft.id, term))

    def _forged(self, sender: int, to: int, term: int) -> Message:
        disk = self.world.replicas[sender].disk_id if sender in self.world.replicas else b""
        forged = (
            HeartbeatRequest(sender, to, term, 0, 1, 0, disk=disk, named=True),
            VoteRequest(sender, to, term, 10**6, term, True, disk=disk, named=True),
            AppendResponse(sender, to, term, 0, rejected=True, disk=disk, named=True),
        )
        return self.rng.choice(forged)

    def _send_lie(self, replica: SimulatedReplica, message: Message) -> None:
        raft = replica.raft
        if raft is None:
            return
        raft.term_ceiling = self.world.term_ceiling()
        before = (raft.term, raft.vote, raft.role, raft.leader, raft.log.last_index, raft.commit_index)
        raft.step(message, replica.clock.read(self.world.now_ms))
        after = (raft.term, raft.vote, raft.role, raft.leader, raft.log.last_index, raft.commit_index)
        if after != before:
            raise ViolationError(f"membership: {message} changed {before} into {after} at {raft.id}")
        self.world.settle(replica)
